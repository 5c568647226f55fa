"""Global variables of a running agent, by name: read, and written by one store.

A write is a single aligned store through a mapping of the map's memory. Never a read and write
of the whole value: the kernel's increments in between would be lost (half of a counter's, in a
busy loop). Needs the BTF that libbpf hands the kernel with the map, and a mappable map, as all of
libbpf's data maps are (kernel 5.5).

Not here: deciding what to write (``remediations/``).
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
from collections.abc import Iterable

from bpf.closing import Closing
from bpf.libbpf import BpfError, failure, map_fd_by_id
from bpf.objects import btf
from bpf.syscall import MapInfo, map_info

_MAP_TYPE_ARRAY = 2  # linux/bpf.h
_MAPPABLE = 1 << 10  # BPF_F_MMAPABLE
_NUMBERS: dict[tuple[int, bool], type[ctypes._SimpleCData[int]]] = {
    (1, False): ctypes.c_uint8,
    (2, False): ctypes.c_uint16,
    (4, False): ctypes.c_uint32,
    (8, False): ctypes.c_uint64,
    (1, True): ctypes.c_int8,
    (2, True): ctypes.c_int16,
    (4, True): ctypes.c_int32,
    (8, True): ctypes.c_int64,
}


class VariableUnknown(BpfError):
    """No variable of that name can be found: there is none, or the names are not in the kernel."""


class Variable(Closing):
    """One number in an agent's data map. Keeps the map mapped until ``close``.

    Attributes:
        map_id: The data map it lies in.
        offset, size: Bytes.
    """

    def __init__(self, map_id: int, name: str, offset: int, size: int, signed: bool = False) -> None:
        self.map_id, self.name = map_id, name
        self.offset, self.size, self.signed = offset, size, signed
        self._page = offset // mmap.PAGESIZE * mmap.PAGESIZE
        self._seen: mmap.mmap | None = None

    def read(self) -> int:
        """The present value. One load, 1 µs; the first one maps the page."""
        if self._seen is None:
            self._seen = self._map(mmap.PROT_READ)
        start = self.offset - self._page
        raw = self._seen[start : start + self.size]
        return _NUMBERS[self.size, self.signed].from_buffer_copy(raw).value

    def write(self, value: int) -> None:
        """Store the value, in one store that no concurrent increment can be lost by.

        Raises:
            BpfError: It does not fit, or the variable is a constant.
        """
        number = _NUMBERS[self.size, self.signed]
        if number(value).value != value:
            raise BpfError(f"{value} does not fit {self.name} ({self.size} bytes)", fix="a smaller value")
        memory = self._map(mmap.PROT_READ | mmap.PROT_WRITE)
        try:
            place = number.from_buffer(memory, self.offset - self._page)
            place.value = value
            del place  # it holds the mapping
        finally:
            memory.close()

    def close(self) -> None:
        """Let go of the map. Doing it twice is no error."""
        if self._seen is not None:
            self._seen.close()
            self._seen = None

    def _map(self, access: int) -> mmap.mmap:
        fd = map_fd_by_id(self.map_id)
        try:
            return mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, access, offset=self._page)
        except OSError as error:
            if error.errno == errno.EPERM:
                raise BpfError(
                    f"variable {self.name} is a constant: its map {self.map_id} is frozen",
                    fix="only a restart of the agent changes it",
                    number=errno.EPERM,
                ) from None
            raise failure(f"variable {self.name} of map {self.map_id}", error.errno or 0) from None
        finally:
            os.close(fd)


def names(map_id: int) -> list[btf.Place]:
    """All variables of one data map; empty for other maps and for maps loaded without BTF."""
    return _places(map_info(map_id))


def find(map_ids: Iterable[int], name: str) -> Variable:
    """The variable ``name`` in the first of these maps that has it.

    Raises:
        VariableUnknown: No map has it; says whether names were missing (a loader that strips BTF).
        BpfError: Not root.
    """
    nameless, known = [], []
    for map_id in map_ids:
        try:
            info = map_info(map_id)
        except BpfError as error:
            if error.number == errno.ENOENT:
                continue  # gone since it was listed
            raise
        places = _places(info)
        if not places and info.type == _MAP_TYPE_ARRAY and info.map_flags & _MAPPABLE and not info.btf_id:
            nameless.append(map_id)
        for place in places:
            if place.name == name and place.scalar:
                return Variable(map_id, name, place.offset, place.size, place.signed)
            known.append(place.name)
    raise _unknown(name, nameless, known)


def _unknown(name: str, nameless: list[int], known: list[str]) -> VariableUnknown:
    if nameless:
        maps = ", ".join(str(map_id) for map_id in nameless)
        return VariableUnknown(
            f"variable {name} is unknown: data map {maps} was loaded without BTF, so it has no names",
            fix="build the agent's BPF object with clang -g and do not strip its .BTF section",
        )
    listed = ", ".join(sorted(known)[:12]) or "none"
    return VariableUnknown(f"no data map has a number named {name}", fix=f"the variables there are: {listed}")


def _places(info: MapInfo) -> list[btf.Place]:
    if info.type != _MAP_TYPE_ARRAY or not info.btf_id or not info.btf_value_type_id:
        return []
    with btf.of_kernel_object(info.btf_id) as types:
        return types.variables(info.btf_value_type_id)
