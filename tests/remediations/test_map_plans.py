"""Plans for maps that are near full: what is deleted, how large, which kind, and what that means."""

import msgspec
import pytest

from engine.errors import UnknownName
from engine.values import Case, Evidence, Host, Knob, KnobValue, Reading, Reload, Target
from remediations.map_capacity import MapCapacityPlanner
from remediations.map_cleanup import MapCleanupPlanner
from remediations.map_kind import MapKindPlanner

LEAK = {
    "name": "cache",
    "id": 77,
    "type": "hash",
    "entries": 10_000,
    "max_entries": 10_000,
    "fill_share": 1.0,
    "pressure": 1.0,
    "bytes": 1 << 20,
    "key_bytes": 8,
    "value_bytes": 16,
    "entry_bytes": 72,
    "key_source": "profile",
    "pid_at": 0,
    "pid_size": 4,
    "time_at": 8,
    "stale_entries": 9_000,
    "stale_share": 0.9,
    "checked_entries": 10_000,
    "refused_per_s": 800.0,
    "growth_per_s": 0.0,
    "used_share": 0.1,
    "used_per_s": 1_000.0,
    "distinct_growth": 0.0,
    "preallocated": True,
    "per_cpu": False,
    "evicts": False,
    "cleanable": True,
}
SMALL = {**LEAK, "stale_entries": 0, "stale_share": 0.0, "entries": 3_000, "max_entries": 3_000,
         "refused_per_s": 2_000.0, "used_per_s": 6_000.0, "used_share": 1.0}  # fmt: skip
CARDINALITY = {
    **SMALL,
    "used_share": 0.0,
    "used_per_s": 0.0,
    "refused_per_s": 0.0,
    "distinct_growth": 1_600.0,
}
STALE = ({"owner": 4711, "key": "67120000 01000000", "unused_s": 12.0},)
NOW = {
    "map-capacity": KnobValue(value=3_000, raw="3000", effective=3_000),
    "map-kind": KnobValue(value="hash", raw="hash", effective="hash"),
}


def knob(name, of_map="cache", unit="count", **more):
    reload = Reload(by="signal", loses=("the entries of the cache",))
    return Knob(
        name=name, backend="yaml-file", file="/a", path="b", map=of_map, unit=unit, reload=reload, **more
    )


def case(values, options=None, *, knobs=None, now=NOW, memory=None):
    readings = {name: Reading(value=value) for name, value in values.items()}
    seen = Evidence(probe="map-fill", short="maps", target="lab", started_at=0, ended_at=4, readings=readings,
                    tables={"stale": STALE})  # fmt: skip
    evidence = {"maps": seen}
    if memory is not None:
        free = {"memory_limit_bytes": Reading(value=100 << 20), "memory_left_bytes": Reading(value=memory)}
        evidence["process"] = msgspec.structs.replace(seen, short="process", readings=free)
    turned = knobs or [
        knob("map-capacity", maximum=10_000_000),
        knob("map-kind", unit="text", choices=("hash", "lru_hash")),
    ]
    target = Target(name="lab", ref="lab", profile="lab", knobs={one.name: one for one in turned})
    return Case(
        target=target, evidence=evidence, knobs=now, host=Host(possible_cpus=2), options=options or {}
    )


def predicted(plan):
    return {one.measure: (one.after, one.at_most) for one in plan.predictions}


# ── cleanup ─────────────────────────────────────────────────────────────────────


def test_cleanup_takes_what_is_stale_and_says_when_it_is_back():
    """Nine thousand go, 800 a second come again."""
    plan = MapCleanupPlanner().plan(case(LEAK))
    (change,) = plan.changes
    assert change.after == {"map_id": 77, "pid_at": 0, "pid_size": 4, "time_at": 8, "at_most": 50_000,
                            "per_s": 20_000, "keep_bytes": 4 << 20}  # fmt: skip
    assert (change.before_text, change.after_text) == ("10,000 entries", "1,000 entries")
    assert "owner 4711 is gone, not used for 12 s" in change.detail
    assert predicted(plan)["maps.entries"] == (10_000 - 9_000 + 800 * 5, False)
    assert plan.risk == "medium"
    assert "11.2 s" in plan.warnings[0]
    assert "absent" in plan.undo_by_hand


def test_beyond_what_is_kept_the_risk_is_high():
    """What can't be put back is told before it goes."""
    plan = MapCleanupPlanner().plan(case(LEAK, {"keep": "24KiB"}))
    assert plan.risk == "high"
    assert any("7,976 entries go for good" in warning for warning in plan.warnings)


def test_at_most_bounds_one_change():
    """A careful operator takes a few first."""
    plan = MapCleanupPlanner().plan(case(LEAK, {"at_most": 100}))
    assert plan.changes[0].after_text == "9,900 entries"
    assert any("8,900 stale entries stay" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"evicts": True}, "LRU"),
        ({"cleanable": False}, "can't be put back"),
        ({"pid_at": None}, "pid_at is unknown"),
        ({"key_source": "sampled"}, "guessed"),
        ({"stale_entries": 50}, "nothing to clean"),
        ({"stale_entries": None}, "stale_entries is unknown"),
        ({"name": None}, "no map was looked at"),
    ],
)
def test_cleanup_leaves_a_map_alone_and_says_why(values, why):
    """In doubt nothing is deleted."""
    plan = MapCleanupPlanner().plan(case({**LEAK, **values}))
    assert not plan.changes
    assert why in plan.reason


def test_a_guess_is_acted_on_only_when_asked_to():
    """Who looked himself may say so."""
    values = {**LEAK, "key_source": "sampled"}
    assert MapCleanupPlanner().plan(case(values, {"trust_sample": True})).changes


def test_per_cpu_values_are_kept_whole():
    """A value for each CPU that may ever be: 8 + 2 · 16 bytes."""
    values = {**LEAK, "per_cpu": True}
    plan = MapCleanupPlanner().plan(case(values, {"keep": 40 * 9_000}))
    assert plan.risk == "medium"
    assert MapCleanupPlanner().plan(case(values, {"keep": 40 * 8_999})).risk == "high"


def test_a_map_that_allocates_as_it_fills_gives_memory_back():
    """A preallocated one keeps it."""
    assert MapCleanupPlanner().plan(case(LEAK)).memory_bytes == 0
    freed = MapCleanupPlanner().plan(case({**LEAK, "preallocated": False, "entry_bytes": 96}))
    assert freed.memory_bytes == -9_000 * 96


# ── capacity ────────────────────────────────────────────────────────────────────


def test_capacity_is_reckoned_from_what_is_refused():
    """3,000 · (1 + 2,000/6,000) = 4,000 wanted; 6,700 are 60 % full with it."""
    plan = MapCapacityPlanner().plan(case(SMALL, memory=50 << 20))
    assert plan.changes[0].after == 6_700
    assert predicted(plan)["maps.fill_share"] == (pytest.approx(4_000 / 6_700), True)
    assert predicted(plan)["maps.refused_per_s"] == (0.0, True)
    assert plan.memory_bytes == 16 * 8_192 + 72 * 6_700 - (1 << 20)
    assert plan.loses == ("the entries of the cache",)
    assert plan.risk == "medium"


@pytest.mark.parametrize(
    ("values", "after"),
    [
        ({"refused_per_s": None}, 10_000),  # full, who knows how many: twice, at 60 %
        ({"entries": 2_900, "refused_per_s": 0.0}, 4_900),
        ({"preallocated": False}, 6_700),
        ({"per_cpu": True}, 6_700),
    ],
)
def test_capacity_from_what_there_is_to_know(values, after):
    """The less is known, the more room is given."""
    plan = MapCapacityPlanner().plan(case({**SMALL, **values}))
    assert plan.changes[0].after == after
    assert all(one.arithmetic for one in plan.predictions)


@pytest.mark.parametrize(
    ("values", "options", "memory", "why"),
    [
        ({"stale_share": 0.9}, {}, None, "delay the leak"),
        ({}, {"at_most": 3_000}, None, "3,000 are allowed"),
        ({}, {"fill": 0}, None, "fill is 0"),
        ({"entries": 100, "refused_per_s": 0.0}, {}, None, "large enough"),
        ({}, {}, 100_000, "does not fit"),
        ({"name": None}, {}, None, "no map was looked at"),
        ({"name": "other"}, {}, None, "no knob 'map-capacity' for its map other (only for cache)"),
    ],
)
def test_capacity_does_nothing_and_says_why(values, options, memory, why):
    """A leak, the bounds, memory, or a map that nobody has a knob for."""
    plan = MapCapacityPlanner().plan(case({**SMALL, **values}, options, memory=memory))
    assert not plan.changes
    assert why in plan.reason


def test_more_than_is_allowed_is_told():
    """The most allowed, and still too small."""
    plan = MapCapacityPlanner().plan(case(SMALL, {"at_most": 3_500}))
    assert any("fewer than are wanted" in warning for warning in plan.warnings)
    assert "maps.refused_per_s" not in predicted(plan)


def test_ever_new_keys_make_room_a_delay():
    """Said before the change, not after."""
    plan = MapCapacityPlanner().plan(case({**CARDINALITY, "refused_per_s": None}))
    assert any("only lasts longer" in warning for warning in plan.warnings)


def test_each_map_has_its_own_knob():
    """map-capacity.NAME, by the map that it belongs to; names as long as the kernel keeps them."""
    knobs = [knob("map-capacity.cache"), knob("map-capacity.sockets", "connections_by_socket")]
    now = {one.name: KnobValue(value=3_000, raw="3000", effective=3_000) for one in knobs}
    plan = MapCapacityPlanner().plan(case({**SMALL, "name": "connections_by_"}, knobs=knobs, now=now))
    assert plan.changes[0].knob.name == "map-capacity.sockets"
    assert (
        MapCapacityPlanner().plan(case(SMALL, knobs=[knob("workers")])).reason.startswith("lab has no knob")
    )
    assert (
        MapCapacityPlanner().find(Target(name="a", ref="a", knobs={one.name: one for one in knobs})) is None
    )


# ── kind ────────────────────────────────────────────────────────────────────────


def test_kind_says_what_lru_means():
    """Full is normal then, the oldest goes, and some room stays free."""
    plan = MapKindPlanner().plan(case(CARDINALITY))
    (change,) = plan.changes
    assert (change.before, change.after) == ("hash", "lru_hash")
    words = " ".join(plan.warnings)
    for phrase in ("living owners too", "256 entries before it is full", "1.88 s at most"):
        assert phrase in words
    assert predicted(plan)["maps.pressure"] == (0.0, True)
    assert predicted(plan)["maps.entries"] == (3_000, True)
    assert plan.risk == "medium"


def test_a_leak_may_be_let_go_of_by_age():
    """Entries of gone owners are the oldest."""
    plan = MapKindPlanner().plan(case({**LEAK, "preallocated": False}))
    assert "90%" in plan.changes[0].why
    assert any("all entries at once" in warning for warning in plan.warnings)
    assert plan.memory_bytes == 16 * 16_384 + 72 * 10_000 - (1 << 20)


def test_a_small_lru_map_is_warned_of():
    """Two CPUs keep 256 entries free: of 500 that is half."""
    values = {**CARDINALITY, "entries": 500, "max_entries": 500}
    assert any(
        "make the map larger too" in warning for warning in MapKindPlanner().plan(case(values)).warnings
    )


@pytest.mark.parametrize(
    ("values", "options", "why"),
    [
        ({"used_share": 1.0}, {}, "throw out what is needed"),
        ({"type": "lru_hash", "evicts": True}, {}, "already"),
        ({"type": "lpm_trie"}, {}, "no LRU form"),
        ({"type": "percpu_hash"}, {}, "'lru_percpu_hash' is not one of"),
    ],
)
def test_kind_does_nothing_and_says_why(values, options, why):
    """LRU is no free answer."""
    plan = MapKindPlanner().plan(case({**CARDINALITY, **values}, options))
    assert not plan.changes
    assert why in plan.reason


@pytest.mark.parametrize("planner", [MapCleanupPlanner(), MapCapacityPlanner(), MapKindPlanner()])
def test_unknown_options_are_errors_and_no_evidence_is_no_plan(planner):
    """A mistyped bound must not be ignored."""
    with pytest.raises(UnknownName):
        planner.plan(case(LEAK, {"at_mots": 1}))
    empty = msgspec.structs.replace(case(LEAK), evidence={})
    assert planner.plan(empty).reason == "no map was looked at (map-fill)"
