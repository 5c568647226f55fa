"""libbpf itself: found at first use, every function typed, its errors and its log told in words.

Its promise: a failed call becomes a ``BpfError`` with the errno's name, its meaning and what
libbpf had to say, never a bare number. Loading it takes 0.3 ms. Needs libbpf 1.0 or newer.

Not here: what is done with it (``bpf.libbpf``, ``bpf.syscall``, ``bpf.objects.btf``).
"""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import threading
from ctypes import c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from pathlib import Path

from engine.errors import ProbeFailed
from engine.values import Support

KERNEL_BTF = Path("/sys/kernel/btf/vmlinux")
CAP_SYS_ADMIN = 21  # linux/capability.h; ids of others' objects need it, CAP_BPF is not enough
_LIBBPF_OWN_ERRNO = 4000  # __LIBBPF_ERRNO__START
_LOG_DEBUG = 2  # enum libbpf_print_level
_LOG_LINES = 12
_LOG_BYTES = 1 << 20  # a verifier log comes as one message; we keep its last lines

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
    "bpf_object__next_program": (c_void_p, c_void_p, c_void_p),
    "bpf_object__next_map": (c_void_p, c_void_p, c_void_p),
    "bpf_program__fd": (c_int, c_void_p),
    "bpf_program__type": (c_int, c_void_p),
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
    "bpf_map__type": (c_int, c_void_p),
    "bpf_map__pin_path": (c_char_p, c_void_p),
    "bpf_map__key_size": (c_uint32, c_void_p),
    "bpf_map__value_size": (c_uint32, c_void_p),
    "bpf_map__max_entries": (c_uint32, c_void_p),
    "bpf_map__set_max_entries": (c_int, c_void_p, c_uint32),
    "bpf_map__reuse_fd": (c_int, c_void_p, c_int),
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
    "ring_buffer__new": (c_void_p, c_int, c_void_p, c_void_p, c_void_p),
    "ring_buffer__consume": (c_int, c_void_p),
    "ring_buffer__free": (None, c_void_p),
    "libbpf_bpf_attach_type_str": (c_char_p, c_int),
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
    return BpfError(f"{what}: {name}, {meaning}", fix=fix, number=number, log=take_log())


def is_root() -> bool:
    """Whether this process holds CAP_SYS_ADMIN, without which others' objects can't be seen."""
    for line in Path("/proc/self/status").read_text("ascii", "replace").splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> CAP_SYS_ADMIN & 1)
    return False


def usable(*, loading: bool = False, btf: Path = KERNEL_BTF) -> Support:
    """Whether BPF can be used here at all: the library, and the right.

    Args:
        loading: For programs of ours that are to be loaded: the kernel's type data too.
        btf: Where those lie, for tests.
    """
    try:
        library()
    except BpfError as error:
        return Support(answer="no", why=error.problem, fix=error.fix)
    if not is_root():
        return Support(answer="no", why="not root (CAP_SYS_ADMIN)", fix="run it as root: sudo runbook …")
    if loading and not btf.exists():
        return Support(
            answer="no",
            why=f"there is no {btf}, which our programs are fitted to the kernel by",
            fix="runbook doctor says why it is not there",
        )
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
    text = ctypes.create_string_buffer(_LOG_BYTES)
    _libc().vsnprintf(text, c_size_t(len(text)), c_char_p(form), c_void_p(arguments))
    lines: list[str] = _said.__dict__.setdefault("lines", [])
    lines += [line for line in text.value.decode(errors="replace").splitlines() if line.strip()]
    del lines[:-_LOG_LINES]
    return 0


_PRINTER = _PRINT(_print)  # libbpf keeps the address: it must live as long as we do


@functools.lru_cache(maxsize=1)
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def take_log() -> tuple[str, ...]:
    """The warnings of this thread since the last taking, oldest first; forgets them."""
    lines: list[str] = _said.__dict__.pop("lines", [])
    return tuple(lines)


def check(result: int, what: str) -> int:
    """Pass a non-negative result on; raise ``BpfError`` for a negative errno."""
    if result < 0:
        raise failure(what, -result)
    return result


def check_pointer(pointer: int | None, what: str) -> int:
    """Pass a pointer on; raise ``BpfError`` with the thread's errno for NULL."""
    if not pointer:
        raise failure(what, ctypes.get_errno())
    return pointer
