"""The number that CO-RE writes into an instruction, once a relocation has found its place.

Source: libbpf ``relo_core.c`` (``bpf_core_calc_field_relo`` and its kin).

Not here: finding the place (``bpf.preflight.relocation``).
"""

from __future__ import annotations

import msgspec

from bpf.preflight.access import OF_TYPES, QUESTIONS, Kind, Refusal, Spec
from bpf.preflight.btf import ARRAY, ENUMS, INT, PTR, Btf, Member

_DEEPEST = 64


class Answer(msgspec.Struct, frozen=True):
    """A value with the size and type of what is loaded."""

    value: int
    size: int = 0
    type: int = 0


def answer(types: Btf, kind: Kind, spec: Spec) -> Answer:  # noqa: PLR0911 - one answer per kind
    """The value of a relocation that fits."""
    if kind in QUESTIONS:
        return Answer(1)
    if kind == Kind.TYPE_SIZE:
        return Answer(types.bytes_of(spec.root))
    if kind in OF_TYPES:
        return Answer(spec.root)
    last = spec.steps[-1]
    if kind == Kind.ENUMERATOR_VALUE:
        return Answer(types.enumerators(last.type)[last.index][1])
    if not last.name:
        if kind == Kind.FIELD_OFFSET:
            return _loaded(types, spec.bits // 8, last.type)
        if kind == Kind.FIELD_SIZE:
            return Answer(types.bytes_of(last.type))
        raise Refusal("this can't be asked of an array's element")
    return _field(types, kind, types.members(last.type)[last.index], spec.bits)


def _loaded(types: Btf, offset: int, type_id: int) -> Answer:
    """An offset, with size and type of the element that a load there takes."""
    element = types.plain(type_id)
    for _ in range(_DEEPEST):
        if types.kind(element) != ARRAY:
            break
        element = types.plain(types.array(element)[0])
    return Answer(offset, types.bytes_of(element), types.plain(type_id))


def _field(types: Btf, kind: Kind, member: Member, bits: int) -> Answer:
    """Offset, size, sign or shifts of a field, plain or a bit field."""
    field_type = types.plain(member.type)
    size, width = types.bytes_of(field_type), member.bits
    if width:
        size = max(types.size(field_type), 1)
        offset = bits // 8 // size * size
        while bits + width - offset * 8 > size * 8:
            if size >= 8:
                raise Refusal("the bit field does not fit one load of 64 bits")
            size *= 2
            offset = bits // 8 // size * size
    else:
        offset, width = bits // 8, size * 8
    if kind == Kind.FIELD_OFFSET:
        return Answer(offset) if member.bits else _loaded(types, offset, field_type)
    if kind == Kind.FIELD_SIZE:
        return Answer(size)
    if kind == Kind.FIELD_SIGNED:
        return Answer(int(_signed(types, field_type)))
    if kind == Kind.FIELD_LSHIFT:
        return Answer(64 - (bits + width - offset * 8))
    return Answer(64 - width)


def _signed(types: Btf, type_id: int) -> bool:
    if types.kind(type_id) in ENUMS:
        return types.flag(type_id)
    return types.kind(type_id) == INT and types.encoding(type_id)[0]


def resized(local: Btf, mine: Answer, types: Btf, theirs: Answer) -> bool:
    """Whether a direct load would take the wrong number of bytes, and can't be mended.

    Pointers, and unsigned integers, may differ in size: libbpf then changes the load.
    """
    if not mine.type or not theirs.type or mine.size == theirs.size:
        return False
    kinds = local.kind(mine.type), types.kind(theirs.type)
    if kinds == (PTR, PTR):
        return False
    if kinds == (INT, INT):
        return local.encoding(mine.type)[0] or types.encoding(theirs.type)[0]
    return True
