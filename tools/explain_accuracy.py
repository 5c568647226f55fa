"""How often ``runbook explain`` names the confirmed cause of real failure texts: whole set and per fold.

Folds are of projects, by a hash of their name, so that texts of one project stay together.
Usage: explain_accuracy.py [DATA.jsonl] [--folds N] [--misses [FOLD]]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

from bpf.explain.scoring import explain

DEFAULT = Path(__file__).resolve().parents[2] / "shared/data/load-and-loss-failures.jsonl"


def fold_of(project: str, folds: int) -> int:
    return hashlib.sha256(project.lower().encode()).digest()[0] % folds


def project_of(row: dict[str, str]) -> str:
    """``owner/name`` of the thread that the text is from, else the agent's name."""
    return row.get("source", "").partition("#")[0].strip() or row.get("agent", "")


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", nargs="?", type=Path, default=DEFAULT)
    asked.add_argument("--folds", type=int, default=5)
    asked.add_argument("--misses", nargs="?", const=-1, type=int, help="print the misses [of one fold]")
    options = asked.parse_args()
    if not options.data.exists():
        print(
            f"no data: {options.data} is absent; give the path of a JSON-lines file with text and root_cause"
        )
        return 2
    rows = [json.loads(line) for line in options.data.read_text("utf-8").splitlines() if line.strip()]
    began = time.process_time()
    tallies: dict[int, list[int]] = {fold: [0, 0, 0] for fold in range(options.folds)}
    brier = 0.0
    buckets: dict[int, list[float]] = {}
    for row in rows:
        fold = fold_of(project_of(row), options.folds)
        causes = explain(row["text"])
        names = [cause.name for cause in causes]
        first, third = names[:1] == [row["root_cause"]], row["root_cause"] in names[:3]
        tally = tallies[fold]
        tally[0] += 1
        tally[1] += first
        tally[2] += third
        sure = causes[0].confidence if causes else 0.0
        brier += (sure - first) ** 2
        bucket = buckets.setdefault(min(int(sure * 4), 3), [0, 0, 0])
        bucket[0] += 1
        bucket[1] += sure
        bucket[2] += first
        if options.misses is not None and not first and options.misses in (-1, fold):
            ranked = ", ".join(f"{cause.name} {cause.confidence:.2f}" for cause in causes[:4])
            print(f"fold {fold} {row.get('source', '')} [{row['root_cause']}] -> {ranked}")
    took = time.process_time() - began
    for fold, (count, first, third) in tallies.items():
        if count:
            print(f"fold {fold}: {count:3d} texts  top-1 {first / count:6.1%}  top-3 {third / count:6.1%}")
    count, first, third = (sum(tally[part] for tally in tallies.values()) for part in range(3))
    print(f"all   : {count:3d} texts  top-1 {first / count:6.1%}  top-3 {third / count:6.1%}")
    print(f"brier of the first cause {brier / count:.3f}; {1000 * took / count:.2f} ms CPU a text")
    for _, (size, sure, right) in sorted(buckets.items()):
        print(f"  said {sure / size:.2f} on {size:.0f} texts, right {right / size:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
