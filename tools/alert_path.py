"""From an agent's first lost event to the run's end, stage by stage: ``tools/alert_path.py [--times 3]``.

The real Prometheus and Alertmanager (``tools/setup.sh tests`` unpacks them), the practice agent with bursts,
the shipped rule on a short window, ``runbook serve``; by the policy alone, and with a yes given at once.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from statistics import median

from tests.e2e.alerting import AlertPath, missing

POLICIES = {
    "by policy": {"risk": {"low": "auto", "medium": "ask"}},
    "approved": {"risk": {"low": "ask", "medium": "ask"}},
}


def once(way: str) -> dict[str, float]:
    """Seconds from the first loss to each stage."""
    home = Path(tempfile.mkdtemp(prefix="runbook-alert-"))
    home.chmod(0o755)
    with AlertPath(home, POLICIES[way], {}) as path:
        row = path.alert()
        if way == "approved":
            path.comes_to(row.run, "waiting")
            path.serving.command("approve", row.run)
        path.comes_to(row.run, "ended")
        return path.stages(row, path.hears(row.run, "alerted", did="resolved"))


def main() -> int:
    """Run each way; print the medians, with the time since the stage before."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=1)
    times = options.parse_args().times
    if missing():
        print(f"not unpacked (tools/setup.sh tests): {missing()}", file=sys.stderr)
        return 2
    for way in POLICIES:
        seen: dict[str, list[float]] = defaultdict(list)
        for _ in range(times):
            for stage, seconds in once(way).items():
                seen[stage].append(seconds)
        print(f"\n{way}, {times} times: seconds since the agent began (median), and since the stage before")
        before = 0.0
        for stage, seconds in sorted(seen.items(), key=lambda one: median(one[1])):
            at = median(seconds)
            print(f"  {stage:16} {at:8.3f} {at - before:8.3f}")
            before = at
    return 0


if __name__ == "__main__":
    sys.exit(main())
