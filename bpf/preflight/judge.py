"""One object against one kernel: everything it needs, each with its answer.

Its promise: only what a program reaches counts; a part that is guarded by a question (does this field
exist, is this helper there, which version is it) works when the question is answered.

Not here: reading files (``bpf_object``, ``kernel``), printing (``telling``).
"""

from __future__ import annotations

from collections.abc import Iterator

from bpf.preflight import attach, features, instructions, linking, missing, needs, sections
from bpf.preflight.bpf_object import BpfFile, MapWanted, Program
from bpf.preflight.features import Group
from bpf.preflight.kernel import Kernel
from bpf.preflight.linking import Linked
from bpf.preflight.reach import Place
from bpf.preflight.relocation import QUESTIONS, Kind, describe
from bpf.preflight.result import About, Finding, ObjectVerdict, Outcome, ProgramVerdict, Stage, merged, worst

_PIN = "pin this kernel's predecessor, or an agent release that supports it"
_EXTERNS: dict[str, About] = {"kfunc": "kfunc", "variable": "symbol", "config": "config"}
#: libbpf replaces these where the kernel lacks them.
_REPLACED = {112: 4, 113: 4, 114: 45, 115: 45}


def judge(obj: BpfFile, kernel: Kernel) -> ObjectVerdict:
    """Everything that this object needs of this kernel."""
    linked = Linked(obj, kernel)
    findings = [*_maps(obj, kernel), *_externs(linked)]
    programs = []
    for program in obj.programs:
        found = [*_program(linked, program)]
        findings += found
        programs.append(
            ProgramVerdict(
                name=program.name,
                section=program.section,
                load=worst(one.outcome for one in found if one.stage == "load"),
                attach=worst(one.outcome for one in found if one.stage == "attach"),
                optional=program.optional,
            )
        )
    return ObjectVerdict(
        path=obj.path,
        kernel=kernel.label,
        programs=tuple(programs),
        findings=merged(findings),
        notes=tuple(_notes(obj, kernel)),
    )


def _notes(obj: BpfFile, kernel: Kernel) -> Iterator[str]:
    if obj.btf is None:
        yield "the object has no BTF, so nothing of it is relocated: it must fit this kernel as it is"
    if kernel.config is None:
        yield "the kernel's configuration is not known: give it with --config"
    yield "not looked at: whether the verifier finds the program safe, and the agent's rights to load it"


def _program(linked: Linked, program: Program) -> Iterator[Finding]:
    """All findings of one program."""
    reached = linking.uses(linked, (program.section, program.start))
    yield from _type(linked.kernel, program)
    yield from _relocations(linked, program, reached)
    yield from _code(linked, program, reached)


# ── types and places ────────────────────────────────────────────────────────────


def _feature(kernel: Kernel, group: Group, number: int) -> tuple[Outcome, str]:
    """Whether the kernel has a feature, in words."""
    has = features.has(kernel.features, group, number)
    known = features.table().get((group, number))
    since = f"kernels ≥ {features.told(known.since)} have it" if known else "it is newer than this table"
    if has is None:
        return "unknown", f"{since}; which version {kernel.spelled()} is, is not known"
    return ("works" if has else "fails"), since


def _type(kernel: Kernel, program: Program) -> Iterator[Finding]:
    wanted = sections.read(program.section)
    if wanted is None:
        yield Finding(
            about="program type",
            item=program.section,
            outcome="unknown",
            program=program.name,
            reason="the section's name says no type: the agent's own loader decides",
        )
        return
    kind = wanted.kind
    outcome, reason = _feature(kernel, "program", features.number("program", kind.program))
    yield Finding(
        about="program type", item=kind.program, outcome=outcome, program=program.name, reason=reason,
        advice=_PIN if outcome == "fails" else "",
    )  # fmt: skip
    if kind.attach:
        stage: Stage = "load" if kind.checked else "attach"
        outcome, reason = _feature(kernel, "attach", features.number("attach", kind.attach))
        yield Finding(
            about="attach", item=f"kind {kind.attach}", outcome=outcome, stage=stage, program=program.name,
            reason=reason, advice=_PIN if outcome == "fails" else "",
        )  # fmt: skip
    answer = attach.check(kernel, wanted)
    yield Finding(
        about="attach",
        item=" ".join((wanted.prefix, wanted.target)).strip(),
        outcome=answer.outcome,
        stage=answer.stage,
        program=program.name,
        reason=answer.reason,
        advice=answer.advice,
    )
    of = f"a program in section {program.section}"
    yield from needs.check(kernel, needs.PLACES.get(kind.place, ()), of=of, program=program.name)
    yield from needs.check(kernel, needs.PROGRAMS.get(kind.program, ()), of=of, program=program.name)


def _maps(obj: BpfFile, kernel: Kernel) -> Iterator[Finding]:
    wanted = [*obj.maps]
    if obj.data:
        wanted.append(MapWanted(name=".rodata", type=features.number("map", "array")))
    for one in wanted:
        outcome, reason = _feature(kernel, "map", one.type)
        name = features.name("map", one.type)
        yield Finding(
            about="map type", item=f"{name} ({one.name})", outcome=outcome, reason=reason,
            advice=_PIN if outcome == "fails" else "",
        )  # fmt: skip
        yield from needs.check(kernel, needs.MAPS.get(name, ()), of=f"map {one.name} ({name})")


def _externs(linked: Linked) -> Iterator[Finding]:
    """What the object refers to by name; weak ones may be missing."""
    for one in linked.obj.externs:
        there = linked.externs[one.name]
        outcome: Outcome = "works" if there or one.weak else "unknown" if there is None else "fails"
        reason = f"{linked.kernel.spelled()} has it"
        if not there:
            reason = f"{linked.kernel.spelled()} lacks it" if there is False else "not known of this kernel"
            reason += "; it is weak: the object asks before it uses it" if one.weak else ""
        advice = _PIN if outcome == "fails" else ""
        yield Finding(about=_EXTERNS[one.sort], item=one.name, outcome=outcome, reason=reason, advice=advice)


# ── code ────────────────────────────────────────────────────────────────────────


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
    return f"guard it with bpf_core_field_exists, or read it by both names (struct x___old); else {_PIN}"


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
        return "unknown", f"{reason}; it is reached only with other settings than the built-in ones"
    return "fails", reason


def _code(linked: Linked, program: Program, reached: dict[Place, bool]) -> Iterator[Finding]:
    """Helpers, kernel functions and kinds of instructions that the program reaches."""
    for place, sure in sorted(reached.items()):
        one = linked.code[place[0]][place[1]]
        where = linked.obj.place(*place) or f"instruction {place[1]} of {place[0]}"
        if (
            one.code == instructions.CALL
            and one.source == instructions.CALL_HELPER
            and place not in linked.ends
        ):
            outcome, reason = _helper(linked.kernel, one.immediate)
            item = features.name("helper", one.immediate)
            advice = f"guard it with bpf_core_enum_value_exists(enum bpf_func_id, …), or {_PIN}"
            yield _in_code("helper", item, outcome, reason, advice, program, where, sure)
        for novelty in instructions.novelties(one):
            since = instructions.NOVELTIES[novelty]
            has = features.newer(linked.kernel.features, since)
            outcome = "works" if has else "unknown" if has is None else "fails"
            reason = f"kernels ≥ {features.told(since)} have them"
            advice = "build the object with an older -mcpu, or " + _PIN
            yield _in_code("instruction", novelty, outcome, reason, advice, program, where, sure)


def _helper(kernel: Kernel, number: int) -> tuple[Outcome, str]:
    outcome, reason = _feature(kernel, "helper", number)
    if outcome != "works" and number in _REPLACED:
        return "works", f"{reason}; libbpf takes bpf_probe_read in its place"
    return outcome, reason


def _in_code(  # noqa: PLR0913, PLR0917 - the fields of one finding
    about: str,
    item: str,
    outcome: Outcome,
    reason: str,
    advice: str,
    program: Program,
    where: str,
    sure: bool,
) -> Finding:
    if outcome == "fails" and not sure:
        outcome, reason = (
            "unknown",
            f"{reason}; it is reached only with other settings than the built-in ones",
        )
    return Finding(
        about="helper" if about == "helper" else "instruction",
        item=item,
        outcome=outcome,
        program=program.name,
        place=where,
        reason=reason,
        advice="" if outcome == "works" else advice,
    )
