"""How full an agent's maps are, whose entries stand in them, and how they come and go.

Its promise: nothing is written, a map of a million entries costs no more than one of twenty thousand, and a
number that was reckoned from a part says so. All maps of the target are counted at both ends of the
window; one of them is watched closely: the one named, else the fullest that refuses what does not fit.

A map whose owners can't be checked is counted all the same, and says why no more is known of it.

Not here: why it is full (``bpf.diagnoses.map_pressure``), deleting anything (``remediations``).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain

from bpf.libbpf import BpfError, usable
from bpf.mapping import filling, memory, soonest
from bpf.mapping.choosing import choose, count_all, info_if_there, infos_of, known_of
from bpf.mapping.fields import FIELDS
from bpf.mapping.filling import Filling
from bpf.mapping.readings import Row, readings_of
from bpf.mapping.refusals import Refusals
from bpf.mapping.watching import Watch, Watched, facts_of
from bpf.objects import maps
from bpf.objects.iterators import possible_cpus
from bpf.objects.names import text
from bpf.system.procfs import must_live
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Series, Support, Target

#: Entries of the watched map that a look reads, and a look every so often.
_SAMPLE, _EVERY_S, _LOOKS = 20_000, 1.0, 10


class MapFill:
    """The probe ``map-fill``."""

    name = "map-fill"
    short = "maps"
    summary = "Entries, growth, stale owners and turnover of the target's maps"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {
        "map": "The map to watch, by name or id; by default the fullest that refuses what does not fit.",
        "sample": f"Entries of it that each look reads; by default {_SAMPLE}.",
    }
    needs_target = False
    cpu_ceiling = 0.15

    def supported(self, target: Target | None) -> Support:
        """Needs root, and a target with maps."""
        here = usable()
        if here.answer != "yes" or target is None:
            return here
        if not target.map_ids and not target.program_ids:
            return Support(answer="no", why=f"{target.name} has no BPF map", fix="runbook targets")
        return Support(answer="yes", why=f"{target.name} has {len(target.map_ids)} maps")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch the maps of the target, or of the whole machine, for one window."""
        at_most = _sample(window)
        with Filling() as filled:
            infos = infos_of(target, filled.own_maps)
            counted_at = window.clock.monotonic()
            first = count_all(infos, filled, at_most)
            chosen = choose(infos, first, str(window.options.get("map") or ""))
            known = known_of(target, chosen)
            watch = Watch(chosen, facts_of(chosen, known), at_most)
            refusals = Refusals(target, known)
            started_at = window.begin()
            every = min(max(_EVERY_S, window.seconds / _LOOKS), window.seconds / 3)
            for at in chain((started_at,), window.ticks(every)):
                _look(watch, at, window, filled, target, at_most)
                refusals.take(window.clock.monotonic())
            seconds = window.clock.monotonic() - counted_at
            last = count_all(infos, filled, at_most)
            note = filled.note
        rows = [
            Row(info, first[number], last[number], seconds, _memory(info.id))
            for number, info in infos.items()
            if number in last
        ]
        return _evidence(target, (started_at, window.clock.now()), watch.result(), rows, refusals, note)


def _sample(window: Window) -> int:
    asked = window.options.get("sample")
    return max(100, int(asked)) if isinstance(asked, int | float) else _SAMPLE


def _look(  # noqa: PLR0913, PLR0917 - one look and all it needs
    watch: Watch, at: float, window: Window, filled: Filling, target: Target | None, at_most: int
) -> None:
    try:
        counted = filling.entries(watch.info, filled.by_kernel(), at_most)
        watch.look(at, window.clock.monotonic(), counted)
    except BpfError as error:
        if target is not None:
            must_live(target)
        if info_if_there(watch.info.id) is not None:
            raise
        raise ProbeFailed(
            f"map {text(watch.info.name)} ({watch.info.id}) vanished while it was watched",
            fix="its agent made a new one (a reload?) or let go of it: look again",
        ) from error
    if counted.number is not None:
        window.show(f"map {text(watch.info.name)}", counted.number / max(1, watch.info.max_entries), "share")


def _memory(number: int) -> int | None:
    try:
        return maps.memory_bytes(number)
    except BpfError:
        return None


def _evidence(  # noqa: PLR0913, PLR0917 - all that a window gave
    target: Target | None,
    span: tuple[float, float],
    watched: Watched,
    rows: list[Row],
    refusals: Refusals,
    note: str,
) -> Evidence:
    row = next((one for one in rows if one.info.id == watched.info.id), None)
    if row is None:
        raise ProbeFailed(f"map {text(watched.info.name)} vanished with the window", fix="look again")
    taken = [one.memory for one in rows if one.memory is not None]
    of_one = readings_of(watched, row, refused=refusals.reading(), all_bytes=sum(taken) if taken else None)
    rows.sort(key=lambda one: -(one.fill or 0.0))
    stale = watched.staleness.rows if watched.staleness else ()
    return Evidence(
        probe=MapFill.name,
        short=MapFill.short,
        target=target.name if target is not None else "",
        started_at=span[0],
        ended_at=span[1],
        readings=of_one | soonest.readings(rows),
        series={
            "entries": Series(
                label=f"entries of {text(watched.info.name)}",
                unit="entries",
                times=tuple(at for at, _ in watched.counts),
                values=tuple(float(number) for _, number in watched.counts),
            )
        },
        tables={"maps": tuple(one.columns() for one in rows), "stale": stale},
        notes=_notes(watched, note),
    )


def _notes(watched: Watched, note: str) -> tuple[str, ...]:
    """What an operator has to know to read the numbers rightly."""
    info, cpus = watched.info, possible_cpus()
    said = [
        note,
        f"owners of its entries are unknown: {watched.unknown}" if watched.staleness is None else "",
    ]
    if memory.evicts(info):
        said.append(
            "it is an LRU map: full is its normal state, an old entry makes room for a new one;"
            f" it evicts up to {128 * cpus:,} entries early, since each CPU keeps free ones by itself"
        )
        if info.map_flags & memory.OWN_LISTS:
            said.append(
                f"its lists are per CPU: each of {cpus} CPUs evicts when its own"
                f" {info.max_entries // cpus:,} entries are used, however empty the others are"
            )
    if watched.facts.layout.source == "sampled":
        said.append(f"whose its entries are is a guess: {watched.facts.layout.words}")
    if watched.staleness and watched.staleness.reused:
        said.append(
            f"{watched.staleness.reused:,} entries are older than the process that has their number now"
        )
    return tuple(line for line in said if line)
