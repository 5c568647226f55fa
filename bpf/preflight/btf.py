"""BTF, the kernel's description of its own types: read from bytes, looked up by name.

Its promise: the 150,000 types of a kernel are passed over once, without an object for each, and looked
up by name after that; damaged bytes give a ``BadFile``. Little-endian only.
Cost: 0.1 s and 25 MB for a kernel's BTF of 6 MB. Source: ``linux/btf.h``, Documentation/bpf/btf.rst.

Not here: what an object wants of the types (``bpf.preflight.relocation``).
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator

import msgspec

from bpf.preflight.problems import BadFile

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT = range(1, 12)
FUNC, FUNC_PROTO, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64 = range(12, 20)
COMPOSITES = (STRUCT, UNION)
ENUMS = (ENUM, ENUM64)
MODIFIERS = frozenset((TYPEDEF, VOLATILE, CONST, RESTRICT, TYPE_TAG))
KIND_NAMES = {
    STRUCT: "struct",
    UNION: "union",
    ENUM: "enum",
    ENUM64: "enum",
    TYPEDEF: "typedef",
    FUNC: "func",
}

_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F
_SWAPPED = 0x9FEB
#: Words (of 4 bytes) that follow a type's three, by kind: fixed, and per counted member.
_FIXED = (0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0)
_EACH = (0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3)
_DEEPEST = 64  # modifiers upon modifiers, arrays of arrays: more is damage
_POINTER_BYTES = 8


class Member(msgspec.Struct, frozen=True):
    """A field of a struct or union; ``bits`` is 0 unless it is a bit field."""

    name: str
    type: int
    offset_bits: int
    bits: int


class Btf:
    """The types of one kernel, module or object; type 0 is void.

    Attributes:
        where: Its file, for errors.
        base: The kernel's types that a module's build upon; its ids and strings come first.
        count: Types, those of the base included, void included.
    """

    def __init__(self, data: bytes, where: str, base: Btf | None = None) -> None:
        """Pass over all types once.

        Raises:
            BadFile: Not BTF, of the other byte order, or damaged.
        """
        self.where = where
        self.base = base
        self.count: int
        self.strings_size: int
        self._first: int = base.count if base else 1
        self._strings_first: int = base.strings_size if base else 0
        types, self._strings = self._split(data)
        self.strings_size = self._strings_first + len(self._strings)
        self._words = memoryview(types).cast("I")
        self._starts, self._names = self._pass_over()
        self.count = self._first + len(self._starts)
        self._by_name: dict[int, list[int]] | None = None

    def _split(self, data: bytes) -> tuple[bytes, bytes]:
        """The type part and the string part."""
        if len(data) < _HEADER.size:
            raise self._damaged("is too short to be BTF")
        magic, _, _, head, type_at, type_size, text_at, text_size = _HEADER.unpack_from(data)
        if magic == _SWAPPED:
            raise BadFile(self.where, "is BTF of a big-endian machine", fix="little-endian kernels are read")
        if magic != _MAGIC:
            raise self._damaged("is not BTF")
        if head + max(type_at + type_size, text_at + text_size) > len(data) or type_size % 4:
            raise self._damaged("is cut off: its types or strings end after the file")
        strings = data[head + text_at : head + text_at + text_size]
        if strings and strings[-1]:
            raise self._damaged("has damaged strings")
        return data[head + type_at : head + type_at + type_size], strings

    def _damaged(self, problem: str) -> BadFile:
        return BadFile(
            self.where,
            problem,
            fix="give a kernel's BTF: /sys/kernel/btf/vmlinux, vmlinuz, or bpftool's copy",
        )

    def _pass_over(self) -> tuple[array[int], array[int]]:
        """Where each type starts (in words), and the string offset of its name."""
        words, end = self._words, len(self._words)
        starts, names = array("I"), array("I")
        fixed, each = _FIXED, _EACH
        at = 0
        try:
            while at < end:
                info = words[at + 1]
                kind = info >> 24 & 31
                starts.append(at)
                names.append(words[at])
                at += 3 + fixed[kind] + each[kind] * (info & 0xFFFF)
        except IndexError:
            raise self._damaged("has a damaged type, or one of a kind that is not known here") from None
        if at != end:
            raise self._damaged("is cut off within its last type")
        return starts, names

    # ── one type ────────────────────────────────────────────────────────────────

    def _home(self, type_id: int) -> tuple[Btf, int]:
        """Which of module and base holds a type, and the word it starts at there."""
        if type_id < self._first and self.base is not None:
            return self.base._home(type_id)
        place = type_id - self._first
        if not 0 <= place < len(self._starts):
            raise self._damaged(f"refers to type {type_id}, which it does not have")
        return self, self._starts[place]

    def _head(self, type_id: int) -> tuple[int, int, int]:
        """Name offset, info, and size or type; of void: zeros."""
        if type_id == 0:
            return 0, 0, 0
        home, at = self._home(type_id)
        words = home._words
        return words[at], words[at + 1], words[at + 2]

    def _rest(self, type_id: int, each: int, count: int) -> Iterator[list[int]]:
        home, at = self._home(type_id)
        words = home._words
        for start in range(at + 3, at + 3 + each * count, each):
            yield words[start : start + each].tolist()

    def kind(self, type_id: int) -> int:
        """Which kind of type; 0 is void."""
        return self._head(type_id)[1] >> 24 & 31

    def flag(self, type_id: int) -> bool:
        """The kind's flag: bit fields in a struct, a signed enum, a declared union."""
        return bool(self._head(type_id)[1] >> 31)

    def length(self, type_id: int) -> int:
        """How many members, enumerators or parameters."""
        return self._head(type_id)[1] & 0xFFFF

    def size(self, type_id: int) -> int:
        """Its own size in bytes: of integers, structs, enums."""
        return self._head(type_id)[2]

    def refers(self, type_id: int) -> int:
        """The type it points at, names, changes or returns."""
        return self._head(type_id)[2]

    def name(self, type_id: int) -> str:
        """Its name; empty for none."""
        return self.text(self._head(type_id)[0])

    def text(self, offset: int) -> str:
        """A string by its offset; empty when there is none there."""
        if offset < self._strings_first and self.base is not None:
            return self.base.text(offset)
        at = offset - self._strings_first
        if not 0 <= at < len(self._strings):
            return ""
        return self._strings[at : self._strings.find(b"\0", at)].decode("utf-8", "replace")

    def members(self, type_id: int) -> list[Member]:
        """Fields of a struct or union, in order."""
        packed = self.flag(type_id)
        rows = self._rest(type_id, 3, self.length(type_id))
        if packed:
            return [Member(self.text(name), kind, at & 0xFFFFFF, at >> 24) for name, kind, at in rows]
        return [Member(self.text(name), kind, at, 0) for name, kind, at in rows]

    def enumerators(self, type_id: int) -> list[tuple[str, int]]:
        """Names and values of an enum, as the unsigned numbers that stand there (sign applied)."""
        count, signed = self.length(type_id), self.flag(type_id)
        if self.kind(type_id) == ENUM64:
            wide = ((name, low | high << 32, 64) for name, low, high in self._rest(type_id, 3, count))
        else:
            wide = ((name, value, 32) for name, value in self._rest(type_id, 2, count))
        return [
            (self.text(name), value - (1 << bits) if signed and value >> (bits - 1) else value)
            for name, value, bits in wide
        ]

    def array(self, type_id: int) -> tuple[int, int]:
        """Element type and number of elements."""
        element, _, count = next(self._rest(type_id, 3, 1))
        return element, count

    def parameters(self, type_id: int) -> list[int]:
        """Types of a function prototype's parameters."""
        return [kind for _, kind in self._rest(type_id, 2, self.length(type_id))]

    def encoding(self, type_id: int) -> tuple[bool, int]:
        """Of an integer: whether it is signed, and the bit offset of old-style bit fields."""
        ((word,),) = self._rest(type_id, 1, 1)
        return bool(word >> 24 & 1), word >> 16 & 0xFF

    def linkage(self, type_id: int) -> int:
        """Of a variable: 0 static, 1 global, 2 extern. Of a function it stands in its length."""
        if self.kind(type_id) == FUNC:
            return self.length(type_id)
        ((word,),) = self._rest(type_id, 1, 1)
        return word

    def variables(self, type_id: int) -> list[tuple[int, int, int]]:
        """Of a DATASEC: type, offset and size of each."""
        return [(row[0], row[1], row[2]) for row in self._rest(type_id, 3, self.length(type_id))]

    def plain(self, type_id: int) -> int:
        """What remains without const, volatile, restrict, typedefs and tags."""
        for _ in range(_DEEPEST):
            if self.kind(type_id) not in MODIFIERS:
                return type_id
            type_id = self.refers(type_id)
        raise self._damaged(f"has type {type_id} defined by itself")

    def bytes_of(self, type_id: int) -> int:
        """Size in memory, through modifiers and arrays; 0 for what has none."""
        count = 1
        for _ in range(_DEEPEST):
            type_id = self.plain(type_id)
            kind = self.kind(type_id)
            if kind != ARRAY:
                if kind == PTR:
                    return count * _POINTER_BYTES
                sized = (INT, STRUCT, UNION, ENUM, ENUM64, FLOAT, DATASEC)
                return count * self.size(type_id) if kind in sized else 0
            type_id, elements = self.array(type_id)
            count *= elements
        raise self._damaged(f"has array {type_id} of itself")

    # ── by name ─────────────────────────────────────────────────────────────────

    def named(self, name: str, kinds: Iterable[int]) -> list[int]:
        """All types of exactly this name and one of these kinds; the base's first."""
        wanted = frozenset(kinds)
        found = self.base.named(name, wanted) if self.base else []
        return [*found, *self._own(f"\0{name}\0".encode(), wanted)]

    def alike(self, essential: str, kinds: Iterable[int]) -> list[int]:
        """Own types (without the base's) of this name or a flavour of it (``name___other``)."""
        wanted = frozenset(kinds)
        found = set(self._own(f"\0{essential}\0".encode(), wanted))
        flavours = self._own(f"\0{essential}___".encode(), wanted)
        found.update(one for one in flavours if essential_name(self.name(one)) == essential)
        return sorted(found)

    def first(self, name: str, kinds: Iterable[int]) -> int:
        """The first type of this name; 0 when there is none."""
        return next(iter(self.named(name, kinds)), 0)

    def _own(self, pattern: bytes, kinds: frozenset[int]) -> list[int]:
        found: list[int] = []
        at = self._strings.find(pattern)
        while at >= 0:
            places = self._index().get(self._strings_first + at + 1, ())
            found += [one for one in places if self.kind(one) in kinds]
            at = self._strings.find(pattern, at + 1)
        return found

    def _index(self) -> dict[int, list[int]]:
        """Type ids by the string offset of their name; built at the first question."""
        if self._by_name is None:
            index: dict[int, list[int]] = {}
            for type_id, name in enumerate(self._names, self._first):
                if name:
                    if name in index:
                        index[name].append(type_id)
                    else:
                        index[name] = [type_id]
            self._by_name = index
        return self._by_name

    def functions(self) -> Iterator[str]:
        """Names of all functions, of the base too."""
        if self.base is not None:
            yield from self.base.functions()
        for type_id in range(self._first, self.count):
            if self.kind(type_id) == FUNC:
                yield self.name(type_id)


def essential_name(name: str) -> str:
    """A name without its flavour: ``task_struct___old`` → ``task_struct``.

    The last separator counts: three underscores between two characters that are none.
    """
    for at in range(len(name) - 5, -1, -1):
        if name[at] != "_" and name[at + 1 : at + 4] == "___" and name[at + 4] != "_":
            return name[: at + 1]
    return name
