"""Names of kernel addresses, from the kernel's own list.

Its promise: a name is that of the nearest function at or below the address; BPF programs of anybody are
in the list with their full names. Reading it takes 60 ms and 40 MB for 120,000 names, once for all
addresses together.

Not here: names in processes (``bpf.stacks.elf_symbols``).
Source: ``/proc/kallsyms``; kernel documentation, "kptr_restrict".
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

PATH = Path("/proc/kallsyms")
_FUNCTIONS = b"tTwW"
_BPF = "bpf"
_TAGGED = "bpf_prog_"  # then 16 digits of the program's tag, and its name


class KernelName(NamedTuple):
    """A function of the kernel. ``module``: ``kernel``, a module's name, or ``bpf``."""

    function: str
    module: str

    @property
    def is_program(self) -> bool:
        """Whether it is a BPF program, or a piece of one; trampolines are not."""
        return self.module == _BPF and self.function.startswith(_TAGGED)


def names_of(addresses: Iterable[int], path: Path = PATH) -> dict[int, KernelName]:
    """The names of those addresses that have one; none at all where the kernel hides them."""
    wanted = sorted(set(addresses))
    if not wanted:
        return {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return {}
    lines = [line for line in lines if line[17:18] in _FUNCTIONS and line[16:17] == b" "]
    try:
        starts = [int(line[:16], 16) for line in lines]
    except ValueError:
        return {}
    order = sorted(range(len(starts)), key=starts.__getitem__)
    ascending = [starts[place] for place in order]
    if not ascending or not ascending[-1]:
        return {}  # hidden: all zero
    found = {}
    for address in wanted:
        at = bisect_right(ascending, address) - 1
        if at >= 0 and ascending[at]:
            found[address] = _named(lines[order[at]])
    return found


def _named(line: bytes) -> KernelName:
    """A line: address, type, name and, after a tab, the module in brackets."""
    name, _, module = line[19:].decode("utf-8", "replace").partition("\t")
    return KernelName(name, module.strip("[]") or "kernel")
