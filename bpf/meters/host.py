"""The kernel under all agents: its release, its types, and whether another one boots next.

Not here: whether an agent's programs load there (the runbook ``kernel-upgrade``).
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bpf.preflight.kernels import newest_installed
from engine.values import Family, Inventory, Sample, Target


class HostMeter:
    """The meter ``host``."""

    name = "host"
    families: Mapping[str, Family] = {
        "bpf_kernel_info": Family(help="1; what kernel runs here.", labels=("release", "btf")),
        "bpf_kernel_upgrade_pending": Family(
            help="1 when the newest kernel in /boot is not the one that runs.", labels=("release", "next")
        ),
    }

    def __init__(self, *, thorough: bool = False, root: Path = Path("/"), release: str = "") -> None:
        del thorough
        self._root, self._release = root, release or platform.release()

    def read(self, targets: Sequence[Target], inventory: Inventory) -> Iterator[Sample]:  # noqa: ARG002
        """Two files are looked for."""
        btf = "yes" if (self._root / "sys/kernel/btf/vmlinux").exists() else "no"
        yield Sample(family="bpf_kernel_info", value=1.0, labels=(self._release, btf))
        coming = newest_installed(self._root)
        if coming:
            pending = float(coming != self._release)
            yield Sample(family="bpf_kernel_upgrade_pending", value=pending, labels=(self._release, coming))

    def glance(self) -> None:
        """Nothing peaks here."""

    def close(self) -> None:
        """Nothing is open."""
