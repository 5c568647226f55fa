"""A compiled BPF object, as its loader will see it: programs, maps, what it refers to, CO-RE relocations.

Its promise: read from the file alone, nothing is loaded; damaged parts give a ``BadFile``. An agent's
executable that carries its objects within itself is opened as well.
Source: libbpf; Documentation/bpf/btf.rst (.BTF.ext); Documentation/bpf/llvm_reloc.rst.

Not here: instructions (``bpf.preflight.instructions``), any kernel.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from bpf.preflight import elf
from bpf.preflight.btf import ARRAY, DATASEC, FUNC, PTR, STRUCT, VAR, Btf
from bpf.preflight.btf_ext import BtfExt
from bpf.preflight.problems import BadFile

_OLD_MAP = struct.Struct("<IIIII")
TEXT = ".text"


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One program: a function in a section that names where it goes.

    Attributes:
        start, end: Instructions of its section, the last one excluded.
    """

    name: str
    section: str
    start: int
    end: int

    @property
    def optional(self) -> bool:
        """Not loaded unless the agent asks for it (``SEC("?…")``)."""
        return self.section.startswith("?")


class MapWanted(msgspec.Struct, frozen=True, kw_only=True):
    """A map that the object defines; ``entries`` 0 where the agent sets the size while running."""

    name: str
    type: int
    entries: int = 0


class Extern(msgspec.Struct, frozen=True, kw_only=True):
    """Something of the kernel's that the object refers to by name.

    Attributes:
        weak: May be missing: the object asks whether it is there.
        type: Its type in the object's BTF: a prototype, a variable's type; 0 for none.
    """

    name: str
    sort: Literal["kfunc", "variable", "config"]
    weak: bool
    type: int = 0


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What an instruction refers to: a section and an offset in it, or a name that is not defined here."""

    section: str = ""
    offset: int = 0
    name: str = ""


class BpfFile:
    """A parsed object.

    Attributes:
        path: The file, with ``:OFFSET`` for an object inside an executable.
        btf: Its own types; None for an object without (then nothing is relocated).
        code: Bytes of each section with instructions, by name.
        data: Bytes of its constant data sections (``.rodata`` …).
        requests: CO-RE relocations by section name and instruction.
        references: By section name and instruction.
    """

    def __init__(self, data: bytes, path: str) -> None:
        """Parse.

        Raises:
            BadFile: No ELF file, no BPF object, cut off or damaged.
        """
        self.path = path
        self._elf = elf.Elf(data, path)
        if self._elf.machine != elf.EM_BPF:
            raise BadFile(
                path,
                "is an ELF file of another machine, and carries no BPF object",
                fix="give the agent's x.bpf.o, or its executable when the objects are embedded in it",
            )
        self._symbols = self._elf.symbols()
        self.btf = self._own_types()
        self.code = {
            section.name: section.data
            for section in self._elf.sections
            if section.type == elf.SHT_PROGBITS and section.flags & elf.SHF_EXECINSTR and section.data
        }
        if any(len(code) % 8 for code in self.code.values()):
            raise BadFile(path, "has a section of code that is no whole number of instructions")
        self.data = {
            section.name: section.data
            for section in self._elf.sections
            if section.name.startswith(".rodata") and section.type == elf.SHT_PROGBITS
        }
        self.programs = tuple(self._find_programs())
        self.functions = self._find_functions()
        section = self._elf.section(".BTF.ext")
        ext = BtfExt(section.data, self.btf, path) if self.btf and section and section.data else None
        self.requests = ext.requests if ext else {}
        self._lines = ext.lines if ext else {}
        self.references = {name: self._find_references(name) for name in self.code}
        self.externs = tuple(self._find_externs())
        self.maps = tuple(self._find_maps())
        license_section = self._elf.section("license")
        self.license = elf.text_at(license_section.data, 0) if license_section else ""
        if not self.programs and not self.maps:
            raise BadFile(path, "has neither programs nor maps", fix="give the linked object (x.bpf.o)")

    def _own_types(self) -> Btf | None:
        section = self._elf.section(".BTF")
        return Btf(section.data, self.path) if section is not None and section.data else None

    # ── code ────────────────────────────────────────────────────────────────────

    def _find_programs(self) -> Iterator[Program]:
        for symbol in self._functions():
            section = self._elf.sections[symbol.section].name
            if section != TEXT and symbol.binding != elf.STB_LOCAL:
                yield Program(
                    name=symbol.name,
                    section=section,
                    start=symbol.value // 8,
                    end=(symbol.value + symbol.size) // 8,
                )

    def _functions(self) -> Iterator[elf.Symbol]:
        for symbol in self._symbols:
            if symbol.type == elf.STT_FUNC and 0 < symbol.section < len(self._elf.sections):
                section = self._elf.sections[symbol.section]
                if section.name in self.code and symbol.value + symbol.size <= len(self.code[section.name]):
                    yield symbol

    def _find_functions(self) -> dict[tuple[str, int], str]:
        """Names of all functions, by section and first instruction."""
        return {
            (self._elf.sections[symbol.section].name, symbol.value // 8): symbol.name
            for symbol in self._functions()
        }

    def _find_references(self, name: str) -> dict[int, Reference]:
        section = self._elf.section(name)
        found: dict[int, Reference] = {}
        for relocation in self._elf.relocations(section.index if section else 0):
            if relocation.symbol >= len(self._symbols):
                raise BadFile(self.path, f"has a damaged relocation of section {name}")
            symbol = self._symbols[relocation.symbol]
            if symbol.section == elf.SHN_UNDEF:
                reference = Reference(name=symbol.name)
            elif symbol.section < len(self._elf.sections):
                where = self._elf.sections[symbol.section].name
                reference = Reference(section=where, offset=symbol.value, name=symbol.name)
            else:
                continue
            found[relocation.offset // 8] = reference
        return found

    def place(self, section: str, instruction: int) -> str:
        """``file.c:42`` for an instruction; empty when the object does not tell."""
        last = None
        for line in self._lines.get(section, ()):
            if line.at > instruction:
                break
            last = line
        return f"{Path(last.file).name}:{last.line}" if last and last.file else ""

    # ── what it refers to and defines ───────────────────────────────────────────

    def _datasec(self, name: str) -> list[tuple[str, int]]:
        """Names and types (VAR or FUNC) of a section's entries in the BTF."""
        if self.btf is None:
            return []
        section = self.btf.first(name, (DATASEC,))
        if not section:
            return []
        return [(self.btf.name(one), one) for one, _, _ in self.btf.variables(section)]

    def _find_externs(self) -> Iterator[Extern]:
        weak = {
            symbol.name
            for symbol in self._symbols
            if symbol.section == elf.SHN_UNDEF and symbol.binding == elf.STB_WEAK
        }
        for section in (".ksyms", ".kconfig"):
            for name, type_id in self._datasec(section):
                assert self.btf is not None  # noqa: S101
                sort: Literal["kfunc", "variable", "config"] = "variable"
                if section == ".kconfig":
                    sort = "config"
                elif self.btf.kind(type_id) == FUNC:
                    sort = "kfunc"
                yield Extern(name=name, sort=sort, weak=name in weak, type=self.btf.refers(type_id))

    def _find_maps(self) -> Iterator[MapWanted]:
        for name, type_id in self._datasec(".maps"):
            if self.btf is not None and self.btf.kind(type_id) == VAR:
                yield self._map(name, self.btf.plain(self.btf.refers(type_id)))
        old = self._elf.section("maps")
        for symbol in self._symbols if old is not None else ():
            assert old is not None  # noqa: S101
            if symbol.section == old.index and symbol.name and symbol.value + _OLD_MAP.size <= old.size:
                row = _OLD_MAP.unpack_from(old.data, symbol.value)
                yield MapWanted(name=symbol.name, type=row[0], entries=row[3])

    def _map(self, name: str, type_id: int) -> MapWanted:
        """A map from its definition: each number is the length of an array that is pointed at."""
        assert self.btf is not None  # noqa: S101
        numbers: dict[str, int] = {}
        if self.btf.kind(type_id) == STRUCT:
            for member in self.btf.members(type_id):
                pointer = self.btf.plain(member.type)
                if self.btf.kind(pointer) == PTR:
                    pointed = self.btf.plain(self.btf.refers(pointer))
                    if self.btf.kind(pointed) == ARRAY:
                        numbers[member.name] = self.btf.array(pointed)[1]
        return MapWanted(name=name, type=numbers.get("type", 0), entries=numbers.get("max_entries", 0))


def read_all(path: Path) -> tuple[BpfFile, ...]:
    """The object in a file, or all objects within an executable.

    Raises:
        BadFile: There is none, or it can't be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(20)
            if (
                len(head) == 20
                and head[:4] == b"\x7fELF"
                and head[18:20] != b"\xf7\0"
                and head[4:6] == b"\2\1"
            ):
                with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as whole:
                    found = [(at, data) for at, data in elf.embedded(whole)]  # type: ignore[arg-type]
                if found:
                    return tuple(BpfFile(bytes(data), f"{path}:{at}") for at, data in found)
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(str(path), f"can't be read: {error.strerror}", fix="check the path") from None
    return (BpfFile(data, str(path)),)
