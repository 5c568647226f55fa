"""Why an agent uses so much CPU: from evidence to ranked causes.

Its promise: it decides from the case alone, counts the BPF programs' CPU beside the agent's own,
and shows the numbers that speak for and against each cause. Missing evidence lowers confidence and is said.

Not here: splitting the total (``cpu_bill``), the rules (``cpu_causes``), what the functions of a
profile ask for (``cpu_advice``), what to do about it (``remediations``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpf.diagnoses import cpu_advice, cpu_causes
from bpf.diagnoses.cpu_bill import bill
from bpf.diagnoses.cpu_facts import Facts, facts_of
from bpf.diagnoses.wording import cores, share
from engine.values import Case, Cause, Verdict

NAME = "cpu-use"
RULES = (cpu_causes.busy_polling, cpu_causes.inefficient, cpu_causes.too_many, cpu_causes.hot_program)
#: Below this share of a core there is nothing to explain.
NOTHING = 0.01


class CpuUse:
    """The diagnosis ``cpu-use``."""

    name = NAME
    summary = "what an agent's CPU goes into: its events, its code, its waiting, its BPF programs"
    causes: Mapping[str, str] = {
        "too-many-events": "Each event is cheap, and there are very many.",
        "inefficient-processing": "The agent's own work on each event is dear; the function is named.",
        "busy-polling": "The reader asks for events all the time, though none are there.",
        "hot-program": "A BPF program is dear; its time is not in the agent's own CPU.",
    }
    wants = ("process", "program-cost", "event-flow", "reader-work", "cpu-profile", "event-sources")

    def decide(self, case: Case) -> Verdict:
        """Rank the causes that have a part in the total."""
        facts = facts_of(case)
        if facts.total is None:
            return Verdict(
                diagnosis=NAME,
                sentence="Nothing can be said: the agent's CPU was not measured.",
                notes=("look at process first",),
            )
        notes = _notes(case, facts)
        if facts.total < NOTHING:
            return Verdict(
                diagnosis=NAME, sentence=f"It uses {cores(facts.total)}: nothing to explain.", notes=notes
            )
        parts = bill(facts)
        found = [cause for rule in RULES if (cause := rule(facts, parts))]
        found.sort(key=lambda cause: (cause.explains or 0.0) * cause.confidence, reverse=True)
        return Verdict(diagnosis=NAME, sentence=_sentence(facts, found), causes=tuple(found), notes=notes)


def _sentence(f: Facts, found: list[Cause]) -> str:
    own, total = f.own or 0.0, f.total or 0.0
    spent = f"It takes {cores(total)}"
    if f.bpf is not None and f.bpf >= 0.05 * total:
        spent += f" ({cores(own)} of its own, {cores(f.bpf)} in its BPF programs)"
    if not found:
        return f"{spent}, and no single cause has a part worth naming."
    return f"{spent}: {found[0].sentence}."


def _notes(case: Case, f: Facts) -> tuple[str, ...]:
    """What was not looked at and what that means; and what concerns more than one cause."""
    missing = {
        "cost": "the CPU of its BPF programs is known by samples at best, and not how often they run",
        "work": "whether it spins can hardly be told",
        "profile": "the function that the time goes into is unknown",
        "sources": "whether one process makes most of the events is unknown",
    }
    names = {
        "cost": "program-cost",
        "work": "reader-work",
        "profile": "cpu-profile",
        "sources": "event-sources",
    }
    notes = [
        f"{names[short]} is missing: {what}" for short, what in missing.items() if short not in case.evidence
    ]
    if f.events is None:
        notes.append("the rate of events is unknown: many cheap events can't be told from few dear ones")
    if (f.unresolved or 0.0) >= 0.3:
        notes.append(
            f"{share(f.unresolved or 0.0)} of the profile has no names: keep the symbols of the agent"
        )
    if waiting := cpu_advice.contention(f):
        notes.append(waiting)
    if f.dropped:
        notes.append("events are lost as well: runbook run events-dropped")
    return tuple(notes)
