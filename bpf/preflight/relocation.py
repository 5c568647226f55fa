"""What each CO-RE relocation of an object becomes on a kernel: libbpf's algorithm, without loading.

Its promise: the answer is libbpf's own (found, not found, or refused), with the value it would write,
and words for a person. Candidates are all types of the same name, flavours included; all that match
must agree. Source: libbpf ``relo_core.c``; ``linux/bpf.h``, ``enum bpf_core_relo_kind``.

Not here: whether an instruction that was not found is ever reached (``bpf.preflight.reach``).
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import Literal

import msgspec

from bpf.preflight.btf import (
    ARRAY,
    COMPOSITES,
    ENUMS,
    INT,
    KIND_NAMES,
    PTR,
    Btf,
    Member,
    essential_name,
)
from bpf.preflight.compat import fields_agree, types_agree, types_match

_DEEPEST = 64  # BPF_CORE_SPEC_MAX_LEN
_WORD = (1 << 64) - 1


class Kind(IntEnum):
    """What is asked about a type, a field or an enumerator."""

    FIELD_OFFSET = 0
    FIELD_SIZE = 1
    FIELD_EXISTS = 2
    FIELD_SIGNED = 3
    FIELD_LSHIFT = 4
    FIELD_RSHIFT = 5
    TYPE_ID_LOCAL = 6
    TYPE_ID_TARGET = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMERATOR_EXISTS = 10
    ENUMERATOR_VALUE = 11
    TYPE_MATCHES = 12


_OF_FIELDS = frozenset(range(6))
_OF_TYPES = frozenset((6, 7, 8, 9, 12))
#: Asking is safe: the answer "no" is an answer.
QUESTIONS = frozenset((Kind.FIELD_EXISTS, Kind.TYPE_EXISTS, Kind.ENUMERATOR_EXISTS, Kind.TYPE_MATCHES))


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One relocation as it stands in ``.BTF.ext``.

    Attributes:
        at: The instruction's byte offset in its section.
        access: ``0:3:1``: pointer index, then member or array indexes.
    """

    at: int
    type_id: int
    access: str
    kind: Kind


class Resolved(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a relocation.

    Attributes:
        state: ``missing`` means libbpf replaces the instruction by an invalid one, which the verifier
            refuses where it can be reached; ``refused`` means libbpf refuses the whole object.
        value: What is written into the instruction; None when missing.
        resized: The field has another size, so that a direct load or store of it is invalid.
        why: For a person, when not found: what there is instead.
    """

    state: Literal["found", "missing", "refused"]
    value: int | None = None
    resized: bool = False
    why: str = ""


class Refusal(Exception):
    """libbpf would refuse the object; the words say why."""


class Step(msgspec.Struct, frozen=True):
    """One turn of an access: a named field of ``type``, or an element (no name)."""

    type: int
    index: int
    name: str


class Spec(msgspec.Struct):
    """An access, resolved on one side: its turns and the distance in bits."""

    root: int
    steps: list[Step]
    bits: int = 0


class _Answer(msgspec.Struct, frozen=True):
    """A value with the size and type of what is loaded."""

    value: int
    size: int = 0
    type: int = 0


def essential_kind(types: Btf, type_id: int) -> str:
    """``struct``, ``union``, ``enum``, ``typedef``."""
    return KIND_NAMES.get(types.kind(type_id), "type")


def describe(local: Btf, request: Request) -> str:
    """A relocation in words: ``struct task_struct.state``, ``enum bpf_func_id: BPF_FUNC_loop``."""
    name = essential_name(local.name(request.type_id))
    title = f"{essential_kind(local, request.type_id)} {name or '(anonymous)'}"
    if request.kind in _OF_TYPES:
        return title
    try:
        spec = parse(local, request)
    except Refusal:
        return f"{title} (access {request.access})"
    if request.kind in (Kind.ENUMERATOR_EXISTS, Kind.ENUMERATOR_VALUE):
        return f"{title}: {essential_name(spec.steps[0].name)}"
    path = "".join(f".{step.name}" if step.name else f"[{step.index}]" for step in spec.steps[1:])
    return title + path


def parse(local: Btf, request: Request) -> Spec:
    """The access as the object was compiled.

    Raises:
        Refusal: The object's own BTF contradicts it.
    """
    if request.kind in _OF_TYPES:
        if request.access != "0":
            raise Refusal(f"access {request.access!r} of a type is malformed")
        return Spec(request.type_id, [])
    if not re.fullmatch(r"\d{1,9}(:\d{1,9}){0,63}", request.access):
        raise Refusal(f"access {request.access!r} is malformed")
    indexes = [int(part) for part in request.access.split(":")]
    here = local.plain(request.type_id)
    if request.kind not in _OF_FIELDS:
        names = local.enumerators(here) if local.kind(here) in ENUMS else []
        if len(indexes) > 1 or indexes[0] >= len(names):
            raise Refusal("no such enumerator in the object's own types")
        return Spec(here, [Step(here, indexes[0], names[indexes[0]][0])])
    spec = Spec(here, [Step(here, indexes[0], "")], indexes[0] * local.bytes_of(here) * 8)
    for index in indexes[1:]:
        here = _go_down(local, local.plain(here), index, spec)
    return spec


def _go_down(local: Btf, here: int, index: int, spec: Spec) -> int:
    """One index further: gives the type there, adds the turn and the distance."""
    if local.kind(here) in COMPOSITES:
        members = local.members(here)
        if index >= len(members):
            raise Refusal(f"the object's own {local.name(here)!r} has no member {index}")
        member = members[index]
        spec.bits += member.offset_bits
        if member.name:
            spec.steps.append(Step(here, index, member.name))
        return member.type
    if local.kind(here) == ARRAY:
        element, count = local.array(here)
        if index >= count and not _flexible(local, spec.steps[-1], count):
            raise Refusal(f"the object reads element {index} of an array of {count}")
        element = local.plain(element)
        spec.steps.append(Step(element, index, ""))
        spec.bits += index * local.bytes_of(element) * 8
        return element
    raise Refusal("it goes into a type that has no parts")


def _flexible(types: Btf, last: Step, count: int) -> bool:
    """Whether an array of 0 is the open end of its struct."""
    return bool(last.name) and count == 0 and last.index == types.length(last.type) - 1


# ── on the kernel's side ────────────────────────────────────────────────────────


def resolve(  # noqa: PLR0911 - one answer per outcome
    local: Btf, request: Request, kernel: list[tuple[Btf, int]]
) -> Resolved:
    """Try a relocation on all candidates: pairs of types and id, of the same essential name."""
    try:
        mine = parse(local, request)
        if request.kind == Kind.TYPE_ID_LOCAL:
            return Resolved(state="found", value=request.type_id)
        if not local.name(request.type_id):
            return Resolved(state="refused", why="CO-RE can't look for a type without a name")
        own = _answer(local, request.kind, mine)
        found: list[tuple[int, _Answer, bool]] = []
        for types, type_id in kernel:
            theirs = match(local, mine, types, type_id, request.kind)
            if theirs is not None:
                answer = _answer(types, request.kind, theirs)
                found.append((theirs.bits, answer, _resized(local, own, types, answer)))
        if len({bits for bits, *_ in found}) > 1 or len({answer.value for _, answer, _ in found}) > 1:
            return Resolved(
                state="refused", why="the kernel has several types of this name, and they disagree"
            )
    except Refusal as refusal:
        return Resolved(state="refused", why=str(refusal))
    if found:
        _, answer, resized = found[0]
        return Resolved(state="found", value=answer.value & _WORD, resized=resized)
    if request.kind in _OF_TYPES or request.kind in QUESTIONS:
        return Resolved(state="found", value=0)
    return Resolved(state="missing")


def match(local: Btf, mine: Spec, types: Btf, type_id: int, kind: Kind) -> Spec | None:
    """The same access in a candidate; None when it does not fit."""
    theirs = Spec(type_id, [])
    if kind in _OF_TYPES:
        agree = types_match if kind == Kind.TYPE_MATCHES else types_agree
        return theirs if agree(local, mine.root, types, type_id) else None
    if kind not in _OF_FIELDS:
        return _match_enumerator(mine, types, type_id)
    here = type_id
    for number, step in enumerate(mine.steps):
        here = types.plain(here)
        if step.name:
            wanted = local.members(step.type)[step.index]
            member = _find_member(local, wanted, types, here, theirs)
            if member is None:
                return None
            here = member.type
            continue
        if number:
            if types.kind(here) != ARRAY:
                return None
            element, count = types.array(here)
            if step.index >= count and not _flexible(types, theirs.steps[-1], count):
                return None
            here = types.plain(element)
        theirs.steps.append(Step(here, step.index, ""))
        theirs.bits += step.index * types.bytes_of(here) * 8
    return theirs


def _match_enumerator(mine: Spec, types: Btf, type_id: int) -> Spec | None:
    here = types.plain(type_id)
    if types.kind(here) in ENUMS:
        wanted = essential_name(mine.steps[0].name)
        for index, (name, _) in enumerate(types.enumerators(here)):
            if essential_name(name) == wanted:
                return Spec(here, [Step(here, index, name)])
    return None


def _find_member(  # noqa: PLR0913, PLR0917 - both sides of one member
    local: Btf, wanted: Member, types: Btf, here: int, theirs: Spec, depth: int = 0
) -> Member | None:
    """A member by name, also within nameless structs and unions; adds the turn and the distance."""
    here = types.plain(here)
    if types.kind(here) not in COMPOSITES:
        return None
    if depth > _DEEPEST:
        raise Refusal("the kernel's type is nested too deeply")
    for index, member in enumerate(types.members(here)):
        if not member.name:
            before = theirs.bits
            theirs.bits += member.offset_bits
            found = _find_member(local, wanted, types, member.type, theirs, depth + 1)
            if found is not None:
                return found
            theirs.bits = before
        elif member.name == wanted.name:
            if not fields_agree(local, wanted.type, types, member.type):
                return None
            theirs.bits += member.offset_bits
            theirs.steps.append(Step(here, index, member.name))
            return member
    return None


# ── values ──────────────────────────────────────────────────────────────────────


def _answer(types: Btf, kind: Kind, spec: Spec) -> _Answer:  # noqa: PLR0911 - one answer per kind
    """The value of a relocation that fits."""
    if kind in QUESTIONS:
        return _Answer(1)
    if kind == Kind.TYPE_SIZE:
        return _Answer(types.bytes_of(spec.root))
    if kind in _OF_TYPES:
        return _Answer(spec.root)
    last = spec.steps[-1]
    if kind == Kind.ENUMERATOR_VALUE:
        return _Answer(types.enumerators(last.type)[last.index][1])
    if not last.name:
        if kind == Kind.FIELD_OFFSET:
            return _loaded(types, spec.bits // 8, last.type)
        if kind == Kind.FIELD_SIZE:
            return _Answer(types.bytes_of(last.type))
        raise Refusal("this can't be asked of an array's element")
    return _field(types, kind, types.members(last.type)[last.index], spec.bits)


def _loaded(types: Btf, offset: int, type_id: int) -> _Answer:
    """An offset, with size and type of the element that a load there takes."""
    element = types.plain(type_id)
    for _ in range(_DEEPEST):
        if types.kind(element) != ARRAY:
            break
        element = types.plain(types.array(element)[0])
    return _Answer(offset, types.bytes_of(element), types.plain(type_id))


def _field(types: Btf, kind: Kind, member: Member, bits: int) -> _Answer:
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
        return _Answer(offset) if member.bits else _loaded(types, offset, field_type)
    if kind == Kind.FIELD_SIZE:
        return _Answer(size)
    if kind == Kind.FIELD_SIGNED:
        return _Answer(int(_signed(types, field_type)))
    if kind == Kind.FIELD_LSHIFT:
        return _Answer(64 - (bits + width - offset * 8))
    return _Answer(64 - width)


def _signed(types: Btf, type_id: int) -> bool:
    if types.kind(type_id) in ENUMS:
        return types.flag(type_id)
    return types.kind(type_id) == INT and types.encoding(type_id)[0]


def _resized(local: Btf, mine: _Answer, types: Btf, theirs: _Answer) -> bool:
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
