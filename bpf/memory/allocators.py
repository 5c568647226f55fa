"""Where in a process's files the functions of its allocator begin.

Its promise: the file whose ``malloc`` serves is found: the C library, an allocator that stands before it
(jemalloc, tcmalloc, mimalloc), the executable itself where it is linked statically and has symbols. Why
a process has none of them is told: Go's runtime, or no symbols.

Not here: watching them (``bpf.probes.allocations``).
Cost: 0.2 µs a symbol of each file, 10 ms for a usual process.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bpf.stacks.address_space import AddressSpace, Mapping
from bpf.stacks.elf_symbols import ElfSymbols
from bpf.system.procfs import PROC

#: Function → our program at its beginning. All but free have another at their return. Few: letting go of each
#: takes the kernel 0.1 s. The rarer ones (reallocarray, strdup) come by these.
PROGRAMS: dict[str, str] = {
    "malloc": "on_malloc",
    "calloc": "on_calloc",
    "realloc": "on_realloc",
    "posix_memalign": "on_posix_memalign",
    "aligned_alloc": "on_aligned",
    "memalign": "on_aligned",
    "mallocx": "on_malloc",  # jemalloc's own
    "rallocx": "on_realloc",
    "free": "on_free",
    "dallocx": "on_free",
    "sdallocx": "on_free",
}
#: An allocator's own operators: libstdc++'s only call malloc and free.
_OPERATORS: dict[str, str] = {
    **dict.fromkeys(("_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t"), "on_malloc"),
    **dict.fromkeys(("_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm"), "on_free"),
}
#: Between the program and its allocator: their functions are no site of their own.
_PLUMBING = re.compile(
    r"(ld-linux|ld-musl|libc[.-]|libstdc\+\+|libc\+\+|libgcc|libm[.-]|libpthread|libjemalloc|libtcmalloc|libmimalloc)"
)
_MOST_FILES = 4


class Allocator(msgspec.Struct, frozen=True, kw_only=True):
    """One file that defines malloc, and where.

    Attributes:
        file: A path that opens this very file, deleted or in a container.
        name: What an operator knows it by.
        offsets: Function → byte of the file.
        programs: Function → our program.
    """

    file: Path
    name: str
    offsets: dict[str, int]
    programs: dict[str, str]


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """The allocators of one process; ``why`` there are none.

    Attributes:
        go: The executable was made by the Go compiler.
    """

    allocators: tuple[Allocator, ...] = ()
    why: str = ""
    go: bool = False


def allocators_of(space: AddressSpace, proc: Path = PROC) -> Found:
    """Read the symbols of every file that a process runs code of."""
    found: list[Allocator] = []
    nameless: list[str] = []
    go = False
    for mapping in _files(space):
        with space.opened(mapping) as fd:
            symbols = ElfSymbols(fd) if fd is not None else None
        if symbols is None or not len(symbols):
            nameless.append(mapping.module)
            continue
        go = go or symbols.go
        offsets = symbols.offsets({*PROGRAMS, *_OPERATORS})
        if "malloc" in offsets and "free" in offsets and not mapping.module.startswith("ld-"):
            found.append(_allocator(space.pid, mapping, offsets, proc))
    before_libc = [one for one in found if not one.name.startswith("libc")]  # they take its place
    if found:
        return Found(allocators=tuple((before_libc or found)[:_MOST_FILES]), go=go)
    if go:
        return Found(why="it is a Go program: its runtime has an allocator of its own", go=True)
    if nameless:
        return Found(why=f"no symbols in {', '.join(nameless[:3])}, so its malloc can't be found")
    return Found(why="none of its files defines malloc" if space.mappings else "its mappings can't be read")


def own_ranges(space: AddressSpace, most: int) -> list[tuple[int, int]]:
    """Where the program's own code lies: everything but the C library and its like; the executable first."""
    found = [
        (one.start, one.end)
        for one in space.mappings
        if one.path.startswith("/") and not is_plumbing(one.module)
    ]
    return found[:most]


def is_plumbing(module: str) -> bool:
    """Whether a file stands between a program and its allocator."""
    return _PLUMBING.match(module) is not None


def _files(space: AddressSpace) -> Iterator[Mapping]:
    """The first mapping of each file."""
    seen: set[str] = set()
    for mapping in space.mappings:
        if mapping.path.startswith("/") and mapping.path not in seen:
            seen.add(mapping.path)
            yield mapping


def _allocator(pid: int, mapping: Mapping, offsets: dict[str, int], proc: Path) -> Allocator:
    """Its functions, each place once: names of one function (aliases) would count it twice."""
    here = proc / str(pid)
    file = here / "map_files" / f"{mapping.start:x}-{mapping.end:x}"
    known = {**PROGRAMS, **_OPERATORS}
    once: dict[int, str] = {}
    for name in known:
        if name in offsets:
            once.setdefault(offsets[name], name)
    return Allocator(
        file=file if file.exists() else here / "root" / mapping.path.lstrip("/"),
        name=mapping.module,
        offsets={name: at for at, name in once.items()},
        programs={name: known[name] for name in once.values()},
    )
