"""A leak, a map that is too small and cardinality, each from its own numbers and none from another's."""

from __future__ import annotations

import pytest

from bpf.diagnoses.map_pressure import MapPressure
from engine.values import Case, Evidence, Reading, Target

TARGET = Target(name="lab", ref="lab")

#: Half full, nothing moves.
CALM = {
    "name": "cache",
    "type": "hash",
    "entries": 5_000,
    "max_entries": 10_000,
    "fill_share": 0.5,
    "growth_per_s": 0.0,
    "full_in_s": None,
    "key_kind": "pid-in-key",
    "key_source": "profile",
    "stale_share": 0.0,
    "stale_low": 0.0,
    "stale_entries": 0,
    "checked_entries": 5_000,
    "owners": 50,
    "live_owners": 50,
    "entries_per_owner": 100.0,
    "new_keys_per_s": 0.0,
    "gone_keys_per_s": 0.0,
    "distinct_growth": 0.0,
    "used_share": 0.9,
    "used_per_s": 4_000.0,
    "unused_s": 1.0,
    "refused_per_s": 0.0,
    "evicts": False,
    "bytes": 1 << 20,
}
FULL = {**CALM, "entries": 10_000, "fill_share": 1.0, "full_in_s": 0.0}
LEAK = {
    **FULL,
    "stale_share": 0.9,
    "stale_low": 0.9,
    "stale_entries": 9_000,
    "live_owners": 4,
    "used_share": 0.1,
    "refused_per_s": 800.0,
    "unused_s": 30.0,
}
GROWING_LEAK = {**LEAK, "entries": 8_000, "fill_share": 0.8, "growth_per_s": 800.0, "new_keys_per_s": 800.0,
                "distinct_growth": 800.0, "refused_per_s": 0.0, "full_in_s": 2.5}  # fmt: skip
SMALL = {**FULL, "used_share": 1.0, "refused_per_s": 2_000.0}
FEW_USED = {**FULL, "used_share": 0.02, "refused_per_s": 2_000.0, "unused_s": 40.0}
CARDINALITY = {**FULL, "fill_share": 0.97, "entries": 9_700, "used_share": 0.01, "new_keys_per_s": 1_600.0,
               "distinct_growth": 1_600.0, "gone_keys_per_s": 1_500.0}  # fmt: skip
NOBODY_KNOWN = {
    **dict.fromkeys(("stale_share", "stale_low", "stale_entries", "checked_entries", "owners")),
    **dict.fromkeys(("live_owners", "entries_per_owner", "key_source")),
    "key_kind": "unknown",
}


def decide(values: dict[str, object]):
    readings = {
        name: Reading(value=value, missing="" if value is not None else "not seen")
        for name, value in values.items()
    }
    seen = Evidence(probe="map-fill", short="maps", target="lab", started_at=0, ended_at=5, readings=readings)
    return MapPressure().decide(Case(target=TARGET, evidence={"maps": seen}))


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (LEAK, "entries-leak"),
        (GROWING_LEAK, "entries-leak"),
        ({**LEAK, "key_source": "sampled"}, "entries-leak"),
        ({**LEAK, "used_share": None, "used_per_s": None}, "entries-leak"),
        (SMALL, "map-too-small"),
        ({**SMALL, "refused_per_s": None}, "map-too-small"),
        ({**SMALL, "used_share": 0.55}, "map-too-small"),
        ({**SMALL, "type": "percpu_hash"}, "map-too-small"),
        ({**SMALL, **NOBODY_KNOWN}, "map-too-small"),
        ({**SMALL, "stale_share": 0.05, "stale_low": 0.05, "stale_entries": 500}, "map-too-small"),
        (CARDINALITY, "key-cardinality"),
        (FEW_USED, "key-cardinality"),
        ({**CARDINALITY, "gone_keys_per_s": 0.0}, "key-cardinality"),
        ({**CARDINALITY, "used_share": None}, "key-cardinality"),
    ],
)
def test_each_cause_comes_first_from_its_own_numbers(values, cause):
    """The remedies have nothing in common."""
    verdict = decide(values)
    assert verdict.causes[0].name == cause
    assert all(one.speaks_for and one.fix and one.settles for one in verdict.causes)
    assert {one.name for one in verdict.causes} <= set(MapPressure.causes)


@pytest.mark.parametrize("values", [LEAK, SMALL, CARDINALITY])
def test_the_first_cause_stands_out(values):
    """Confusable causes are told apart by a margin, not by luck."""
    first, *rest = decide(values).causes
    assert all(
        (other.explains or 0) * other.confidence < 0.7 * (first.explains or 0) * first.confidence
        for other in rest
    )


def test_half_of_each_names_both():
    """A small map that leaks as well: both are true."""
    both = {**SMALL, "stale_share": 0.5, "stale_low": 0.48, "stale_entries": 5_000, "used_share": 0.5}
    assert {one.name for one in decide(both).causes} >= {"entries-leak", "map-too-small"}


def test_without_owners_a_leak_is_only_suspected():
    """Nothing is removed and nothing is used again: dead owners, or ever new keys of living ones."""
    values = {**GROWING_LEAK, **NOBODY_KNOWN}
    verdict = decide(values)
    assert [one.name for one in verdict.causes] == ["entries-leak", "key-cardinality"]
    assert all(one.confidence <= 0.5 for one in verdict.causes)
    assert "pid_at" in verdict.causes[0].settles
    assert any("unknown" in note for note in verdict.notes)


def test_a_map_with_room_is_no_trouble():
    """Nothing is named where nothing is wrong."""
    verdict = decide(CALM)
    assert not verdict.causes
    assert "nothing to worry about" in verdict.sentence
    assert "half" not in verdict.sentence
    assert "50 %" in verdict.sentence


def test_a_full_lru_map_is_normal_and_evictions_are_told():
    """Full is how an LRU map works; what it evicts is lost all the same."""
    quiet = decide({**FULL, "type": "lru_hash", "evicts": True, "used_share": 0.9})
    assert not quiet.causes
    assert "normal" in quiet.sentence
    busy = decide({**CARDINALITY, "type": "lru_hash", "evicts": True})
    assert busy.causes[0].name == "key-cardinality"
    assert any("evicted" in note for note in busy.notes)


def test_a_leak_says_when_a_cleaned_map_is_full_again():
    """Cleaning buys time; how much decides what else is to be done."""
    (line,) = [line for line in decide(LEAK).causes[0].arithmetic if "full again" in line]
    assert "11.2 s" in line  # (10,000 - 1,000) / 800


def test_cardinality_says_how_little_a_larger_map_helps():
    """It only lasts longer."""
    lines = decide(CARDINALITY).causes[0].arithmetic
    assert any("only lasts longer" in line and "6.25 s" in line for line in lines)


def test_full_and_refusals_unknown_is_said():
    """The kernel does not count what a map refuses."""
    assert any("does not count" in note for note in decide({**SMALL, "refused_per_s": None}).notes)
    assert any("used again" in note for note in decide({**SMALL, "used_share": None}).notes)


def test_nothing_seen_is_said():
    """No evidence is no verdict."""
    for case in (Case(target=TARGET), Case(target=TARGET, evidence={})):
        assert "Nothing can be said" in MapPressure().decide(case).sentence
    assert not decide({"name": "cache"}).causes
