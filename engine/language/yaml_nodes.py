"""YAML text to plain nodes with their places, hostile text included.

The one promise: whatever the bytes are, ``compose`` ends soon with a tree of bounded size
or with complaints that name line and column. Depth, aliases and size are bounded, so that
neither recursion nor a "billion laughs" document can hurt whoever walks the tree. Nothing
is resolved here: a scalar stays the text that stands there, and whether it was quoted.

Not here: what the nodes mean (``engine.language.documents``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

LARGEST = 1 << 20  # bytes of text
DEEPEST = 32  # nested collections
MOST_NODES = 20_000  # counted with aliases written out


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands: line and column, both from 1."""

    line: int
    column: int


@dataclass(slots=True)
class Node:
    """Base of all nodes. ``size`` counts it and all below, aliases written out."""

    place: Place
    size: int = 1
    depth: int = 1
    tag: str = ""


@dataclass(slots=True)
class Scalar(Node):
    """A text; ``plain`` when it stands there without quotes."""

    text: str = ""
    plain: bool = True
    block: bool = False


@dataclass(slots=True)
class Sequence(Node):
    """A list."""

    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    """Keys, each with its place and its value; keys are unique texts."""

    items: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)


class Complaints:
    """What is wrong with one document: every complaint, in the order of the text."""

    def __init__(self, file: str) -> None:
        self.file = file
        self._said: set[tuple[int, int, str]] = set()

    def add(self, place: Place, what: str) -> None:
        """Note what is wrong at a place."""
        self._said.add((place.line, place.column, what))

    def __bool__(self) -> bool:
        return bool(self._said)

    def __iter__(self) -> Iterator[str]:
        """Each as ``file:line:column: what``."""
        return (f"{self.file}:{line}:{column}: {what}" for line, column, what in sorted(self._said))


def decode(raw: bytes, complaints: Complaints) -> str | None:
    """The bytes as text, or None after a complaint."""
    if len(raw) > LARGEST:
        complaints.add(Place(1, 1), f"{len(raw):,} bytes; at most {LARGEST:,} are read")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        column = len(before) - (before.rfind(b"\n") + 1) + 1
        place = Place(before.count(b"\n") + 1, column)
        complaints.add(place, f"byte 0x{raw[error.start]:02x} is not UTF-8 (save the file as UTF-8)")
        return None


def compose(text: str, complaints: Complaints) -> Node | None:
    """The single document in ``text``, or None after a complaint.

    Cost: about 1 ms for 200 lines, with libyaml.
    """
    import yaml  # noqa: PLC0415 - 11 ms, not needed to start up

    parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        events = parser(text)
    except yaml.YAMLError as error:
        complaints.add(*_syntax(error, text))
        return None
    composer = _Composer(complaints)
    try:
        while composer.go_on and events.check_event():
            composer.take(events.get_event())
    except yaml.YAMLError as error:
        complaints.add(*_syntax(error, text))
        return None
    finally:
        events.dispose()
    return composer.finish()


class _Composer:
    """Builds nodes from parse events with a stack of its own: nothing recurses."""

    def __init__(self, complaints: Complaints) -> None:
        self.complaints = complaints
        self.go_on = True
        self._root: Node | None = None
        self._documents = 0
        self._open: list[tuple[Sequence | Mapping, list[Scalar | None]]] = []
        self._anchors: dict[str, Node | None] = {}
        self._anchor_of: dict[int, str] = {}

    def take(self, event: Any) -> None:  # noqa: ANN401 - PyYAML's events have no common type
        """Take up one parse event."""
        kind = type(event).__name__
        mark = event.start_mark
        place = Place(mark.line + 1, mark.column + 1) if mark else Place(1, 1)
        if kind == "DocumentStartEvent":
            self._documents += 1
            if self._documents > 1:
                self._stop(place, "a second document starts here (one file holds one document)")
        elif kind == "ScalarEvent":
            plain = event.style is None or event.style == ""
            node = Scalar(place, text=event.value, plain=plain, block=event.style in ("|", ">"))
            self._tagged(node, event)
            self._anchor(event, node)
            self._put(node)
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            self._begin(Sequence(place) if kind[0] == "S" else Mapping(place), event)
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._end()
        elif kind == "AliasEvent":
            self._alias(event.anchor, place)

    def finish(self) -> Node | None:
        """The root, or None after a complaint."""
        if not self.go_on:
            return None
        if self._root is None:
            self.complaints.add(Place(1, 1), "the file is empty")
        return self._root

    def _begin(self, node: Sequence | Mapping, event: Any) -> None:  # noqa: ANN401
        if len(self._open) >= DEEPEST:
            self._stop(node.place, f"nested more than {DEEPEST} deep")
            return
        self._tagged(node, event)
        if event.anchor:
            self._anchors[event.anchor] = None  # not finished: an alias to it would be a circle
            self._anchor_of[id(node)] = event.anchor
        self._open.append((node, []))

    def _end(self) -> None:
        node, _ = self._open.pop()
        if name := self._anchor_of.pop(id(node), None):
            self._anchors[name] = node
        self._put(node)

    def _anchor(self, event: Any, node: Node) -> None:  # noqa: ANN401
        if event.anchor:
            self._anchors[event.anchor] = node

    def _alias(self, name: str, place: Place) -> None:
        if name not in self._anchors:
            self._stop(place, f"*{name} refers to an anchor that is not there (write &{name} before it)")
            return
        node = self._anchors[name]
        if node is None:
            self._stop(place, f"*{name} refers to what it stands in")
            return
        self._put(node)

    def _put(self, node: Node) -> None:
        """Put a finished node where it belongs, and account for its size."""
        if not self._open:
            self._root = node
            return
        parent, key = self._open[-1]
        parent.size += node.size
        parent.depth = max(parent.depth, node.depth + 1)
        if parent.size > MOST_NODES or len(self._open) + node.depth > DEEPEST + 1:
            self._stop(node.place, "the document is too big once its aliases are written out")
        elif isinstance(parent, Sequence):
            parent.items.append(node)
        elif key:
            self._pair(parent, key.pop(), node)
        else:
            self._key(node, key)

    def _key(self, node: Node, key: list[Scalar | None]) -> None:
        if isinstance(node, Scalar):
            key.append(node)
            return
        self.complaints.add(node.place, 'a key must be a text (a template needs quotes: "{{ … }}")')
        key.append(None)

    def _pair(self, parent: Mapping, key: Scalar | None, value: Node) -> None:
        if key is None:
            return
        if key.text in parent.items:
            first = parent.items[key.text][0].place.line
            self.complaints.add(key.place, f"{short(key.text)} stands here twice (first on line {first})")
            return
        parent.items[key.text] = (key, value)

    def _tagged(self, node: Node, event: Any) -> None:  # noqa: ANN401
        if event.tag and event.tag != "!":
            node.tag = event.tag
            self.complaints.add(node.place, f"the tag {short(event.tag)} is not read here (leave it out)")

    def _stop(self, place: Place, what: str) -> None:
        self.complaints.add(place, what)
        self.go_on = False


def _syntax(error: Any, text: str) -> tuple[Place, str]:  # noqa: ANN401 - MarkedYAMLError or ReaderError
    """Place and words of a YAML error, in the words of somebody who writes YAML."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    index = mark.index if mark else getattr(error, "position", 0)
    before = text[:index]
    place = Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", None) or error)
    culprit = text[index : index + 1]
    if "tab character" in problem or ("cannot start any token" in problem and culprit == "\t"):
        return place, "a tab can't indent YAML (use spaces)"
    if "cannot start any token" in problem:
        return place, f"a value that begins with {culprit!r} needs quotes"
    if "mapping values are not allowed" in problem:
        return place, "YAML: a ':' followed by a space needs quotes around the whole value"
    context = getattr(error, "context", None)
    return place, f"YAML: {problem}{f', {context}' if context else ''}"


def short(text: str) -> str:
    """A text in quotes, cut where it would fill the line."""
    shown = repr(text)
    return shown if len(shown) <= 60 else f"{shown[:57]}…'"
