"""One value in a text replaced, added, and taken back; the rest of the text stays as it is.

One promise: every result is read back, holds exactly what was wanted and says nothing else
differently, or it is refused. Taking back gives the very text that stood there, whatever else was
edited in between; a value that somebody else has set is left alone.

Not here: the formats (``env_file``, ``ini_file``, ``json_file``, ``toml_file``, ``yaml_form``), where the
text comes from and goes to (``text_file``, ``config_map``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

import msgspec

from engine.errors import ChangedSince
from engine.values import Change, Knob, Setting
from remediations.knobs.backend import NotChanged, State


class Spot(msgspec.Struct, frozen=True, kw_only=True):
    """A value in a text: ``text[start:end]`` is ``raw``, quotes and all; lines count from 1."""

    value: Setting
    raw: str
    start: int
    end: int
    line: int


class Insertion(NamedTuple):
    """A text that sets an absent value, and the offset where it goes."""

    at: int
    text: str


class Form(Protocol):
    """A format of text that holds settings. All raise ``NotChanged`` with ``file:line``."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The value at ``knob.path``; None when it is absent."""

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """What is to stand there instead, in the style of what does."""

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """How an absent value is added, in the style of its neighbours."""

    def rest(self, text: str, knob: Knob) -> object:
        """Everything the text says, but for this value and what only holds it."""

    def same(self, one: Setting, other: Setting) -> bool:
        """Whether two settings are the same when they are written in this format."""


def planned(form: Form, text: str, change: Change) -> dict[str, Setting]:
    """What there is to know for making the change and taking it back, as it is captured.

    Raises:
        ChangedSince: The value is no longer ``change.before``.
        NotChanged: It can't be set without touching something else.
    """
    spot, knob = form.find(text, change.knob), change.knob
    if spot is None:
        if change.before is not None:
            raise since(change, "no longer there")
        found = form.insertion(text, change.after, knob)
        captured: dict[str, Setting] = {"absent": True, "raw": None, "written": found.text}
    else:
        if change.before is None or not form.same(spot.value, change.before):
            raise since(change, f"now {spot.raw!r}")
        _writable(spot.raw, knob)
        captured = {"absent": False, "raw": spot.raw, "written": form.rendered(spot, change.after, knob)}
    made(form, text, change, captured)  # refuses now what would fail later
    return captured


def made(form: Form, text: str, change: Change, captured: Mapping[str, Setting]) -> str:
    """The text with the change made; the raises of ``planned``."""
    knob, written = change.knob, str(captured["written"])
    spot = form.find(text, knob)
    if captured["absent"]:
        if spot is not None:
            raise since(change, f"now {spot.raw!r}")
        at = form.insertion(text, change.after, knob).at
        result = text[:at] + written + text[at:]
    else:
        if spot is None or spot.raw != captured["raw"]:
            raise since(change, "no longer there" if spot is None else f"now {spot.raw!r}")
        result = text[: spot.start] + written + text[spot.end :]
    now = _found(form, result, knob)
    if now is None or not form.same(now.value, change.after) or _differ(form, text, result, knob):
        raise NotChanged(
            f"{knob.file}: {knob.path} can't be set to {change.after!r} without touching something else",
            fix=f"set it by hand to {change.after!r}",
        )
    return result


def state(form: Form, text: str, change: Change, captured: Mapping[str, Setting]) -> State:
    """What stands there now, compared with before and after."""
    spot = form.find(text, change.knob)
    if spot is None:
        return "before" if captured["absent"] else "other"
    if form.same(spot.value, change.after):
        return "after"
    if captured["absent"] or change.before is None:
        return "other"
    return "before" if form.same(spot.value, change.before) else "other"


def taken_back(form: Form, text: str, change: Change, captured: Mapping[str, Setting]) -> str:
    """The text with the change taken back; as it is where it was never made, or is back already.

    Raises:
        ChangedSince: Somebody else has set the value, or edited the line that we had added.
    """
    spot, knob = form.find(text, change.knob), change.knob
    match state(form, text, change, captured):
        case "before":
            return text
        case "other":
            raise since(change, "no longer there" if spot is None else f"now {spot.raw!r}")
    assert spot is not None  # noqa: S101 - "after" is only said of a value that is there
    if not captured["absent"]:
        result = text[: spot.start] + str(captured["raw"]) + text[spot.end :]
    else:
        line = str(captured["written"])
        at = text.find(line, max(0, spot.start - len(line)))
        if not 0 <= at <= spot.start:
            raise _edited(change)
        result = text[:at] + text[at + len(line) :]
    left = _found(form, result, knob)
    back = left is None if captured["absent"] else left is not None and left.raw == captured["raw"]
    if not back or _differ(form, text, result, knob):
        raise _edited(change)
    return result


def since(change: Change, now: str) -> ChangedSince:
    """The refusal to touch what somebody else has set."""
    knob = change.knob
    return ChangedSince(
        f"{knob.file}: {knob.path} is {now}; expected {change.before_text} or {change.after_text}."
        " Left as it is",
        fix=f"if nobody meant it, set {knob.path} by hand (it was: {change.before_text})",
    )


def _edited(change: Change) -> ChangedSince:
    knob = change.knob
    return ChangedSince(
        f"{knob.file}: what sets {knob.path} has been edited around since; left as it is",
        fix=f"if nobody needs it, take {knob.path} out of {knob.file} by hand (it was: {change.before_text})",
    )


def _found(form: Form, text: str, knob: Knob) -> Spot | None:
    try:
        return form.find(text, knob)
    except NotChanged:
        return None


def _differ(form: Form, one: str, other: str, knob: Knob) -> bool:
    """Whether they differ in anything but this value; a text that is broken now does."""
    try:
        return form.rest(one, knob) != form.rest(other, knob)
    except NotChanged:
        return True


def _writable(raw: str, knob: Knob) -> None:
    """A value that could not be kept in the journal could not be put back."""
    try:
        raw.encode()
    except UnicodeEncodeError:
        raise NotChanged(f"{knob.file}: {knob.path} is not UTF-8", fix="set it by hand") from None
