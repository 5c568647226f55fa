"""Small charts over the whole run: what was sampled, with the moment of each change marked.

One promise: a chart shows samples and nothing else. Time in which nobody looked stays empty (that in
which the run waited for somebody is left out, and marked), and thinning keeps the lowest and the highest
sample of every stretch, so that no spike is lost.

Drawn by pygal as SVG. Its own style sheet, script and comments are taken out: the report's
style sheet colours it (light, dark, print), and a report must work without scripts.
Not here: the page around them (``engine.reports.html``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree as Xml  # nosec: writes SVG, parses nothing

from engine import text
from engine.reports.axis import Axis
from engine.values import Evidence, Series

if TYPE_CHECKING:
    from engine.reports.story import Attempt

WIDTH, HEIGHT = 560, 178
_POINTS = 420  # over the whole axis: more than the pixels can show
_FONT = 11
_LABEL = 8  # characters: ``1023 MiB``

Sample = tuple[float, float]


class Curve(NamedTuple):
    """One line of a chart: which series, the word in the legend, the class that colours it."""

    source: str
    label: str
    style: str


class Frame(NamedTuple):
    """A chart that is drawn whenever one of its series was sampled.

    ``top``: the upper end of the axis, or None to let the samples decide. ``reading``: the one that
    tells the same of a whole window in one number.
    """

    title: str
    unit: str
    curves: tuple[Curve, ...]
    top: float | None = None
    reading: str = ""


class Chart(NamedTuple):
    """A drawn chart. ``first`` and ``last``: its reading in the first and last window, as told elsewhere."""

    title: str
    svg: str
    curves: tuple[Curve, ...]
    first: str = ""
    last: str = ""


FRAMES = (
    Frame("Fill of the ring buffer", "share", (Curve("flow.fill", "fill", "fill"),), 1.0, "flow.fill_peak"),
    Frame("Events lost", "events/s", (Curve("flow.dropped", "lost", "lost"),), reading="flow.dropped_per_s"),
    Frame(
        "Events in and out",
        "events/s",
        (Curve("flow.in", "in", "in"), Curve("flow.out", "out", "out")),
        reading="flow.in_per_s",
    ),
    Frame("CPU of the agent", "cores", (Curve("process.cpu", "CPU", "cpu"),), reading="process.cpu_cores"),
    Frame(
        "Memory of the agent",
        "bytes",
        (Curve("process.rss", "memory", "other"),),
        reading="process.rss_bytes",
    ),
)


def draw(evidence: Sequence[Evidence], attempts: Sequence[Attempt], axis: Axis) -> list[Chart]:
    """All charts of a run, the ones people look at first in front."""
    windows = _windows(evidence)
    marks = [(str(a.number), axis.along(a.applied.at)) for a in attempts if a.applied is not None]
    frames = [*FRAMES, *_others(windows)]
    known = [frame for frame in frames if any(curve.source in windows for curve in frame.curves)]
    charts = [_chart(frame, windows, marks, axis) for frame in known]
    ends = [_ends(frame, windows, evidence) for frame in known]
    return [
        chart._replace(first=text.measure(first, frame.unit), last=text.measure(last, frame.unit))
        for chart, (first, last), frame in zip(charts, ends, known, strict=True)
    ]


def _windows(evidence: Sequence[Evidence]) -> dict[str, list[Series]]:
    """The sampled series by ``short.name``, one per window in which it was sampled."""
    found: dict[str, list[Series]] = {}
    for seen in evidence:
        for name, series in seen.series.items():
            if series.times and len(series.times) == len(series.values):
                found.setdefault(f"{seen.short}.{name}", []).append(series)
    return found


def _others(windows: dict[str, list[Series]]) -> list[Frame]:
    """A frame of its own for each series that no frame above names."""
    named = {curve.source for frame in FRAMES for curve in frame.curves}
    return [
        Frame(text.plain(series[0].label or source), series[0].unit, (Curve(source, source, "other"),))
        for source, series in windows.items()
        if source not in named
    ]


def _chart(
    frame: Frame, windows: dict[str, list[Series]], marks: list[tuple[str, float]], axis: Axis
) -> Chart:
    """Draw one frame."""
    from pygal import XY  # noqa: PLC0415 - 49 ms and only reports with charts need it
    from pygal.style import Style  # noqa: PLC0415

    length = axis.length
    curves = tuple(curve for curve in frame.curves if curve.source in windows)
    drawn = [(c.style, thin(series, axis)) for c in curves for series in windows[c.source]]
    pieces = [(f"{name} {kind}", piece) for kind in ("area", "line") for name, piece in drawn]
    top = frame.top or _nice(max(value for _, piece in drawn for _, value in piece), frame.unit)
    pieces += [("mark", [(at, 0.0), (at, top)]) for _, at in marks]
    pieces += [("pause", [(at, 0.0), (at, top)]) for at in (axis.along(one.at) for one in axis.pauses)]
    style = Style(font_family="inherit", label_font_size=_FONT, colors=("#000",) * len(pieces))
    chart = XY(
        css=[], js=[], style=style, width=WIDTH, height=HEIGHT, margin=2, margin_right=10, margin_top=14,
        spacing=4, no_prefix=True, disable_xml_declaration=True, show_legend=False, show_dots=False,
        truncate_label=-1, range=(0, top), xrange=(0, length), y_labels=[0, top / 2, top],
        x_labels=ticks(length), value_formatter=_axis(frame.unit),
        x_value_formatter=lambda along: _clock(axis.told(along)),
    )  # fmt: skip
    for name, piece in pieces:
        chart.add(name, piece, fill=name.endswith(" area"))
    tree = chart.render_tree()
    _clean(tree, frame.title, [name for name, _ in pieces])
    _number(tree, [number for number, _ in marks])
    return Chart(frame.title, Xml.tostring(tree, encoding="unicode"), curves)


def thin(series: Series, axis: Axis) -> list[Sample]:
    """At most as many samples as can be seen: of each stretch the lowest and the highest, in order."""
    samples = [(axis.along(at), value) for at, value in zip(series.times, series.values, strict=True)]
    seen_s = max(series.times[-1] - series.times[0], 1e-9)
    stretches = max(8, int(_POINTS / 2 * seen_s / axis.length))
    if len(samples) <= stretches * 2:
        return samples
    size = -(-len(samples) // stretches)
    kept: list[Sample] = []
    for at in range(0, len(samples), size):
        stretch = samples[at : at + size]
        ends = {min(stretch, key=lambda sample: sample[1]), max(stretch, key=lambda sample: sample[1])}
        kept += sorted(ends)
    return kept


def ticks(length: float) -> list[float]:
    """Round moments along an axis of ``length`` seconds, at most seven."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
    step = next((step for step in steps if length / step <= 7), length / 6)
    return [step * index for index in range(int(length / step) + 1)]


def _ends(
    frame: Frame, windows: dict[str, list[Series]], evidence: Sequence[Evidence]
) -> tuple[float, float]:
    """What a chart says of the first and the last window: its reading there, else from the samples."""
    short, _, name = frame.reading.partition(".")
    told = [seen.readings[name].value for seen in evidence if seen.short == short and name in seen.readings]
    known = [float(value) for value in told if isinstance(value, int | float)]
    if known:
        return known[0], known[-1]
    main = next(windows[curve.source] for curve in frame.curves if curve.source in windows)
    return _figure(main[0], frame), _figure(main[-1], frame)


def _figure(series: Series, frame: Frame) -> float:
    """One number of a series that no reading tells: the peak of a share, else the mean."""
    if frame.unit == "share":
        return max(series.values)
    return sum(series.values) / len(series.values)


def _nice(highest: float, unit: str) -> float:
    """A round upper end of an axis: decimal, or binary for bytes."""
    if highest <= 0:
        return 1.0
    base, steps = (2.0, (1, 1.5, 2)) if unit == "bytes" else (10.0, (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10))
    scale = base ** math.floor(math.log(highest, base))
    return next((scale * step for step in steps if scale * step >= highest), scale * base)


def _axis(unit: str) -> Callable[[float], str]:
    """How values are written along the axis; of one width, so that charts line up below each other."""
    if unit in {"bytes", "share"}:
        return lambda value: text.measure(value, unit).rjust(_LABEL)
    return lambda value: text.compact(value).rjust(_LABEL)


def _clock(seconds: float) -> str:
    return text.since(0.0, seconds).lstrip("+")


def _clean(tree: Xml.Element, title: str, styles: list[str]) -> None:
    """Leave the drawing, take out styles, scripts, comments and tooltips; name it for readers."""
    for parent in list(tree.iter()):
        for child in list(parent):
            tag = child.tag if isinstance(child.tag, str) else ""
            tooltip = "tooltip-overlay" in child.get("class", "")
            if tag in {"defs", "desc", "title", ""} or tooltip:
                parent.remove(child)
    tree.attrib.pop("id", None)
    tree.set("class", "chart")
    tree.set("role", "img")
    tree.set("aria-label", title)
    for node in tree.iter("g"):
        number = node.get("class", "").partition("serie-")[2].partition(" ")[0]
        if number:
            node.set("class", f"series {styles[int(number)]}")


def _number(tree: Xml.Element, numbers: list[str]) -> None:
    """Put each change's number at the upper end of its line."""
    lines = [
        node
        for node in tree.iter("g")
        if node.get("class") == "series mark" and node.find("path") is not None
    ]
    for number, group in zip(numbers, lines, strict=True):
        path = group.find("path")
        x, y = ("" if path is None else path.get("d", "")).split()[-2:]
        Xml.SubElement(group, "circle", {"cx": x.lstrip("L"), "cy": y, "r": "8"})
        label = Xml.SubElement(group, "text", {"x": x.lstrip("L"), "y": f"{float(y) + 4:.1f}"})
        label.text = number
