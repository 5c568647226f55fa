"""The text of a manifest with something added to one pod's specification; the rest as it is.

One promise: comments, order, quotes, indentation and the other documents stay; every result is
read back: the one document holds exactly what was wanted, the others what they held, or it is
refused. Adds keys and list items and replaces scalars; takes nothing away.

Not here: what to add (``remediations.security_context``), writing the file (``kubernetes``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from engine.cluster.workload import Object
from remediations.knobs import pod_parts
from remediations.knobs.backend import NotChanged
from remediations.knobs.yaml_place import Key, deep_end, line_end, step_of
from remediations.knobs.yaml_text import render


def edited(file: str, text: str, index: int, container: str, after: Object) -> str:
    """The text in which the container of document ``index`` has these parts.

    Raises:
        NotChanged: It can't be done by adding alone, or would touch something else.
    """
    documents = list(yaml.safe_load_all(text))
    content = documents[index]
    wanted = pod_parts.put(content, container, after)
    result = text
    for path, value in _differences(content, wanted, ()):
        result = _Edit(file, result, index).set(path, value)
    now = _parsed(result)
    if now != [*documents[:index], wanted, *documents[index + 1 :]]:
        raise NotChanged(
            f"{file}: the security context can't be changed without touching something else",
            fix="add what the plan says by hand",
        )
    return result


def _parsed(text: str) -> list[Any]:
    try:
        return list(yaml.safe_load_all(text))
    except yaml.YAMLError:
        return []


def _differences(before: Any, after: Any, path: tuple[str | int, ...]) -> Iterator[tuple[Any, Any]]:  # noqa: ANN401
    """What to set where: a new key, a changed scalar, or the items that a list has more."""
    if before == after and type(before) is type(after):
        return
    if isinstance(before, dict) and isinstance(after, dict) and before:
        for key, value in after.items():
            if key not in before:
                yield (*path, key), value
            else:
                yield from _differences(before[key], value, (*path, key))
    elif isinstance(before, list) and isinstance(after, list) and before and len(before) == len(after):
        for number, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, (*path, number))
    elif isinstance(before, list) and isinstance(after, list) and before and after[: len(before)] == before:
        yield from (((*path, len(before) + number), one) for number, one in enumerate(after[len(before) :]))
    else:
        yield path, after


class _Edit:
    """One change to one document of a text."""

    def __init__(self, file: str, text: str, index: int) -> None:
        self._file, self._text = file, text
        self._root = list(yaml.compose_all(text, Loader=yaml.SafeLoader))[index]
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._step = step_of(self._root)
        self._outdented = _dashes_outdented(self._root)

    def set(self, path: tuple[str | int, ...], value: Any) -> str:  # noqa: ANN401 - any JSON
        """The text with ``value`` at ``path``, of which only the last part may be new."""
        parent, key_node, node = self._descend(path)
        if node is not None:
            return self._replaced(parent, key_node, node, value)
        if isinstance(parent, yaml.SequenceNode):
            return self._item(parent, value)
        return self._key(parent, str(path[-1]), value)

    def _descend(self, path: tuple[str | int, ...]) -> tuple[Any, Any, Any]:
        """The parent of the last part; its key and its node, None where it is new."""
        parent: Any = None
        key_node: Any = None
        node: Any = self._root
        for part in path:
            parent, key_node = node, None
            if isinstance(parent, yaml.SequenceNode):
                node = parent.value[part] if int(part) < len(parent.value) else None
                continue
            pairs = [pair for pair in parent.value if pair[0].value == part]
            key_node, node = pairs[0] if pairs else (None, None)
            if node is not None and node.start_mark.index < key_node.end_mark.index:
                raise self._refused(key_node, f"{part!r} is an alias (*)")
        return parent, key_node, node

    def _replaced(self, parent: Any, key_node: Any, node: Any, value: Any) -> str:  # noqa: ANN401
        """A scalar, an empty value, or an empty collection made into ``value``."""
        start, end = node.start_mark.index, node.end_mark.index
        if not isinstance(node, yaml.ScalarNode) and node.value:
            raise self._refused(node, "it holds something else already")
        if not isinstance(value, dict | list):
            lead = " " if start == end else ""
            return self._text[:start] + lead + self._scalar(value) + self._text[end:]
        if key_node is None or parent.flow_style:
            return self._text[:start] + self._flow(value) + self._text[end:]
        if start != end:  # {}, [] or null: it goes, and what comes stands below
            self._text = self._text[:start].removesuffix(" ") + self._text[end:]
        return self._after(key_node.end_mark.index, self._block(value, key_node.start_mark.column))

    def _key(self, parent: Any, name: str, value: Any) -> str:  # noqa: ANN401
        if parent.flow_style:
            return self._within(parent, f"{name}: {self._flow(value)}")
        column = parent.value[0][0].start_mark.column
        return self._after(deep_end(parent.value[-1]), self._entry(name, value, column))

    def _item(self, parent: Any, value: Any) -> str:  # noqa: ANN401
        if parent.flow_style:
            return self._within(parent, self._flow(value))
        column = parent.start_mark.column
        return self._after(_end_of(parent.value[-1]), self._dashed(value, column))

    def _within(self, parent: Any, words: str) -> str:  # noqa: ANN401
        """Before the closing bracket of a flow collection, on the last item's own line."""
        if not parent.value:
            at = parent.start_mark.index + 1
            return self._text[:at] + words + self._text[at:]
        last = parent.value[-1]
        at = (last[1] if isinstance(last, tuple) else last).end_mark.index
        return self._text[:at] + ", " + words + self._text[at:]

    def _after(self, at: int, lines: list[str]) -> str:
        """Whole lines, after the line that ``at`` is on (or before the one that begins there)."""
        block = self._newline.join(lines)
        if at and self._text[at - 1] == "\n":
            return self._text[:at] + block + self._newline + self._text[at:]
        end = line_end(self._text, at)
        return self._text[:end] + self._newline + block + self._text[end:]

    def _entry(self, name: str, value: Any, column: int) -> list[str]:  # noqa: ANN401
        pad = " " * column
        if isinstance(value, dict | list) and value:
            return [f"{pad}{name}:", *self._block(value, column)]
        return [f"{pad}{name}: {self._flow(value)}"]

    def _block(self, value: Any, column: int) -> list[str]:  # noqa: ANN401
        """The lines below a key that stands at ``column``."""
        if isinstance(value, dict):
            inner = column + self._step
            return [line for key, one in value.items() for line in self._entry(key, one, inner)]
        inner = column if self._outdented else column + self._step
        return [line for one in value for line in self._dashed(one, inner)]

    def _dashed(self, value: Any, column: int) -> list[str]:  # noqa: ANN401
        pad = " " * column
        if not isinstance(value, dict):
            return [f"{pad}- {self._flow(value)}"]
        lines = [line for key, one in value.items() for line in self._entry(key, one, column + 2)]
        return [f"{pad}- {lines[0].lstrip()}", *lines[1:]]

    def _flow(self, value: Any) -> str:  # noqa: ANN401
        if isinstance(value, dict):
            return "{" + ", ".join(f"{key}: {self._flow(one)}" for key, one in value.items()) + "}"
        if isinstance(value, list):
            return "[" + ", ".join(map(self._flow, value)) + "]"
        return self._scalar(value)

    def _scalar(self, value: Any) -> str:  # noqa: ANN401
        return render(value, "", Key(self._file, "value"))

    def _refused(self, node: Any, problem: str) -> NotChanged:  # noqa: ANN401
        return NotChanged(
            f"{self._file}:{node.start_mark.line + 1}: {problem}", fix="write it out plainly, then try again"
        )


def _end_of(item: Any) -> int:  # noqa: ANN401 - a node
    if isinstance(item, yaml.MappingNode) and not item.flow_style and item.value:
        return deep_end(item.value[-1])
    return int(item.end_mark.index)


def _dashes_outdented(root: Any) -> bool:  # noqa: ANN401 - a node
    """Whether this file writes a list's dashes below the first letter of its key."""
    waiting = [root]
    while waiting:
        node = waiting.pop(0)
        for pair in node.value if isinstance(node, yaml.MappingNode) else ():
            key, value = pair
            if isinstance(value, yaml.SequenceNode) and not value.flow_style:
                return bool(value.start_mark.column == key.start_mark.column)
            waiting.append(value)
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return False


def hunks(before: str, after: str) -> list[list[str]]:
    """What differs, line by line: the lines before it, the old, the new, the lines after it.

    The lines after it are those of the old text: changes are taken back from the last to the first.
    """
    import difflib  # noqa: PLC0415 - only where a manifest is changed

    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    return [
        ["".join(new[max(0, c - 3) : c]), "".join(old[a:b]), "".join(new[c:d]), "".join(old[b : b + 3])]
        for tag, a, b, c, d in matcher.get_opcodes()
        if tag != "equal"
    ]


def reverted(text: str, made: list[list[str]]) -> str | None:
    """The text with each change taken back where it stands, once and unchanged; None where it does not."""
    for lead, old, new, tail in reversed(made):
        whole = f"{lead}{new}{tail}"
        if text.count(whole) != 1:
            return None
        text = text.replace(whole, f"{lead}{old}{tail}")
    return text


def unified(before: str, after: str, file: str) -> str:
    """The change as a unified diff."""
    import difflib  # noqa: PLC0415 - only where a manifest is changed

    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), f"a/{file}", f"b/{file}", lineterm="", n=3
    )
    return "\n".join(lines)
