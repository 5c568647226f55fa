"""Why an agent loses events: from evidence to ranked causes.

Its promise: it decides from the case alone, names the stage before anything else, and shows the
numbers that speak for and against each cause. Missing evidence lowers confidence and is said.

Not here: the rules for each cause (``loss_rhythm``, ``loss_limits``), what to do about it (``remediations``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpf.diagnoses import loss_limits, loss_rhythm, loss_unseen
from bpf.diagnoses.loss_advice import advised
from bpf.diagnoses.loss_facts import Facts, facts_of
from bpf.diagnoses.wording import cores, count, octets, share, span
from engine.values import Case, Cause, Verdict

NAME = "event-loss"
RULES = (
    loss_rhythm.behind_the_ring,
    loss_rhythm.stuck,
    loss_rhythm.slow_poll,
    loss_rhythm.burst,
    loss_limits.throttled,
    loss_limits.one_source,
    loss_limits.starved,
    loss_limits.cpu_bound,
    loss_unseen.unseen,
)
#: A cause below this confidence is not worth a line.
WORTH_NAMING = 0.3


class EventLoss:
    """The diagnosis ``event-loss``."""

    name = NAME
    summary = "why events are lost between the kernel and the agent's reader"
    causes: Mapping[str, str] = {
        "burst-exceeds-buffer": "Bursts overrun the ring; on average the reader keeps up.",
        "reader-polls-too-slowly": "The reader sleeps between polls for longer than the ring lasts.",
        "reader-cpu-bound": "The work per event is too dear for the events that arrive.",
        "reader-throttled": "The cgroup's CPU quota holds the reader back.",
        "reader-starved": "Neighbours on the host keep the reader from a CPU.",
        "flood-from-one-source": "One process makes most of the events; without it the reader keeps up.",
        "loss-behind-the-ring": "The agent's own queue or exporter loses what was read.",
        "reader-stuck": "The reader takes nothing at all.",
    }
    wants = ("event-flow", "process", "event-sources")

    def decide(self, case: Case) -> Verdict:
        """Rank the causes that fit."""
        if "flow" not in case.evidence:
            return Verdict(
                diagnosis=NAME,
                sentence="Nothing can be said: the flow of events was not looked at.",
                notes=("look at event-flow first",),
            )
        facts = facts_of(case)
        notes = (*_notes(case, facts), *_elsewhere(case, facts))
        if not facts.losing:
            return Verdict(diagnosis=NAME, sentence=_calm(facts), notes=notes)
        found = [cause for rule in RULES if (cause := rule(facts)) and cause.confidence >= WORTH_NAMING]
        found.sort(key=lambda cause: (cause.explains or 0.0) * cause.confidence, reverse=True)
        causes = tuple(advised(cause, case.target) for cause in found)
        return Verdict(diagnosis=NAME, sentence=_sentence(facts, found), causes=causes, notes=notes)


def _sentence(facts: Facts, found: list[Cause]) -> str:
    full = share(facts.full or 0.0)
    lost = f"the ring was full for {full} of the time, and nothing counts what it refused"
    if facts.dropped:
        lost = f"{count(facts.dropped)} events/s are lost"
        if facts.arriving:
            lost += f" ({share(facts.dropped / facts.arriving)} of {count(facts.arriving)}/s)"
    if not found:
        return f"{_capital(lost)}, but no known cause fits{_known(facts)}."
    return f"{_capital(lost)}: {found[0].sentence}."


def _known(facts: Facts) -> str:
    """What there is to go by when no cause fits."""
    seen = [
        "the reader's position can't be seen, so neither can its rhythm" if facts.ring is None else "",
        f"the process used {cores(facts.cpu)}" if facts.cpu is not None else "",
        f"its busiest thread waited for a CPU for {share(facts.waiting)} of the time"
        if facts.waiting
        else "",
    ]
    return f": {'; '.join(filter(None, seen))}" if any(seen) else ": see the numbers"


def _calm(facts: Facts) -> str:
    """Nothing is lost: what there was to see."""
    if facts.dropped is None and facts.peak is None:
        return "Whether events are lost could not be measured."
    seen = "No event was lost" if facts.dropped == 0 else "No loss was seen"
    if facts.arriving is not None:
        seen += f" of {count(facts.arriving)} a second"
    if facts.peak is not None:
        seen += f"; the ring was at most {share(facts.peak)} full"
        if facts.peak >= 0.8:
            seen += f", which leaves little room (it needed {octets(facts.needed)})" if facts.needed else ""
    return seen + "."


def _notes(case: Case, facts: Facts) -> tuple[str, ...]:
    """What was not looked at, and what that means."""
    notes = []
    if "process" not in case.evidence:
        notes.append("process was not looked at: CPU, throttling and waiting are unknown")
    if "sources" not in case.evidence and facts.losing:
        notes.append("event-sources was not looked at: a flood from one process can't be told")
    if facts.record is None:
        notes.append("the record size is unknown: bytes can't be told as events")
    if facts.losing and facts.dropped is None:
        notes.append("losses are not counted: what each cause explains is taken from the full spells")
    if facts.spacing and facts.window_s < 3 * facts.spacing:
        wanted = span(3 * facts.spacing)
        notes.append(f"bursts come every {span(facts.spacing)}: look for at least {wanted} to see three")
    return tuple(notes)


def _elsewhere(case: Case, facts: Facts) -> tuple[str, ...]:
    """Losses that another eye reports while this window saw none."""
    if facts.losing:
        return ()
    told = {
        "the agent's metrics": case.number("metrics.dropped_per_s"),
        "the agent's log": case.number("log.dropped_per_s"),
    }
    return tuple(
        f"{who} count {count(rate)} lost events/s, which this window of {span(facts.window_s)} "
        "did not see: lengthen it"
        for who, rate in told.items()
        if rate
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
