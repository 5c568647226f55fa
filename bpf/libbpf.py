"""The one binding to libbpf, the system's own: objects, programs, maps, links.

Its promise: every call that fails raises a ``BpfError`` with the errno's name, its meaning and
what libbpf itself had to say. The library is loaded at first use, 0.3 ms; an object without
kernel BTF is attached 2 ms later, one with CO-RE relocations 15 ms later.

Needs libbpf 1.0 or newer and root. Objects are prebuilt: they lie beside the module that uses
them (``x.py``, ``x.bpf.c``, ``x.bpf.o``).

Not here: questions to the kernel about objects of others (``bpf.syscall``), names of variables
(``bpf.btf``).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import threading
from ctypes import byref, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path
from types import TracebackType

from engine.errors import ProbeFailed
from engine.values import Support

CAP_SYS_ADMIN = 21  # linux/capability.h; ids of others' objects need it, CAP_BPF is not enough
_LIBBPF_OWN_ERRNO = 4000  # __LIBBPF_ERRNO__START
_LOG_DEBUG = 2  # enum libbpf_print_level
_LOG_LINES = 12

_MEANINGS = {
    errno.EPERM: "not permitted: root (CAP_SYS_ADMIN) is needed, or the kernel refuses this kind of program",
    errno.EACCES: "the kernel's verifier refused the program",
    errno.EINVAL: "the kernel does not know this program, map or attach type, or refuses an argument",
    errno.ENOENT: "there is no such object (it is gone, or this kernel lacks it)",
    errno.ESRCH: "this kernel lacks something that the program refers to",
    errno.ENOMEM: "out of memory, or the locked-memory limit is reached",
    errno.EBUSY: "the kernel does not let this be traced, or it is in use",
    errno.EOPNOTSUPP: "this kernel does not support it",
    524: "this kernel does not support it",  # ENOTSUPP, not in errno.h
}

#: Name → result, arguments. Everything we call, typed; ``linux/bpf.h`` and libbpf 1.0 headers.
_PROTOTYPES: dict[str, tuple[object, ...]] = {
    "bpf_object__open_file": (c_void_p, c_char_p, c_void_p),
    "bpf_object__load": (c_int, c_void_p),
    "bpf_object__close": (None, c_void_p),
    "bpf_object__btf": (c_void_p, c_void_p),
    "bpf_object__find_program_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_object__find_map_by_name": (c_void_p, c_void_p, c_char_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__set_autoload": (c_int, c_void_p, c_bool),
    "bpf_program__attach": (c_void_p, c_void_p),
    "bpf_program__attach_iter": (c_void_p, c_void_p, c_void_p),
    "bpf_program__attach_raw_tracepoint": (c_void_p, c_void_p, c_char_p),
    "bpf_program__attach_perf_event": (c_void_p, c_void_p, c_int),
    "bpf_program__attach_kprobe": (c_void_p, c_void_p, c_bool, c_char_p),
    "bpf_program__attach_uprobe": (c_void_p, c_void_p, c_bool, c_int, c_char_p, c_size_t),
    "bpf_link__fd": (c_int, c_void_p),
    "bpf_link__destroy": (c_int, c_void_p),
    "bpf_iter_create": (c_int, c_int),
    "bpf_map__fd": (c_int, c_void_p),
    "bpf_map__key_size": (c_uint32, c_void_p),
    "bpf_map__value_size": (c_uint32, c_void_p),
    "bpf_map__max_entries": (c_uint32, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__initial_value": (c_void_p, c_void_p, c_void_p),
    "bpf_map_lookup_elem": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_update_elem": (c_int, c_int, c_void_p, c_void_p, c_uint64),
    "bpf_map_get_next_key": (c_int, c_int, c_void_p, c_void_p),
    "bpf_map_lookup_batch": (
        c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p,
    ),
    "bpf_map_delete_batch": (c_int, c_int, c_void_p, c_void_p, c_void_p),
    "bpf_obj_get": (c_int, c_char_p),
    "bpf_obj_get_info_by_fd": (c_int, c_int, c_void_p, c_void_p),
    "bpf_prog_get_next_id": (c_int, c_uint32, c_void_p),
    "bpf_map_get_next_id": (c_int, c_uint32, c_void_p),
    "bpf_link_get_next_id": (c_int, c_uint32, c_void_p),
    "bpf_prog_get_fd_by_id": (c_int, c_uint32),
    "bpf_map_get_fd_by_id": (c_int, c_uint32),
    "bpf_link_get_fd_by_id": (c_int, c_uint32),
    "bpf_btf_get_fd_by_id": (c_int, c_uint32),
    "bpf_enable_stats": (c_int, c_uint32),
    "bpf_task_fd_query": (
        c_int, c_int, c_int, c_uint32, c_char_p, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p,
    ),
    "btf__load_from_kernel_by_id": (c_void_p, c_uint32),
    "btf__load_vmlinux_btf": (c_void_p,),
    "btf__type_by_id": (c_void_p, c_void_p, c_uint32),
    "btf__name_by_offset": (c_char_p, c_void_p, c_uint32),
    "btf__find_by_name_kind": (c_int, c_void_p, c_char_p, c_uint32),
    "btf__resolve_size": (ctypes.c_int64, c_void_p, c_uint32),
    "btf__free": (None, c_void_p),
    "libbpf_strerror": (c_int, c_int, c_char_p, c_size_t),
    "libbpf_probe_bpf_helper": (c_int, c_uint32, c_uint32, c_void_p),
    "libbpf_probe_bpf_prog_type": (c_int, c_uint32, c_void_p),
    "libbpf_probe_bpf_map_type": (c_int, c_uint32, c_void_p),
}  # fmt: skip

_said = threading.local()  # libbpf's lines of this thread: probes work side by side
_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)


class BpfError(ProbeFailed):
    """A BPF call failed.

    Attributes:
        number: The errno; 0 when there was none.
        log: libbpf's own lines, newest last.
    """

    def __init__(self, problem: str, *, fix: str, number: int = 0, log: tuple[str, ...] = ()) -> None:
        super().__init__("\n    ".join((problem, *log)), fix=fix)
        self.number = number
        self.log = log


def failure(what: str, number: int, fix: str = "") -> BpfError:
    """The error for a call that gave ``number`` (positive errno), with libbpf's log of this thread."""
    name = errno.errorcode.get(number, f"errno {number}")
    meaning = _MEANINGS.get(number) or os.strerror(number)
    if number >= _LIBBPF_OWN_ERRNO:
        text = ctypes.create_string_buffer(128)
        library().libbpf_strerror(number, text, len(text))
        name, meaning = f"libbpf error {number}", text.value.decode(errors="replace")
    if not fix:
        fix = "runbook doctor says what this kernel allows" if is_root() else "run it as root: sudo runbook …"
    return BpfError(f"{what}: {name}, {meaning}", fix=fix, number=number, log=_take_log())


def is_root() -> bool:
    """Whether this process holds CAP_SYS_ADMIN, without which others' objects can't be seen."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def usable() -> Support:
    """Whether BPF can be used here at all: the library, and the right."""
    try:
        library()
    except BpfError as error:
        return Support(answer="no", why=error.problem, fix=error.fix)
    if not is_root():
        return Support(answer="no", why="not root (CAP_SYS_ADMIN)", fix="run it as root: sudo runbook …")
    return Support(answer="yes", why="libbpf is here and we are root")


@functools.lru_cache(maxsize=1)
def library() -> ctypes.CDLL:
    """libbpf.so.1 with all prototypes set and its log turned to us.

    Raises:
        BpfError: The library is missing or too old.
    """
    try:
        lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
        for name, (result, *arguments) in _PROTOTYPES.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise BpfError(f"libbpf 1.0 or newer is missing ({error})", fix="apt install libbpf1") from None
    lib.libbpf_set_print(_PRINTER)
    return lib


def _print(level: int, form: bytes, arguments: int) -> int:
    """Keep libbpf's warnings; formats them with vsnprintf, since a va_list can't be read from here."""
    if level >= _LOG_DEBUG:
        return 0
    text = ctypes.create_string_buffer(1024)
    _libc().vsnprintf(text, c_size_t(len(text)), c_char_p(form), c_void_p(arguments))
    lines: list[str] = _said.__dict__.setdefault("lines", [])
    lines += [line for line in text.value.decode(errors="replace").splitlines() if line.strip()]
    del lines[:-_LOG_LINES]
    return 0


_PRINTER = _PRINT(_print)  # libbpf keeps the address: it must live as long as we do


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _take_log() -> tuple[str, ...]:
    lines: list[str] = _said.__dict__.pop("lines", [])
    return tuple(lines)


def check(result: int, what: str) -> int:
    """Pass a non-negative result on; raise ``BpfError`` for a negative errno."""
    if result < 0:
        raise failure(what, -result)
    return result


def _check_pointer(pointer: int | None, what: str) -> int:
    if not pointer:
        raise failure(what, ctypes.get_errno())
    return pointer


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
            while part := os.read(fd, 1 << 20):
                parts.append(part)
        finally:
            os.close(fd)
        return b"".join(parts)


class BpfObject:
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
        return cls(_check_pointer(pointer, f"{path.name} could not be read"), path)

    def __enter__(self) -> BpfObject:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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
        from bpf import btf  # noqa: PLC0415 - late: btf itself needs this module

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

    def skip(self, program: str) -> None:
        """Do not load this program (this kernel lacks what it needs)."""
        library().bpf_program__set_autoload(self._program(program), False)

    def load(self) -> None:
        """Hand programs and maps to the kernel.

        Raises:
            BpfError: With the verifier's or libbpf's last lines.
        """
        _take_log()
        check(library().bpf_object__load(self._pointer), f"{self.path.name} could not be loaded")
        self._loaded = True

    def _program(self, name: str) -> int:
        pointer = library().bpf_object__find_program_by_name(self._pointer, name.encode())
        return _check_pointer(pointer, f"{self.path.name} has no program {name}")

    def program_fd(self, name: str) -> int:
        """Descriptor of a loaded program; owned by the object."""
        return check(library().bpf_program__fd(self._program(name)), f"program {name} is not loaded")

    def map(self, name: str) -> MapHandle:
        """One of the object's maps; ``.bss``, ``.data``, ``.rodata`` for the global variables."""
        pointer = library().bpf_object__find_map_by_name(self._pointer, name.encode())
        return MapHandle(_check_pointer(pointer, f"{self.path.name} has no map {name}"), name)

    def _keep(self, pointer: int | None, what: str) -> Link:
        link = Link(_check_pointer(pointer, what))
        self._links.append(link)
        return link

    def attach(self, program: str) -> Link:
        """Attach where the program's section says; the object detaches it when closed."""
        return self._keep(library().bpf_program__attach(self._program(program)), f"{program} did not attach")

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
