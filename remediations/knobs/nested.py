"""What formats of nested mappings share: comparing all but one value, and lists that keep their layout.

Not here: finding a value in a text (``json_file``, ``toml_file``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from engine.values import Knob, Scalar, Setting
from remediations.knobs.backend import NotChanged

Row = tuple[tuple[str, ...], str, str]


class Layout(NamedTuple):
    """A list as it is written, with its brackets, and where in that its items begin and end."""

    raw: str
    items: Sequence[tuple[int, int]]


def rows(content: Any, without: tuple[str, ...]) -> list[Row]:  # noqa: ANN401 - any parsed document
    """Every value of a document but the one at a path; mappings that would hold nothing else are left out."""
    return [
        row
        for row in _walk(content, ())
        if row[0] != without[: len(row[0])] and row[0][: len(without)] != without
    ]


def _walk(node: Any, path: tuple[str, ...]) -> Iterator[Row]:  # noqa: ANN401
    entries = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if entries is None or not node:
        yield path, type(node).__name__, repr(node)
    for name, inner in entries or ():
        yield from _walk(inner, (*path, str(name)))


def setting(value: Any, where: str) -> Setting:  # noqa: ANN401
    """A parsed value as a setting.

    Raises:
        NotChanged: It is more than a scalar or a list of them.
    """
    if isinstance(value, list) and all(_is_scalar(item) for item in value):
        return value
    if _is_scalar(value):
        scalar: Scalar = value
        return scalar
    raise NotChanged(
        f"{where}: neither text, number, yes/no nor a list of them",
        fix="the profile's path must name one value",
    )


def same(one: Setting, other: Setting) -> bool:
    """Whether two settings are the same: 2 and 2.0 are, 1 and true are not."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def listed(
    layout: Layout,
    before: list[Scalar],
    after: list[Scalar],
    spell: Callable[[Scalar], str],
    knob: Knob,
) -> str:
    """The list ``after`` written as the one before is: on one line or on several, its comments kept.

    Args:
        layout: As it stands there.
        before: What it holds.
        after: What it is to hold.
        spell: Writes one item.
        knob: For errors.

    Raises:
        NotChanged: Comments stand between items that would go.
    """
    raw, items = layout
    gap = _gap(raw, items)
    if items and after[: len(before)] == before:
        end = items[-1][1]
        return raw[:end] + "".join(gap + spell(item) for item in after[len(before) :]) + raw[end:]
    head, tail = (raw[: items[0][0]], raw[items[-1][1] :]) if items else ("[", "]")
    between = [raw[a:b] for (_, a), (b, _) in pairwise(items)]
    if any("#" in part for part in (head, tail, *between)):
        raise NotChanged(
            f"{knob.file}: the list at {knob.path} holds comments; only adding to its end keeps them",
            fix=f"set it by hand to: {', '.join(map(spell, after))}",
        )
    return head + gap.join(map(spell, after)) + tail if after else "[]"


def _gap(raw: str, items: Sequence[tuple[int, int]]) -> str:
    """What stands between two items: as between the last two, else as the first one is set off."""
    if len(items) > 1 and "#" not in (there := raw[items[-2][1] : items[-1][0]]):
        return there
    lead = raw[1 : items[0][0]] if items else ""
    if "\n" in lead:
        return "," + lead[lead.rfind("\r\n") if "\r\n" in lead else lead.rfind("\n") :]
    return ", "


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
