"""All BPF maps, programs, links and who holds them, as the kernel writes them: one read per kind.

BPF iterators (kernel 5.8; links 5.19) run in the kernel over every object and write fixed binary
records. Set-up takes 16 ms, once; after that 1,000 maps and 1,000 programs with their owners take
about a millisecond. Needs kernel BTF.

Two things a kernel need not tell are found out at set-up from objects of our own: the file
operations by which a descriptor is known for a map, program or link, and where each CPU's part of
a per-CPU allocation lies (for run times).

Not here: names and values for people (``bpf.objects.inventory``).
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from ctypes import byref, c_uint32
from pathlib import Path
from typing import Any

from bpf.closing import Closing
from bpf.libbpf import BpfError, BpfObject, Link, check, library
from bpf.syscall import LinkInfo, MapInfo, ProgramInfo, ask

# The records of inventory.bpf.c.
MAP = struct.Struct("=8Iq2Q16s")
PROGRAM = struct.Struct("=8I4Q16s64s")
LINK = struct.Struct("=4IQ32s64s")
FILE = struct.Struct("=4I16s")
_FILE_OPERATIONS = struct.Struct("=QII")
_OFFSET = struct.Struct("=QQ")
_MAX_CPUS = 512
_KNOWN = struct.Struct(f"=4Q2I{_MAX_CPUS}Q")

HOLDS_MAP, HOLDS_PROGRAM, HOLDS_LINK = 1, 2, 3  # file record's kind

_OBJECT = Path(__file__).with_name("inventory.bpf.o")
_HELPER_LOOKUP_PERCPU = 195  # BPF_FUNC_map_lookup_percpu_elem, kernel 5.19
_SOCKET_FILTER = 1
_ITERATORS = ("maps", "programs", "files", "perf_files", "links")
_PERF_EVENT_OPEN = {"x86_64": 298, "aarch64": 241, "riscv64": 241}
_SOFTWARE, _DUMMY = 1, 9  # perf: an event that never fires
Record = tuple[Any, ...]


class Iterators(Closing):
    """The loaded iterators; ``close`` unloads them.

    Attributes:
        own_maps, own_programs, own_links: Ids of the reader's own objects, to be left out.
        has_links: This kernel can list links.
        has_run_times: Run times come with the programs; else ask for each (``bpf.syscall``).
    """

    def __init__(self) -> None:
        self._perf_operations: int | None = None  # not asked yet
        cpus = possible_cpus()
        helper = library().libbpf_probe_bpf_helper(_SOCKET_FILTER, _HELPER_LOOKUP_PERCPU, None)
        self.has_run_times = helper == 1 and cpus <= _MAX_CPUS
        try:
            self._object, self.has_links = self._loaded(cpus, links=True), True
        except BpfError:  # most likely a kernel without the link iterator; else it fails again
            self._object, self.has_links = self._loaded(cpus, links=False), False
        try:
            self._set_up()
        except BaseException:
            self._object.close()
            raise

    def close(self) -> None:
        """Unload. Doing it twice is no error."""
        self._object.close()

    def read(self, kind: str) -> bytes:
        """All records of one kind, as the kernel wrote them; none where it lacks the iterator.

        Args:
            kind: ``maps`` (``MAP`` records), ``programs`` (``PROGRAM``), ``links`` (``LINK``) or ``files``
                (``FILE``: each descriptor, of any process, that holds one of these).
        """
        link = self._links.get(kind)
        return link.read() if link is not None else b""

    def perf_files(self) -> bytes | None:
        """``LINK`` records (id 0), one per perf event descriptor that runs a program.

        None where perf descriptors can't be recognised. The first call costs 20 ms more: it makes a
        perf event of our own to learn how they look.
        """
        if self._perf_operations is None:
            fd = _dummy_perf_event()
            self._perf_operations = 0
            if fd is not None:
                self._perf_operations = self._file_operations().get(fd, 0)
                os.close(fd)
            self._tell(*self._operations, self._perf_operations, offsets=self._offsets)
        return self._links["perf_files"].read() if self._perf_operations else None

    def _loaded(self, cpus: int, *, links: bool) -> BpfObject:
        ours = BpfObject.open(_OBJECT)
        try:
            ours.set_global("cpus", struct.pack("=I", cpus if self.has_run_times else 0))
            if not links:
                ours.skip("links")
            if not self.has_run_times:
                ours.skip("percpu_offsets")
            ours.load()
        except BaseException:
            ours.close()
            raise
        return ours

    def _set_up(self) -> None:
        ours = self._object
        wanted = [name for name in _ITERATORS if name != "links" or self.has_links]
        self._links: dict[str, Link] = {name: ours.attach_iterator(name) for name in wanted}
        ids = {name: ask(ours.map(name).fd, MapInfo()).id for name in ("known", "percpu", ".rodata")}
        self.own_maps = frozenset(ids.values())
        self.own_links = frozenset(ask(link.fd, LinkInfo()).id for link in self._links.values())
        programs = wanted + ["percpu_offsets"] * self.has_run_times
        self.own_programs = frozenset(ask(ours.program_fd(name), ProgramInfo()).id for name in programs)
        self._offsets = self._percpu_offsets(ids["percpu"]) if self.has_run_times else []
        seen = self._file_operations()
        self._operations = (
            seen[ours.map("known").fd],
            seen[ours.program_fd("maps")],
            seen[self._links["maps"].fd],
        )
        self._tell(*self._operations, offsets=self._offsets)

    def _tell(
        self, *operations: int, offsets: list[int] | None = None, only_tgid: int = 0, own_map: int = 0
    ) -> None:
        """Store what the iterators need to know, in their own array map."""
        known, places = self._object.map("known"), offsets or []
        fops = (*operations, 0, 0, 0, 0)[:4]
        value = _KNOWN.pack(*fops, only_tgid, own_map, *places, *[0] * (_MAX_CPUS - len(places)))
        result = library().bpf_map_update_elem(known.fd, byref(c_uint32(0)), value, 0)
        check(result, "the iterators could not be configured")

    def _percpu_offsets(self, percpu_map: int) -> list[int]:
        """Distance of each possible CPU's part from a per-CPU pointer as the kernel keeps it."""
        self._tell(own_map=percpu_map)
        link = self._object.attach_iterator("percpu_offsets")
        try:
            return [there - base & (1 << 64) - 1 for base, there in _OFFSET.iter_unpack(link.read())]
        finally:
            link.close()

    def _file_operations(self) -> dict[int, int]:
        """The f_op of each descriptor of our own: those of one kind share one."""
        self._tell(only_tgid=os.getpid())
        return {fd: fops for fops, fd, _ in _FILE_OPERATIONS.iter_unpack(self._links["files"].read())}


class IfIterators(Closing):
    """The iterators where this kernel has them; subclasses have another way without.

    Attributes:
        why_not: Why they can't be used; empty when they can.
    """

    def __init__(self) -> None:
        self._iterators: Iterators | None = None
        self.why_not = ""
        try:
            self._iterators = Iterators()
        except BpfError as error:
            self.why_not = error.problem.splitlines()[0]

    def close(self) -> None:
        """Unload the iterators. Doing it twice is no error."""
        if self._iterators is not None:
            self._iterators.close()
            self._iterators = None


def possible_cpus() -> int:
    """CPUs this kernel may ever bring up; per-CPU values have one part for each."""
    ranges = Path("/sys/devices/system/cpu/possible").read_text("ascii").strip()
    return int(ranges.rsplit(",", 1)[-1].rsplit("-", 1)[-1]) + 1


def _dummy_perf_event() -> int | None:
    """A perf event of our own that never fires, to learn what perf descriptors look like."""
    number = _PERF_EVENT_OPEN.get(platform.machine())
    if number is None:
        return None
    attributes = struct.pack("=IIQ", _SOFTWARE, 64, _DUMMY).ljust(64, b"\0")
    fd = ctypes.CDLL(None).syscall(number, attributes, 0, -1, -1, 8)  # ourselves, any CPU, close-on-exec
    return fd if fd >= 0 else None
