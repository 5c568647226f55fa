"""Settings in a YAML file, changed without touching anything else in it.

Undo is exact: the very text that stood there comes back, and an added line goes. Edits
that others make elsewhere in the file stay; a value they have set is left alone.

Not here: finding the value in the text (``yaml_place``), the new text (``yaml_text``),
replacing the file (``atomic_file``), reloading (``reload``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from engine.errors import RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import units, yaml_text
from remediations.knobs.atomic_file import obstacle, sweep, update
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.plain_file import content, decoded, stamp
from remediations.knobs.text_edit import since
from remediations.knobs.yaml_place import Gap, Key, Place, find


class YamlFile:
    """Backend ``yaml-file``: ``Knob.file`` and the dotted ``Knob.path`` in it."""

    name = "yaml-file"
    requires = ("file", "path")

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the file is in the knob
        """The value at the path. ``missing`` also says why it could not be changed."""
        file = Path(knob.file)
        try:
            place = find(_text(file), _key(knob))
            if isinstance(place, Gap):
                value, raw, line, amount = None, None, "", None
            else:
                value, raw, line = _value(place, knob), place.raw, f":{place.line}"
                amount = units.effective(value, knob.unit)
        except RunbookError as error:
            return KnobValue(source=knob.file, missing=f"{error.problem} ({error.fix})")
        except ValueError as error:
            return KnobValue(source=knob.file, missing=f"{knob.file}: {knob.path}: {error}")
        blocked = obstacle(file)
        return KnobValue(
            value=value,
            raw=raw,
            effective=amount,
            source=knob.file + line,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002 - as read
        """The text that stands there (or the line to be added), and the file as it is."""
        knob, file = change.knob, Path(change.knob.file)
        blocked = obstacle(file)
        if blocked:
            raise NotChanged(blocked[0], fix=blocked[1])
        seen = content(file)
        text = decoded(seen, file)
        place = find(text, _key(knob))
        captured: dict[str, Setting] = {
            "file": knob.file,
            "sha256": hashlib.sha256(seen).hexdigest(),
            "mode": file.stat().st_mode & 0o7777,
            "value": change.before,
            "stamp": stamp(file),
            "absent": isinstance(place, Gap),
        }
        if isinstance(place, Gap):
            if change.before is not None:
                raise since(change, "no longer there")
            line, created = yaml_text.insertion(text, _key(knob), change.after)
            yaml_text.inserted(text, _key(knob), line, change.after)  # refuses now what would fail later
            return {**captured, "inserted": line, "created": created}
        if _value(place, knob) != change.before:
            raise since(change, f"now {place.raw!r}")
        written = yaml_text.rewritten(place, change.after, _key(knob))
        yaml_text.replaced(text, _key(knob), written, change.after)
        return {**captured, "raw": place.raw, "line": place.line, "written": written}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Replace the value's text, or add its line; the rest of the file as it is at that moment."""
        knob, file = change.knob, Path(change.knob.file)

        def edit(seen: bytes) -> bytes:
            text = decoded(seen, file)
            if captured.get("absent"):
                new = yaml_text.inserted(text, _key(knob), str(captured["inserted"]), change.after)
            else:
                place = find(text, _key(knob))
                if isinstance(place, Gap) or place.raw != captured["raw"]:
                    raise since(change, "no longer there" if isinstance(place, Gap) else f"now {place.raw!r}")
                written = str(captured["written"])
                new = yaml_text.replaced(text, _key(knob), written, change.after)
            return new.encode()

        update(file, edit)

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """Compare the value that stands there with the ones before and after."""
        return _state(change, find(_text(Path(change.knob.file)), _key(change.knob)), captured)

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the file is in the knob
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Put the captured text back, or take the added line out again.

        A file that was never replaced needs no reload; one that holds the value before but is
        not the file of then was put back by an undo that may not have come to its reload.
        """
        knob, file = change.knob, Path(change.knob.file)
        if stamp(file) == captured.get("stamp"):
            sweep(file)
            return Restored(reload=False, note=f"{file} was never changed")
        back_already: list[str] = []

        def edit(seen: bytes) -> bytes:
            text = decoded(seen, file)
            state = _state(change, find(text, _key(knob)), captured)
            if state == "before":
                back_already.append("it was back already; the reload was made up for")
                return seen
            if state == "other":
                place = find(text, _key(knob))
                raise since(change, "no longer there" if isinstance(place, Gap) else f"now {place.raw!r}")
            if captured.get("absent"):
                created = int(str(captured["created"]))
                new = yaml_text.removed(text, _key(knob), str(captured["inserted"]), created)
            else:
                new = yaml_text.replaced(text, _key(knob), str(captured["raw"]), change.before)
            return new.encode()

        update(file, edit)
        return Restored(reload=True, note=back_already[0] if back_already else "")


def _state(change: Change, place: Place | Gap, captured: Mapping[str, Setting]) -> State:
    if isinstance(place, Gap):
        return "before" if captured.get("absent") else "other"
    now = _value(place, change.knob)
    if now == change.after and type(now) is type(change.after):
        return "after"
    return "before" if now == change.before and not captured.get("absent") else "other"


def _value(place: Place, knob: Knob) -> Setting:
    """As YAML reads it, except that ``on`` or ``1e3`` in a text knob stay text."""
    return place.words if knob.unit == "text" and place.words else place.value


def _key(knob: Knob) -> Key:
    return Key(knob.file, knob.path)


def _text(file: Path) -> str:
    return decoded(content(file), file)
