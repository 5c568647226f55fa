"""Whether an agent's BPF objects will load on another kernel: the next one to boot, or any given.

Its promise: nothing is loaded, only files are read; a second at most, whatever the window. What can't be
told is counted apart from what fails.

Not here: the judging (``bpf.preflight``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bpf.preflight import kernel_config, kernels
from bpf.preflight.check import TRIED, compare
from bpf.preflight.kernel import Kernel
from bpf.preflight.of_agent import objects_of
from bpf.preflight.result import Finding, ObjectVerdict, worst
from bpf.preflight.telling import Answer
from bpf.probes.asked import named
from engine.contracts import Window
from engine.values import Evidence, Field, Reading, Scalar, Support, Target

_NEXT = "next"
_MOST_ROWS = 200


def _text(help_text: str) -> Field:
    return Field(help=help_text, type="text")


class PreflightProbe:
    """The probe ``preflight``."""

    name = "preflight"
    short = "upgrade"
    summary = "whether the agent's BPF objects load and attach on another kernel"
    fields: Mapping[str, Field] = {
        "outcome": _text("works, fails or unknown: the worst of all objects"),
        "kernel": _text("the kernel that was looked at"),
        "running_kernel": _text("the kernel it is compared with"),
        "objects": Field(help="BPF objects"),
        "programs": Field(help="their programs"),
        "programs_failing": Field(help="programs that will not load or attach; optional ones left out"),
        "needs": Field(help="what the objects need: types, places, relocations, helpers, options"),
        "needs_failing": Field(help="needs that the kernel does not meet; of optional programs too"),
        "needs_unknown": Field(help="needs that can't be told"),
        "relocations": Field(help="different CO-RE relocations"),
        "moved": Field(help="relocations with another value than on the running kernel"),
        "changed": Field(help="needs with another answer than on the running kernel"),
        "config_changes": Field(help="build options that matter to BPF and differ from the running kernel"),
        "config_changed": _text("these options, before and after"),
        "first_failure": _text("the first thing that fails, with the reason"),
        "advice": _text("the way out of it"),
        "config": Field(help="one row per build option that differs", type="rows"),
    }
    options: Mapping[str, str] = {
        "objects": "BPF objects, or executables that carry them; else the profile's, else the agent's own",
        "kernel": "a release in /boot, a version, or next (the newest in /boot); else the running kernel",
        "btf": "the kernel's image or BTF file",
        "config": "the kernel's build configuration",
        "optional": "programs that the agent may leave out; else optional_programs of the profile",
    }
    needs_target = True
    cpu_ceiling = 1.0

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def supported(self, target: Target | None) -> Support:
        """Needs files that can be found."""
        if target is None:
            return Support(answer="yes", why="objects can be given")
        if target.facts.get("objects"):
            return Support(answer="yes", why="the profile names the agent's objects")
        return Support(answer="unknown", why="the profile names no objects; the executable may carry them")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Judge once; does not use the window up."""
        target = named(target, self.name)
        started_at = window.begin()
        words = {name: _words(window.options.get(name)) for name in self.options}
        new, old = self._kernels(words)
        objects = objects_of(target, words["objects"])
        optional = words["optional"] or _words(target.facts.get("optional_programs"))
        answer = compare(objects, new, old, optional)
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=readings_of(answer),
            tables=_tables(answer),
            notes=tuple(dict.fromkeys(note for one in answer.objects for note in one.notes)),
        )

    def _kernels(self, words: Mapping[str, list[str]]) -> tuple[Kernel, Kernel | None]:
        """The kernel to look at, and the running one when it is another."""
        here = kernels.running(self._root, tried=kernels.kinds_of_running(TRIED))
        name = " ".join(words["kernel"])
        if name == _NEXT:
            name = kernels.newest_installed(self._root)
        if words["btf"]:
            new = kernels.of_files([Path(path) for path in words["btf"]], name)
        elif name and name != here.release:
            new = kernels.of_release(name, self._root)
        else:
            return here, None
        if words["config"]:
            new.config = kernel_config.read(Path(words["config"][0]))
        return new, here


def _words(option: object) -> list[str]:
    """An option as words: a list, or a text with commas or blanks between them."""
    if isinstance(option, list):
        return [str(one) for one in option]
    return str(option or "").replace(",", " ").split()


def readings_of(answer: Answer) -> dict[str, Reading]:
    """Counts, and the first failure in words."""
    findings = [one for verdict in answer.objects for one in verdict.findings]
    failing = [one for one in findings if one.outcome == "fails"]
    changed = [one for rows in answer.changed.values() for one in rows]
    first = failing[0] if failing else None
    compared = bool(answer.against)
    options = ", ".join(f"{one.option} {one.before} → {one.after}" for one in answer.config)
    return {
        "outcome": Reading(value=answer.outcome),
        "kernel": Reading(value=answer.kernel),
        "running_kernel": Reading(value=answer.against or answer.kernel),
        "objects": Reading(value=len(answer.objects)),
        "programs": Reading(value=sum(len(one.programs) for one in answer.objects)),
        "programs_failing": Reading(value=sum(_failing(one) for one in answer.objects)),
        "needs": Reading(value=len(findings)),
        "needs_failing": Reading(value=len(failing)),
        "needs_unknown": Reading(value=sum(1 for one in findings if one.outcome == "unknown")),
        "relocations": Reading(value=sum(1 for one in findings if one.about == "relocation")),
        "moved": _count(sum(1 for one in changed if one.before == one.after), compared),
        "changed": _count(sum(1 for one in changed if one.before != one.after), compared),
        "config_changes": _count(len(answer.config), compared and answer.config_known),
        "config_changed": Reading(value=options or None, missing="" if options else "none is known"),
        "first_failure": Reading(
            value=told(first) if first else None, missing="" if first else "nothing fails"
        ),
        "advice": Reading(
            value=first.advice if first and first.advice else None,
            missing="" if first and first.advice else "there is none to give",
        ),
    }


def _count(number: int, known: bool) -> Reading:
    if known:
        return Reading(value=number)
    return Reading(missing="there is nothing to compare with")


def _failing(verdict: ObjectVerdict) -> int:
    return sum(1 for one in verdict.programs if not one.optional and worst((one.load, one.attach)) == "fails")


def told(found: Finding) -> str:
    """One finding as a sentence's part."""
    who = f" (program {found.program})" if found.program else ""
    return f"{found.about} {found.item}{who}: {found.reason}"


def _tables(answer: Answer) -> dict[str, tuple[dict[str, Scalar], ...]]:
    programs: list[dict[str, Scalar]] = [
        {
            "object": verdict.path,
            "program": one.name,
            "section": one.section,
            "load": one.load,
            "attach": one.attach,
            "optional": one.optional,
        }
        for verdict in answer.objects
        for one in verdict.programs
    ]
    needs: list[dict[str, Scalar]] = [
        {
            "outcome": one.outcome,
            "about": one.about,
            "item": one.item,
            "program": one.program,
            "place": one.place,
            "reason": one.reason,
            "advice": one.advice,
        }
        for verdict in answer.objects
        for one in verdict.findings
        if one.outcome != "works"
    ]
    config: list[dict[str, Scalar]] = [
        {"option": one.option, "before": one.before, "after": one.after, "matters": one.matters}
        for one in answer.config
    ]
    return {
        "programs": tuple(programs[:_MOST_ROWS]),
        "needs": tuple(needs[:_MOST_ROWS]),
        "config": tuple(config),
    }
