"""``runbook serve`` killed a few hundred times, with what came of it: ``tools/kill_serve.py --kills 250``.

Exit code 1 when an accepted alert was lost, a change was made twice, an approval could not be answered, a
lease was not ended or the journal's chain is broken. The same campaign with fewer kills runs with the tests.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.faults.killing import Campaign


def main() -> int:
    """Kill, settle, count."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=250)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--home", default="")
    asked = options.parse_args()
    home = Path(asked.home or tempfile.mkdtemp(prefix="runbook-kills-"))
    home.chmod(0o755)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what it started ends with it
    with Campaign(home / "campaign", seed=asked.seed) as campaign:
        with campaign.load():
            while sum(campaign.kills.values()) < asked.kills:
                campaign.kill_once()
        settling = time.monotonic()
        campaign.settle(within=600)
        settled = time.monotonic() - settling
        problems = campaign.problems()
        runs = campaign.runs()
    print(f"{sum(campaign.kills.values())} kills in {settling - began:.0f} s; settled {settled:.0f} s later")
    for what, times in campaign.kills.most_common():
        print(f"  {times:5}  {what}")
    for what, times in campaign.died().most_common():
        print(f"  {times:5}  died {what}")
    outcomes = Counter(str(run.head.outcome) for run in runs)
    print(f"{len(campaign.taken)} alerts accepted, {len(runs)} runs: {dict(outcomes)}")
    print(f"{len(campaign.answered)} answers: {dict(Counter(campaign.answered.values()))}")
    for problem in problems:
        print(f"PROBLEM: {problem}")
    print(f"home: {home}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
