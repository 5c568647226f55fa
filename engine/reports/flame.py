"""A flame graph: where the CPU went, as nested boxes, the outermost function at the top.

One promise: every box is as wide as its share of the samples, to a part in ten thousand, and its name can't
be markup. Without scripts it is a picture that can be read and printed; with the one script beside it
(``templates/flame.js``, held to its hash by the page) boxes can be searched, zoomed and walked by keys.

Boxes are HTML, not SVG as the charts are: a browser then shortens a name to the room there is, at any width,
without a script. Not here: the file of stacks (``engine.reports.folded``), the look (``report.css``).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree as Xml  # nosec: writes, parses nothing

from engine import text
from engine.reports import folded
from engine.values import Evidence, Scalar

#: Narrower boxes are left out: a part in a thousand is one pixel. No more boxes than these are drawn.
_LEAST_SHARE, _MOST_BOXES = 0.001, 2000
_KERNEL_MARK, _NAMELESS_MARK = "_[k]", "["
_PROGRAM = re.compile(r"bpf_prog_[0-9a-f]{16}(?:_(?P<name>.+))?")
#: Without room for three letters a box has none, on a desk and on a phone; the script knows these too.
_ROOM = {" thin": 0.024, " slim": 0.07}
_ROW = 19  # pixels of a box's height, its gap included
_SHADES = 4
_TOP_ROWS = 12
SCRIPT = Path(__file__).parent / "templates" / "flame.js"


class Top(NamedTuple):
    """One row of the functions with most samples of their own."""

    function: str
    module: str
    kind: str
    own: float
    total: float


class Flame(NamedTuple):
    """A drawn graph.

    Attributes:
        boxes: HTML, escaped.
        left_out: Samples in boxes too narrow to be drawn, their names therefore missing.
    """

    probe: str
    started_at: float
    seconds: float
    samples: int
    height: int
    boxes: str
    left_out: int
    top: tuple[Top, ...]
    kinds: tuple[str, ...]


@dataclass(slots=True)
class Node:
    """One box: a function as called by all those above it."""

    name: str
    kind: str
    samples: int = 0
    called: dict[str, Node] = field(default_factory=dict)


def draw(evidence: Iterable[Evidence]) -> list[Flame]:
    """The graphs of a run: of its first look at stacks, and of its last when that is another."""
    found = folded.looks(evidence)
    return [_flame(seen) for seen in (found[:1] + found[-1:] if len(found) > 1 else found)]


@cache
def script() -> str:
    """The script as it stands in the page."""
    return SCRIPT.read_text(encoding="utf-8")


def script_hash() -> str:
    """By which the page lets this script run and no other: ``sha256-…``."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script().encode()).digest()).decode()


def tree_of(stacks: Iterable[tuple[str, int]]) -> Node:
    """All stacks put together at their common beginnings."""
    root = Node("all", "all")
    for stack, samples in stacks:
        root.samples += samples
        node = root
        for place, word in enumerate(stack.split(";")):
            if word not in node.called:
                node.called[word] = _node(word, outermost=place == 0)
            node = node.called[word]
            node.samples += samples
    return root


def _node(word: str, *, outermost: bool) -> Node:
    name = text.plain(word)
    if outermost:
        return Node(name, "thread")
    if name.endswith(_KERNEL_MARK):
        return Node(name.removesuffix(_KERNEL_MARK), "kernel")
    if program := _PROGRAM.fullmatch(name):
        return Node(program["name"] or name, "bpf")
    return Node(name, "nameless" if name.startswith(_NAMELESS_MARK) else "user")


class _Box(NamedTuple):
    """A box and its place: ``left`` and ``samples`` in samples."""

    node: Node
    left: int
    depth: int


def _boxes(root: Node) -> Iterator[_Box]:
    """Every box in the order of reading; those below come right after the one they hang from."""
    waiting = [_Box(root, 0, 0)]
    while waiting:
        box = waiting.pop()
        yield box
        left = box.left
        below = []
        for node in sorted(box.node.called.values(), key=lambda node: (-node.samples, node.name)):
            below.append(_Box(node, left, box.depth + 1))
            left += node.samples
        waiting += reversed(below)


def _flame(seen: Evidence) -> Flame:
    root = tree_of(folded.stacks_of(seen))
    drawn = [box for box in _boxes(root) if box.node.samples >= _LEAST_SHARE * root.samples]
    if len(drawn) > _MOST_BOXES:
        least = sorted((box.node.samples for box in drawn), reverse=True)[_MOST_BOXES]
        drawn = [box for box in drawn if box.node.samples > least]
    shown = {id(box.node) for box in drawn}
    missing = sum(node.samples for box in drawn for node in box.node.called.values() if id(node) not in shown)
    kinds = {box.node.kind for box in drawn}
    return Flame(
        probe=seen.probe,
        started_at=seen.started_at,
        seconds=seen.ended_at - seen.started_at,
        samples=root.samples,
        height=(max((box.depth for box in drawn), default=0) + 1) * _ROW,
        boxes="".join(_html(box, root.samples or 1) for box in drawn),
        left_out=missing,
        top=tuple(_top(seen)),
        kinds=tuple(kind for kind in ("thread", "user", "kernel", "bpf", "nameless") if kind in kinds),
    )


def _html(box: _Box, whole: int) -> str:
    node = box.node
    shade = sum(node.name.encode()) % _SHADES
    share = node.samples / whole
    room = "".join(mark for mark, least in _ROOM.items() if share < least)
    element = Xml.Element(
        "div",
        {
            "class": f"box {node.kind} s{shade}{room}",
            "style": f"left:{box.left / whole:.3%};width:{share:.3%};top:{box.depth * _ROW}px",
            "title": f"{node.name}: {text.share(share)}, {text.several(node.samples, 'sample')}",
            "data-n": str(node.samples),
        },
    )
    element.text = node.name
    return Xml.tostring(element, encoding="unicode", method="html")


def _top(seen: Evidence) -> Iterator[Top]:
    """The functions that the evidence itself lists, as many as are read."""
    rows = [row for rows in seen.tables.values() for row in rows if "self_share" in row and "function" in row]
    for row in rows[:_TOP_ROWS]:
        if own := _number(row["self_share"]):
            function, module, kind = (str(row.get(name) or "") for name in ("function", "module", "kind"))
            yield Top(
                _node(function, outermost=False).name, module, kind, own, _number(row.get("total_share"))
            )


def _number(value: Scalar) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
