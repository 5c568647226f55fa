"""Our probes on one process's allocator: attached, counted, let go, read.

Its promise: the process is as before once ``stop`` returns (or we end, however); what was counted can be read
afterwards, as often as wanted.

Not here: how long to watch (``bpf.probes.allocations``), what it means (``bpf.memory.outstanding``).
Cost: attaching 20 probes takes 20 to 200 ms; 262,144 pieces at most, 100 bytes of kernel memory each.
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Iterable
from ctypes import byref, c_uint32
from pathlib import Path
from typing import NamedTuple

from bpf.libbpf import BpfError, Link, library
from bpf.memory.allocators import Allocator, is_plumbing, own_ranges
from bpf.memory.outstanding import Site, Tally
from bpf.objects import maps
from bpf.objects.loaded import Loaded
from bpf.stacks.address_space import AddressSpace
from bpf.stacks.naming import Frame, Naming
from bpf.stacks.sampler import Sample

_OBJECT = Path(__file__).parents[1] / "probes" / "allocations.bpf.o"
_RANGES = 16
_DEPTH = 32
_ADDRESS = struct.Struct("=QII")  # struct address
_PIECE = struct.Struct("=QQQQiI")  # struct piece
_TALLY = struct.Struct("=10Q")  # struct tally
_STACK = struct.Struct(f"={_DEPTH}Q")
_GLIBC = ("libc.so.6", "libc-2.")
_WORD = 1 << 64
#: Functions that only hand on what they are asked for: operator new, containers, Rust's and Go's own.
_HANDS_ON = re.compile(
    r"(?:[\w:]+\*? )?(?:operator new|_Zn|std::|__gnu_cxx::|__rust_|__rdl_|__rg_|<?alloc::|x(?:m|c|re)alloc)"
)


class Raw(NamedTuple):
    """One piece as our table has it; times in seconds of the monotonic clock."""

    bytes: int
    born: float
    stack: tuple[int, ...]


class Follower(Loaded):
    """The allocators of one process, followed.

    Args:
        space: The process, as it is now.
        allocators: Where its malloc and free are.
        one_in: Follow one of so many allocations.
    """

    def __init__(self, space: AddressSpace, allocators: Iterable[Allocator], one_in: int) -> None:
        self.space = space
        self._allocators = list(allocators)
        self.sizes_known = all(one.name.startswith(_GLIBC) for one in self._allocators)
        self._links: list[Link] = []
        super().__init__(_OBJECT)
        with self._set_up() as ours:
            ours.set_global("one_in", struct.pack("=I", one_in))
            ours.set_global("size_before", struct.pack("=I", self.sizes_known))
            ranges = own_ranges(space, _RANGES)
            words = [word for span in ranges for word in span] + [0] * (2 * (_RANGES - len(ranges)))
            ours.set_global("own", struct.pack(f"={2 * _RANGES}Q", *words))
            ours.load()

    def attach(self) -> dict[str, str]:
        """Begin; gives the functions that could not be watched, with the reason.

        Frees first: what is allocated before they are watched would seem to stay.

        Raises:
            BpfError: malloc or free itself can't be watched.
        """
        refused: dict[str, str] = {}
        for one in self._allocators:
            ordered = sorted(one.programs.items(), key=lambda item: item[1] != "on_free")
            for function, program in ordered:
                try:
                    self._attach(one, function, program)
                except BpfError as error:
                    if function in ("malloc", "free"):
                        raise
                    refused[f"{function} in {one.name}"] = error.problem.splitlines()[0]
        return refused

    def _attach(self, one: Allocator, function: str, program: str) -> None:
        place = one.offsets[function]
        if program != "on_free":  # its return first: a call without one would be left standing
            at_return = self._object.attach_uprobe(
                "on_return", self.space.pid, one.file, place, at_return=True
            )
            self._links.append(at_return)
        self._links.append(self._object.attach_uprobe(program, self.space.pid, one.file, place))

    def stop(self) -> None:
        """Let the process go."""
        for link in self._links:
            link.close()
        self._links.clear()

    def tally(self) -> Tally:
        """The counts so far, all CPUs together. 5 µs."""
        parts = _TALLY.iter_unpack(maps.read_array(self._id("tallies")))
        words = [sum(column) % _WORD for column in zip(*parts, strict=True)]
        return Tally(**dict(zip(Tally.__struct_fields__, words, strict=True)))

    def pieces(self) -> list[Raw]:
        """What is not freed. 1 µs a piece."""
        stacks: dict[int, tuple[int, ...]] = {}
        found = []
        for _, values in maps.lookup_batch(self._id("alive")):
            for size, born, caller, origin, stack, _ in _PIECE.iter_unpack(values):
                if stack not in stacks:
                    stacks[stack] = self._walked(stack)
                found.append(Raw(size, born / 1e9, self._joined(caller, origin, stacks[stack])))
        return found

    def _walked(self, stack: int) -> tuple[int, ...]:
        """A stack that the kernel walked, without the allocator's own function at its top."""
        if stack < 0:
            return ()
        value = ctypes.create_string_buffer(_STACK.size)
        if library().bpf_map_lookup_elem(self._object.map("stacks").fd, byref(c_uint32(stack)), value) < 0:
            return ()
        return tuple(address for address in _STACK.unpack(value.raw) if address)[1:]

    def _joined(self, caller: int, origin: int, walked: tuple[int, ...]) -> tuple[int, ...]:
        """The caller, the program's own code behind it, and the frames beyond; what is no code ends it."""
        known = [caller, *([origin] if origin else [])]
        beyond = (
            walked[walked.index(known[-1]) + 1 :] if known[-1] in walked else walked if not origin else ()
        )
        for address in beyond:
            if self.space.find(address) is None:
                break
            known.append(address)
        return tuple(known)


def sites(stacks: Iterable[tuple[int, ...]], pid: int, naming: Naming) -> dict[tuple[int, ...], Site]:
    """Names for stacks of return addresses, and in each the function that is to blame.

    That is the innermost one that is neither of the C library nor a mere handing on (operator new).
    """
    wanted = list(dict.fromkeys(stacks))
    # The naming takes the first address as it stands, and the others as addresses to return to.
    asked = [Sample(pid, 0, "", 1, (stack[0] - 1, *stack[1:]), ()) for stack in wanted]
    named = naming.name(asked)
    return {stack: _site(one.frames) for stack, one in zip(wanted, named, strict=True)}


def _site(frames: tuple[Frame, ...]) -> Site:
    own = [one for one in frames if not is_plumbing(one.module)] or list(frames)
    chosen = next((one for one in own if not _HANDS_ON.match(one.function)), own[0])
    return Site(chosen.function, chosen.module, tuple(one.function for one in frames), chosen.named)
