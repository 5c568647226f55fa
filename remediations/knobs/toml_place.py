"""Where the values of a TOML text stand: a scanner for texts that the standard library's parser has read.

Not here: what the values are (``tomllib``), new text (``toml_file``).
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Any, NamedTuple

from remediations.knobs.backend import NotChanged

_SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANK = re.compile(r"[ \t]*")
_NAME = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_KEY = re.compile(rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*")
_TEXTS = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})' r"|'''.*?'''(?:'{0,2})" r'|"(?:[^"\\\n]|\\.)*"' r"|'[^'\n]*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"\d{4}-\d\d-\d\d[ Tt]\d\d:[^\s,#\]}]*|[^\s,#\]}]+")
Path = tuple[str, ...]


class Entry(NamedTuple):
    """A key with its value, ``text[start:end]``, below a header; so are the keys of a table in braces."""

    header: Path
    path: Path
    start: int
    end: int


class Table(NamedTuple):
    """A table with a header, or the document's own: where a line can be added, and how far it stands in."""

    stop: int
    indent: str


class Dotted(NamedTuple):
    """A table made by dotted keys: where a line can be added, how far it stands in, below which header."""

    stop: int
    indent: str
    header: Path


class Inline(NamedTuple):
    """The innermost table in braces on a path: where a value can be added, and whether it holds any."""

    path: Path
    at: int
    filled: bool


def parsed(text: str, file: str) -> Any:  # noqa: ANN401 - any TOML
    """The whole document.

    Raises:
        NotChanged: It is no TOML.
    """
    import tomllib  # noqa: PLC0415 - only where a file is TOML

    try:
        return tomllib.loads(text.removeprefix("\ufeff").replace("\r\n", "\n"))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        line = re.search(r"at line (\d+)", str(error))
        place = f"{file}:{line[1]}" if line else file
        raise NotChanged(f"{place}: not valid TOML: {error}", fix="mend the file first") from None


def entries(text: str) -> Iterator[Entry]:
    """All keys with their values, in order; not those within lists of tables."""
    for found in _lines(text):
        if isinstance(found, Entry) and found.path:
            yield found


def table(text: str, path: Path) -> Table | None:
    """The table with this header (the document itself for no path) where it can be added to."""
    stop, indent, inside = None, "", path == ()
    if inside:
        stop = 1 if text.startswith("\ufeff") else 0
    for found in _lines(text):
        if isinstance(found, _Header):
            inside = found.path == path and not found.listed
            if inside:
                stop, indent = _line_stop(text, found.end), ""
        elif inside and found.path[:-1] == path and (own := _own_line(text, found)) is not None:
            stop, indent = _line_stop(text, found.end), own
    return None if stop is None else Table(stop, indent)


def dotted(text: str, path: Path) -> Dotted | None:
    """Where a table made by dotted keys (``a.b = 1``) can be added to."""
    for depth in range(len(path), 0, -1):
        for entry in reversed([one for one in entries(text) if one.path[:depth] == path[:depth]]):
            own = _own_line(text, entry)
            if own is not None and len(entry.header) < depth < len(entry.path):
                return Dotted(_line_stop(text, entry.end), own, entry.header)
    return None


def inline(text: str, path: Path) -> Inline | None:
    """The innermost table in braces on this path."""
    for entry in reversed(list(entries(text))):
        if entry.path == path[: len(entry.path)] and text[entry.start] == "{":
            inner = text[entry.start + 1 : entry.end - 1]
            end = entry.end - 1 - (len(inner) - len(inner.rstrip()))
            return Inline(entry.path, end if inner.strip() else entry.start + 1, bool(inner.strip()))
    return None


def items(raw: str) -> list[tuple[int, int]]:
    """Where the items of a list begin and end, brackets included in the counting."""
    found: list[tuple[int, int]] = []
    at = _after(_SPACE, raw, 1)
    while raw[at] != "]":
        end = _value(raw, at)
        found.append((at, end))
        at = _after(_SPACE, raw, end)
        at = _after(_SPACE, raw, at + 1) if raw[at] == "," else at
    return found


class _Header(NamedTuple):
    path: Path
    end: int
    listed: bool


def _lines(text: str) -> Iterator[Entry | _Header]:
    """Headers and entries, in order; below ``[[…]]`` the entries bear a path that nobody asks for."""
    prefix: Path = ()
    at = _after(_SPACE, text, 1 if text.startswith("\ufeff") else 0)
    while at < len(text):
        if text[at] == "[":
            listed = text.startswith("[[", at)
            key_at = _after(_BLANK, text, at + (2 if listed else 1))
            key_end = _after(_KEY, text, key_at)
            path = _names(text[key_at:key_end])
            end = text.index("]", key_end) + (2 if listed else 1)
            prefix = (*path, "[]") if listed else path
            yield _Header(path, end, listed)
        else:
            end = yield from _entry(text, at, prefix)
        at = _after(_SPACE, text, end)


def _entry(text: str, at: int, header: Path, within: Path = ()) -> Generator[Entry, None, int]:
    """One ``key = value``, then what stands in its braces; gives the offset behind it."""
    key_end = _after(_KEY, text, at)
    path = (*(within or header), *_names(text[at:key_end]))
    start = _after(_BLANK, text, text.index("=", key_end) + 1)
    end = _value(text, start)
    yield Entry(header, path, start, end)
    if text[start] == "{":
        inner = _after(_SPACE, text, start + 1)
        while text[inner] != "}":
            inner = yield from _entry(text, inner, header, path)
            inner = _after(_SPACE, text, inner)
            inner = _after(_SPACE, text, inner + 1) if text[inner] == "," else inner
    return end


def _value(text: str, at: int) -> int:
    """The offset behind a value."""
    if text[at] not in "[{":
        return _after(_TEXTS if text[at] in "\"'" else _PLAIN, text, at)
    closing = "]" if text[at] == "[" else "}"
    at = _after(_SPACE, text, at + 1)
    while text[at] != closing:
        if closing == "}":
            at = _after(_BLANK, text, text.index("=", _after(_KEY, text, at)) + 1)
        at = _after(_SPACE, text, _value(text, at))
        at = _after(_SPACE, text, at + 1) if text[at] == "," else at
    return at + 1


def _names(key: str) -> Path:
    """The names of a dotted key."""
    import tomllib  # noqa: PLC0415 - only where a file is TOML

    content, names = tomllib.loads(f"{key} = 0"), []
    while isinstance(content, dict):
        name = next(iter(content))
        names.append(name)
        content = content[name]
    return tuple(names)


def _own_line(text: str, entry: Entry) -> str | None:
    """The indentation of an entry that begins its line; None for one within braces."""
    begin = text.rfind("\n", 0, entry.start) + 1
    line = text[begin : entry.start].removeprefix("\ufeff")
    match = re.fullmatch(rf"([ \t]*){_KEY.pattern}[ \t]*=[ \t]*", line)
    return match[1] if match else None


def _line_stop(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _after(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    assert match is not None  # noqa: S101 - the parser has read the text
    return match.end()
