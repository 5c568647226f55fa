"""Addresses in stacks made into functions: of the kernel, of BPF programs, of processes.

Its promise: each frame gets a name. One that no symbol covers is told as ``[module+0x1c40]``, and the
reason is among the notes. Names in processes come from bcc's symbolizer, in its child; those that it does
not know, or all where there is no bcc, from the files' own tables.

Not here: counting (``bpf.stacks.folding``).
"""

from __future__ import annotations

import shutil
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from bpf.bcc.symbols import Names, resolve
from bpf.stacks import address_space, kallsyms
from bpf.stacks.address_space import VDSO, AddressSpace, vdso_opened
from bpf.stacks.elf_symbols import ElfSymbols
from bpf.stacks.sampler import Sample
from engine.errors import ProbeFailed

Kind = Literal["user", "kernel", "bpf"]
#: What bcc calls whatever lies outside all functions, such as jumps to other files.
_EDGES = frozenset(("_init", "_fini", "_start"))
#: Asks bcc: pid, addresses.
Ask = Callable[[int, Sequence[int]], Names]


class Frame(NamedTuple):
    """One function in a stack. ``named`` is False when only its module and place are known."""

    function: str
    module: str
    kind: Kind
    named: bool = True


class Stack(NamedTuple):
    """Equal samples of one thread, named.

    Attributes:
        frames: Innermost first.
    """

    sample: Sample
    frames: tuple[Frame, ...]


class Naming:
    """Names for the stacks of one window.

    Args:
        spaces: The processes as they were while they lived.
        ask: bcc's symbolizer; None to do without.

    Attributes:
        notes: Why some names are missing, and what mends it.
        cpu_s, peak_bytes: What bcc's child took.
        symbolizer: Who gave the names of the processes' functions.
    """

    def __init__(self, spaces: Mapping[int, AddressSpace], ask: Ask | None) -> None:
        self._spaces = spaces
        self._ask = ask
        self._files: dict[str, ElfSymbols] = {}
        self._nameless: dict[str, str] = {}
        self.notes: list[str] = []
        self.cpu_s, self.peak_bytes = 0.0, 0
        self.symbolizer = "own reader of ELF files"

    def name(self, samples: Iterable[Sample]) -> list[Stack]:
        """All stacks with names."""
        held = list(samples)
        kernel = kallsyms.names_of(address for sample in held for address in _places(sample.kernel))
        if not kernel and any(sample.kernel for sample in held):
            self.notes.append(
                "the kernel hides its addresses, so its functions have no names; "
                "fix: sysctl kernel.kptr_restrict=1, and be root"
            )
        wanted: dict[int, set[int]] = defaultdict(set)
        for sample in held:
            wanted[sample.pid].update(_places(sample.user))
        user = {pid: self._of_process(pid, sorted(places)) for pid, places in wanted.items() if places}
        self.notes += [
            f"no names in {module}: {why}; fix: install its debug package, or build it with symbols (not -s)"
            for module, why in self._nameless.items()
        ]
        return [
            Stack(
                sample,
                (
                    *(_kernel_frame(place, kernel) for place in _places(sample.kernel)),
                    *(user[sample.pid][place] for place in _places(sample.user)),
                ),
            )
            for sample in held
        ]

    @property
    def has_go(self) -> bool:
        """Whether one of the files was made by the Go compiler."""
        return any(file.go for file in self._files.values())

    def _of_process(self, pid: int, places: list[int]) -> dict[int, Frame]:
        """Frames of one process's addresses."""
        space = self._spaces.get(pid) or AddressSpace(pid, [])
        told = self._ask_bcc(pid, places)
        frames = {place: self._own(space, place) for place in places if not told.get(place)}
        demangled = _demangled([frame.function for frame in frames.values() if frame.named])
        for place, frame in frames.items():
            frames[place] = frame._replace(function=demangled.get(frame.function, frame.function))
        for place, name in told.items():
            if name:
                mapping = space.find(place)
                frames[place] = Frame(name, mapping.module if mapping else "", "user")
        return frames

    def _ask_bcc(self, pid: int, places: list[int]) -> dict[int, str]:
        """Names as far as bcc has them."""
        if self._ask is None:
            return {}
        try:
            names = self._ask(pid, places)
        except ProbeFailed as error:
            self._ask = None
            self.notes.append(f"names come from the files' own tables: {error.problem}; fix: {error.fix}")
            return {}
        self.symbolizer = "bcc's symbolizer"
        self.cpu_s += names.cpu_s
        self.peak_bytes = max(self.peak_bytes, names.peak_bytes)
        return {place: _without_module(name) for place, name in zip(places, names.user, strict=True)}

    def _own(self, space: AddressSpace, place: int) -> Frame:
        """A frame by the tables of the file that the address lies in."""
        mapping = space.find(place)
        if mapping is None:
            return Frame("[unknown]", "", "user", named=False)
        offset = place - mapping.start + mapping.offset
        symbols = self._symbols(space, mapping)
        symbol = symbols.at_offset(offset) if symbols is not None else None
        if symbol:
            return Frame(symbol.name, mapping.module, "user")
        reason = "it can't be read any more"
        if symbols is not None:
            reason = symbols.why or "its tables leave this part out"
        if mapping.path.startswith("/"):
            self._nameless.setdefault(mapping.path, reason)
        return Frame(f"[{mapping.module.strip('[]')}+{offset:#x}]", mapping.module, "user", named=False)

    def _symbols(self, space: AddressSpace, mapping: address_space.Mapping) -> ElfSymbols | None:
        """The table of a mapping's file, read once."""
        if mapping.path not in self._files:
            opened = vdso_opened() if mapping.path == VDSO else space.opened(mapping)
            with opened as fd:
                if fd is None:
                    return None
                self._files[mapping.path] = ElfSymbols(fd)
        return self._files[mapping.path]


def by_bcc(pid: int, places: Sequence[int]) -> Names:
    """Ask bcc's child."""
    return resolve(pid, user=places)


def _places(addresses: Sequence[int]) -> tuple[int, ...]:
    """Where each function stood: callers' addresses are those to return to, one past the call."""
    return (*addresses[:1], *(address - 1 for address in addresses[1:]))


def _kernel_frame(place: int, names: Mapping[int, kallsyms.KernelName]) -> Frame:
    name = names.get(place)
    if name is None:
        return Frame(f"[kernel+{place & 0xFFFFFFFF:#x}]", "kernel", "kernel", named=False)
    return Frame(name.function, name.module, "bpf" if name.is_program else "kernel")


def _without_module(name: str) -> str:
    """From ``malloc [libc.so.6]`` to ``malloc``; empty for what bcc does not know."""
    function = name.rpartition(" [")[0] if name.endswith("]") and not name.startswith("[") else name
    return "" if function.startswith("[unknown]") or function in _EDGES else function


def _demangled(names: Iterable[str]) -> dict[str, str]:
    """C++ and Rust names as they are written, where ``c++filt`` is installed. 3 ms."""
    mangled = sorted({name for name in names if name.startswith(("_Z", "_R"))})
    tool = shutil.which("c++filt")
    if not mangled or tool is None:
        return {}
    try:
        told = subprocess.run(
            [tool], input="\n".join(mangled), capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return {}
    return dict(zip(mangled, told.stdout.splitlines(), strict=False))
