"""YAML as one of the formats in which a text holds settings.

Not here: finding (``yaml_place``), new text (``yaml_text``), files (``yaml_file``).
"""

from __future__ import annotations

from typing import Literal

from engine.values import Knob, Setting
from remediations.knobs import nested, yaml_text
from remediations.knobs.backend import NotChanged
from remediations.knobs.text_edit import Insertion, Spot
from remediations.knobs.yaml_place import Gap, Key, Place, find, rows


class YamlForm:
    """One YAML document; ``Knob.path`` is a dotted key path."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The value at the path."""
        place = find(text, _key(knob))
        if isinstance(place, Gap):
            return None
        value = place.words if knob.unit == "text" and place.words else place.value
        return Spot(value=value, raw=place.raw, start=place.start, end=place.end, line=place.line)

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """In the style that stands there."""
        shape: Literal["scalar", "empty", "flow-list", "block-list"] = "scalar" if spot.raw else "empty"
        if spot.raw[:1] in "[-" and isinstance(spot.value, list):
            shape = "flow-list" if spot.raw[0] == "[" else "block-list"
        place = Place(
            value=spot.value,
            words=None,
            start=spot.start,
            end=spot.end,
            raw=spot.raw,
            key=0,
            line=spot.line,
            column=0,
            shape=shape,
        )
        if shape == "block-list":
            raise NotChanged(f"{knob.file}:{spot.line}: {knob.path} is a list in lines", fix="set it by hand")
        return yaml_text.rewritten(place, after, _key(knob))

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """As a file gets it."""
        key = _key(knob)
        line, _ = yaml_text.insertion(text, key, after)
        gap = find(text, key)
        assert isinstance(gap, Gap)  # noqa: S101 - else insertion() had refused
        return Insertion(yaml_text.gap_offset(text, gap), line)

    def rest(self, text: str, knob: Knob) -> object:
        """Every other node; mappings that would hold nothing else are left out."""
        names = tuple(knob.path.split("."))
        return [row for row in rows(text, knob.file, without=names) if row[0] != names[: len(row[0])]]

    def same(self, one: Setting, other: Setting) -> bool:
        """2 is 2.0."""
        return nested.same(one, other)


def _key(knob: Knob) -> Key:
    return Key(knob.file, knob.path)
