"""Settings in a text file, changed without touching anything else in it.

One promise: the file keeps every byte but those of the one value, and its mode, owner and labels;
undo puts back the very bytes that stood there, or takes the added line out.

Not here: the formats (``Form`` in ``text_edit``), replacing the file (``atomic_file``), reloading.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from engine.errors import RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import text_edit, units
from remediations.knobs.atomic_file import obstacle, sweep, update
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.plain_file import content, decoded, stamp
from remediations.knobs.text_edit import Form


class TextFile:
    """A backend over a file in one format: ``Knob.file``, and ``Knob.path`` in it.

    Attributes:
        requires: What a profile must say of a knob of this kind (``file``: itself or by ``config``).
        strict: The format demands UTF-8; else bytes that are none are carried along.
    """

    name: ClassVar[str]
    form: ClassVar[Form]
    requires: ClassVar[tuple[str, ...]] = ("file", "path")
    strict: ClassVar[bool] = True

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the file is in the knob
        """The value at the path. ``missing`` also says why it could not be changed."""
        file, line = Path(knob.file), ""
        try:
            spot = self.form.find(self._text(file), knob)
            line = f":{spot.line}" if spot else ""
            amount = amount_of(spot.value, knob) if spot else None
        except RunbookError as error:
            return KnobValue(source=knob.file, missing=f"{error.problem} ({error.fix})")
        except ValueError as error:
            return KnobValue(source=knob.file, missing=f"{knob.file}{line}: {knob.path}: {error}")
        blocked = obstacle(file)
        return KnobValue(
            value=spot.value if spot else None,
            raw=spot.raw if spot else None,
            effective=amount,
            source=knob.file + line,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002 - as read
        """The text that stands there (or is to be added), and the file as it is."""
        file = Path(change.knob.file)
        blocked = obstacle(file)
        if blocked:
            raise NotChanged(blocked[0], fix=blocked[1])
        text = self._text(file)
        return {
            **text_edit.planned(self.form, text, change),
            "file": change.knob.file,
            "sha256": hashlib.sha256(self._bytes(text)).hexdigest(),
            "mode": file.stat().st_mode & 0o7777,
            "stamp": stamp(file),
        }

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Replace the value's text, or add its line; the rest of the file as it is at that moment."""
        file = Path(change.knob.file)
        update(
            file, lambda seen: self._bytes(text_edit.made(self.form, self._of(seen, file), change, captured))
        )

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """Compare the value that stands there with the ones before and after."""
        return text_edit.state(self.form, self._text(Path(change.knob.file)), change, captured)

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
        file = Path(change.knob.file)
        if stamp(file) == captured.get("stamp"):
            sweep(file)
            return Restored(reload=False, note=f"{file} was never changed")
        notes: list[str] = []

        def edit(seen: bytes) -> bytes:
            text = self._of(seen, file)
            new = text_edit.taken_back(self.form, text, change, captured)
            notes[:] = ["it was back already; the reload was made up for"] * (new == text)
            return self._bytes(new)

        update(file, edit)
        return Restored(reload=True, note=notes[0] if notes else "")

    def _text(self, file: Path) -> str:
        return self._of(content(file), file)

    def _of(self, seen: bytes, file: Path) -> str:
        return decoded(seen, file, errors=self._errors())

    def _bytes(self, text: str) -> bytes:
        return text.encode(errors=self._errors())

    def _errors(self) -> str:
        return "strict" if self.strict else "surrogateescape"


def amount_of(value: Setting, knob: Knob) -> Setting:
    """A value in base units; None where that hangs on more than its unit (``amounts`` tells then).

    Raises:
        ValueError: It can't be read in that unit.
    """
    return None if knob.unit in ("preset", "doublings") else units.effective(value, knob.unit)
