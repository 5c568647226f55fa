"""Where a setting stands in the text of a YAML file.

``find`` gives the exact stretch of text that holds a value, or the gap where it would
stand; ``rows`` tells whether two texts differ in anything else. Anything that can't be
changed by replacing one stretch of text (anchors, aliases, duplicate keys, block text,
several documents) is an error with ``file:line``.

Not here: writing (``yaml_text`` makes the new text, ``yaml_file`` puts it there).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec
import yaml

from engine.errors import RunbookError
from engine.values import Scalar, Setting
from remediations.knobs.backend import NotChanged

Row = tuple[tuple[str, ...], str, str]


class Key(msgspec.Struct, frozen=True):
    """What is looked for: a dotted key path, in a file that is only named for errors."""

    file: str
    path: str

    @property
    def names(self) -> tuple[str, ...]:
        """The keys, outermost first."""
        return tuple(self.path.split("."))


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A value in the text.

    Attributes:
        value: As YAML reads it. words: The same, each scalar as the text it is written as.
        start, end: The stretch ``text[start:end]``: a scalar with its quotes, a flow list with
            its brackets, a block list from its first dash to the end of its last line.
        raw: That stretch.
        key: Offset of the value's key.
        line: Counted from 1.
        column: Of the stretch, counted from 0.
        shape: How it is written.
    """

    value: Setting
    words: str | None
    start: int
    end: int
    raw: str
    key: int
    line: int
    column: int
    shape: Literal["scalar", "empty", "flow-list", "block-list"]


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """Where an absent value would stand.

    Attributes:
        missing: The keys that are not there, outermost first.
        after: Offset where the last thing that belongs to the parent ends.
        column: Where the parent's keys begin.
        flow: The parent is written ``{…}``; ``empty`` then tells whether it holds nothing.
        step: Spaces of one level, as used in this file.
    """

    missing: tuple[str, ...]
    after: int
    column: int
    flow: bool = False
    empty: bool = False
    step: int = 2


def find(text: str, key: Key) -> Place | Gap:
    """Find the value at ``key``.

    Raises:
        NotChanged: The file is no YAML mapping, or the value can't be told apart as one
            stretch of text; names ``file:line``.
    """
    root = _root(text, key.file)
    if root is None or (isinstance(root, yaml.ScalarNode) and not root.value):
        return Gap(missing=key.names, after=len(text), column=0)
    return _descend(text, root, key)


def rows(text: str, file: str, *, without: tuple[str, ...] = ()) -> list[Row]:
    """Every node of the document once, in order: path, tag, and content; aliases as such.

    Args:
        text: The document.
        file: For errors.
        without: Leave out what stands at or under this path.
    """
    root = _root(text, file)
    if root is None:
        return []
    found = _walk(root, (), {})
    return [row for row in found if not without or row[0][: len(without)] != without]


def _root(text: str, file: str) -> yaml.Node | None:
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        what = getattr(error, "problem", None) or getattr(error, "reason", "") or "not YAML"
        raise NotChanged(f"{file}{line}: not valid YAML: {what}", fix="mend the file first") from None
    if len(documents) > 1:
        line_number = documents[1].start_mark.line + 1
        raise NotChanged(
            f"{file}:{line_number}: several YAML documents in one file",
            fix="split the file, or change the setting by hand",
        )
    return documents[0] if documents else None


def _descend(text: str, root: yaml.Node, wanted: Key) -> Place | Gap:
    node, key_at, file, keys = root, 0, wanted.file, wanted.names
    for depth, key in enumerate(keys):
        if not isinstance(node, yaml.MappingNode):
            if depth and isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
                if node.start_mark.index != node.end_mark.index:
                    raise _refusal(
                        file, node, f"{keys[depth - 1]!r} is null", f"write {key!r} below it by hand"
                    )
                column = key_at - (text.rfind("\n", 0, key_at) + 1) + step_of(root)
                return Gap(missing=keys[depth:], after=node.end_mark.index, column=column, step=step_of(root))
            name = ".".join(keys[:depth]) or "the document"
            raise _refusal(file, node, f"{name} is not a mapping", f"expected a key {key!r} in it")
        entries = [(k, v) for k, v in node.value if isinstance(k, yaml.ScalarNode) and k.value == key]
        if len(entries) > 1:
            raise _refusal(file, entries[1][0], f"the key {key!r} stands there twice", "remove one of them")
        if not entries:
            return _gap(root, node, keys[depth:], file)
        name_node, value = entries[0]
        key_at = name_node.start_mark.index
        if value.start_mark.index < name_node.end_mark.index:
            raise _refusal(file, name_node, f"{key!r} is an alias (*)", "write the value out")
        _refuse_anchor(text, value, file, key)
        node = value
    return _place(text, node, key_at, file)


def _refuse_anchor(text: str, node: yaml.Node, file: str, key: str) -> None:
    if text[node.start_mark.index : node.start_mark.index + 1] in ("&", "!"):
        raise _refusal(file, node, f"{key!r} carries an anchor (&) or a tag (!)", "write the value plainly")


def _place(text: str, node: yaml.Node, key_at: int, file: str) -> Place:
    start, end = node.start_mark.index, node.end_mark.index
    shape: Literal["scalar", "empty", "flow-list", "block-list"]
    if isinstance(node, yaml.ScalarNode):
        if node.style in ("|", ">"):
            raise _refusal(file, node, "the value is a block text", "write it on one line")
        shape, words = ("empty" if start == end else "scalar"), str(node.value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            if not isinstance(item, yaml.ScalarNode) or item.start_mark.index < start:
                raise _refusal(file, node, "the list holds more than plain values", "change it by hand")
            _refuse_anchor(text, item, file, "an item")
        shape, words = ("flow-list" if node.flow_style else "block-list"), None
        if shape == "block-list":
            end = line_end(text, node.value[-1].end_mark.index)
    else:
        raise _refusal(file, node, "the value is a mapping", "the profile's path must name one value")
    return Place(
        value=_read(node, file),
        words=words,
        start=start,
        end=end,
        raw=text[start:end],
        key=key_at,
        line=node.start_mark.line + 1,
        column=node.start_mark.column,
        shape=shape,
    )


def _read(node: yaml.Node, file: str) -> Setting:
    if isinstance(node, yaml.SequenceNode):
        return [_scalar(item, file) for item in node.value]
    return _scalar(node, file)


def _scalar(node: yaml.Node, file: str) -> Scalar:
    try:
        value = yaml.constructor.SafeConstructor().construct_object(node)
    except (yaml.YAMLError, ValueError):
        value = ...
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise _refusal(file, node, f"{node.value!r} is neither text, number nor yes/no", "quote it")


def _gap(root: yaml.Node, parent: yaml.MappingNode, missing: tuple[str, ...], file: str) -> Gap:
    if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in parent.value):
        raise _refusal(
            file, parent, f"{missing[0]!r} may come from a merged mapping (<<)", "write the key out by hand"
        )
    last = parent.value[-1] if parent.value else None
    if parent.flow_style:
        at = last[1].end_mark.index if last else parent.start_mark.index + 1
        return Gap(missing=missing, after=at, column=0, flow=True, empty=last is None)
    if last is None:  # a block mapping always holds something
        raise _refusal(file, parent, "an empty mapping", "write the key by hand")
    column = parent.value[0][0].start_mark.column
    return Gap(missing=missing, after=deep_end(last), column=column, step=step_of(root))


def deep_end(entry: tuple[yaml.Node, yaml.Node]) -> int:
    """Where the last scalar below this entry ends; an alias ends after its own key."""
    key, node = entry
    if node.start_mark.index < key.end_mark.index:
        return int(key.end_mark.index)
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        if isinstance(last, tuple):
            return deep_end(last)
        if last.start_mark.index < node.start_mark.index:  # an alias as the last item
            return int(node.end_mark.index)
        node = last
    return int(node.end_mark.index)


def step_of(root: yaml.Node) -> int:
    """Spaces of one level: the first block mapping within another tells; else 2."""
    seen: list[yaml.Node] = [root]
    for node in seen:
        if isinstance(node, yaml.MappingNode) and not node.flow_style and len(seen) < 10_000:
            for key, value in node.value:
                inner = isinstance(value, yaml.MappingNode) and not value.flow_style
                step = value.start_mark.column - key.start_mark.column
                if inner and step > 0:
                    return int(step)
                seen.append(value)
    return 2


def _walk(node: yaml.Node, path: tuple[str, ...], seen: dict[int, tuple[str, ...]]) -> Iterator[Row]:
    if id(node) in seen:
        yield (path, "alias", ".".join(seen[id(node)]))
        return
    seen[id(node)] = path
    if isinstance(node, yaml.ScalarNode):
        yield (path, node.tag, node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield (path, node.tag, "list")
        for index, item in enumerate(node.value):
            yield from _walk(item, (*path, str(index)), seen)
    elif isinstance(node, yaml.MappingNode):
        yield (path, node.tag, "mapping")
        for index, (key, value) in enumerate(node.value):
            name = key.value if isinstance(key, yaml.ScalarNode) else f"?{index}"
            yield from _walk(value, (*path, name), seen)


def line_end(text: str, at: int) -> int:
    """Offset of the end of the line that ``at`` is on, before its line break."""
    stop = text.find("\n", at)
    if stop < 0:
        return len(text)
    return stop - 1 if stop > at and text[stop - 1] == "\r" else stop


def _refusal(file: str, node: yaml.Node, problem: str, fix: str) -> RunbookError:
    return NotChanged(f"{file}:{node.start_mark.line + 1}: {problem}", fix=fix)
