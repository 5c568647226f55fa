"""Every loss fault of the lab, run for real: is the cause named, the loss gone, the undo exact?

``make acceptance`` prints one line per run and a table at the end. Exit code 1 when a run named
another cause, ended otherwise than it should, or was not undone byte for byte.

Not here: speed (``tools/bench``), unit tests (``tests``).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from bpf.lab import lab

RUNBOOK = Path(sys.executable).with_name("runbook")

#: fault → (causes that are right, outcomes that are right).
EXPECTED = {
    "burst": ({"burst-exceeds-buffer"}, {"fixed"}),
    "slow-poll": ({"reader-polls-too-slowly"}, {"fixed"}),
    "cpu-bound": ({"reader-cpu-bound"}, {"fixed", "mitigated"}),
    "throttled": ({"reader-throttled"}, {"fixed", "mitigated"}),
    "flood": ({"reader-cpu-bound"}, {"fixed", "mitigated"}),
    "one-source": ({"flood-from-one-source"}, {"fixed", "mitigated"}),
    "stalled-exporter": ({"loss-behind-the-ring"}, {"unfixed", "fixed", "mitigated"}),
    "stuck": ({"reader-stuck"}, {"unfixed"}),
}


def once(fault: str, number: int, window: str, state: str) -> dict[str, object]:
    """One agent with the fault, one run, one undo."""
    instance = lab.start(fault=fault, name=f"{fault}-{number}")
    config = Path(instance.config_file)
    before = config.read_bytes()
    command = [RUNBOOK, "--state", state] if False else [RUNBOOK]
    environment = {"RUNBOOK_STATE": state, "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    try:
        done = subprocess.run(
            [
                *command,
                "run",
                "events-dropped",
                "--target",
                f"lab:{instance.pid}",
                "--yes",
                "--json",
                "--input",
                f"window={window}",
            ],
            capture_output=True,
            text=True,
            env=environment,
            timeout=600,
            check=False,
        )
        run = json.loads(done.stdout)
        undo = subprocess.run(
            [*command, "undo", run["id"]],
            capture_output=True,
            text=True,
            env=environment,
            timeout=120,
            check=False,
        )
        exact = config.read_bytes() == before
    finally:
        lab.stop(instance)
    causes = [e["verdict"].get("causes", []) for e in run["events"] if e["kind"] == "decided"]
    goals = [e for e in run["events"] if e["kind"] == "goal-measured"]
    kept = [
        e["change"]["knob"]["name"]
        for e in run["events"]
        if e["kind"] == "intended"
        and any(
            s["kind"] == "settled" and s["attempt"] == e["attempt"] and s["state"] in {"kept", "leased"}
            for s in run["events"]
        )
    ]
    return {
        "fault": fault,
        "cause": causes[0][0]["name"] if causes and causes[0] else "-",
        "outcome": run["outcome"],
        "loss_before": goals[0]["values"].get("flow.dropped_per_s") if goals else None,
        "loss_after": goals[-1]["values"].get("flow.dropped_per_s") if goals else None,
        "kept": ", ".join(kept) or "-",
        "undone": exact and undo.returncode in {0, 1},
        "seconds": run.get("ended_at") and round(run["events"][-1]["at"] - run["events"][0]["at"]),
        "id": run["id"],
    }


def main() -> int:
    """Run them; the exit code says whether all was as it should be."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=10)
    options.add_argument("--faults", nargs="+", default=list(EXPECTED), choices=list(EXPECTED))
    options.add_argument("--window", default="10s")
    options.add_argument("--state", default="")
    asked = options.parse_args()
    state = asked.state or tempfile.mkdtemp(prefix="runbook-acceptance-")
    os.environ["RUNBOOK_LAB"] = str(Path(state) / "lab")  # nobody else's `lab stop --all` reaches these
    rows: dict[str, list[dict[str, object]]] = defaultdict(list)
    for number in range(asked.times):
        for fault in asked.faults:
            row = once(fault, number, asked.window, state)
            rows[fault].append(row)
            print(json.dumps(row), flush=True)
    wrong = 0
    print(f"\n{'fault':18} {'right cause':>12} {'right outcome':>14} {'undone exactly':>15}   outcomes")
    for fault, runs in rows.items():
        causes, outcomes = EXPECTED[fault]
        counts = [
            sum(r["cause"] in causes for r in runs),
            sum(r["outcome"] in outcomes for r in runs),
            sum(bool(r["undone"]) for r in runs),
        ]
        wrong += sum(count < len(runs) for count in counts)
        seen = ", ".join(sorted({f"{r['outcome']} by {r['kept']}" for r in runs}))
        of = len(runs)
        print(
            f"{fault:18} {counts[0]:>6} of {of:<3} {counts[1]:>7} of {of:<3} {counts[2]:>8} of {of:<3}"
            f"   {seen}"
        )
    print(f"journal: {state}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
