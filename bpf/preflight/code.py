"""Findings about a program's code: relocations, helpers, arguments, kinds of instructions.

Its promise: relocations and helpers count where the program reaches them; kinds of instructions count
anywhere, for the kernel looks at all of them.

Not here: types, places, maps and externs (``judge``).
"""

from __future__ import annotations

from collections.abc import Iterator

from bpf.preflight import allowed as may_call
from bpf.preflight import attach, features, instructions, linking, missing, renames, sections
from bpf.preflight.access import QUESTIONS, Kind, describe
from bpf.preflight.bpf_object import Program
from bpf.preflight.features import Group
from bpf.preflight.kernel import Kernel
from bpf.preflight.linking import Linked
from bpf.preflight.reach import Place
from bpf.preflight.result import Finding, Outcome

PIN = "pin this kernel's predecessor, or an agent release that supports it"
_OTHER_SETTINGS = "it is reached only with other settings than the built-in ones"
#: ``license_is_gpl_compatible`` in linux/license.h.
_COMPATIBLE = frozenset(
    ("GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL")
)
#: libbpf replaces these where the kernel lacks them.
_REPLACED = {112: 4, 113: 4, 114: 45, 115: 45}


def check(linked: Linked, program: Program) -> Iterator[Finding]:
    """All findings about the code of one program."""
    uses = linking.uses(linked, (program.section, program.start))
    yield from _arguments(linked, program, uses)
    yield from _relocations(linked, program, uses.places)
    yield from _helpers(linked, program, uses.places)
    yield from _novelties(linked, program, uses.places)


def feature(kernel: Kernel, group: Group, number: int) -> tuple[Outcome, str]:
    """Whether the kernel has a feature, in words."""
    has = features.has(kernel.features, group, number)
    known = features.table().get((group, number))
    since = f"kernels ≥ {features.told(known.since)} have it" if known else "it is newer than this table"
    if has is None:
        return "unknown", f"{since}; which version {kernel.spelled()} is, is not known"
    return ("works" if has else "fails"), since


def _relocations(linked: Linked, program: Program, reached: dict[Place, bool]) -> Iterator[Finding]:
    """Each CO-RE relocation of the program and of the functions it calls."""
    obj, kernel = linked.obj, linked.kernel
    for section, requests in obj.requests.items():
        for at, request in requests.items():
            place = (section, at)
            inside = section == program.section and program.start <= at < program.end
            if not inside and place not in reached:
                continue
            assert obj.btf is not None  # noqa: S101 - it has requests
            outcome, reason = _relocated(linked, place, reached)
            yield Finding(
                about="relocation",
                item=f"{describe(obj.btf, request)} ({_ASKED[request.kind]})",
                outcome=outcome,
                program=program.name,
                place=obj.place(section, at) or f"instruction {at} of {section}",
                reason=reason,
                advice=_advice(outcome, kernel),
                value=linked.settled[place].value if place in linked.settled else None,
            )


_ASKED = {
    Kind.FIELD_OFFSET: "offset",
    Kind.FIELD_SIZE: "size",
    Kind.FIELD_EXISTS: "is it there?",
    Kind.FIELD_SIGNED: "sign",
    Kind.FIELD_LSHIFT: "bit shift",
    Kind.FIELD_RSHIFT: "bit shift",
    Kind.TYPE_ID_LOCAL: "own type id",
    Kind.TYPE_ID_TARGET: "type id",
    Kind.TYPE_EXISTS: "is it there?",
    Kind.TYPE_SIZE: "size",
    Kind.ENUMERATOR_EXISTS: "is it there?",
    Kind.ENUMERATOR_VALUE: "value",
    Kind.TYPE_MATCHES: "is it the same?",
}


def _advice(outcome: Outcome, kernel: Kernel) -> str:
    if outcome == "works":
        return ""
    if kernel.btf is None:
        return "give the kernel's types: --btf FILE"
    return f"guard it with bpf_core_field_exists, or read it by both names (struct x___old); else {PIN}"


def _relocated(  # noqa: PLR0911 - one answer per state
    linked: Linked, place: Place, reached: dict[Place, bool]
) -> tuple[Outcome, str]:
    """What became of one relocation, in words."""
    obj, kernel = linked.obj, linked.kernel
    assert obj.btf is not None  # noqa: S101
    if kernel.btf is None:
        return "unknown", "without the kernel's BTF nothing can be said of its types"
    request, found = obj.requests[place[0]][place[1]], linked.settled[place]
    if found.state == "refused":
        return "fails", f"libbpf refuses the object: {found.why}"
    if not linked.invalid(place, found):
        if request.kind in QUESTIONS:
            return "works", "yes, it is there" if found.value else "no, and the program asks first"
        return "works", ""
    if found.state == "found":
        reason = "the field has another size, which this kind of access can't follow"
    else:
        reason = missing.explain(obj.btf, request, linked.candidates(request.type_id), kernel.spelled())
    if place not in reached:
        return "works", f"{reason}; the program asks first and never gets there"
    if not reached[place]:
        return "unknown", f"{reason}; {_OTHER_SETTINGS}"
    return "fails", reason


def _arguments(linked: Linked, program: Program, uses: linking.Uses) -> Iterator[Finding]:
    """Whether the place passes as many arguments as the program reads."""
    wanted = sections.read(program.section)
    count = attach.arguments(linked.kernel, wanted) if wanted is not None else None
    if wanted is None or count is None or not uses.arguments:
        return
    place, offset = max(uses.arguments.items(), key=lambda read: read[1])
    reads = offset // 8 + 1
    enough = reads <= count
    hint = renames.TRACEPOINTS.get(wanted.target, "")
    yield Finding(
        about="attach",
        item=f"arguments of {wanted.target}",
        outcome="works" if enough else "fails",
        stage="attach" if wanted.kind.place == "raw" else "load",
        program=program.name,
        place=linked.obj.place(*place),
        reason=f"{linked.kernel.spelled()} passes {count}, the program reads number {reads}"
        + (f": {hint}" if hint and not enough else ""),
        advice="" if enough else f"read them by the kernel's version, or {PIN}",
    )


def _helpers(linked: Linked, program: Program, reached: dict[Place, bool]) -> Iterator[Finding]:
    """Helpers that the program reaches."""
    wanted = sections.read(program.section)
    for place, sure in sorted(reached.items()):
        one = linked.code[place[0]][place[1]]
        if one.code != instructions.CALL or one.source != instructions.CALL_HELPER or place in linked.ends:
            continue
        outcome, reason, advice = _helper(linked, one.immediate, wanted)
        if outcome == "fails" and not sure:
            outcome, reason = "unknown", f"{reason}; {_OTHER_SETTINGS}"
        yield Finding(
            about="helper",
            item=features.name("helper", one.immediate),
            outcome=outcome,
            program=program.name,
            place=linked.obj.place(*place) or f"instruction {place[1]} of {place[0]}",
            reason=reason,
            advice="" if outcome == "works" else advice,
        )


def _novelties(linked: Linked, program: Program, reached: dict[Place, bool]) -> Iterator[Finding]:
    """Kinds of instructions: the kernel looks at all of them, reached or not."""
    own = ((program.section, at) for at in range(program.start, program.end))
    for place in sorted({*own, *reached}):
        if place[1] >= len(linked.code[place[0]]):
            continue
        one = linked.code[place[0]][place[1]]
        found = list(instructions.novelties(one))
        if one.code == instructions.LOAD_IMM64 and place in linked.calls:
            found.append(instructions.CALLBACK)
        for novelty in found:
            since = instructions.NOVELTIES[novelty]
            has = features.newer(linked.kernel.features, since)
            yield Finding(
                about="instruction",
                item=novelty,
                outcome="works" if has else "unknown" if has is None else "fails",
                program=program.name,
                place=linked.obj.place(*place) or f"instruction {place[1]} of {place[0]}",
                reason=f"kernels ≥ {features.told(since)} have them; older ones refuse even unreached ones",
                advice="" if has else f"build the object without them (an older -mcpu), or {PIN}",
            )


def _helper(linked: Linked, number: int, wanted: sections.Wanted | None) -> tuple[Outcome, str, str]:
    """Whether the kernel has a helper, allows it to this kind of program and licence; reason, advice."""
    outcome, reason = feature(linked.kernel, "helper", number)
    known = features.table().get(("helper", number))
    if known is not None and known.gpl and linked.obj.license not in _COMPATIBLE:
        reason = f"it is for GPL-compatible licences; the object says {linked.obj.license!r}"
        return "fails", reason, 'declare a licence such as "Dual MIT/GPL", or do without it'
    if outcome != "works" and number in _REPLACED:
        return "works", f"{reason}; libbpf takes bpf_probe_read in its place", ""
    if outcome == "works" and wanted is not None:
        allowed, why = may_call.check(wanted.kind, number, linked.kernel.features)
        if allowed != "yes":
            other = f"call it from another type of program, or {PIN}"
            return ("fails" if allowed == "no" else "unknown"), why, other
    return outcome, reason, f"guard it with bpf_core_enum_value_exists, or {PIN}"
