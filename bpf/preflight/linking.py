"""What an object's code becomes when libbpf has written all it knows of a kernel into it.

Its promise: each relocation, reference and extern is settled once for a kernel; what is not known stays
open, and is followed both ways.

Not here: which of it is reached (``bpf.preflight.reach``), what it means (``bpf.preflight.judge``).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import msgspec

from bpf.preflight import features, instructions, reach
from bpf.preflight.access import Request
from bpf.preflight.bpf_object import BpfFile, Extern, Reference
from bpf.preflight.btf import ENUMS, FUNC, INT, VAR, Btf, essential_name
from bpf.preflight.compat import types_agree
from bpf.preflight.instructions import Instruction
from bpf.preflight.kernel import Kernel
from bpf.preflight.reach import Address, Place, Value
from bpf.preflight.relocation import Resolved, resolve

_STORES = frozenset((instructions.LDX, instructions.ST, instructions.STX))
_KCONFIG = ".kconfig:"
_COOKIE_HELPER = 174  # bpf_get_attach_cookie


class Linked:
    """One object against one kernel.

    Attributes:
        code: Instructions by section.
        settled: What became of each relocation, by place.
        externs: By name, whether the kernel has it; None when that is not known.
        others: Those that it has with other parameters than the object says.
    """

    def __init__(self, obj: BpfFile, kernel: Kernel) -> None:
        self.obj = obj
        self.kernel = kernel
        self.code: dict[str, list[Instruction]] = {
            name: instructions.decode(data) for name, data in obj.code.items()
        }
        self.others: set[str] = set()  # kernel functions that are there with other parameters
        self.externs = {one.name: self._has(one) for one in obj.externs}
        self.settled: dict[Place, Resolved] = {}
        self._cache: dict[tuple[int, str, int], Resolved] = {}
        if kernel.btf is not None:
            for section, requests in obj.requests.items():
                for at, request in requests.items():
                    self.settled[section, at] = self._resolve(request)

    # ── relocations ─────────────────────────────────────────────────────────────

    @functools.cache  # noqa: B019 - lives as long as the object
    def candidates(self, type_id: int) -> list[tuple[Btf, int]]:
        """Types of the kernel, else of its modules, with the same essential name and kind."""
        local = self.obj.btf
        if local is None or self.kernel.btf is None:
            return []
        name, kind = essential_name(local.name(type_id)), local.kind(type_id)
        kinds = ENUMS if kind in ENUMS else (kind,)
        for types in (self.kernel.btf, *self.kernel.modules):
            found = types.alike(name, kinds) if name else []
            if found:
                return [(types, one) for one in found]
        return []

    def _resolve(self, request: Request) -> Resolved:
        key = (request.type_id, request.access, request.kind)
        if key not in self._cache:
            assert self.obj.btf is not None  # noqa: S101 - it has requests
            self._cache[key] = resolve(self.obj.btf, request, self.candidates(request.type_id))
        return self._cache[key]

    # ── externs ─────────────────────────────────────────────────────────────────

    def _has(self, extern: Extern) -> bool | None:
        if extern.sort == "config":
            return self._config_bytes(extern) is not None or None
        if self.kernel.btf is None:
            return None
        kinds = (FUNC,) if extern.sort == "kfunc" else (VAR,)
        for types in (self.kernel.btf, *self.kernel.modules):
            if extern.sort == "variable" and extern.name not in (self.kernel.symbols or {extern.name}):
                break  # the kernel finds its address by name: CONFIG_KALLSYMS_ALL
            for type_id in types.named(essential_name(extern.name), kinds):
                if extern.sort == "variable" or self._same_prototype(extern, types, type_id):
                    return True
                self.others.add(extern.name)
        if extern.sort == "variable" and self.kernel.symbols is not None:
            return extern.name in self.kernel.symbols and self._untyped(extern)
        return False

    def _same_prototype(self, extern: Extern, types: Btf, type_id: int) -> bool:
        local = self.obj.btf
        return local is not None and types_agree(local, extern.type, types, types.refers(type_id))

    def _untyped(self, extern: Extern) -> bool:
        """Declared ``extern const void name __ksym``: looked up in kallsyms."""
        return self.obj.btf is not None and self.obj.btf.plain(extern.type) == 0

    def _config_bytes(self, extern: Extern) -> bytes | None:
        """The value of a ``__kconfig`` variable, as libbpf would set it; None when not known."""
        local = self.obj.btf
        if local is None:
            return None
        number: int | None = None
        if extern.name == "LINUX_KERNEL_VERSION":
            if self.kernel.version is not None:
                major, minor = self.kernel.version
                number = major << 16 | minor << 8 | _patch(self.kernel.release)
        elif extern.name == "LINUX_HAS_BPF_COOKIE":
            has = features.has(self.kernel.features, "helper", _COOKIE_HELPER)
            number = None if has is None else int(has)
        elif self.kernel.config is not None and extern.name.startswith("CONFIG_"):
            number = _config_number(self.kernel.config.value(extern.name), local, extern.type)
        return None if number is None else number.to_bytes(8, "little", signed=number < 0)

    # ── the code as it will be ──────────────────────────────────────────────────

    def program(self, *, settings: bool) -> reach.Program:
        """The code for ``reach``.

        Args:
            settings: Take ``.rodata`` at its built-in values; else they may be anything.
        """
        constants = {f"{_KCONFIG}{one.name}": self._config_bytes(one) for one in self.obj.externs}
        known = {name: data for name, data in constants.items() if data is not None}
        return reach.Program(
            code=self.code,
            values=self._values,
            ends=self.ends,
            addresses=self._addresses,
            calls=self.calls,
            constants={**known, **(self.obj.data if settings else {})},
        )

    @functools.cached_property
    def _values(self) -> Mapping[Place, int]:
        return {place: one.value for place, one in self.settled.items() if one.value is not None}

    @functools.cached_property
    def ends(self) -> frozenset[Place]:
        """Instructions that libbpf makes invalid."""
        return frozenset(place for place, one in self.settled.items() if self.invalid(place, one))

    def invalid(self, place: Place, one: Resolved) -> bool:
        """Whether the verifier refuses this instruction where it is reached."""
        if one.state != "found":
            return True
        code = self.code.get(place[0], [])
        return one.resized and place[1] < len(code) and code[place[1]].kind in _STORES

    @functools.cached_property
    def _addresses(self) -> Mapping[Place, Value]:
        found: dict[Place, Value] = {}
        for section, references in self.obj.references.items():
            for at, reference in references.items():
                if at < len(self.code[section]):
                    one = self.code[section][at]
                    if one.code == instructions.LOAD_IMM64:
                        found[section, at] = self._address(reference, one)
        return found

    def _address(self, reference: Reference, one: Instruction) -> Value:
        if reference.section in self.obj.data:
            return Address(reference.section, reference.offset + one.immediate)
        if reference.section:
            return Address("", 0)
        extern = next((ext for ext in self.obj.externs if ext.name == reference.name), None)
        if extern is not None and extern.sort == "config":
            return Address(f"{_KCONFIG}{extern.name}", 0)
        there = self.externs.get(reference.name)
        return None if there is None else (Address("", 0) if there else 0)

    @functools.cached_property
    def calls(self) -> Mapping[Place, Place]:
        """Where calls of own functions go, and pointers to them."""
        found: dict[Place, Place] = {}
        for section, code in self.code.items():
            references = self.obj.references[section]
            for at, one in enumerate(code):
                reference = references.get(at)
                if one.code == instructions.CALL and one.source == instructions.CALL_PROGRAM:
                    if reference is None:
                        found[section, at] = (section, at + 1 + one.immediate)
                    elif reference.section:
                        target = reference.offset // 8 + one.immediate + 1
                        found[section, at] = (reference.section, target)
                elif one.code == instructions.LOAD_IMM64 and reference and reference.section in self.code:
                    found[section, at] = (reference.section, reference.offset // 8 + one.immediate // 8)
        return found


class Uses(msgspec.Struct, frozen=True):
    """What a program reaches.

    Attributes:
        places: True with its built-in settings, False only with others.
        arguments: Where it reads its own arguments, and at which byte of them.
    """

    places: dict[Place, bool]
    arguments: dict[Place, int]


def uses(linked: Linked, entry: Place) -> Uses:
    """Every place that the program which begins at ``entry`` reaches."""
    as_built = linked.program(settings=True)
    sure = reach.reached(as_built, entry)
    places, arguments = dict.fromkeys(sure, True), reach.reads_context(as_built, sure)
    if linked.obj.data:
        for place in reach.reached(linked.program(settings=False), entry):
            places.setdefault(place, False)
    return Uses(places, arguments)


def _patch(release: str) -> int:
    parts = release.split("-", maxsplit=1)[0].split("+", maxsplit=1)[0].split(".")
    return min(int(parts[2]), 255) if len(parts) > 2 and parts[2].isdigit() else 0


def _config_number(text: str, local: Btf, type_id: int) -> int | None:
    """y, m, n or a number, as the variable's type takes it; None for texts."""
    kind = local.kind(local.plain(type_id))
    if text in {"y", "n", "m"}:
        tristate = {"n": 0, "m": 1, "y": 2}[text] if kind in ENUMS else int(text == "y")
        return tristate if kind in (*ENUMS, INT) else None
    try:
        return int(text, 0)
    except ValueError:
        return None
