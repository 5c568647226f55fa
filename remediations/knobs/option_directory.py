"""Settings of which each is a file of its own: Tetragon's ``tetragon.conf.d``, a mounted ConfigMap.

One promise: no file but the option's own is touched, not even a half-written one is ever seen beside
it; one that was not there is taken away by undo.

Source: Tetragon, docs/content/en/docs/installation/configuration.md.

Not here: replacing a file (``atomic_file``).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from engine.errors import RunbookError
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import atomic_file, reload, text_edit, text_value
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.plain_file import stamp
from remediations.knobs.text_edit import Insertion, Spot
from remediations.knobs.text_file import amount_of


class WholeForm:
    """A file that holds one value and nothing else; spaces and line breaks around it stay."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """All of it."""
        word = text.strip()
        start = text.index(word)
        try:
            value = text_value.read(word, knob.unit)
        except ValueError as error:
            raise NotChanged(f"{_place(knob)}: {error}", fix="correct it there") from None
        return Spot(value=value, raw=word, start=start, end=start + len(word), line=1)

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """As text."""
        return spelled(after, spot.raw, knob)

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """The whole content of a file that is to be made."""
        return Insertion(len(text), spelled(after, "", knob))

    def rest(self, text: str, knob: Knob) -> object:  # noqa: ARG002 - there is nothing else
        """Nothing."""
        return None

    def same(self, one: Setting, other: Setting) -> bool:
        """As text."""
        return text_value.same(one, other)


class OptionDirectory:
    """Backend ``option-directory``: ``Knob.file`` is the directory, ``Knob.path`` the option."""

    name = "option-directory"
    form = WholeForm()
    requires = ("file", "path")

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the place is in the knob
        """What the option's file holds; no such file is an absent value, no directory an absent place."""
        place = _place(knob)
        source, absent = str(place), not Path(knob.file).is_dir()
        try:
            text = _text(place)
            blocked = _obstacle(place, there=text is not None)
            spot = None if text is None else self.form.find(text, knob)
            amount = amount_of(spot.value, knob) if spot else None
        except RunbookError as error:
            return KnobValue(source=source, missing=f"{error.problem} ({error.fix})", absent=absent)
        except ValueError as error:
            return KnobValue(source=source, missing=f"{place}: {error}")
        return KnobValue(
            value=spot.value if spot else None,
            raw=spot.raw if spot else None,
            effective=amount,
            source=source,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
            absent=absent,
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002 - as read
        """What the file holds, or that there is none."""
        place = _place(change.knob)
        text = _text(place)
        blocked = _obstacle(place, there=text is not None)
        if blocked:
            raise NotChanged(blocked[0], fix=blocked[1])
        if text is None:
            if change.before is not None:
                raise text_edit.since(change, "no longer there")
            return {
                "absent": True,
                "written": spelled(change.after, "", change.knob) + "\n",
                "stamp": _stamp(place),
            }
        return {**text_edit.planned(self.form, text, change), "stamp": _stamp(place)}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Replace the file, or make it."""
        place = _place(change.knob)
        if captured["absent"]:
            content = str(captured["written"]).encode()
            atomic_file.make(place, content, like=_sibling(place), scratch=_scratch(place))
        else:

            def edit(seen: bytes) -> bytes:
                return text_edit.made(self.form, _decoded(seen, place), change, captured).encode()

            atomic_file.update(place, edit, _scratch(place))

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """By the value; a file that was made is no longer ours when somebody has set another one."""
        text = _text(_place(change.knob))
        if text is None:
            return "before" if captured["absent"] else "other"
        return text_edit.state(self.form, text, change, captured)

    def restore(
        self,
        change: Change,
        target: Target,
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Put the captured text back, or take the file away."""
        place = _place(change.knob)
        state = self.state(change, target, captured)
        if state == "other":
            text = _text(place)
            raise text_edit.since(change, "no longer there" if text is None else f"now {text.strip()!r}")
        if state == "before":
            atomic_file.sweep(place, _scratch(place))
            if _stamp(place) == captured["stamp"]:
                return Restored(reload=False, note=f"{place} was never changed")
            return Restored(reload=True, note="it was back already; the reload was made up for")
        if captured["absent"]:
            atomic_file.remove(place, place.read_bytes(), _scratch(place))
        else:

            def edit(seen: bytes) -> bytes:
                return text_edit.taken_back(self.form, _decoded(seen, place), change, captured).encode()

            atomic_file.update(place, edit, _scratch(place))
        return Restored(reload=True)

    def by_hand(self, made: Change, now: KnobValue | None, target: Target) -> str:
        """Take the file away, or write what stood in it."""
        place = _place(made.knob)
        raw = now.raw if now else made.before_text
        step = f"rm {place}" if made.before is None else f"write {raw} into {place}"
        then = reload.by_hand(made.knob.reload, target)
        return f"{step}; then: {then}" if then else step


def spelled(value: Setting, like: str, knob: Knob) -> str:
    """A setting as the content of a file."""
    try:
        word = text_value.spell(value, like)
    except ValueError as error:
        raise NotChanged(f"{_place(knob)}: {error}", fix="change it by hand") from None
    if word != word.strip():
        raise NotChanged(f"{_place(knob)} can't hold {word!r}", fix="change it by hand")
    return word


def _stamp(place: Path) -> str:
    """Changes with every replacement; of an absent file with every file that is made or taken away there."""
    return stamp(place) or stamp(place.parent)


def _place(knob: Knob) -> Path:
    return Path(knob.file) / knob.path


def _text(place: Path) -> str | None:
    """The file's text; None when there is no such file.

    Raises:
        NotChanged: It, or its directory, can't be looked at.
    """
    try:
        return _decoded(place.read_bytes(), place)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotChanged(
            f"{place} can't be read: {error.strerror}", fix="check the path and its permissions"
        ) from None


def _decoded(content: bytes, place: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise NotChanged(f"{place}: not UTF-8", fix="save the file as UTF-8") from None


def _obstacle(place: Path, *, there: bool) -> tuple[str, str] | None:
    """Why the option can't be set, with the way out; None when it can."""
    if there:
        return atomic_file.obstacle(place)
    if place.is_symlink():
        return f"{place} is a symbolic link to nowhere", "take it away, or make what it names"
    directory = place.parent
    if not directory.is_dir():
        return f"{directory} does not exist", "check the path in the agent's profile; or: mkdir " + str(
            directory
        )
    if (directory / "..data").is_symlink():
        return f"{directory} is a mounted ConfigMap or Secret", "change it on the API server"
    if not os.access(directory, os.W_OK):
        return f"{directory} is not writable for uid {os.geteuid()}", "run as root"
    return None


def _sibling(place: Path) -> Path | None:
    """Another option's file, to be like."""
    return next(
        (each for each in sorted(place.parent.iterdir()) if each.is_file() and not each.is_symlink()), None
    )


def _scratch(place: Path) -> Path | None:
    """The directory above, where no file is taken for an option; None when that is no place for one."""
    above = place.parent.parent
    try:
        same = above.stat().st_dev == place.parent.stat().st_dev
    except OSError:
        return None
    return above if same and os.access(above, os.W_OK) else None
