"""Delete entries of a BPF map whose owners are gone, which its agent has left behind.

Only where the profile or the map's own types say where in a key its owner stands, and only owners that
two looks found gone. Each entry is looked at again right before it goes. The leak itself is the
agent's: cleaned, the map fills again, and the plan says when.

Touches: entries of one hash map, some thousand a second; nothing is reloaded. Undo puts back what was
deleted where the key is absent, up to ``keep``; beyond it entries go for good, and the risk is high.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from engine.values import Case, Change, Knob, KnobValue, Plan, Prediction, Setting, Target
from remediations.knob_change import KnobChange
from remediations.knobs.units import say_bytes, say_seconds
from remediations.options import says
from remediations.planning import KnobPlanner, Question, nothing, plan

_SAMPLES = 8
_BETWEEN_S = 1.0  # from the deletion to the next look


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    at_most: Annotated[float, says("count", "The most entries that one change deletes.")] = 50_000
    per_second: Annotated[float, says("count", "The most entries it deletes in a second.")] = 20_000
    keep: Annotated[float, says("bytes", "The most that is kept of deleted entries, to put them back.")] = (
        4 << 20
    )
    least: Annotated[float, says("share", "Below this share of stale entries nothing is deleted.")] = 0.01
    trust_sample: Annotated[
        bool, says("yes or no", "Delete also where whose the entries are is only guessed from a sample.")
    ] = False


class MapCleanupPlanner(KnobPlanner[Options]):
    """Decides how many entries may go, from what two looks saw."""

    name = "map-cleanup"
    summary = "Delete entries of a BPF map whose owners are gone."
    knob = ""
    risk = "medium"
    kind = Options

    def find(self, target: Target) -> Knob | None:  # noqa: ARG002 - it is the map's that was watched
        """No knob of the profile's: the map is the one that the evidence speaks of."""
        return None

    def read(self, target: Target) -> dict[str, KnobValue]:  # noqa: ARG002
        """Nothing: what stands in the map is evidence."""
        return {}

    def decide(self, asked: Question[Options]) -> Plan:
        """As many as are stale, within the bounds."""
        _refuse(asked)
        entries, stale = asked.need("maps.entries"), asked.need("maps.stale_entries")
        least = asked.options.least * entries
        if stale < max(1.0, least):
            nothing(f"{stale:,.0f} of {entries:,.0f} entries have owners that are gone: nothing to clean")
        count = min(stale, asked.options.at_most)
        entry = asked.need("maps.key_bytes") + _value_bytes(asked)
        kept = min(count, asked.options.keep // entry)
        made = _change(asked, count, entries, stale)
        beyond = count - kept
        return plan(
            self.name,
            asked,
            (made,),
            f"delete {count:,.0f} of {entries:,.0f} entries of {asked.knob.map}: {made.why}",
            _predictions(asked, count),
            risk="high" if beyond else self.risk,
            memory_bytes=-int(count * (asked.number("maps.entry_bytes") or 0.0)) if _frees(asked) else 0,
            memory_limit="what the map takes" if _frees(asked) else "preallocated: the map keeps its memory",
            warnings=_warnings(asked, count, beyond),
        )

    def _question(self, case: Case, chosen: Options) -> Question[Options]:
        """The map that was watched stands for the knob."""
        name, number = case.text("maps.name"), case.number("maps.id")
        if name is None or number is None:
            nothing("no map was looked at (map-fill)")
        knob = Knob(name=self.name, backend="stale-entries", map=name, map_id=int(number), unit="text")
        return Question(case, knob, KnobValue(), chosen)


class MapCleanup(KnobChange):
    """Remediation ``map-cleanup``."""

    planner = MapCleanupPlanner()


def _refuse(asked: Question[Options]) -> None:
    """Nothing, where entries must not, need not or can't be deleted from outside."""
    if asked.number("maps.evicts"):
        nothing(f"{asked.knob.map} is an LRU map: it makes room by itself")
    if not asked.number("maps.cleanable"):
        seen = asked.case.evidence["maps"].readings.get("cleanable")
        nothing(seen.source if seen is not None and seen.source else "its entries can't be put back")
    asked.need("maps.pid_at")
    if asked.case.text("maps.key_source") == "sampled" and not asked.options.trust_sample:
        nothing(
            f"whose the entries of {asked.knob.map} are is only guessed from a sample: say it in the profile"
            " (maps: NAME: key: {pid_at: 0}), or give trust_sample: true"
        )


def _change(asked: Question[Options], count: float, entries: float, stale: float) -> Change:
    given, options = asked.number, asked.options
    after: dict[str, bool | int | float | str | None] = {
        "map_id": asked.knob.map_id,
        "pid_at": int(asked.need("maps.pid_at")),
        "pid_size": int(given("maps.pid_size") or 4),
        "time_at": None if (time_at := given("maps.time_at")) is None else int(time_at),
        "at_most": int(options.at_most),
        "per_s": max(1, int(options.per_second)),
        "keep_bytes": int(options.keep),
    }
    checked = asked.number("maps.checked_entries") or 0.0
    why = f"the owners of {stale:,.0f} entries were gone at two looks ({checked:,.0f} were checked)"
    return Change(
        knob=asked.knob,
        before=None,  # nothing is set: entries are taken out
        after=after,
        before_text=f"{entries:,.0f} entries",
        after_text=f"{entries - count:,.0f} entries",
        why=why,
        where=f"map {asked.knob.map} ({asked.knob.map_id})",
        detail=_samples(asked.case),
    )


def _samples(case: Case) -> str:
    """Some of the entries that would go, for people."""
    rows = case.evidence["maps"].tables.get("stale", ())[:_SAMPLES]
    return "\n".join(
        f"- key {row['key']}: owner {row['owner']} is gone{_unused(row)}" for row in rows if "owner" in row
    )


def _unused(row: Mapping[str, Setting]) -> str:
    seconds = row.get("unused_s")
    return f", not used for {say_seconds(seconds)}" if isinstance(seconds, int | float) else ""


def _value_bytes(asked: Question[Options]) -> float:
    """Of a value as it is kept: for per-CPU maps a part for each CPU."""
    size = asked.need("maps.value_bytes")
    if not asked.number("maps.per_cpu"):
        return size
    return (int(size) + 7 & ~7) * asked.case.host.possible_cpus


def _frees(asked: Question[Options]) -> bool:
    return asked.number("maps.preallocated") == 0


def _predictions(asked: Question[Options], count: float) -> tuple[Prediction, ...]:
    """What is left, and what comes again until it is measured: one window."""
    entries, most = asked.need("maps.entries"), asked.need("maps.max_entries")
    seen = asked.case.evidence["maps"]
    until_seen, rate = seen.ended_at - seen.started_at + _BETWEEN_S, _rate(asked)
    left = min(most, entries - count + rate * until_seen)
    sums = f"{entries:,.0f} − {count:,.0f}"
    if rate:
        sums += f" + {rate:,.0f}/s · {until_seen:.3g} s that come again until it is measured"
    return (
        Prediction(measure="maps.entries", before=entries, after=left, unit="entries", arithmetic=sums),
        Prediction(
            measure="maps.fill_share",
            before=entries / most,
            after=left / most,
            unit="share",
            arithmetic=f"{left:,.0f} / {most:,.0f}",
        ),
    )


def _rate(asked: Question[Options]) -> float:
    """Entries a second that want in and do not go by themselves."""
    return max(asked.number("maps.growth_per_s") or 0.0, asked.number("maps.refused_per_s") or 0.0)


def _warnings(asked: Question[Options], count: float, beyond: float) -> tuple[str, ...]:
    entries, most, rate = asked.need("maps.entries"), asked.need("maps.max_entries"), _rate(asked)
    stale = asked.need("maps.stale_entries")
    said = []
    if rate:
        again = say_seconds((most - entries + count) / rate)
        said.append(f"the leak goes on: at {rate:,.0f} entries/s the map is full again in {again}")
    if beyond:
        said.append(
            f"{beyond:,.0f} entries go for good: only {say_bytes(asked.options.keep)} are kept to put back"
        )
    if stale > count:
        said.append(f"{stale - count:,.0f} stale entries stay: at most {count:,.0f} go in one change")
    return tuple(said)
