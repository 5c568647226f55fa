"""Why a map is near full: from evidence to ranked causes.

Its promise: it decides from the case alone, and tells a leak, a map that is too small and cardinality
apart by what they differ in: are the owners alive, are the entries used again, do new keys keep coming.
A full LRU map is no trouble by itself, and it says so.

Not here: the rules for each cause (``map_rules``), what to do about it (``remediations``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpf.diagnoses import map_rules
from bpf.diagnoses.map_facts import Facts, facts_of
from bpf.diagnoses.wording import count, share, span
from engine.values import Case, Verdict

NAME = "map-pressure"
RULES = (map_rules.leak, map_rules.too_small, map_rules.cardinality)
#: A cause below this confidence is not worth a line.
WORTH_NAMING = 0.3


class MapPressure:
    """The diagnosis ``map-pressure``."""

    name = NAME
    summary = "why a BPF map fills up"
    causes: Mapping[str, str] = {
        "entries-leak": "Entries stay in the map though their owner is gone, or are never removed.",
        "map-too-small": "More entries are in use by living owners than fit.",
        "key-cardinality": "Living owners make ever new keys, and hardly use one again.",
    }
    wants = ("map-fill",)

    def decide(self, case: Case) -> Verdict:
        """Rank the causes that fit."""
        facts = facts_of(case)
        if facts is None:
            return Verdict(
                diagnosis=NAME,
                sentence="Nothing can be said: no map could be counted.",
                notes=("look at map-fill first",),
            )
        notes = _notes(facts)
        if not facts.troubled:
            return Verdict(diagnosis=NAME, sentence=f"{_filled(facts)}: nothing to worry about.", notes=notes)
        if facts.evicts and not facts.went:
            return Verdict(
                diagnosis=NAME,
                sentence=f"{_filled(facts)}, which is normal for an LRU map; no entry was evicted.",
                notes=notes,
            )
        found = [cause for rule in RULES if (cause := rule(facts)) and cause.confidence >= WORTH_NAMING]
        found.sort(key=lambda cause: (cause.explains or 0.0) * cause.confidence, reverse=True)
        told = f"{_filled(facts)}: {found[0].sentence}." if found else f"{_filled(facts)}, but no cause fits."
        return Verdict(diagnosis=NAME, sentence=told, causes=tuple(found), notes=notes)


def _filled(facts: Facts) -> str:
    told = f"{facts.name} is {share(facts.fill)} full ({count(facts.entries)} of {count(facts.most)})"
    if facts.full_in_s and not facts.evicts:
        told += f", and full in {span(facts.full_in_s)}"
    return told


def _notes(facts: Facts) -> tuple[str, ...]:
    """What was not seen, and what that means."""
    said = []
    if facts.stale is None:
        said.append("whether owners are gone is unknown: a leak can't be told from ever new keys")
    if facts.used is None:
        said.append("whether entries are used again is unknown")
    if facts.evicts and facts.went:
        said.append(f"{count(facts.went)} entries/s are evicted: what they held is lost to the agent")
    if facts.full and not facts.evicts and facts.refused is None:
        said.append("how many entries do not fit is unknown: the kernel does not count them")
    return tuple(said)
