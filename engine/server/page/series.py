"""The numbers of a run for the charts that a browser draws while it goes on.

One promise: the same frames, curves and thinning as the charts of the report, so that nothing jumps when
the run ends.

Not here: drawing (``static/charts.js``; ``engine.reports.charts`` after the end).
"""

from __future__ import annotations

from engine.reports import charts
from engine.reports.axis import Axis, pauses
from engine.reports.story import Story

#: Live numbers, as probes label them, that go on with a recorded curve.
_LIVE = {"Fill of the ring buffer": " in use", "CPU of the agent": "CPU", "Memory of the agent": "memory"}


def document(story: Story, end: float) -> dict[str, object]:
    """All frames with their samples (seconds along the axis), and the changes that were made.

    ``end``: epoch seconds of the axis's end: now, for a run that goes on.
    """
    axis = Axis(story.run.head.started_at, end, pauses(story.run))
    windows: dict[str, list[list[charts.Sample]]] = {}
    named: dict[str, tuple[str, str]] = {}
    for seen in story.evidence:
        for name, series in seen.series.items():
            if series.times and len(series.times) == len(series.values):
                source = f"{seen.short}.{name}"
                windows.setdefault(source, []).append(charts.thin(series, axis))
                named.setdefault(source, (series.label or source, series.unit))
    framed = {curve.source for frame in charts.FRAMES for curve in frame.curves}
    others = [
        charts.Frame(label, unit, (charts.Curve(source, source, "other"),))
        for source, (label, unit) in named.items()
        if source not in framed
    ]
    marks = [
        {"at": axis.along(attempt.applied.at), "number": attempt.number}
        for attempt in story.attempts
        if attempt.applied is not None
    ]
    frames = [_frame(frame, windows) for frame in (*charts.FRAMES, *others)]
    return {
        "start": axis.start,
        "pauses": [{"at": axis.along(one.at), "from": one.at, "seconds": one.seconds} for one in axis.pauses],
        "frames": [one for one in frames if one],
        "marks": marks,
    }


def _frame(frame: charts.Frame, windows: dict[str, list[list[charts.Sample]]]) -> dict[str, object]:
    curves = [
        {"label": curve.label, "style": curve.style, "windows": windows[curve.source]}
        for curve in frame.curves
        if curve.source in windows
    ]
    if not curves:
        return {}
    live = _LIVE.get(frame.title, "")
    return {"title": frame.title, "unit": frame.unit, "top": frame.top, "live": live, "curves": curves}
