"""Whether programs of a kind may call a helper, by kernel: that a kernel has it is not enough.

Its promise: *no* is only said of kernels up to one that was tried and refused it. What no kernel that was
tried allows is unknown, for some helpers need an option (bpf_override_return). Of programs that may
sleep nothing is said: they may call more.
Source: ``allowed.txt``, tried on kernels 5.10 to 7.0. Cost: one read of 14 KB.

Not here: whether the kernel has the helper at all (``bpf.preflight.features``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from bpf.preflight import features
from bpf.preflight.features import Known, Version
from bpf.preflight.sections import Kind

TRIED: tuple[Version, ...] = ((5, 10), (6, 1), (6, 12), (6, 18), (7, 0))
#: Program types whose helpers depend on the attach type.
_BY_ATTACH = frozenset(
    ("tracing", "lsm", "cgroup_sock_addr", "cgroup_sock", "cgroup_sockopt", "xdp", "sk_skb")
)
_NEWEST_HELPER = 211


@functools.cache
def table() -> dict[str, dict[int, Version]]:
    """Kind of program → helper → the first kernel tried that allows it."""
    found: dict[str, dict[int, Version]] = {}
    for line in Path(__file__).with_name("allowed.txt").read_text("ascii").splitlines():
        if not line.startswith("#"):
            kinds, since, numbers = line.split()
            for kind in kinds.split(","):
                held = found.setdefault(kind, {})
                held.update(dict.fromkeys(_numbers(numbers), features.version(since)))
    return found


def _numbers(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def kind_of(kind: Kind) -> str:
    """The table's word for a kind of section."""
    return f"{kind.program}/{kind.attach}" if kind.attach and kind.program in _BY_ATTACH else kind.program


def check(kind: Kind, helper: int, kernel: Known) -> tuple[Literal["yes", "no", "unknown"], str]:
    """Whether it may be called, and for an operator since when; ``yes`` where nothing is known against it."""
    helpers = table().get(kind_of(kind))
    if helpers is None or helper > _NEWEST_HELPER or kind.sleepable:
        return "yes", ""
    since = helpers.get(helper)
    of = f"programs of type {kind_of(kind)}"
    if since is None:
        return "unknown", f"no kernel that was tried (5.10 to 7.0) allows it to {of}"
    if since == TRIED[0] or features.newer(kernel, since):
        return "yes", ""
    refused = TRIED[TRIED.index(since) - 1]
    told = f"{of} may call it since a kernel between {features.told(refused)} and {features.told(since)}"
    return ("no" if kernel.before <= (refused[0], refused[1] + 1) else "unknown"), told
