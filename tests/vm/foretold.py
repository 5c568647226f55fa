"""What preflight says of a kernel, against really loading there: each small object, each program."""

from __future__ import annotations

from promises import HERE, holds, same

from bpf.libbpf import BpfObject
from bpf.library import BpfError
from bpf.preflight import kernels
from bpf.preflight.bpf_object import read_all
from bpf.preflight.judge import judge
from bpf.preflight.result import ObjectVerdict, Outcome, worst


def _really(path, programs, chosen) -> Outcome:
    with BpfObject.open(path) as ours:
        for program in programs:
            if program.name != chosen.name:
                ours.skip(program.name)
        try:
            ours.load()
        except BpfError:
            return "fails"
        return "works"


def _said(verdict: ObjectVerdict, name: str) -> Outcome:
    whole = [one.outcome for one in verdict.findings if not one.program and one.stage == "load"]
    return worst([*whole, *(one.load for one in verdict.programs if one.name == name)])


def programs_load_or_fail_as_preflight_foretells() -> None:
    kernel = kernels.running()
    told = {}
    really = {}
    for path in sorted((HERE / "preflight").glob("*.bpf.o")):
        (parsed,) = read_all(path)
        verdict = judge(parsed, kernel)
        for program in parsed.programs:
            said = _said(verdict, program.name)
            if said != "unknown" and not program.optional:
                key = f"{path.name}: {program.name}"
                told[key], really[key] = said, _really(path, parsed.programs, program)
    holds(len(told) > 30, f"only {len(told)} programs could be foretold")
    same({key: said for key, said in told.items() if said != really[key]}, {})


PROMISES = (programs_load_or_fail_as_preflight_foretells,)
