"""All BPF programs, maps and links of this machine, of any process, with owners and pins.

Its promise: one moment, one read per kind, and nothing left behind. Two rungs, told in
``Inventory.source``: BPF iterators (kernel 5.8 with BTF), and plain ``bpf()`` calls with a walk
over procfs, thirty times slower, where iterators can't be had. What a rung can't see stands in
``notes``. Our own iterators are left out.

The maps of a program and the memory of a map cost a call per object, so they are not in here:
``bpf.syscall.map_ids_of``, ``bpf.objects.maps.memory_bytes``.
"""

from __future__ import annotations

import errno

from bpf.libbpf import failure, is_root
from bpf.objects import fallback, pins
from bpf.objects.assembly import Assembly
from bpf.objects.iterators import IfIterators
from engine.values import Inventory


def read() -> Inventory:
    """Everything BPF on this machine now.

    Costs 20 ms, nearly all of it set-up: for repeated reads keep a ``Reader``.

    Raises:
        BpfError: Not root, or libbpf is missing.
    """
    with Reader() as reader:
        return reader.read()


class Reader(IfIterators):
    """Reads the inventory again and again; 20 ms to make, then about 1.5 ms per 2,500 objects.

    Entry point of group ``runbook.inventory``.
    """

    def __init__(self) -> None:
        if not is_root():
            raise failure("BPF objects can't be listed", errno.EPERM)
        super().__init__()
        self._assembly = Assembly(self._iterators) if self._iterators else None

    def read(self) -> Inventory:
        """Everything BPF on this machine now."""
        pinned = pins.read()
        if self._assembly is None:
            return fallback.read(pinned, notes=(f"BPF iterators can't be used: {self.why_not}",))
        return self._assembly.inventory(pinned)
