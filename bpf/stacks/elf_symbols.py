"""Functions of an ELF file by address: from its symbol tables, its debug file or Go's own table.

Its promise: whatever the bytes, it gives what it can find and never fails; what is damaged or missing
counts as no names, with the reason. Read with positioned reads, so a file that shrinks meanwhile does
no harm. 64-bit, little-endian.

Costs about 1 µs a symbol, once for each file. Not here: which file an address lies in
(``bpf.stacks.address_space``), BPF objects (``bpf.preflight.elf``).
Source: ``elf.h``; Go's ``runtime/symtab.go`` (tables of Go 1.18 and newer).
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_NOTE = struct.Struct("<III")
_GO_TABLE = struct.Struct("<IBBBBQQQQQQQQ")
_GO_FUNCTION = struct.Struct("<II")
_ELF64_LITTLE = b"\x7fELF\x02\x01"
_LOAD, _SYMTAB, _NOTES, _NOBITS, _DYNSYM = 1, 2, 7, 8, 11
_FUNCTION, _INDIRECT = 2, 10  # STT_FUNC, STT_GNU_IFUNC
_GLOBAL, _WEAK = 1, 2  # STB_…
_BUILD_ID = 3
_GO_MAGICS = (0xFFFFFFF0, 0xFFFFFFF1)
_MOST_SECTIONS, _MOST_BYTES = 20_000, 1 << 28
_DEBUG = Path("/usr/lib/debug/.build-id")


class Symbol(NamedTuple):
    """One function. ``size`` is 0 where the table does not tell it; ``[plt]`` is a jump to another file's."""

    address: int
    size: int
    name: str


class _Section(NamedTuple):
    name: str
    type: int
    address: int
    offset: int
    size: int
    link: int


class ElfSymbols:
    """The functions of one file.

    Attributes:
        why: Why there are no names, when there are none.
        go: It was made by the Go compiler.
    """

    def __init__(self, fd: int, debug: Path = _DEBUG) -> None:
        self.why = ""
        self.go = False
        self._loads: list[tuple[int, int, int]] = []
        self._functions: list[tuple[int, int, int]] = []  # address, size, place of the name
        self._every: list[tuple[int, int]] = []  # address, place of the name: other names of a function too
        self._names = b""
        self._starts: list[int] = []
        self._stubs: list[tuple[int, int]] = []
        try:
            self._read(fd, debug)
        except _Damaged as error:
            self.why = str(error)
        except (struct.error, OSError):
            self.why = "it is damaged"
        self._functions.sort()
        self._starts = [function[0] for function in self._functions]
        if not self._functions:
            self.why = self.why or "it is stripped"

    def __len__(self) -> int:
        return len(self._functions)

    def at_offset(self, offset: int) -> Symbol | None:
        """The function whose code lies at this byte of the file."""
        for start, size, address in self._loads:
            if start <= offset < start + size:
                return self.at(offset - start + address)
        return None

    def offsets(self, names: Iterable[str]) -> dict[str, int]:
        """Where in the file these functions begin, for those that it defines. 0.2 µs a symbol."""
        wanted = {name.encode() for name in names}
        longest = max(map(len, wanted), default=0) + 1
        found = {}
        for address, place in self._every:
            word = self._names[place : place + longest].partition(b"\0")[0].partition(b"@")[0]
            if word in wanted and (offset := self._offset(address)) is not None:
                found[word.decode()] = offset
        return found

    def _offset(self, address: int) -> int | None:
        for start, size, loaded_at in self._loads:
            if loaded_at <= address < loaded_at + size:
                return address - loaded_at + start
        return None

    def at(self, address: int) -> Symbol | None:
        """The function at an address as the file itself counts them."""
        for start, size in self._stubs:
            if start <= address < start + size:
                return Symbol(start, size, "[plt]")
        place = bisect_right(self._starts, address) - 1
        if place < 0:
            return None
        start, size, name = self._functions[place]
        if size and address >= start + size:
            return None
        end = self._names.find(b"\0", name)
        words = self._names[name : end if end >= 0 else len(self._names)].decode("utf-8", "replace")
        words = words.partition("@")[0]  # a version: memcpy@@GLIBC_2.14
        return Symbol(start, size, words) if words else None

    def _read(self, fd: int, debug: Path) -> None:
        head = os.pread(fd, _HEADER.size, 0)
        if head[:6] != _ELF64_LITTLE:
            raise _Damaged("it is no 64-bit ELF file")
        fields = _HEADER.unpack(head)
        if fields[9] == _SEGMENT.size:
            segments = _SEGMENT.iter_unpack(_part(fd, fields[5], fields[9] * fields[10]))
            self._loads = [(each[2], each[5], each[3]) for each in segments if each[0] == _LOAD]
        sections = _sections(fd, fields)
        self._stubs = [
            (section.address, section.size) for section in sections if section.name.startswith(".plt")
        ]
        self.go = any("gopclntab" in section.name or section.name == ".go.buildinfo" for section in sections)
        if self._take(fd, sections, _SYMTAB) or self._take_debug(fd, sections, debug):
            return
        if not self._take_go(fd, sections):
            self._take(fd, sections, _DYNSYM)

    def _take(self, fd: int, sections: list[_Section], kind: int) -> bool:
        """Take one of the file's symbol tables; whether it holds functions."""
        for section in sections:
            if section.type != kind or section.link >= len(sections):
                continue
            raw = _part(fd, section.offset, section.size - section.size % _SYMBOL.size)
            names = sections[section.link]
            self._names = _part(fd, names.offset, names.size)
            best: dict[int, tuple[tuple[int, ...], int, int]] = {}
            self._every = []
            for name, info, _, index, value, size in _SYMBOL.iter_unpack(raw):
                if not index or not value or info & 0xF not in (_FUNCTION, _INDIRECT):
                    continue
                self._every.append((value, name))
                if value not in best or self._worth(name, info, size) > best[value][0]:
                    best[value] = (self._worth(name, info, size), size, name)
            self._functions = [(value, size, name) for value, (_, size, name) in best.items()]
            return bool(self._functions)
        return False

    def _worth(self, name: int, info: int, size: int) -> tuple[int, ...]:
        """Which of several names of one function is told: as perf does, so that both say the same."""
        words = self._names[name : self._names.find(b"\0", name)].partition(b"@")[0]
        underscores = len(words) - len(words.lstrip(b"_"))
        binding = info >> 4
        return size > 0, binding != _WEAK, binding == _GLOBAL, -underscores, len(words)

    def _take_debug(self, fd: int, sections: list[_Section], debug: Path) -> bool:
        """Take the symbols of the debug package of this very build, where it is installed."""
        for section in sections:
            build = _build_id(_part(fd, section.offset, section.size)) if section.type == _NOTES else ""
            if not build:
                continue
            with suppress(OSError):
                other = os.open(debug / build[:2] / f"{build[2:]}.debug", os.O_RDONLY | os.O_CLOEXEC)
                try:
                    header = _HEADER.unpack(_part(other, 0, _HEADER.size))
                    return self._take(other, _sections(other, header), _SYMTAB)
                finally:
                    os.close(other)
        return False

    def _take_go(self, fd: int, sections: list[_Section]) -> bool:
        """Take the table that Go's runtime itself needs, so that it is there in a stripped file too."""
        table = next((section for section in sections if section.name.endswith("gopclntab")), None)
        if table is None:
            return False
        raw = _part(fd, table.offset, table.size)
        magic, _, _, _, pointer, count, _, text, names, _, _, _, functions = _GO_TABLE.unpack_from(raw)
        if magic not in _GO_MAGICS or pointer != 8 or count * _GO_FUNCTION.size > len(raw):
            return False
        text = text or next((section.address for section in sections if section.name == ".text"), 0)
        rows = [_GO_FUNCTION.unpack_from(raw, functions + 8 * place) for place in range(count)]
        ends = [row[0] for row in rows[1:]] + [0]
        self._names = raw[names:]
        self._functions = [
            (text + entry, max(0, end - entry), struct.unpack_from("<I", raw, functions + place + 4)[0])
            for (entry, place), end in zip(rows, ends, strict=True)
        ]
        return True


class _Damaged(Exception):
    """What is wrong with a file."""


def _part(fd: int, offset: int, size: int) -> bytes:
    if size > _MOST_BYTES or offset > 1 << 62:
        raise _Damaged("it is damaged")
    part = os.pread(fd, size, offset)
    if len(part) < size:
        raise _Damaged("it is cut off")
    return part


def _sections(fd: int, header: tuple[int, ...]) -> list[_Section]:
    offset, entry, count, names = header[6], header[11], header[12], header[13]
    if not offset or entry != _SECTION.size or not 0 < count <= _MOST_SECTIONS or names >= count:
        raise _Damaged("it has no sections")
    rows = list(_SECTION.iter_unpack(_part(fd, offset, entry * count)))
    strings = _part(fd, rows[names][4], rows[names][5])
    return [
        _Section(strings[row[0] :].split(b"\0", 1)[0].decode("utf-8", "replace"), row[1], row[3], row[4],
                 0 if row[1] == _NOBITS else row[5], row[6])
        for row in rows
    ]  # fmt: skip


def _build_id(notes: bytes) -> str:
    """The build id among notes, as hexadecimal digits; empty when there is none."""
    for kind, owner, value in _notes(notes):
        if kind == _BUILD_ID and owner == b"GNU\0":
            return value.hex()
    return ""


def _notes(raw: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    at = 0
    while at + _NOTE.size <= len(raw):
        names, values, kind = _NOTE.unpack_from(raw, at)
        begin = at + _NOTE.size
        middle = begin + (names + 3 & ~3)
        yield kind, raw[begin : begin + names], raw[middle : middle + values]
        at = middle + (values + 3 & ~3)
