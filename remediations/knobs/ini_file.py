"""Settings in an INI file: ``key = value`` lines below ``[section]`` headers, ``#`` and ``;`` comments.

There is no one INI format. What all readers read alike is read and written; what hangs on the reader
(a key that stands there twice, a value that goes on in the next line, a comment behind a text) is
refused with the line.

Not here: systemd's units, which look alike (``systemd_unit``), TOML (``toml_file``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from engine.values import Knob, Setting
from remediations.knobs import text_value
from remediations.knobs.backend import NotChanged
from remediations.knobs.text_edit import Insertion, Spot
from remediations.knobs.text_file import TextFile

_SECTION = re.compile(r"[ \t]*\[(?P<name>[^\]\r\n]*)\]")
_KEY = re.compile(
    r"(?P<indent>[ \t]*)(?P<key>[^\s=:#;\[][^=:\r\n]*?)(?P<sep>[ \t]*[=:][ \t]*)(?P<value>[^\r\n]*)"
)
_BLANK = re.compile(r"[ \t]*([#;][^\r\n]*)?")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One line that sets something, or begins a section (``key`` is then empty).

    ``text[start:end]`` is its value; ``stop`` is where the next line begins; ``goes_on``: some readers
    take the line for a part of the one above it, or the one below for a part of it.
    """

    section: str
    key: str
    sep: str = ""
    indent: str = ""
    value: str = ""
    start: int = 0
    end: int = 0
    line: int = 0
    stop: int = 0
    goes_on: bool = False


class IniForm:
    """INI files; ``Knob.path`` is ``section.key``, or a key that stands before all sections."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The one line that sets the key."""
        rows = list(_rows(text))
        wanted = _splits(knob.path)
        ours = [row for row in rows if row.key and (row.section, row.key) in wanted]
        if len(ours) > 1:
            twice = " and ".join(str(row.line) for row in ours)
            raise NotChanged(
                f"{knob.file}: {knob.path} is set in lines {twice}; which one counts hangs on the agent",
                fix="remove one of them",
            )
        if not ours:
            _refuse_other_case(rows, wanted, knob)
            return None
        row = ours[0]
        if row.goes_on:
            raise NotChanged(
                f"{knob.file}:{row.line}: indented lines: where {knob.path} ends hangs on the agent",
                fix="write the value on one line, and all keys of the section with one indentation",
            )
        raw = _trimmed(row, knob)
        inner = raw[1:-1] if len(raw) > 1 and raw[0] in "'\"" and raw[-1] == raw[0] else raw
        try:
            value = text_value.read(inner, knob.unit)
        except ValueError as error:
            raise NotChanged(
                f"{knob.file}:{row.line}: {knob.path}: {error}", fix="correct it there"
            ) from None
        return Spot(value=value, raw=raw, start=row.start, end=row.start + len(raw), line=row.line)

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """In the quotes that stand there, if any."""
        quote = (
            spot.raw[0] if len(spot.raw) > 1 and spot.raw[0] in "'\"" and spot.raw[-1] == spot.raw[0] else ""
        )
        return quote + _spelled(after, spot.raw.strip("'\""), knob) + quote

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """A line behind the last one of its section; the section where there is none."""
        rows = list(_rows(text))
        newline = "\r\n" if "\r\n" in text else "\n"
        known = {row.section for row in rows}
        section, key = next((each for each in _splits(knob.path) if each[0] in known), _splits(knob.path)[0])
        mine = [row for row in rows if row.section == section]
        like = next((row for row in [*mine[::-1], *rows[::-1]] if row.key), None)
        indent = next((row.indent for row in mine[::-1] if row.key), "")
        line = f"{indent}{key}{like.sep if like else ' = '}{_spelled(after, '', knob)}"
        if mine:
            at = mine[-1].stop
        elif section:
            line, at = f"[{section}]{newline}{line}", len(text)
        else:
            at = len("\ufeff") if text.startswith("\ufeff") else 0
        begins_line = at == 0 or text[at - 1] in "\n\ufeff"
        return Insertion(at, line + newline if begins_line else newline + line)

    def rest(self, text: str, knob: Knob) -> object:
        """All other lines that set something, in order, with their sections."""
        wanted = _splits(knob.path)
        return [
            (r.section, r.key, r.value, r.goes_on)
            for r in _rows(text)
            if r.key and (r.section, r.key) not in wanted
        ]

    def same(self, one: Setting, other: Setting) -> bool:
        """As text."""
        return text_value.same(one, other)


class IniFile(TextFile):
    """Backend ``ini-file``: ``Knob.path`` is ``section.key``."""

    name = "ini-file"
    form = IniForm()
    strict = False


def _rows(text: str) -> Iterator[Row]:
    """Section headers and keys, in order; a key tells whether an indented line follows it."""
    section = ""
    before: Row | None = None
    base: str | None = None  # indentation of the section's first key
    at, number = (1 if text.startswith("\ufeff") else 0), 0
    while at < len(text):
        number += 1
        end = text.find("\n", at)
        stop = len(text) if end < 0 else end + 1
        content = text[at:stop].rstrip("\r\n")
        header, row = _SECTION.match(content), _KEY.fullmatch(content)
        if _BLANK.fullmatch(content):
            pass
        elif header:
            if before:
                yield before
            section, before, base = header["name"], None, None
            yield Row(section=section, key="", line=number, stop=stop)
        else:
            indent = content[: len(content) - len(content.lstrip())]
            if before:
                deeper = len(indent) > len(before.indent)
                yield msgspec.structs.replace(before, goes_on=before.goes_on or deeper)
            before = None
            if row:
                base = indent if base is None else base
                before = Row(
                    section=section,
                    key=row["key"],
                    sep=row["sep"],
                    indent=row["indent"],
                    value=row["value"],
                    start=at + row.start("value"),
                    end=at + row.end("value"),
                    line=number,
                    stop=stop,
                    goes_on=len(indent) > len(base),
                )
        at = stop
    if before:
        yield before


def _splits(path: str) -> list[tuple[str, str]]:
    """What a dotted path may mean: the longest section first, then shorter ones, then none."""
    dots = [at for at, sign in enumerate(path) if sign == "."]
    return [*((path[:at], path[at + 1 :]) for at in reversed(dots)), ("", path)]


def _trimmed(row: Row, knob: Knob) -> str:
    """The value without the comment behind it, where that can be none of the value."""
    raw = row.value.rstrip()
    comment = re.search(r"\s+[#;]", raw)
    if not comment:
        return raw
    if raw[:1] in ("'", '"') and raw.find(raw[0], 1) > 0:
        end = raw.find(raw[0], 1) + 1
        if not raw[end:].strip() or raw[end:].strip()[0] in "#;":
            return raw[:end]
    if knob.unit in ("text", "list"):
        raise NotChanged(
            f"{knob.file}:{row.line}: whether {raw!r} ends in a comment hangs on the agent",
            fix="put the comment on a line of its own",
        )
    return raw[: comment.start()]


def _refuse_other_case(rows: list[Row], wanted: list[tuple[str, str]], knob: Knob) -> None:
    folded = {(section.casefold(), key.casefold()) for section, key in wanted}
    for row in rows:
        if row.key and (row.section.casefold(), row.key.casefold()) in folded:
            raise NotChanged(
                f"{knob.file}:{row.line}: it says {row.section}.{row.key}, the profile {knob.path};"
                " whether that is the same hangs on the agent",
                fix="correct one of them",
            )


def _spelled(after: Setting, like: str, knob: Knob) -> str:
    try:
        word = text_value.spell(after, like)
    except ValueError as error:
        raise NotChanged(f"{knob.file}: {knob.path}: {error}", fix="change it by hand") from None
    if not word.isprintable() or word != word.strip() or re.search(r"\s[#;]", word) or word[:1] in ("'", '"'):
        raise NotChanged(f"{knob.file}: {knob.path} can't hold {word!r} safely", fix="change it by hand")
    return word
