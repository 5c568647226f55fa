"""One variable in the data map of a running BPF program: found by name, stored alone.

A global variable lives at an offset in a one-entry array map (``.data``, ``.bss``). The
map is mapped into memory and only the variable's own bytes are stored: updating the whole
value would lose what the kernel counts there meanwhile.

Source: Linux ``include/uapi/linux/bpf.h`` and ``btf.h``; libbpf 1.x for the type data.
Cost: 20-70 µs to find, about 1 µs to store.

Not here: what the variable means (``bpf_variable``).
"""

from __future__ import annotations

import contextlib
import ctypes as c
import mmap
import os
import struct
from collections.abc import Iterator
from functools import cache

import msgspec

from remediations.knobs.backend import NotChanged
from remediations.knobs.bpf_call import bpf

_MAP_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 14, 15
_MMAPABLE, _READ_ONLY_PROGRAM = 1 << 10, 1 << 7
_KIND_INT, _KIND_DATASEC = 1, 15
_MODIFIERS = (8, 9, 10, 11, 18)  # typedef, volatile, const, restrict, type tag
_STORES: dict[tuple[int, bool], type[c._SimpleCData[int]]] = {
    (1, False): c.c_uint8,
    (2, False): c.c_uint16,
    (4, False): c.c_uint32,
    (8, False): c.c_uint64,
    (1, True): c.c_int8,
    (2, True): c.c_int16,
    (4, True): c.c_int32,
    (8, True): c.c_int64,
}


class MapInfo(msgspec.Struct, frozen=True):
    """What is needed of ``struct bpf_map_info``. Sizes in bytes."""

    value_size: int
    max_entries: int
    flags: int
    btf_id: int
    btf_value_type: int


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """A variable's place in a map: its offset and size in bytes.

    Attributes:
        fixed: It can't be changed: ``.rodata``, frozen when the program was loaded.
    """

    map_id: int
    offset: int
    size: int
    signed: bool
    fixed: bool = False


@contextlib.contextmanager
def opened(map_id: int) -> Iterator[int]:
    """A file descriptor of the map.

    Raises:
        FileNotFoundError: There is no such map (any more).
        PermissionError: CAP_SYS_ADMIN, or CAP_BPF in the map's user namespace, is missing.
    """
    fd = bpf(_MAP_GET_FD_BY_ID, struct.pack("<III", map_id, 0, 0))
    try:
        yield fd
    finally:
        os.close(fd)


def variables(map_id: int) -> dict[str, Variable]:
    """All variables of the map by name, by its type data (BTF); none for any other map.

    Raises:
        OSError: As ``opened``.
    """
    with opened(map_id) as fd:
        info = _info(fd)
    members = _members(info) if info.btf_id else {}
    fixed = bool(info.flags & _READ_ONLY_PROGRAM)
    return {
        name: Variable(map_id=map_id, offset=offset, size=size, signed=signed, fixed=fixed)
        for name, (offset, size, signed) in members.items()
    }


def load(variable: Variable) -> int:
    """The variable's present value."""
    with _mapped(variable.map_id, writable=False) as memory:
        return int.from_bytes(
            memory[variable.offset : variable.offset + variable.size],
            "little" if struct.pack("=H", 1)[0] else "big",
            signed=variable.signed,
        )


def store(variable: Variable, expected: int, value: int) -> bool:
    """Store ``value`` where ``expected`` stands, as one machine store; False when it does not.

    Between the look and the store lie about 100 ns in which the agent could write.
    """
    kind = _STORES.get((variable.size, variable.signed))
    if kind is None:
        raise NotChanged(f"a variable of {variable.size} bytes is no integer", fix="correct the profile")
    if kind(value).value != value:
        raise NotChanged(f"{value} does not fit into {variable.size} bytes", fix="choose a smaller value")
    with _mapped(variable.map_id, writable=True) as memory:
        cell = kind.from_buffer(memory, variable.offset)
        try:
            if cell.value != expected:
                return False
            cell.value = value
        finally:
            del cell  # it holds the mapping open
    return True


@contextlib.contextmanager
def _mapped(map_id: int, *, writable: bool) -> Iterator[mmap.mmap]:
    with opened(map_id) as fd:
        info = _info(fd)
        if not info.flags & _MMAPABLE:
            raise NotChanged(
                f"BPF map {map_id} can't be mapped into memory",
                fix="only global variables of libbpf agents can",
            )
        size = -(-info.value_size * info.max_entries // mmap.PAGESIZE) * mmap.PAGESIZE
        rights = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
        with mmap.mmap(fd, size, mmap.MAP_SHARED, rights) as memory:
            yield memory


def _info(fd: int) -> MapInfo:
    buffer = c.create_string_buffer(128)
    bpf(_OBJ_GET_INFO_BY_FD, struct.pack("=IIQ", fd, len(buffer), c.addressof(buffer)))
    # type id key_size value_size max_entries flags name[16] ifindex btf_vmlinux netns_dev netns_ino
    # btf_id btf_key_type btf_value_type
    _, _, _, value_size, entries, flags, _, _, _, _, _, btf_id, _, value_type = struct.unpack_from(
        "=6I16sIIQQIII", buffer.raw
    )
    return MapInfo(value_size, entries, flags, btf_id, value_type)


@cache
def _libbpf() -> c.CDLL:
    for name in ("libbpf.so.1", "libbpf.so.0"):
        with contextlib.suppress(OSError):
            library = c.CDLL(name, use_errno=True)
            library.btf__load_from_kernel_by_id.restype = c.c_void_p
            library.btf__load_from_kernel_by_id.argtypes = (c.c_uint32,)
            library.btf__type_by_id.restype = c.c_void_p
            library.btf__type_by_id.argtypes = (c.c_void_p, c.c_uint32)
            library.btf__name_by_offset.restype = c.c_char_p
            library.btf__name_by_offset.argtypes = (c.c_void_p, c.c_uint32)
            library.btf__free.argtypes = (c.c_void_p,)
            return library
    raise NotChanged("libbpf.so is not installed", fix="apt install libbpf1 (or dnf install libbpf)")


def _members(info: MapInfo) -> dict[str, tuple[int, int, bool]]:
    """Name → (offset, size, signed) of all variables in the data section."""
    library = _libbpf()
    btf = library.btf__load_from_kernel_by_id(info.btf_id)
    if not btf:
        raise NotChanged(f"type data {info.btf_id} can't be read", fix="run as root")
    try:
        kind, count, _, address = _type(btf, info.btf_value_type)
        found: dict[str, tuple[int, int, bool]] = {}
        if kind != _KIND_DATASEC:
            return found
        for index in range(count):
            type_id, offset, size = struct.unpack("=III", c.string_at(address + 12 + 12 * index, 12))
            _, _, of_type, variable = _type(btf, type_id)
            name = library.btf__name_by_offset(btf, struct.unpack("=I", c.string_at(variable, 4))[0])
            found[name.decode()] = (offset, size, _signed(btf, of_type))
        return found
    finally:
        library.btf__free(btf)


def _type(btf: int, type_id: int) -> tuple[int, int, int, int]:
    """Kind, number of members, size or type, and address of a ``struct btf_type``."""
    address = _libbpf().btf__type_by_id(btf, type_id)
    _, packed, size_or_type = struct.unpack("=III", c.string_at(address, 12))
    return packed >> 24 & 0x1F, packed & 0xFFFF, size_or_type, address


def _signed(btf: int, type_id: int) -> bool:
    kind, _, below, address = _type(btf, type_id)
    while kind in _MODIFIERS:
        kind, _, below, address = _type(btf, below)
    if kind != _KIND_INT:
        return False
    encoding = struct.unpack("=I", c.string_at(address + 12, 4))[0] >> 24 & 0x0F
    return bool(encoding & 1)
