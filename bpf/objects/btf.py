"""Names and places of the global variables in a data map, from its BTF.

libbpf keeps all globals of one section of an object in one map with one value, and tells the
kernel its layout: a DATASEC of VARs. From there come name, offset, size and sign of each.
Source: ``linux/btf.h``. Cost: 0.02 to 0.07 ms per map.

Not here: reading and writing them (``bpf.objects.variables``).
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec

from bpf.library import failure, library

# linux/btf.h
KIND_INT, KIND_ARRAY, KIND_STRUCT, KIND_UNION, KIND_ENUM, KIND_VAR, KIND_DATASEC = 1, 3, 4, 5, 6, 14, 15
_ALIASES = frozenset((8, 9, 10, 11, 18))  # typedef, volatile, const, restrict, type tag
_INT_SIGNED = 1 << 24
_HEAD = struct.Struct("=III")  # name offset; kind and count; size or type


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where one variable lies in its map's value.

    Attributes:
        offset, size: Bytes.
        signed: Only known of plain integers.
        scalar: It is an integer, a bool or an enum: one number.
    """

    name: str
    offset: int
    size: int
    signed: bool = False
    scalar: bool = False


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """One named number within a key or a value.

    Attributes:
        name: Of the innermost member, or of the type itself where it is no structure (``pid_t``).
        kinds: Names of its types, outermost first: ``pid_t``, ``__kernel_pid_t``, ``int``.
        offset, size: Bytes from the start of the whole.
    """

    name: str
    kinds: tuple[str, ...]
    offset: int
    size: int


class Types:
    """A ``struct btf *`` that libbpf has parsed; borrowed, not freed."""

    def __init__(self, pointer: int | None) -> None:
        self._pointer = pointer

    def _read(self, type_id: int) -> tuple[int, str, int, int, int]:
        """Address, name, kind, count, and size or referred type."""
        address = library().btf__type_by_id(self._pointer, type_id)
        if not address:
            return 0, "", 0, 0, 0
        name, info, size = _HEAD.unpack(ctypes.string_at(address, _HEAD.size))
        text = library().btf__name_by_offset(self._pointer, name) or b""
        return address, text.decode(errors="replace"), info >> 24 & 0x1F, info & 0xFFFF, size

    def section(self, section: str) -> list[Place]:
        """The variables of ``.bss``, ``.data`` or ``.rodata``; none when there is no such section."""
        if not self._pointer:
            return []
        found = library().btf__find_by_name_kind(self._pointer, section.encode(), KIND_DATASEC)
        return self.variables(found) if found > 0 else []

    def variables(self, type_id: int) -> list[Place]:
        """The variables of the DATASEC ``type_id``; none when it is another type."""
        address, _, kind, count, _ = self._read(type_id)
        if kind != KIND_DATASEC:
            return []
        rows = ctypes.string_at(address + _HEAD.size, _HEAD.size * count)
        return [self._place(*row) for row in _HEAD.iter_unpack(rows)]

    def _place(self, type_id: int, offset: int, size: int) -> Place:
        _, name, _, _, inner = self._read(type_id)
        address, _, kind, _, referred = self._read(inner)
        while kind in _ALIASES:
            address, _, kind, _, referred = self._read(referred)
        signed = False
        if kind == KIND_INT:
            (encoding,) = struct.unpack("=I", ctypes.string_at(address + _HEAD.size, 4))
            signed = bool(encoding & _INT_SIGNED)
        scalar = kind in (KIND_INT, KIND_ENUM) and size in (1, 2, 4, 8)
        return Place(name=name, offset=offset, size=size, signed=signed, scalar=scalar)

    def members(self, type_id: int, *, offset: int = 0, name: str = "") -> list[Member]:
        """All members of a type, those of structures within structures included; of unions each one.

        A type that is no structure is one member without a name; a structure with a name stands behind
        its own members.
        """
        kinds: tuple[str, ...] = ()
        address, called, kind, count, size = self._read(type_id)
        while kind in _ALIASES:
            kinds += (called,) if called else ()
            address, called, kind, count, size = self._read(size)
        kinds += (called,) if called else ()
        if kind in (KIND_STRUCT, KIND_UNION):
            rows = ctypes.string_at(address + _HEAD.size, _HEAD.size * count)
            found = []
            for named, inner, bits in _HEAD.iter_unpack(rows):  # struct btf_member
                text = (library().btf__name_by_offset(self._pointer, named) or b"").decode(errors="replace")
                found += self.members(inner, offset=offset + (bits & 0xFFFFFF) // 8, name=text or name)
            return found + ([Member(name=name, kinds=kinds, offset=offset, size=size)] if called else [])
        size = (
            size
            if kind in (KIND_INT, KIND_ENUM)
            else int(library().btf__resolve_size(self._pointer, type_id))
        )
        return [Member(name=name, kinds=kinds, offset=offset, size=size)]

    def member_at(self, structure: str, member: str) -> int | None:
        """Offset in bytes of a structure's own member; None when there is none of that name."""
        found = library().btf__find_by_name_kind(self._pointer, structure.encode(), KIND_STRUCT)
        address, _, _, count, _ = self._read(found) if found > 0 else (0, "", 0, 0, 0)
        rows = ctypes.string_at(address + _HEAD.size, _HEAD.size * count) if count else b""
        for name, _, offset_bits in _HEAD.iter_unpack(rows):  # struct btf_member
            if (library().btf__name_by_offset(self._pointer, name) or b"") == member.encode():
                return int(offset_bits & 0xFFFFFF) // 8  # the top byte tells the size of a bit field
        return None


@contextmanager
def of_running_kernel() -> Iterator[Types]:
    """The running kernel's own types; parsing them takes 4 ms.

    Raises:
        BpfError: The kernel was built without BTF.
    """
    pointer = library().btf__load_vmlinux_btf()
    if not pointer:
        raise failure("the kernel's BTF could not be read", ctypes.get_errno())
    try:
        yield Types(pointer)
    finally:
        library().btf__free(pointer)


@contextmanager
def of_kernel_object(btf_id: int) -> Iterator[Types]:
    """The types that a map or program was loaded with (its ``btf_id``).

    Raises:
        BpfError: They are gone, or not root.
    """
    pointer = library().btf__load_from_kernel_by_id(btf_id)
    if not pointer:
        raise failure(f"BTF {btf_id} could not be read", ctypes.get_errno())
    try:
        yield Types(pointer)
    finally:
        library().btf__free(pointer)
