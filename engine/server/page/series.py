"""The numbers of a run for the charts that a browser draws while it goes on.

One promise: the same frames, curves and thinning as the charts of the report, so that nothing jumps when
the run ends.

Not here: drawing (``static/charts.js``; ``engine.reports.charts`` after the end).
"""

from __future__ import annotations

from engine.reports import charts
from engine.reports.story import Story

#: Live numbers, as probes label them, that go on with a recorded curve.
_LIVE = {"Fill of the ring buffer": " in use", "CPU of the agent": "CPU", "Memory of the agent": "memory"}


def document(story: Story, length: float) -> dict[str, object]:
    """All frames with their samples (seconds since the start), and the changes that were made."""
    windows: dict[str, list[list[charts.Sample]]] = {}
    named: dict[str, tuple[str, str]] = {}
    start = story.run.head.started_at
    for seen in story.evidence:
        for name, series in seen.series.items():
            if series.times and len(series.times) == len(series.values):
                source = f"{seen.short}.{name}"
                windows.setdefault(source, []).append(charts.thin(series, start, max(length, 1.0)))
                named.setdefault(source, (series.label or source, series.unit))
    framed = {curve.source for frame in charts.FRAMES for curve in frame.curves}
    others = [
        charts.Frame(label, unit, (charts.Curve(source, source, "other"),))
        for source, (label, unit) in named.items()
        if source not in framed
    ]
    marks = [
        {"at": attempt.applied.at - start, "number": attempt.number}
        for attempt in story.attempts
        if attempt.applied is not None
    ]
    frames = [_frame(frame, windows) for frame in (*charts.FRAMES, *others)]
    return {"start": start, "frames": [one for one in frames if one], "marks": marks}


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
