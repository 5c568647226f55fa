"""Sections, symbols and relocations of a little-endian ELF64 file; nothing more.

Its promise: whatever the bytes, it gives an answer or a ``BadFile`` that says what is wrong, and reads
no byte outside the file. Source: ``elf.h``, the System V ABI's chapter on object files.

Not here: what the sections of a BPF object mean (``bpf.preflight.bpf_object``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from bpf.preflight.problems import BadFile

EM_BPF = 247
SHF_EXECINSTR = 4
SHT_PROGBITS, SHT_SYMTAB, SHT_NOBITS, SHT_REL = 1, 2, 8, 9
SHN_UNDEF = 0
STT_OBJECT, STT_FUNC, STT_SECTION = 1, 2, 3
STB_LOCAL, STB_WEAK = 0, 2
_IDENT = b"\x7fELF"
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQ")
_MOST_SECTIONS = 20_000


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One section; ``data`` is empty for one that takes no room in the file (``.bss``)."""

    index: int
    name: str
    type: int
    flags: int
    info: int
    link: int
    address: int
    size: int
    data: bytes


class Symbol(msgspec.Struct, frozen=True, kw_only=True):
    """One symbol: ``section`` is an index, ``SHN_UNDEF`` when it is another's to define."""

    name: str
    type: int
    binding: int
    section: int
    value: int
    size: int


class Relocation(msgspec.Struct, frozen=True, kw_only=True):
    """At byte ``offset`` of its section something refers to symbol number ``symbol``."""

    offset: int
    symbol: int


class Elf:
    """A parsed file.

    Attributes:
        machine: ``EM_BPF`` for a BPF object.
        sections: In file order; number 0 is the empty one.
    """

    def __init__(self, data: bytes, path: str) -> None:
        """Parse.

        Raises:
            BadFile: Not an ELF file, of the other byte order, cut off or damaged.
        """
        self.path = path
        self._data = data
        if data[:4] != _IDENT:
            raise BadFile(path, "is not an ELF file", fix="give a BPF object as clang makes it (x.bpf.o)")
        if len(data) < _HEADER.size:
            raise BadFile(path, "is cut off within its ELF header", fix="copy or build it again")
        if data[4] != 2:
            raise BadFile(path, "is a 32-bit ELF file", fix="BPF objects and kernels of 64 bits are read")
        if data[5] != 1:
            raise BadFile(
                path, "is a big-endian ELF file", fix="build it for the machine: clang -target bpfel"
            )
        fields = _HEADER.unpack_from(data)
        self.machine: int = fields[2]
        self.sections = self._read_sections(fields[6], fields[11], fields[12], fields[13])

    def _part(self, offset: int, size: int, what: str) -> bytes:
        if offset + size > len(self._data):
            raise BadFile(
                self.path,
                f"is cut off: {what} should end at byte {offset + size}, the file at {len(self._data)}",
                fix="copy or build it again",
            )
        return self._data[offset : offset + size]

    def _read_sections(self, offset: int, entry: int, count: int, names: int) -> tuple[Section, ...]:
        if not offset or not count:
            return ()
        if entry != _SECTION.size or count > _MOST_SECTIONS:
            raise BadFile(self.path, "has a damaged section table", fix="copy or build it again")
        rows = list(_SECTION.iter_unpack(self._part(offset, entry * count, "the section table")))
        if names >= count:
            raise BadFile(self.path, "has no section for its section names", fix="copy or build it again")
        strings = self._part(rows[names][4], rows[names][5], "the section names")
        return tuple(
            Section(
                index=index,
                name=text_at(strings, row[0]),
                type=row[1],
                flags=row[2],
                link=row[6],
                address=row[3],
                info=row[7],
                size=row[5],
                data=b"" if row[1] in (0, SHT_NOBITS) else self._part(row[4], row[5], f"section {index}"),
            )
            for index, row in enumerate(rows)
        )

    def section(self, name: str) -> Section | None:
        """The first section of this name."""
        return next((found for found in self.sections if found.name == name), None)

    def symbols(self) -> list[Symbol]:
        """All symbols, in file order (relocations refer to their numbers)."""
        table = next((found for found in self.sections if found.type == SHT_SYMTAB), None)
        if table is None:
            return []
        if table.link >= len(self.sections) or table.size % _SYMBOL.size:
            raise BadFile(self.path, "has a damaged symbol table", fix="copy or build it again")
        strings = self.sections[table.link].data
        return [
            Symbol(
                name=text_at(strings, name),
                type=info & 0xF,
                binding=info >> 4,
                section=section,
                value=value,
                size=size,
            )
            for name, info, _, section, value, size in _SYMBOL.iter_unpack(table.data)
        ]

    def relocations(self, section: int) -> Iterator[Relocation]:
        """The relocations that apply to the section of this number."""
        for found in self.sections:
            if found.type == SHT_REL and found.info == section:
                if found.size % _RELOCATION.size:
                    raise BadFile(self.path, f"has a damaged section {found.name}", fix="build it again")
                for offset, info in _RELOCATION.iter_unpack(found.data):
                    yield Relocation(offset=offset, symbol=info >> 32)


def text_at(strings: bytes, offset: int) -> str:
    """The NUL-terminated text at ``offset``; empty when outside."""
    end = strings.find(b"\0", offset)
    return strings[offset : end if end >= 0 else len(strings)].decode("utf-8", "replace")


def embedded(data: bytes) -> Iterator[tuple[int, bytes]]:
    """BPF objects that lie inside another file (an agent's executable): offset and bytes of each.

    C skeletons, cilium/ebpf and Aya all put the object into the executable as it is.
    """
    mark = _IDENT + b"\x02\x01\x01"
    position = data.find(mark, 1)
    while position >= 0:
        size = _extent(data, position)
        if size:
            yield position, data[position : position + size]
        position = data.find(mark, position + max(size, 1))


def _extent(data: bytes, position: int) -> int:
    """Size of the BPF object at ``position``: up to the end of its last part; 0 when it is none."""
    if position + _HEADER.size > len(data):
        return 0
    fields = _HEADER.unpack_from(data, position)
    if fields[2] != EM_BPF or fields[11] != _SECTION.size or fields[12] > _MOST_SECTIONS:
        return 0
    table = position + fields[6]
    end = table + fields[11] * fields[12]
    if end > len(data):
        return 0
    for row in _SECTION.iter_unpack(data[table:end]):
        if row[1] not in (0, SHT_NOBITS):
            end = max(end, position + row[4] + row[5])
    return 0 if end > len(data) else end - position
