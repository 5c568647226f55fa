"""Settings in a TOML file: comments, order, quotes and every other byte stay.

Every text is read by the standard library's parser, before and after; ``toml_place`` only tells where
in it a value stands. Source: toml.io, v1.0.0.

Not here: finding (``toml_place``).
"""

from __future__ import annotations

import json
import re

from engine.values import Knob, Scalar, Setting
from remediations.knobs import nested, toml_place
from remediations.knobs.backend import NotChanged
from remediations.knobs.text_edit import Insertion, Spot
from remediations.knobs.text_file import TextFile

_BARE = re.compile(r"[A-Za-z0-9_-]+")


class TomlForm:
    """TOML; ``Knob.path`` is a dotted key path."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The value at the path."""
        content, names = toml_place.parsed(text, knob.file), tuple(knob.path.split("."))
        for depth, name in enumerate(names):
            if not isinstance(content, dict):
                raise NotChanged(
                    f"{knob.file}: {'.'.join(names[:depth])} is no table",
                    fix=f"expected a key {name!r} in it",
                )
            if name not in content:
                return None
            content = content[name]
        entry = next((one for one in toml_place.entries(text) if one.path == names), None)
        if entry is None:
            raise NotChanged(
                f"{knob.file}: {knob.path} is a table", fix="the profile's path must name one value"
            )
        line = text.count("\n", 0, entry.start) + 1
        value = nested.setting(content, f"{knob.file}:{line}: {knob.path}")
        return Spot(
            value=value, raw=text[entry.start : entry.end], start=entry.start, end=entry.end, line=line
        )

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """In the quotes, base and layout that stand there; a number with a fraction keeps one."""
        if isinstance(spot.value, list) and isinstance(after, list):
            raw = spot.raw
            quote = "'" if re.search(r"'", raw) and '"' not in raw else '"'
            items = toml_place.items(raw)
            return nested.listed(
                nested.Layout(raw, items), spot.value, after, lambda one: _spelled(one, quote, knob), knob
            )
        if isinstance(spot.value, list) != isinstance(after, list):
            raise NotChanged(f"{knob.file}:{spot.line}: {knob.path} is {spot.raw}", fix="give the same kind")
        if isinstance(after, int) and not isinstance(after, bool):
            return _number(after, spot)
        return _spelled(after, spot.raw, knob)

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """Behind the last value of its table; the table where there is none."""
        names = tuple(knob.path.split("."))
        newline = "\r\n" if "\r\n" in text else "\n"
        value = _list(after, knob) if isinstance(after, list) else _spelled(after, '"', knob)
        inline = toml_place.inline(text, names[:-1])
        if inline is not None:
            lead = ", " if inline.filled else ""
            return Insertion(inline.at, f"{lead}{_key(names[len(inline.path) :])} = {value}")
        table = toml_place.table(text, names[:-1])
        beside = None if table else toml_place.dotted(text, names[:-1])
        if table is not None:
            at, line = table.stop, f"{table.indent}{_key(names[-1:])} = {value}"
        elif beside is not None:
            at, line = beside.stop, f"{beside.indent}{_key(names[len(beside.header) :])} = {value}"
        else:
            at, line = len(text), f"[{_key(names[:-1])}]{newline}{_key(names[-1:])} = {value}"
        begins_line = at == 0 or text[at - 1] in "\n\ufeff"
        return Insertion(at, line + newline if begins_line else newline + line)

    def rest(self, text: str, knob: Knob) -> object:
        """Every other value."""
        return nested.rows(toml_place.parsed(text, knob.file), tuple(knob.path.split(".")))

    def same(self, one: Setting, other: Setting) -> bool:
        """2 is 2.0."""
        return nested.same(one, other)


class TomlFile(TextFile):
    """Backend ``toml-file``: ``Knob.path`` is a dotted key path."""

    name = "toml-file"
    form = TomlForm()


def _number(after: int, spot: Spot) -> str:
    """A whole number as the one that stands there is written: 1_000, 0x10, 1.0."""
    if isinstance(spot.value, float):
        return f"{after}.0"
    if "_" in spot.raw and not spot.raw.startswith("0"):
        return f"{after:_}"
    if spot.raw.startswith("0x") and after >= 0:
        return f"{after:#x}"
    return str(after)


def _spelled(value: Scalar | Setting, raw: str, knob: Knob) -> str:
    """One scalar; text in the quotes that ``raw`` begins with."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, str):
        raise NotChanged(f"{knob.file}: {knob.path} can't hold {value!r} in TOML", fix="set it by hand")
    if raw[:1] == "'" and "'" not in value and value.isprintable():
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def _list(values: list[Scalar], knob: Knob) -> str:
    return "[" + ", ".join(_spelled(one, '"', knob) for one in values) + "]"


def _key(names: tuple[str, ...]) -> str:
    return ".".join(name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False) for name in names)
