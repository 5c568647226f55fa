"""What a running agent answers now: its settings, its counts, its buffers, its health.

One promise: nothing is changed, and what can't be had says why.

Not here: which processes are agents (``engine.agents.targets``), printing (``engine.commands.explained``).
"""

from __future__ import annotations

from typing import cast

import msgspec

from engine.agents.matching import COMM_LENGTH
from engine.agents.profile import Profile
from engine.catalog import Catalog
from engine.contracts import ReadCounters, ReadSetting
from engine.errors import RunbookError
from engine.values import Counter, Inventory, Knob, KnobValue, Reading, Setting, Target

UNSEEN = "BPF objects could not be listed (run as root)"
_TIMEOUT_S = 2.0


class KnobNow(msgspec.Struct, frozen=True, kw_only=True):
    """A setting as it stands.

    Attributes:
        value: As it is written there; None when it is not set, and ``default`` rules.
        effective: What the agent makes of it, in base units.
        where: The file and line, or the like, of the place that counts.
        missing: Why it can't be read, or can't be changed.
        place: Which of its places counts, from 0; of how many is ``places``.
        live: The same through its live door.
    """

    name: str
    unit: str
    value: Setting = None
    effective: Setting = None
    default: Setting = None
    where: str = ""
    missing: str = ""
    place: int = 0
    places: int = 1
    verified: bool = True
    live: KnobNow | None = None


class CounterNow(msgspec.Struct, frozen=True, kw_only=True):
    """A counter of the profile, and what it says; ``name`` as it was found, with source and labels."""

    counts: str
    stage: str
    source: str
    name: str
    value: float | None = None
    missing: str = ""


class MapNow(msgspec.Struct, frozen=True, kw_only=True):
    """A buffer that carries events, or one that the profile names and nobody has.

    Attributes:
        id: 0 when it is not there; ``missing`` then says why.
    """

    name: str
    missing: str = ""
    id: int = 0
    type: str = ""
    size_bytes: int = 0
    fill_share: float | None = None


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """All that a target answers."""

    target: str
    ref: str
    pid: int
    health: str
    health_ok: bool | None
    knobs: tuple[KnobNow, ...] = ()
    counters: tuple[CounterNow, ...] = ()
    rings: tuple[MapNow, ...] = ()


def ask(target: Target, profile: Profile | None, inventory: Inventory | None, parts: Catalog) -> Answers:
    """Everything of one target. Cost: a fetch of its metrics and of its health page, some files."""
    well, health = _health(target, profile)
    return Answers(
        target=target.name,
        ref=target.ref,
        pid=target.pid,
        health=health,
        health_ok=well,
        knobs=tuple(knob_now(knob, target, parts) for knob in target.knobs.values()),
        counters=_counters(target, profile, inventory, parts),
        rings=tuple(_rings(target, profile, inventory)),
    )


def knob_now(knob: Knob, target: Target, parts: Catalog) -> KnobNow:
    """One setting, from the place that counts."""
    now = _read(knob, target, parts)
    place = knob.places[min(now.place, len(knob.otherwise))]
    return KnobNow(
        name=knob.name,
        unit=place.unit,
        value=now.raw if now.raw is not None else now.value,
        effective=now.effective,
        default=place.default,
        where=_where(place, now),
        missing=now.missing,
        place=now.place,
        places=len(knob.places),
        verified=knob.verified,
        live=knob_now(knob.live, target, parts) if knob.live is not None else None,
    )


def _where(place: Knob, now: KnobValue) -> str:
    """The file and line with the key path; the whole of it, where the backend says no line."""
    if not now.source or now.source == place.file:
        return f"{place.file}: {place.path}" if place.file else f"{place.backend} {place.path}".strip()
    return now.source if place.path in now.source else f"{now.source}: {place.path}"


def _read(knob: Knob, target: Target, parts: Catalog) -> KnobValue:
    try:
        if "setting" in parts.names("reader"):
            return cast(ReadSetting, parts.load("reader", "setting"))(knob, target)
        return parts.knob_backend(knob.backend).read(knob, target)
    except RunbookError as error:
        return KnobValue(missing=f"{error.problem} ({error.fix})")


def _counters(
    target: Target, profile: Profile | None, inventory: Inventory | None, parts: Catalog
) -> tuple[CounterNow, ...]:
    readings: tuple[Reading, ...] = ()
    why = "nothing installed reads counters"
    if "counters" in parts.names("reader"):
        try:
            readings = cast(ReadCounters, parts.load("reader", "counters"))(target)
        except RunbookError as error:
            why = error.problem
    readings = readings or tuple(Reading(missing=why) for _ in target.counters)
    blind = {"bpf-variable": UNSEEN, "bpf-map": UNSEEN} if inventory is None else {}
    if profile and not target.metrics_url:
        blind["metric"] = _unfilled(profile.metrics, "metrics page")
    if profile and not target.log_file:
        blind["log"] = _unfilled(profile.log, "log")
    return tuple(
        _counter(one, Reading(missing=blind[one.source]) if one.source in blind else reading)
        for one, reading in zip(target.counters, readings, strict=True)
    )


def _unfilled(template: str, what: str) -> str:
    """Why an address is not known."""
    if not template:
        return f"the profile names no {what}"
    return f"{template} could not be filled in: what it asks for is not there, or can't be read"


def _counter(counter: Counter, reading: Reading) -> CounterNow:
    number = reading.value if isinstance(reading.value, int | float) else None
    labels = (
        "{" + ", ".join(f"{key}={value}" for key, value in counter.labels.items()) + "}"
        if counter.labels
        else ""
    )
    return CounterNow(
        counts=counter.counts,
        stage=counter.stage,
        source=counter.source,
        name=f"{reading.source or f'{counter.source} {counter.name}'}{labels}",
        value=number,
        missing=reading.missing,
    )


def _rings(target: Target, profile: Profile | None, inventory: Inventory | None) -> list[MapNow]:
    """The buffers that were found, and those of the profile that were not."""
    known = {one.id: one for one in inventory.maps} if inventory else {}
    found = [
        MapNow(
            name=one.name,
            id=one.id,
            type=one.type,
            size_bytes=one.max_entries if one.type == "ringbuf" else 0,
            fill_share=one.fill_bytes / one.max_entries
            if one.fill_bytes is not None and one.max_entries
            else None,
        )
        for ring in target.rings
        if (one := known.get(ring))
    ]
    named = {name[:COMM_LENGTH] for name in profile.events.rings} if profile else set()
    why = UNSEEN if inventory is None else "the process holds none of this name"
    absent = sorted(named - {one.name for one in found})
    return [*found, *(MapNow(name=name, missing=why) for name in absent)]


def _health(target: Target, profile: Profile | None) -> tuple[bool | None, str]:
    """Whether its health page answers 200, and what it answers."""
    if not target.health_url:
        return None, _unfilled(profile.health if profile else "", "health page")
    import urllib.error  # noqa: PLC0415 - slow, and only asked for here
    import urllib.request  # noqa: PLC0415

    if not target.health_url.startswith(("http://", "https://")):
        return None, f"{target.health_url} is no http address"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(target.health_url, timeout=_TIMEOUT_S) as answer:
            return answer.status == 200, f"{target.health_url} answers {answer.status}"
    except urllib.error.HTTPError as error:
        return False, f"{target.health_url} answers {error.code}"
    except (OSError, ValueError) as error:
        return False, f"{target.health_url} does not answer: {getattr(error, 'reason', error)}"
