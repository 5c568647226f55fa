"""Our own BPF objects, through the system's libbpf: opened, loaded, attached, let go.

Objects are prebuilt and lie beside the module that uses them (``x.py``, ``x.bpf.c``,
``x.bpf.o``): no compiler on the host. One without kernel BTF is attached 2 ms after opening, one
with CO-RE relocations 15 ms after. Whatever ends the block or the process, nothing stays in the
kernel.

Not here: the library, its errors and log (``bpf.library``), questions about objects of others
(``bpf.syscall``), names of variables (``bpf.objects.btf``).
"""

from __future__ import annotations

import ctypes
import os
from ctypes import byref, c_size_t, c_uint32
from pathlib import Path
from types import TracebackType

from bpf.closing import Closing
from bpf.library import BpfError, check, check_pointer, failure, is_root, library, take_log, usable
from bpf.objects import btf, tracepoints

__all__ = [
    "BpfError",
    "BpfObject",
    "Link",
    "MapHandle",
    "check",
    "failure",
    "is_root",
    "library",
    "map_fd_by_id",
    "statistics",
    "usable",
]


def map_fd_by_id(map_id: int) -> int:
    """A read-write descriptor of anybody's map; the caller closes it. It keeps the map alive."""
    return check(library().bpf_map_get_fd_by_id(map_id), f"map {map_id} could not be opened")


class MapHandle:
    """A map of one of our own objects; the object owns the descriptor."""

    def __init__(self, pointer: int, name: str) -> None:
        lib = library()
        self.name = name
        self.fd: int = lib.bpf_map__fd(pointer)
        self.key_size: int = lib.bpf_map__key_size(pointer)
        self.value_size: int = lib.bpf_map__value_size(pointer)
        self.max_entries: int = lib.bpf_map__max_entries(pointer)


class Link:
    """One attachment of ours; ``close`` detaches it."""

    def __init__(self, pointer: int) -> None:
        self._pointer: int | None = pointer
        self.fd: int = library().bpf_link__fd(pointer)

    def close(self) -> None:
        """Detach. Doing it twice is no error."""
        if self._pointer is not None:
            library().bpf_link__destroy(self._pointer)
            self._pointer = None

    def read(self) -> bytes:
        """For an iterator: run it over everything once and give all it wrote."""
        fd = check(library().bpf_iter_create(self.fd), "the iterator could not be started")
        parts = []
        try:
            while part := os.read(fd, 1 << 16):  # the kernel gives no more at once; a larger room costs time
                parts.append(part)
        finally:
            os.close(fd)
        return b"".join(parts)


class BpfObject(Closing):
    """A prebuilt object: open, set constants, load, attach; ``close`` undoes it all.

    Example::

        with BpfObject.open(Path(__file__).with_suffix(".bpf.o")) as counters:
            counters.load()
            counters.attach("on_enter")
    """

    def __init__(self, pointer: int, path: Path) -> None:
        self.path = path
        self._pointer: int | None = pointer
        self._links: list[Link] = []
        self._loaded = False

    @classmethod
    def open(cls, path: Path) -> BpfObject:
        """Read the object file; nothing enters the kernel yet.

        Raises:
            BpfError: It is not there (never built), or not an object.
        """
        if not path.is_file():
            raise BpfError(f"the BPF object {path.name} is not beside its module", fix="make objects")
        pointer = library().bpf_object__open_file(os.fsencode(path), None)
        return cls(check_pointer(pointer, f"{path.name} could not be read"), path)

    def close(self) -> None:
        """Detach and unload everything."""
        for link in self._links:
            link.close()
        self._links.clear()
        if self._pointer is not None:
            library().bpf_object__close(self._pointer)
            self._pointer = None

    def set_global(self, name: str, value: bytes) -> None:
        """Set a global variable before ``load``, constants included; native byte order."""
        section, offset, size = self._global(name)
        if len(value) != size or self._loaded:
            raise BpfError(
                f"{name} in {self.path.name} can't be set to {len(value)} bytes (it has {size})",
                fix="globals are set before load, with their exact size",
            )
        held = library().bpf_object__find_map_by_name(self._pointer, section.encode())
        start = library().bpf_map__initial_value(held, byref(c_size_t()))
        ctypes.memmove(start + offset, value, size)

    def get_global(self, name: str) -> bytes:
        """The present bytes of a global variable of ours, after ``load``. One system call."""
        section, offset, size = self._global(name)
        held = self.map(section)
        value = ctypes.create_string_buffer(held.value_size)
        check(library().bpf_map_lookup_elem(held.fd, byref(c_uint32(0)), value), f"{name} could not be read")
        return value.raw[offset : offset + size]

    def _global(self, name: str) -> tuple[str, int, int]:
        """Section, offset and size in bytes."""
        types = btf.Types(library().bpf_object__btf(self._pointer))
        for section in (".rodata", ".bss", ".data"):
            for variable in types.section(section):
                if variable.name == name:
                    return section, variable.offset, variable.size
        raise BpfError(f"{self.path.name} has no global variable {name}", fix="make objects")

    def set_max_entries(self, name: str, entries: int) -> None:
        """Size a map before ``load``; bytes for a ring buffer."""
        pointer = library().bpf_object__find_map_by_name(self._pointer, name.encode())
        check(library().bpf_map__set_max_entries(pointer, entries), f"map {name} could not be sized")

    def reuse_map(self, name: str, map_id: int) -> None:
        """Before ``load``: let anybody's map stand for ours of that name; it lives as long as we hold it."""
        pointer = library().bpf_object__find_map_by_name(self._pointer, name.encode())
        fd = map_fd_by_id(map_id)
        try:
            check(library().bpf_map__reuse_fd(pointer, fd), f"map {map_id} can't stand for {name}")
        finally:
            os.close(fd)  # libbpf keeps one of its own

    def skip(self, program: str) -> None:
        """Do not load this program (this kernel lacks what it needs)."""
        library().bpf_program__set_autoload(self._program(program), False)

    def load(self) -> None:
        """Hand programs and maps to the kernel.

        Raises:
            BpfError: With the verifier's or libbpf's last lines.
        """
        take_log()
        check(library().bpf_object__load(self._pointer), f"{self.path.name} could not be loaded")
        self._loaded = True

    def _program(self, name: str) -> int:
        pointer = library().bpf_object__find_program_by_name(self._pointer, name.encode())
        return check_pointer(pointer, f"{self.path.name} has no program {name}")

    def program_fd(self, name: str) -> int:
        """Descriptor of a loaded program; owned by the object."""
        return check(library().bpf_program__fd(self._program(name)), f"program {name} is not loaded")

    def map(self, name: str) -> MapHandle:
        """One of the object's maps; ``.bss``, ``.data``, ``.rodata`` for the global variables."""
        pointer = library().bpf_object__find_map_by_name(self._pointer, name.encode())
        return MapHandle(check_pointer(pointer, f"{self.path.name} has no map {name}"), name)

    def _keep(self, pointer: int | None, what: str) -> Link:
        link = Link(check_pointer(pointer, what))
        self._links.append(link)
        return link

    def attach(self, program: str) -> Link:
        """Attach where the program's section says; the object detaches it when closed."""
        return self._keep(library().bpf_program__attach(self._program(program)), f"{program} did not attach")

    def attach_tracepoint(self, program: str, group: str, name: str) -> Link:
        """Attach to a trace event, wherever (if anywhere) the trace file system is mounted."""
        fd = tracepoints.open_event(tracepoints.event_id(group, name))
        pointer = library().bpf_program__attach_perf_event(self._program(program), fd)
        if not pointer:
            os.close(fd)  # else the link owns it
        return self._keep(pointer, f"{program} did not attach to tracepoint {group}:{name}")

    def attach_clock(self, program: str, cpu: int, hz: int) -> Link:
        """Run a ``perf_event`` program ``hz`` times a second on one CPU."""
        fd = tracepoints.open_clock(cpu, hz)
        pointer = library().bpf_program__attach_perf_event(self._program(program), fd)
        if not pointer:
            os.close(fd)  # else the link owns it
        return self._keep(pointer, f"{program} did not attach to the clock of CPU {cpu}")

    def attach_iterator(self, program: str) -> Link:
        """An iterator link; ``read`` on it runs it."""
        pointer = library().bpf_program__attach_iter(self._program(program), None)
        return self._keep(pointer, f"iterator {program} did not attach")

    def attach_raw_tracepoint(self, program: str, tracepoint: str) -> Link:
        """Attach to any tracepoint by its name alone (``sched_switch``); needs no tracefs."""
        pointer = library().bpf_program__attach_raw_tracepoint(self._program(program), tracepoint.encode())
        return self._keep(pointer, f"{program} did not attach to tracepoint {tracepoint}")

    def attach_kprobe(self, program: str, function: str, *, at_return: bool = False) -> Link:
        """Attach to a kernel function, where the kernel has kprobes."""
        pointer = library().bpf_program__attach_kprobe(self._program(program), at_return, function.encode())
        return self._keep(pointer, f"{program} did not attach to kernel function {function}")

    def attach_uprobe(
        self, program: str, pid: int, file: Path, offset: int, *, at_return: bool = False
    ) -> Link:
        """Attach to the code at a byte of a file, for one process (all its threads); 0.1 ms."""
        pointer = library().bpf_program__attach_uprobe(
            self._program(program), at_return, pid, os.fsencode(file), offset
        )
        return self._keep(pointer, f"{program} did not attach to {file}+{offset:#x}")


class statistics:  # noqa: N801 - used as a function: ``with statistics():``
    """Run-time statistics of all BPF programs, on for the length of the block (kernel 5.8).

    They end with the descriptor, so not even kill -9 leaves them on. While on, each program run
    takes 25 to 31 ns longer.
    """

    def __enter__(self) -> None:
        self._fd = check(library().bpf_enable_stats(0), "run statistics could not be switched on")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
