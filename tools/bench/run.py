"""``make bench``: ratios against named baselines, all measured in this one run.

    make bench                       everything
    make bench FIGURES="help check"  only these

Not here: how anything is measured (``measure.py``), against whom (``peers.py``).
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time

import figures_cli
import figures_kernel
import figures_maps
import figures_memory
import figures_profile
import figures_watching
import figures_webhook
from measure import Figure, NotYet
from peers import BUILD

ALL = {
    **figures_cli.FIGURES,
    **figures_kernel.FIGURES,
    **figures_maps.FIGURES,
    **figures_memory.FIGURES,
    **figures_profile.FIGURES,
    **figures_watching.FIGURES,
    **figures_webhook.FIGURES,
}


def told(figure: Figure) -> str:
    """One figure on one line."""
    against = ""
    if figure.baseline is not None:
        against = f" | {figure.against} {figure.baseline:,.4g} {figure.unit} | ratio {figure.ratio:,.3g}"
    verdict = {True: "met", False: "MISSED", None: "stated, not judged"}[figure.met]
    note = f" ({figure.note})" if figure.note else ""
    return f"{figure.name}: {figure.ours:,.4g} {figure.unit}{against} | goal {figure.goal}: {verdict}{note}"


def main(names: list[str]) -> int:
    """Take the figures; print each as it comes; leave them all in ``build/bench/figures.json``."""
    BUILD.mkdir(parents=True, exist_ok=True)
    if unknown := [name for name in names if name not in ALL]:
        print(f"bench: no figure named {unknown[0]!r}; there are: {', '.join(ALL)}")
        return 2
    taken: list[Figure] = []
    print(
        f"bench: {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}, kernel {os.uname().release}",
        flush=True,
    )
    for name in names or ALL:
        try:
            figures = ALL[name]()
        except NotYet as reason:
            print(f"{name}: not measured: {reason}", flush=True)
            continue
        for figure in figures:
            print(told(figure), flush=True)
        taken += figures
    record = {"taken_at": time.time(), "figures": [dataclasses.asdict(figure) for figure in taken]}
    (BUILD / "figures.json").write_text(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
