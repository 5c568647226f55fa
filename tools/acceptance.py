"""Every fault of the lab, run for real: is the cause named, the trouble gone, the undo exact?

``make acceptance`` prints one line per run, a table of faults and a table of predictions beside
what was measured. Exit code 1 when a run named another cause, ended otherwise than it should, or
was not undone byte for byte.

Not here: speed (``tools/bench``), unit tests (``tests``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bpf.lab import lab

RUNBOOK = Path(sys.executable).with_name("runbook")

Row = dict[str, Any]


@dataclass(frozen=True)
class Expected:
    """What a run on a fault must come to.

    Attributes:
        causes: The first cause must be one of these.
        outcomes: The run must end as one of these.
        inputs: Of the runbook, for this fault.
        ripens_s: How long the fault is left alone before the run: a map takes its time to fill.
    """

    causes: frozenset[str]
    outcomes: frozenset[str]
    inputs: Mapping[str, str] = field(default_factory=dict)
    ripens_s: float = 0.0


def of(causes: str, outcomes: str, *, ripens_s: float = 0.0, **inputs: str) -> Expected:
    """``Expected`` from words with spaces between."""
    return Expected(frozenset(causes.split()), frozenset(outcomes.split()), inputs, ripens_s)


#: runbook → fault → what is right.
EXPECTED: dict[str, dict[str, Expected]] = {
    "events-dropped": {
        "burst": of("burst-exceeds-buffer", "fixed"),
        "slow-poll": of("reader-polls-too-slowly", "fixed"),
        "cpu-bound": of("reader-cpu-bound", "fixed mitigated"),
        "throttled": of("reader-throttled", "fixed mitigated"),
        "flood": of("reader-cpu-bound", "fixed mitigated"),
        "one-source": of("flood-from-one-source", "fixed mitigated"),
        "stalled-exporter": of("loss-behind-the-ring", "unfixed fixed mitigated"),
        "queue-overflow": of("loss-behind-the-ring", "fixed"),
        "slow-exporter": of("loss-behind-the-ring", "unfixed"),
        "stuck": of("reader-stuck", "unfixed"),
    },
    "memory-leak": {
        "heap-leak": of("heap-leak", "mitigated", hold="5s", horizon="10m"),
        "unbounded-map": of("unbounded-map", "fixed", hold="5s"),
        "stale-map": of("stale-map-entries", "fixed", hold="5s"),
        "map-memory": of("map-memory-unseen", "unfixed", hold="5s"),  # no setting bounds that map
        "allocator": of("allocator-keeps-pages", "healthy", hold="5s"),
        "cache-filling": of("cache-filling", "healthy", hold="5s"),
    },
    "map-near-full": {
        "map-leak": of("entries-leak", "fixed", ripens_s=14, window="4s", hold="4s"),
        "map-small": of("map-too-small", "fixed", ripens_s=4, window="4s", hold="4s"),
        "map-cardinality": of("key-cardinality", "fixed", ripens_s=15, window="4s", hold="4s"),
    },
    "agent-down": {
        "down-oom": of("oom-killed", "mitigated", hold="5s"),
        "down-crash-loop": of("crash-loop", "unfixed", hold="5s"),
        "down-crashed": of("crashed", "fixed", hold="5s"),
        "down-stopped": of("stopped-by-human", "refused", hold="5s"),
        "down-failed-load": of("failed-load", "unfixed", hold="5s"),
    },
    "high-cpu": {
        "busy-poll": of("busy-polling", "fixed", hold="6s"),
        "hot-program": of("hot-program", "fixed", hold="6s"),
        "hot-reader": of("inefficient-processing", "unfixed", hold="6s"),
        "event-storm": of("too-many-events", "mitigated fixed", hold="6s"),
    },
}


def once(runbook: str, fault: str, number: int, window: str, state: str) -> Row:
    """One agent with the fault, one run, one undo."""
    expected = EXPECTED[runbook][fault]
    instance = lab.start(fault=fault, name=f"{fault}-{number}")
    config = Path(instance.config_file)
    before = config.read_bytes()
    inputs = {"window": window, **expected.inputs}
    given = [word for name, value in inputs.items() if value for word in ("--input", f"{name}={value}")]
    try:
        time.sleep(expected.ripens_s)
        done = _runbook(
            state, "run", runbook, "--target", f"lab:{config}", "--yes", "--json", *given, limit_s=900
        )
        run = json.loads(done.stdout)
        undo = _runbook(state, "undo", run["id"], limit_s=180)
        exact = config.read_bytes() == before
    finally:
        lab.stop(instance)
    events = run["events"]
    cause = first_cause(events)
    goals = [event for event in events if event["kind"] == "goal-measured"]
    return {
        "runbook": runbook,
        "fault": fault,
        "cause": cause,
        "right_cause": cause in expected.causes,
        "outcome": run["outcome"],
        "right_outcome": run["outcome"] in expected.outcomes,
        "goal_before": goals[0].get("values") if goals else None,
        "goal_after": goals[-1].get("values") if goals else None,
        "kept": ", ".join(standing(events)) or "-",
        "undone": exact and undo.returncode in {0, 1},
        "predictions": predictions(events),
        "seconds": round(events[-1]["at"] - events[0]["at"]),
        "id": run["id"],
    }


def _runbook(state: str, *words: str, limit_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(RUNBOOK), *words],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **os.environ, "RUNBOOK_STATE": state},
        timeout=limit_s,
        check=False,
    )


def first_cause(events: Iterable[Row]) -> str:
    """The likeliest cause of the first diagnosis, or a dash."""
    decided = [event["verdict"].get("causes", []) for event in events if event["kind"] == "decided"]
    return str(decided[0][0]["name"]) if decided and decided[0] else "-"


def standing(events: Iterable[Row]) -> list[str]:
    """The knobs of the changes that were left standing."""
    events = list(events)
    settled = {event["attempt"]: event["state"] for event in events if event["kind"] == "settled"}
    intended = [event for event in events if event["kind"] == "intended"]
    return [
        str(event["change"]["knob"]["name"])
        for event in intended
        if settled.get(event["attempt"]) in {"kept", "leased"}
    ]


def predictions(events: Iterable[Row]) -> list[Row]:
    """Every prediction with its measurement and its error.

    The error is the distance between the two as a share of the larger of prediction and value
    before; none where "at most" was promised and kept.
    """
    rows = []
    for event in events:
        if event["kind"] != "compared" or event.get("measured") is None:
            continue
        predicted, measured = event["predicted"], event["measured"]
        kept = event.get("at_most", False) and measured <= predicted
        scale = max(abs(predicted), abs(event.get("before") or 0.0))
        error = 0.0 if kept or measured == predicted else abs(measured - predicted) / scale if scale else 1.0
        told = {
            name: event.get(name) for name in ("remediation", "measure", "before", "predicted", "measured")
        }
        rows.append({**told, "error": round(error, 4)})
    return rows


def tell_faults(rows: list[Row]) -> int:
    """The table of faults; gives how many of its counts are short."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["runbook"], row["fault"]].append(row)
    short = 0
    print(f"\n{'runbook':16} {'fault':18} {'right cause':>12} {'outcome':>10} {'undone':>10}   outcomes")
    for (runbook, fault), runs in groups.items():
        counts = [sum(bool(run[name]) for run in runs) for name in ("right_cause", "right_outcome", "undone")]
        short += sum(count < len(runs) for count in counts)
        seen = ", ".join(sorted({f"{run['outcome']} by {run['kept']}" for run in runs}))
        told = "".join(f"{count:>5} of {len(runs):<3}" for count in counts)
        print(f"{runbook:16} {fault:18}   {told}   {seen}")
    return short


def tell_predictions(rows: list[Row]) -> None:
    """Per remediation and measure: the median error over all runs."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        for told in row["predictions"]:
            groups[told["remediation"], told["measure"]].append(told)
    print(f"\n{'remediation':18} {'measure':28} {'times':>6} {'median error':>13} {'worst':>8}")
    for (remediation, measure), told in sorted(groups.items()):
        errors = [one["error"] for one in told]
        print(f"{remediation:18} {measure:28} {len(told):>6} {median(errors):>12.1%} {max(errors):>8.1%}")


def main() -> int:
    """Run them; the exit code says whether all was as it should be."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=10)
    options.add_argument("--runbooks", nargs="+", default=list(EXPECTED), choices=list(EXPECTED))
    options.add_argument("--faults", nargs="+", default=[], help="only these")
    options.add_argument("--window", default="10s")
    options.add_argument("--state", default="")
    asked = options.parse_args()
    state = asked.state or tempfile.mkdtemp(prefix="runbook-acceptance-")
    os.environ["RUNBOOK_LAB"] = str(Path(state) / "lab")  # nobody else's `lab stop --all` reaches these
    wanted = [
        (runbook, fault)
        for runbook in asked.runbooks
        for fault in EXPECTED[runbook]
        if not asked.faults or fault in asked.faults
    ]
    rows: list[Row] = []
    for number in range(asked.times):
        for runbook, fault in wanted:
            rows.append(once(runbook, fault, number, asked.window, state))
            print(json.dumps(rows[-1]), flush=True)
    short = tell_faults(rows)
    tell_predictions(rows)
    print(f"journal: {state}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
