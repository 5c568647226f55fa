"""A run told again from recorded evidence: no root, no BPF, no agent, nothing of this machine looked at.

What was seen (before and after the change) is read from a file; everything else is the real
thing: runner, guards, journal, diagnosis, plans, and a config file that is really edited, in a
directory that is thrown away. Only the reload of the agent is left out.

    rehearse.py RECORDED.json [--report FILE]            tell it
    rehearse.py --record RUN.json FAULT RECORDED.json    make one from a run's JSON report

Not here: the demo that falls back to it (``demo.py``).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bpf.lab.faults import FAULTS
from bpf.lab.settings import render
from engine import record, reports
from engine.catalog import installed
from engine.contracts import Window
from engine.language import inputs, loader
from engine.running.runner import Order, run
from engine.terminal.live import Plain
from engine.testing import fake_tools
from engine.values import Evidence, Process, Series, Support, Target

LABEL = "REHEARSAL from recorded evidence"
_MOST_SAMPLES = 240  # of a series, in the file


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """What a run saw, and of whom.

    Attributes:
        fault: Which of the lab's faults the agent had: gives its config file.
        before, after: Evidence by probe name, in order, before and after the change.
    """

    runbook: str
    fault: str
    kernel: str
    inputs: dict[str, Any]
    target: Target
    before: dict[str, list[Evidence]]
    after: dict[str, list[Evidence]]


class Stage:
    """Whether the change is in force: it is when the config file is no longer what it was."""

    def __init__(self, config: Path) -> None:
        self._config, self._text = config, config.read_text()

    @property
    def changed(self) -> bool:
        return self._config.read_text() != self._text


class RecordedProbe:
    """A real probe's promises with recorded evidence: in order, the last again and again."""

    def __init__(self, probe: Any, recorded: Recorded, stage: Stage) -> None:
        for promise in ("name", "short", "summary", "fields", "options", "needs_target", "cpu_ceiling"):
            setattr(self, promise, getattr(probe, promise))
        self._stage = stage
        self._seen = {False: recorded.before.get(self.name, []), True: recorded.after.get(self.name, [])}
        self._taken = {False: 0, True: 0}
        self.name: str

    def supported(self, target: Target | None) -> Support:
        del target
        return Support(answer="yes", why="recorded")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """The next recorded evidence, moved to now."""
        del target
        began = window.begin()
        window.wait()
        changed = self._stage.changed
        seen = self._seen[changed] or self._seen[not changed]
        evidence = seen[min(self._taken[changed], len(seen) - 1)]
        self._taken[changed] += 1
        return moved(evidence, began - evidence.started_at)


def moved(evidence: Evidence, by_s: float) -> Evidence:
    """The same evidence, that much later."""
    series = {
        name: msgspec.structs.replace(each, times=tuple(time + by_s for time in each.times))
        for name, each in evidence.series.items()
    }
    return msgspec.structs.replace(
        evidence, started_at=evidence.started_at + by_s, ended_at=evidence.ended_at + by_s, series=series
    )


def tell(recorded: Recorded, directory: Path, watcher: record.Watcher) -> record.Run:
    """Run the runbook on what was recorded."""
    config = directory / "config.yaml"
    config.write_text(render(FAULTS[recorded.fault].settings))
    target = standing_in(recorded.target, config, os.getpid())
    stage = Stage(config)
    catalog = installed()
    parts = [part for kind in ("diagnosis", "remediation") for _, part in catalog.each(kind)]
    probes = [RecordedProbe(probe, recorded, stage) for _, probe in catalog.each("probe")]
    parts += [probe for probe in probes if probe.name in recorded.before]
    loaded = loader.load(loader.find(recorded.runbook))
    tools = fake_tools(directory, parts, watcher=watcher, by=f"a {LABEL}", find=lambda _ref: target)
    with tools.journal:
        return run(
            Order(
                runbook=loaded.document,
                inputs=inputs.resolve(loaded.document, recorded.inputs),
                target=target,
            ),
            tools,
        )


def standing_in(target: Target, config: Path, pid: int) -> Target:
    """The recorded target with another process and file for its own, and nothing to reload."""
    knobs = {
        name: msgspec.structs.replace(
            knob, file=str(config) if knob.file else "", reload=type(knob.reload)(), live=None
        )
        for name, knob in target.knobs.items()
        if knob.backend == "yaml-file"
    }
    return msgspec.structs.replace(
        target,
        name="lab (rehearsal)",
        ref=f"{target.name}:{config}",
        processes=(Process(pid=pid, comm="lab-agent"),),
        knobs=knobs,
        config_file=str(config),
        metrics_url="",
        health_url="",
        log_file="",
    )


# ── recording ───────────────────────────────────────────────────────────────────


def recorded_from(document: Mapping[str, Any], fault: str) -> Recorded:
    """What a run's JSON report holds of evidence, thinned for keeping."""
    events = msgspec.convert(document["events"], tuple[record.Event, ...])
    before: dict[str, list[Evidence]] = {}
    after: dict[str, list[Evidence]] = {}
    side, target = before, Target(name="", ref="")
    for event in events:
        if isinstance(event, record.TargetFound):
            target = standing_in(event.target, Path("/etc/lab-agent.yaml"), pid=0)
        elif isinstance(event, record.Applied):
            side = after
        elif isinstance(event, record.Seen):
            side.setdefault(event.evidence.probe, []).append(thinned(event.evidence))
    head = document["head"]
    return Recorded(
        runbook=head["runbook"],
        fault=fault,
        kernel=".".join(head["kernel"].split(".")[:2]),
        inputs=head["inputs"],
        target=target,
        before=before,
        after=after,
    )


def thinned(evidence: Evidence) -> Evidence:
    """The same evidence with fewer samples, and without the machine's other processes."""
    tables = {
        name: tuple(row for row in rows if str(row.get("comm", "lab-")).startswith("lab-"))
        for name, rows in evidence.tables.items()
    }
    series = {name: _thin(each) for name, each in evidence.series.items()}
    return msgspec.structs.replace(evidence, series=series, tables=tables)


def _thin(series: Series) -> Series:
    """The highest sample of every stretch."""
    stretch = -(-len(series.times) // _MOST_SAMPLES)
    kept = []
    for start in range(0, len(series.times), max(1, stretch)):
        places = range(start, min(start + stretch, len(series.times)))
        kept.append(max(places, key=lambda place: series.values[place]))
    return msgspec.structs.replace(
        series,
        times=tuple(round(series.times[place], 3) for place in kept),
        values=tuple(float(f"{series.values[place]:.6g}") for place in kept),
    )


def main(arguments: list[str]) -> int:
    """Tell a recorded run, or record one."""
    if arguments[:1] == ["--record"]:
        _, run, fault, out = arguments
        recorded = recorded_from(msgspec.json.decode(Path(run).read_bytes()), fault)
        Path(out).write_bytes(msgspec.json.encode(recorded) + b"\n")
        return 0
    recorded = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Recorded)
    print(f"{LABEL}, taken on kernel {recorded.kernel}. Nothing on this machine is looked at or changed.\n")
    with tempfile.TemporaryDirectory(prefix="runbook-rehearsal-") as directory:
        told = tell(recorded, Path(directory), Plain(sys.stdout))
        if "--report" in arguments:
            reports.write(told, Path(arguments[arguments.index("--report") + 1]))
    return record.EXIT_CODES.get(told.head.outcome or "failed", 4)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
