"""One object against one kernel: everything it needs, each with its answer.

Its promise: only what a program reaches counts; a part that is guarded by a question (does this field
exist, is this helper there, which version is it) works when the question is answered.

Not here: reading files (``bpf_object``, ``kernel``), printing (``telling``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from bpf.preflight import attach, code, features, needs, sections
from bpf.preflight.bpf_object import BpfFile, MapWanted, Program
from bpf.preflight.code import PIN, feature
from bpf.preflight.kernel import Kernel
from bpf.preflight.linking import Linked
from bpf.preflight.result import About, Finding, ObjectVerdict, Outcome, ProgramVerdict, Stage, merged, worst

_EXTERNS: dict[str, About] = {"kfunc": "kfunc", "variable": "symbol", "config": "config"}


def judge(obj: BpfFile, kernel: Kernel, optional: Sequence[str] = ()) -> ObjectVerdict:
    """Everything that this object needs of this kernel.

    Args:
        obj: The object.
        kernel: The kernel.
        optional: Names or patterns of programs that the agent may leave out, as ``SEC("?…")`` says it.
    """
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
                optional=program.optional or any(fnmatchcase(program.name, name) for name in optional),
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
    yield from _type(linked.kernel, program)
    yield from code.check(linked, program)


# ── types and places ────────────────────────────────────────────────────────────


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
    outcome, reason = feature(kernel, "program", features.number("program", kind.program))
    yield Finding(
        about="program type", item=kind.program, outcome=outcome, program=program.name, reason=reason,
        advice=PIN if outcome == "fails" else "",
    )  # fmt: skip
    if kind.attach:
        stage: Stage = "load" if kind.checked else "attach"
        outcome, reason = feature(kernel, "attach", features.number("attach", kind.attach))
        yield Finding(
            about="attach", item=f"kind {kind.attach}", outcome=outcome, stage=stage, program=program.name,
            reason=reason, advice=PIN if outcome == "fails" else "",
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
        outcome, reason = feature(kernel, "map", one.type)
        name = features.name("map", one.type)
        yield Finding(
            about="map type", item=f"{name} ({one.name})", outcome=outcome, reason=reason,
            advice=PIN if outcome == "fails" else "",
        )  # fmt: skip
        yield from needs.check(kernel, needs.MAPS.get(name, ()), of=f"map {one.name} ({name})")


def _externs(linked: Linked) -> Iterator[Finding]:
    """What the object refers to by name; weak ones may be missing."""
    for one in linked.obj.externs:
        there = linked.externs[one.name]
        if one.name in linked.others and not there:
            yield Finding(
                about=_EXTERNS[one.sort],
                item=one.name,
                outcome="unknown" if one.weak else "fails",
                reason=f"{linked.kernel.spelled()} has it with other parameters than the object declares"
                + ("; libbpf before 1.3 refuses that though it is weak" if one.weak else ""),
                advice="declare it as this kernel has it, under a flavour: name___6_6",
            )
            continue
        outcome: Outcome = "works" if there or one.weak else "unknown" if there is None else "fails"
        reason = f"{linked.kernel.spelled()} has it"
        if not there:
            reason = f"{linked.kernel.spelled()} lacks it" if there is False else "not known of this kernel"
            reason += "; it is weak: the object asks before it uses it" if one.weak else ""
        advice = PIN if outcome == "fails" else ""
        yield Finding(about=_EXTERNS[one.sort], item=one.name, outcome=outcome, reason=reason, advice=advice)
