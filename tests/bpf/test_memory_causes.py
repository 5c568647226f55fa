"""Which cause memory-growth names, and what it says when there is none."""

import msgspec
import pytest

from bpf.diagnoses.memory_growth import MemoryGrowth
from engine.values import Case, Evidence, Reading, Target

MIB = 1 << 20

FLAT = {
    "anon_bytes": 12 * MIB,
    "slope_bytes_per_s": 0.0,
    "slope_low": -2000.0,
    "slope_high": 2000.0,
    "growing": False,
    "grown_bytes": 0.0,
    "early_slope_bytes_per_s": 0.0,
    "late_slope_bytes_per_s": 0.0,
    "slowing": None,
    "plateau": True,
    "heap_bytes": 11 * MIB,
    "heap_free_bytes": 0.2 * MIB,
    "heap_free_share": 0.02,
    "heap_read_share": 0.98,
    "map_bytes": 2 * MIB,
    "map_slope_bytes_per_s": 0.0,
    "map_growing": False,
    "cgroup_bytes": 15 * MIB,
    "cgroup_slope_bytes_per_s": 0.0,
    "cgroup_growing": False,
    "cgroup_others": 0,
    "limit_bytes": 512 * MIB,
    "left_bytes": 490 * MIB,
    "host_available_bytes": 8192 * MIB,
}


def growing(rate, slowing=1.0):
    """Private memory that grows at a rate; the second half at ``slowing`` of the first."""
    early = 2 * rate / (1 + slowing)
    return FLAT | {
        "slope_bytes_per_s": rate,
        "slope_low": 0.9 * rate,
        "slope_high": 1.1 * rate,
        "growing": True,
        "grown_bytes": 10 * rate,
        "early_slope_bytes_per_s": early,
        "late_slope_bytes_per_s": early * slowing,
        "slowing": slowing,
        "plateau": False,
        "cgroup_slope_bytes_per_s": rate,
        "cgroup_growing": True,
    }


LEAKS = {
    "growing": True,
    "outstanding_bytes_per_s": 1.5e6,
    "survival_share": 0.9,
    "allocations_per_s": 20_000.0,
    "older_frees_per_s": 0.0,
    "top_site": "leak",
    "top_site_share": 0.99,
    "top_site_bytes_per_s": 1.5e6,
}
BALANCED = LEAKS | {
    "growing": False,
    "outstanding_bytes_per_s": 100.0,
    "survival_share": 0.0,
    "top_site": None,
}
MAP = {
    "name": "cache",
    "type": "hash",
    "entries": 40_000,
    "max_entries": 400_000,
    "fill_share": 0.1,
    "growth_per_s": 4000.0,
    "new_keys_per_s": 4000.0,
    "gone_keys_per_s": 0.0,
    "entry_bytes": 96,
    "preallocated": False,
    "evicts": False,
    "refused_per_s": 0.0,
    "stale_share": 0.0,
    "stale_low": 0.0,
    "stale_entries": 0,
    "checked_entries": 19_000,
    "owners": 4,
    "live_owners": 4,
}
STALE = MAP | {
    "stale_share": 0.9,
    "stale_low": 0.88,
    "stale_entries": 36_000,
    "owners": 2000,
    "live_owners": 20,
}


def with_map(rate, name="cache"):
    """The memory of a map grows; the processes' own does not."""
    return FLAT | {
        "map_growing": True,
        "map_slope_bytes_per_s": rate,
        "top_map": f"{name} (7)",
        "top_map_slope_bytes_per_s": rate,
        "cgroup_slope_bytes_per_s": rate,
        "cgroup_growing": True,
    }


def seen(short, values, seconds=10.0):
    readings = {name: Reading(value=value) for name, value in values.items()}
    return Evidence(probe=short, short=short, target="a", started_at=0.0, ended_at=seconds, readings=readings)


def decide(seconds=10.0, **evidence):
    found = {short: seen(short, values, seconds) for short, values in evidence.items()}
    return MemoryGrowth().decide(Case(target=Target(name="a", ref="a"), evidence=found))


def names(verdict):
    return [cause.name for cause in verdict.causes]


@pytest.mark.parametrize("rate", [30e3, 300e3, 1.6e6, 50e6])
def test_a_straight_line_that_nobody_frees_is_a_leak_with_its_site(rate):
    """At any rate: the site, the bytes per event and the time to the limit are what people act on."""
    verdict = decide(
        memory=growing(rate), alloc=LEAKS, flow={"in_per_s": 20_000.0}, maps=MAP | {"growth_per_s": 0}
    )
    (cause,) = verdict.causes
    assert cause.name == "heap-leak"
    assert "at leak" in cause.sentence
    assert cause.confidence > 0.9
    assert any("until it is used up" in line for line in cause.arithmetic)
    assert any("bytes lost with each event" in line for line in cause.arithmetic) == (rate >= 20_000)


def test_without_sites_a_leak_is_less_certain_and_says_what_is_missing():
    """Missing evidence lowers confidence, and is said."""
    with_site, without = decide(memory=growing(1e6), alloc=LEAKS), decide(memory=growing(1e6))
    assert without.causes[0].confidence < with_site.causes[0].confidence
    assert any("place that leaks" in note for note in without.notes)
    assert any("map-fill was not looked at" in note for note in without.notes)


def test_growth_without_outliving_allocations_speaks_against_a_leak():
    """What is allocated is freed again: then it is another allocator, or steps."""
    (cause,) = decide(memory=growing(1e6), alloc=BALANCED).causes
    assert cause.confidence < 0.5
    assert any("outlived" in fact for fact in cause.speaks_against)


@pytest.mark.parametrize("slowing", [0.05, 0.3, 0.6])
def test_a_growth_that_slows_fills_to_a_bound(slowing):
    """The bound and when it is reached follow from the two halves."""
    replaces = LEAKS | {"outstanding_bytes_per_s": 1e6 * slowing, "older_frees_per_s": 12_000.0}
    verdict = decide(memory=growing(1e6, slowing), alloc=replaces)
    assert names(verdict) == ["cache-filling"]
    assert names(decide(memory=growing(1e6, slowing))) == ["cache-filling"]
    assert any("it ends near" in line for line in verdict.causes[0].arithmetic)


def test_a_large_cache_is_told_by_what_it_replaces():
    """In a short window a large cache hardly bends; its frees of older pieces give it away."""
    replaces = LEAKS | {"outstanding_bytes_per_s": 0.8e6, "older_frees_per_s": 9000.0}
    assert names(decide(memory=growing(1e6, 0.85), alloc=replaces)) == ["cache-filling"]
    assert names(decide(memory=growing(1e6, 1.0), alloc=replaces)) == ["heap-leak"]


@pytest.mark.parametrize(("net", "name"), [(0.5e6, "cache-filling"), (0.9e6, "heap-leak")])
def test_what_the_program_holds_in_all_decides_where_it_is_known(net, name):
    """Survivors alone prove nothing: a cache has them too, and gives older memory back."""
    alloc = LEAKS | {"older_frees_per_s": 9000.0, "net_bytes_per_s": net}
    assert names(decide(memory=growing(1e6, 0.85), alloc=alloc)) == [name]


def test_a_buffer_that_is_used_for_the_first_time_is_noted():
    """Growth without asking the kernel for more."""
    assert any("first time" in note for note in decide(memory=FLAT | {"touching": True}).notes)


def test_a_step_that_was_given_back_is_no_cache():
    """Taken in the window and free again: its allocator's, not a cache's."""
    memory = FLAT | {"grown_bytes": 60e6, "heap_free_bytes": 60e6, "heap_free_share": 0.9, "heap_bytes": 64e6}
    assert names(decide(memory=memory)) == ["allocator-keeps-pages", "cache-filling"]


def test_a_start_that_slowed_down_to_a_steady_loss_is_a_leak():
    """Every agent takes memory when it starts: what is kept afterwards, and never replaced, decides."""
    late = growing(100e3, 0.6)["late_slope_bytes_per_s"]
    verdict = decide(memory=growing(100e3, 0.6), alloc=LEAKS | {"outstanding_bytes_per_s": 0.8 * late})
    assert names(verdict) == ["heap-leak"]


def test_a_cache_that_has_reached_its_bound_is_told_as_reached():
    """It grew in the window and is flat at its end."""
    memory = growing(1e6, 0.0) | {"plateau": True, "growing": False, "late_slope_bytes_per_s": 0.0}
    (cause,) = decide(memory=memory).causes
    assert cause.name == "cache-filling"
    assert "has reached it" in cause.sentence


@pytest.mark.parametrize("free", [0.35, 0.6, 0.95])
def test_a_heap_that_is_mostly_free_is_its_allocators(free):
    """Flat, large, and not in use: no leak."""
    memory = FLAT | {"heap_bytes": 64 * MIB, "heap_free_bytes": free * 64 * MIB, "heap_free_share": free}
    verdict = decide(memory=memory, alloc=BALANCED)
    assert names(verdict) == ["allocator-keeps-pages"]
    assert "MALLOC_ARENA_MAX" in verdict.causes[0].fix


def test_a_heap_profile_tells_an_allocator_too():
    """Go and others whose heap can't be read from outside."""
    memory = FLAT | {"heap_bytes": 100 * MIB, "heap_free_bytes": None, "heap_free_share": None}
    verdict = decide(memory=memory, heap={"inuse_bytes": 10 * MIB, "growth_bytes_per_s": 0.0})
    assert names(verdict) == ["allocator-keeps-pages"]
    assert decide(memory=memory, heap={"inuse_bytes": 60 * MIB}).causes == ()  # a collector keeps half


def test_a_leak_in_a_heap_that_is_partly_free_stays_a_leak():
    """A grown heap with holes still leaks; the holes are told against it."""
    memory = growing(1e6) | {"heap_free_bytes": 30 * MIB, "heap_free_share": 0.5}
    verdict = decide(memory=memory, alloc=LEAKS)
    assert names(verdict)[0] == "heap-leak"
    assert any("scattered" in fact for fact in verdict.causes[0].speaks_against)


def test_keys_that_never_go_make_an_unbounded_map():
    """Living owners, no key leaves; the map is full long before memory is."""
    verdict = decide(memory=with_map(384e3), maps=MAP)
    assert names(verdict) == ["unbounded-map", "map-memory-unseen"]
    assert any("until it is full" in line for line in verdict.causes[0].arithmetic)


def test_a_map_that_grows_beside_the_one_that_was_watched_is_named():
    """The fullest map is watched; it need not be the one that grows. The table of all maps tells it."""
    other = {
        "id": 9,
        "name": "cache",
        "type": "hash",
        "entries": 3000,
        "max_entries": 400_000,
        "fill_share": 0.01,
    }
    maps = seen(
        "maps",
        MAP
        | {"name": "filters", "id": 4, "growth_per_s": 0.0, "new_keys_per_s": 0.0}
        | {
            "soonest_id": 9,
            "soonest_map": "cache",
            "soonest_growth_per_s": 300.0,
            "soonest_full_in_s": 1323.0,
        },
    )
    maps = msgspec.structs.replace(maps, tables={"maps": (other,)})
    case = Case(
        target=Target(name="a", ref="a"),
        evidence={"memory": seen("memory", with_map(25e3)), "maps": maps},
    )
    verdict = MemoryGrowth().decide(case)
    assert names(verdict)[0] == "unbounded-map"
    assert "cache" in verdict.causes[0].sentence


def test_a_preallocated_map_that_fills_is_unbounded_though_no_byte_is_added():
    """Its memory was taken when it was made."""
    verdict = decide(memory=FLAT, maps=MAP | {"preallocated": True})
    assert names(verdict) == ["unbounded-map"]
    assert any("it only fills" in line for line in verdict.causes[0].arithmetic)


def test_a_map_that_presses_on_memory_before_it_is_full_is_told_as_memory():
    """2 KB an entry: the limit is what bites, and no process shows it."""
    maps = MAP | {"name": "payloads", "entry_bytes": 2100, "growth_per_s": 500.0, "max_entries": 200_000}
    verdict = decide(memory=with_map(1.05e6, "payloads"), maps=maps)
    assert names(verdict) == ["map-memory-unseen", "unbounded-map"]
    assert "payloads" in verdict.causes[0].sentence


def test_map_memory_without_known_entries_is_seen_all_the_same():
    """Task storage, tries and maps in maps have no count."""
    assert names(decide(memory=with_map(1e6))) == ["map-memory-unseen"]


def test_kernel_memory_of_the_cgroup_alone_is_a_suspicion():
    """Before kernel 6.4 map memory is no real figure."""
    memory = FLAT | {
        "map_bytes": None,
        "map_growing": None,
        "map_slope_bytes_per_s": None,
        "cgroup_growing": True,
        "cgroup_slope_bytes_per_s": 1e6,
        "cgroup_kernel_slope_bytes_per_s": 0.95e6,
    }
    (cause,) = decide(memory=memory).causes
    assert cause.name == "map-memory-unseen"
    assert cause.confidence <= 0.5


def test_entries_of_dead_processes_come_before_all_else_of_a_map():
    """They grow too, and take memory too: their owners are the cause."""
    verdict = decide(memory=with_map(384e3), maps=STALE)
    assert names(verdict)[0] == "stale-map-entries"
    assert "cache" in verdict.causes[0].sentence


@pytest.mark.parametrize("quiet", [{"evicts": True}, {"gone_keys_per_s": 3900.0, "growth_per_s": 100.0}])
def test_a_map_that_makes_room_is_not_unbounded(quiet):
    """LRU, or keys that go as they come."""
    assert decide(memory=FLAT, maps=MAP | quiet).causes == ()


def test_two_growths_are_divided_by_bytes():
    """The greater one is named first, each with its share."""
    memory = growing(3e6) | {"map_growing": True, "map_slope_bytes_per_s": 1e6, "top_map": "cache (7)"}
    verdict = decide(memory=memory, alloc=LEAKS, maps=MAP | {"entry_bytes": 250})
    assert names(verdict)[0] == "heap-leak"
    assert verdict.causes[0].explains == pytest.approx(0.75)


def test_nothing_that_grows_is_said_with_what_could_have_been_missed():
    """No cause, and how slow a leak would need a longer window."""
    verdict = decide(memory=FLAT, maps=MAP | {"growth_per_s": 0.0, "new_keys_per_s": 0.0})
    assert verdict.causes == ()
    assert "no growth" in verdict.sentence
    assert "longer window" in verdict.sentence


def test_growth_below_proof_says_how_long_to_watch():
    """A leak that an allocator hands out in steps takes several steps."""
    memory = FLAT | {"slope_bytes_per_s": 5e3, "grown_bytes": 50e3, "plateau": False}
    assert "of watching would prove it" in decide(memory=memory).sentence


def test_unknown_growth_is_not_called_none():
    """A window too short to tell must not sound like an all-clear."""
    memory = FLAT | {"growing": None, "slope_bytes_per_s": None}
    assert "could not be measured" in decide(memory=memory).sentence


def test_kills_for_want_of_memory_are_noted():
    """The reason why somebody was called, though the new process is small yet."""
    told = decide(memory=FLAT | {"oom_last_comm": "agent", "oom_last_ago_s": 120.0}).notes
    assert any("killed agent" in note for note in told)
    assert any("so far" in note for note in decide(memory=FLAT | {"oom_kills": 2}).notes)


def test_without_memory_nothing_is_said():
    """Maps alone tell nothing of memory."""
    assert "not looked at" in decide(maps=MAP).sentence
