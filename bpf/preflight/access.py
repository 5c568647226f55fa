"""What a CO-RE relocation asks: a field, a type or an enumerator, as the object was compiled.

Source: ``linux/bpf.h``, ``enum bpf_core_relo_kind`` and ``struct bpf_core_relo``.

Not here: finding it on a kernel (``bpf.preflight.relocation``).
"""

from __future__ import annotations

import re
from enum import IntEnum

import msgspec

from bpf.preflight.btf import ARRAY, COMPOSITES, ENUMS, KIND_NAMES, Btf, essential_name


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


OF_FIELDS = frozenset(range(6))
OF_TYPES = frozenset((6, 7, 8, 9, 12))
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


def essential_kind(types: Btf, type_id: int) -> str:
    """``struct``, ``union``, ``enum``, ``typedef``."""
    return KIND_NAMES.get(types.kind(type_id), "type")


def describe(local: Btf, request: Request) -> str:
    """A relocation in words: ``struct task_struct.state``, ``enum bpf_func_id: BPF_FUNC_loop``."""
    name = essential_name(local.name(request.type_id))
    title = f"{essential_kind(local, request.type_id)} {name or '(anonymous)'}"
    if request.kind in OF_TYPES:
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
    if request.kind in OF_TYPES:
        if request.access != "0":
            raise Refusal(f"access {request.access!r} of a type is malformed")
        return Spec(request.type_id, [])
    if not re.fullmatch(r"\d{1,9}(:\d{1,9}){0,63}", request.access):
        raise Refusal(f"access {request.access!r} is malformed")
    indexes = [int(part) for part in request.access.split(":")]
    here = local.plain(request.type_id)
    if request.kind not in OF_FIELDS:
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
        if index >= count and not flexible(local, spec.steps[-1], count):
            raise Refusal(f"the object reads element {index} of an array of {count}")
        element = local.plain(element)
        spec.steps.append(Step(element, index, ""))
        spec.bits += index * local.bytes_of(element) * 8
        return element
    raise Refusal("it goes into a type that has no parts")


def flexible(types: Btf, last: Step, count: int) -> bool:
    """Whether an array of 0 is the open end of its struct."""
    return bool(last.name) and count == 0 and last.index == types.length(last.type) - 1
