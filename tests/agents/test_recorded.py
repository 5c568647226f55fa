"""Every shipped profile of a real agent, against what that agent is recorded to show."""

from __future__ import annotations

import pytest

from engine.agents import profiles
from engine.catalog import installed
from remediations.knobs import amounts, places
from tests.agents.recorded import SHIPPED, Recording, names


@pytest.fixture(params=names())
def recording(request, tmp_path):
    return Recording(request.param, tmp_path)


def test_the_agent_is_found_and_nothing_else_is_taken_for_it(recording):
    """A profile that fits a neighbour would turn the knobs of a stranger."""
    found = [one for one in recording.targets() if one.profile != "generic"]
    assert [one.profile for one in found] == [recording.said["profile"]]
    pids = [process.pid for process in found[0].processes]
    assert pids == [one["pid"] for one in recording.said["processes"]]


def test_its_buffers_are_those_that_carry_events(recording):
    """A buffer of logs or control messages that is watched tells nothing of its events."""
    maps = dict(enumerate(recording.said["maps"], 100))
    rings = [maps[ring]["name"] for ring in recording.target().rings]
    assert rings == recording.said["rings"]
    assert all(len(one["name"]) <= 15 for one in maps.values()), "the kernel keeps 15 characters"


def test_its_addresses_are_those_it_listens_on(recording):
    """They come from its configuration and command line, not from a guess."""
    target = recording.target()
    expected = {"metrics_url": "", "health_url": "", "heap_url": "", "log_file": ""}
    expected |= recording.said.get("addresses", {})
    assert {name: getattr(target, name) for name in expected} == expected


def test_each_counter_reads_what_was_recorded(recording):
    """A metric name is a claim until it is read from a page."""
    read = [[one.counts, one.stage, name, value] for one, name, value in recording.counts(recording.target())]
    assert read == recording.said["counts"]


def test_counts_in_the_kernel_are_there(recording):
    """An array that the agent does not hold can't be read."""
    held = {one["name"] for one in recording.said["maps"]}
    for counter in recording.target().counters:
        if counter.source == "bpf-map":
            assert {name[:15] for name in (counter.name, *counter.also)} & held


def test_an_empty_page_is_unknown(recording):
    """A series that is absent is unknown, never zero."""
    for file in ("metrics.txt", "log.txt"):
        (recording.here / file).write_text("")
    assert {value for _, _, value in recording.counts(recording.target())} <= {None}


def test_its_settings_are_read_where_they_stand(recording):
    """As it is written there, what the agent makes of it, and how many times it has it."""
    target, host = recording.target(), recording.host
    for name, (raw, made, copies) in recording.said.get("knobs", {}).items():
        knob = target.knobs[name]
        now = places.read(knob, target)
        place = knob.places[now.place]
        value = now.value if now.value is not None else place.default
        read = [now.raw, amounts.made(value, place, host), amounts.buffers(place, host)]
        assert read == [raw, made, copies], f"{name}: {now}"
        assert not now.missing or place.backend == "process-argument", "which can only be read"


def test_every_change_asks(recording):
    """Nobody has seen its knobs work here: a yes is needed at least."""
    target = recording.target()
    profile = profiles.load(SHIPPED / f"{target.profile}.yaml")
    if profile.verified == "sources":
        assert not any(knob.verified for knob in target.knobs.values())


def test_every_fact_says_where_it_was_read(recording):
    """``sources`` or the fact's own ``source``; what it needs to run too."""
    profile = profiles.load(SHIPPED / f"{recording.said['profile']}.yaml")
    assert profile.sources
    assert profile.needs.source or not profile.needs.capabilities
    assert profile.reload.by == "none" or profile.reload.loses, "what a reload loses must be told"


def test_its_remedies_are_there(recording):
    """A knob that nothing turns would be a promise."""
    turned = {part.knob for _, part in installed().each("remediation")} | {"queue-size"}
    assert {name.partition(".")[0] for name in recording.target().knobs} <= turned
