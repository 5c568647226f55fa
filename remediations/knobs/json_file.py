"""Settings in a JSON file: order, indentation and every other byte stay.

Not here: JSON with comments (it is refused with its line), the API server's objects (``json_patch``).
"""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from engine.values import Knob, Scalar, Setting
from remediations.knobs import nested
from remediations.knobs.backend import NotChanged
from remediations.knobs.text_edit import Insertion, Spot
from remediations.knobs.text_file import TextFile

_SPACE = re.compile(r"[ \t\r\n]*")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_WORD = re.compile(r"[^\s,\]}]+")


class Node(msgspec.Struct):
    """A value in the text, ``text[start:end]``; of an object its members, of a list its items."""

    start: int
    end: int
    members: list[tuple[str, int, Node]] | None = None
    items: list[Node] | None = None


class JsonForm:
    """JSON; ``Knob.path`` is a dotted key path, a number in it counts a list's items from 0."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The value at the path."""
        node, left = _descend(_root(text, knob), knob)
        if left:
            return None
        raw = text[node.start : node.end]
        line = text.count("\n", 0, node.start) + 1
        value = nested.setting(json.loads(raw), f"{knob.file}:{line}: {knob.path}")
        return Spot(value=value, raw=raw, start=node.start, end=node.end, line=line)

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """Lists in the layout that stands there."""
        if isinstance(spot.value, list) and isinstance(after, list):
            items = [(item.start, item.end) for item in _scan(spot.raw, 0).items or ()]
            return nested.listed(nested.Layout(spot.raw, items), spot.value, after, _spelled, knob)
        if isinstance(spot.value, list) != isinstance(after, list):
            raise NotChanged(f"{knob.file}:{spot.line}: {knob.path} is {spot.raw}", fix="give the same kind")
        return json.dumps(after, ensure_ascii=False)

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """Behind the last member of the innermost object that is there."""
        parent, left = _descend(_root(text, knob), knob)
        if parent.members is None or not left:
            raise NotChanged(f"{knob.file}: what would hold {knob.path} is no object", fix="set it by hand")
        lead, colon = _style(text, parent)
        value: Any = after
        for name in reversed(left[1:]):
            value = {name: value}
        step = len(lead.rpartition("\n")[2]) if "\n" in lead else None
        root_step = _step(text, knob) if step is not None else None
        written = json.dumps(value, ensure_ascii=False, indent=root_step)
        if "\n" in lead:
            newline = "\r\n" if "\r\n" in lead else "\n"
            written = written.replace("\n", newline + lead.rpartition("\n")[2])
        member = f"{json.dumps(left[0], ensure_ascii=False)}{colon}{written}"
        if parent.members:
            return Insertion(parent.members[-1][2].end, f",{lead}{member}")
        return Insertion(parent.start + 1, member)

    def rest(self, text: str, knob: Knob) -> object:
        """Every other value."""
        _root(text, knob)
        return nested.rows(json.loads(text.removeprefix("\ufeff")), tuple(knob.path.split(".")))

    def same(self, one: Setting, other: Setting) -> bool:
        """As JSON compares: 2 is 2.0."""
        return nested.same(one, other)


class JsonFile(TextFile):
    """Backend ``json-file``: ``Knob.path`` is a dotted key path."""

    name = "json-file"
    form = JsonForm()


def _root(text: str, knob: Knob) -> Node:
    try:
        json.loads(text.removeprefix("\ufeff"))
        return _scan(text, 1 if text.startswith("\ufeff") else 0)
    except json.JSONDecodeError as error:
        raise NotChanged(
            f"{knob.file}:{error.lineno}: not valid JSON: {error.msg}", fix="mend the file first"
        ) from None
    except RecursionError:
        raise NotChanged(f"{knob.file}: nested too deeply", fix="set it by hand") from None


def _descend(root: Node, knob: Knob) -> tuple[Node, list[str]]:
    """The innermost value on the path that is there, and the names that are not."""
    node, names = root, knob.path.split(".")
    for depth, name in enumerate(names):
        if node.items is not None and name.isdigit() and int(name) < len(node.items):
            node = node.items[int(name)]
            continue
        if node.members is None:
            raise NotChanged(
                f"{knob.file}: {'.'.join(names[:depth]) or 'the document'} is no object",
                fix=f"expected {name!r} in it",
            )
        found = [inner for key, _, inner in node.members if key == name]
        if len(found) > 1:
            raise NotChanged(f"{knob.file}: the key {name!r} stands there twice", fix="remove one of them")
        if not found:
            return node, names[depth:]
        node = found[0]
    return node, []


def _scan(text: str, at: int) -> Node:
    """The value that begins at (or after spaces at) an offset of a text that is valid JSON."""
    at = _after(_SPACE, text, at)
    node = Node(start=at, end=at)
    if text[at] not in "{[":
        node.end = _after(_STRING if text[at] == '"' else _WORD, text, at)
        return node
    closing = "}" if text[at] == "{" else "]"
    members: list[tuple[str, int, Node]] = []
    items: list[Node] = []
    at = _after(_SPACE, text, at + 1)
    while text[at] != closing:
        key_at, name = at, ""
        if closing == "}":
            end = _after(_STRING, text, at)
            name = json.loads(text[at:end])
            at = _after(_SPACE, text, end) + 1  # the colon
        inner = _scan(text, at)
        members.append((name, key_at, inner))
        items.append(inner)
        at = _after(_SPACE, text, inner.end)
        at = _after(_SPACE, text, at + 1) if text[at] == "," else at
    node.end = at + 1
    node.members, node.items = (members, None) if closing == "}" else (None, items)
    return node


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    assert match is not None  # noqa: S101 - the text is valid JSON
    return match.end()


def _style(text: str, parent: Node) -> tuple[str, str]:
    """What stands before a member (spaces, a line break), and between its key and its value."""
    if not parent.members:
        return "", ": "
    _, key_at, value = parent.members[-1]
    colon_at = _after(_STRING, text, key_at)
    lead_at = parent.members[-2][2].end if len(parent.members) > 1 else parent.start
    comma = text.find(",", lead_at) if len(parent.members) > 1 else lead_at
    lead = text[comma + 1 : key_at]
    if len(parent.members) == 1 and not lead:
        lead = " "
    return lead, text[colon_at : value.start]


def _step(text: str, knob: Knob) -> int:
    """Spaces of one level: how far the first member of the document stands in; 2 where that tells nothing."""
    root = _root(text, knob)
    first = root.members[0][1] if root.members else root.start
    column = first - (text.rfind("\n", 0, first) + 1)
    return column if 0 < column <= 8 and text[first - column : first] == " " * column else 2


def _spelled(value: Scalar) -> str:
    return json.dumps(value, ensure_ascii=False)
