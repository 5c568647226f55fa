"""What each CO-RE relocation of an object becomes on a kernel: libbpf's algorithm, without loading.

Its promise: the answer is libbpf's own (found, not found, or refused), with the value it would write,
and words for a person. Candidates are all types of the same name, flavours included; all that match
must agree. Source: libbpf ``relo_core.c``; ``linux/bpf.h``, ``enum bpf_core_relo_kind``.

Not here: whether an instruction that was not found is ever reached (``bpf.preflight.reach``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from bpf.preflight.access import (
    OF_FIELDS,
    OF_TYPES,
    QUESTIONS,
    Kind,
    Refusal,
    Request,
    Spec,
    Step,
    flexible,
    parse,
)
from bpf.preflight.btf import ARRAY, COMPOSITES, ENUMS, Btf, Member, essential_name
from bpf.preflight.compat import fields_agree, types_agree, types_match
from bpf.preflight.relocation_value import Answer, answer, resized

_DEEPEST = 64  # BPF_CORE_SPEC_MAX_LEN
_WORD = (1 << 64) - 1


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
        own = answer(local, request.kind, mine)
        found: list[tuple[int, Answer, bool]] = []
        for types, type_id in kernel:
            theirs = match(local, mine, types, type_id, request.kind)
            if theirs is not None:
                value = answer(types, request.kind, theirs)
                found.append((theirs.bits, value, resized(local, own, types, value)))
        if len({bits for bits, *_ in found}) > 1 or len({value.value for _, value, _ in found}) > 1:
            return Resolved(
                state="refused", why="the kernel has several types of this name, and they disagree"
            )
    except Refusal as refusal:
        return Resolved(state="refused", why=str(refusal))
    if found:
        _, value, other_size = found[0]
        return Resolved(state="found", value=value.value & _WORD, resized=other_size)
    if request.kind in OF_TYPES or request.kind in QUESTIONS:
        return Resolved(state="found", value=0)
    return Resolved(state="missing")


def match(local: Btf, mine: Spec, types: Btf, type_id: int, kind: Kind) -> Spec | None:
    """The same access in a candidate; None when it does not fit."""
    theirs = Spec(type_id, [])
    if kind in OF_TYPES:
        agree = types_match if kind == Kind.TYPE_MATCHES else types_agree
        return theirs if agree(local, mine.root, types, type_id) else None
    if kind not in OF_FIELDS:
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
            if step.index >= count and not flexible(types, theirs.steps[-1], count):
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
