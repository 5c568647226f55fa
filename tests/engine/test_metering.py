"""Numbers of all targets: absent is never zero, and one broken eye blinds no other."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from engine.errors import ProbeFailed, TargetNotFound
from engine.metering import exposition
from engine.metering.gathering import Gatherer, Reading
from engine.metering.sheets import Sheet, sheets
from engine.terminal.top import View, pressed
from engine.testing import FakeClock
from engine.values import Family, Inventory, Process, Sample, Target

A = Target(name="falco", ref="falco:1", profile="falco", processes=(Process(pid=1, comm="falco"),))
B = Target(name="falco", ref="falco:2", profile="falco", processes=(Process(pid=2, comm="falco"),))
DOWN = Target(name="tetragon", ref="tetragon:/etc/t", profile="tetragon")
ENTRIES = Sample(family="bpf_map_entries", value=5, target="falco:1", labels=("cache", "hash", "7"))


@dataclass
class FakeFinder:
    """Finds what it is told."""

    running: tuple[Target, ...] = (A,)
    down: tuple[Target, ...] = ()
    inventory: Inventory = field(default_factory=lambda: Inventory(taken_at=0, source="fake"))

    def find_all(self) -> tuple[Target, ...]:
        return self.running

    def stopped(self, running: Any) -> tuple[Target, ...]:
        return self.down

    def find(self, name: str) -> Target:
        for one in (*self.running, *self.down):
            if one.name == name:
                return one
        raise TargetNotFound(f"no {name}", fix="runbook targets")


class FakeMeter:
    """Gives what it is told, or breaks."""

    families: Mapping[str, Family] = {
        "bpf_map_entries": Family(help="Elements.", labels=("map", "type", "id")),
        "bpf_agent_cpu_seconds_total": Family(help="CPU.", type="counter"),
    }

    def __init__(self, *samples: Sample, name: str = "fake", breaks: bool = False) -> None:
        self.samples, self.name, self.breaks, self.closed = samples, name, breaks, False

    def read(self, targets: Any, inventory: Inventory) -> Iterator[Sample]:
        if self.breaks:
            raise ProbeFailed("gone", fix="")
        yield from self.samples

    def glance(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


def gatherer(*meters: FakeMeter, finder: FakeFinder | None = None, only: str = "") -> Gatherer:
    return Gatherer(finder or FakeFinder(), meters, FakeClock(), only)  # type: ignore[arg-type]


def reading(at: float, *samples: Sample, targets: tuple[Target, ...] = (A,)) -> Reading:
    return Reading(at=at, samples=samples, targets={one.ref: one for one in targets})


def cpu(seconds: float) -> Sample:
    return Sample(family="bpf_agent_cpu_seconds_total", value=seconds, target=A.ref)


def test_a_meter_that_breaks_costs_only_its_own_numbers():
    """One bad eye must not make the whole page fail at night."""
    found = gatherer(FakeMeter(ENTRIES), FakeMeter(name="other", breaks=True)).read()
    numbers = {(one.family, one.labels): one.value for one in found.samples}
    assert numbers["bpf_map_entries", ("cache", "hash", "7")] == 5
    assert numbers["runbook_meter_errors_total", ("other",)] == 1
    assert numbers["runbook_meter_errors_total", ("fake",)] == 0


def test_an_agent_that_is_set_up_and_does_not_run_is_down():
    """An alert on `bpf_agent_up == 0` needs the series to be there when the agent is not."""
    found = gatherer(finder=FakeFinder(down=(DOWN,))).read()
    up = {one.target: one.value for one in found.samples if one.family == "bpf_agent_up"}
    assert up == {A.ref: 1.0, DOWN.ref: 0.0}


def test_all_meters_are_closed_at_the_end():
    """Statistics that stay on cost every BPF program of the machine."""
    meter = FakeMeter()
    with gatherer(meter):
        pass
    assert meter.closed


def test_one_target_alone_can_be_watched():
    """And a name that fits none is an error, not an empty page."""
    found = gatherer(finder=FakeFinder(running=(A, DOWN)), only="falco").read()
    assert set(found.targets) == {A.ref}
    with pytest.raises(TargetNotFound):
        gatherer(only="tetragn").read()


def test_the_page_names_target_and_profile_and_escapes_what_is_in_them():
    """A map may be called anything."""
    odd = Sample(family="bpf_map_entries", value=1, target=A.ref, labels=('a"b\nc', "hash", "8"))
    page = exposition.text(gatherer(FakeMeter(ENTRIES, odd)))
    assert 'bpf_map_entries{id="7",map="cache",profile="falco",target="falco",type="hash"} 5.0' in page
    assert 'map="a\\"b\\nc"' in page


def test_two_agents_of_one_name_have_series_of_their_own():
    """Else one would hide the other."""
    page = exposition.text(gatherer(finder=FakeFinder(running=(A, B))))
    assert 'bpf_agent_up{profile="falco",target="falco:1"} 1.0' in page
    assert 'bpf_agent_up{profile="falco",target="falco:2"} 1.0' in page


def test_a_rate_is_of_the_time_between_two_readings():
    """Two CPU seconds in four are half a core."""
    row = sheets(reading(10, cpu(5)), reading(14, cpu(7)))["agents"].rows[0]
    assert row[1] == 0.5


@pytest.mark.parametrize("before", [None, reading(10), reading(10, cpu(9))], ids=["first", "new", "set back"])
def test_without_two_readings_of_a_counter_there_is_no_rate(before):
    """Unknown is not zero; a counter that was set back does not run backwards."""
    assert sheets(before, reading(14, cpu(7)))["agents"].rows[0][1] is None


def test_unknown_numbers_come_last_however_it_is_sorted():
    """What nobody knows is not the greatest, nor the least."""
    sheet = Sheet("x", (), ((None,), (1.0,), (3.0,)), by=0)
    assert [row[0] for row in sheet.sorted_by(0, descending=True).rows] == [3.0, 1.0, None]
    assert [row[0] for row in sheet.sorted_by(0, descending=False).rows] == [1.0, 3.0, None]


@pytest.mark.parametrize(
    ("keys", "view"),
    [
        ("2", View("programs")),
        ("\t", View("programs")),
        ("9", View("agents")),
        ("r", View("agents", descending=False)),
        ("q", View("agents", over=True)),
        (("right",), View("agents", column=2)),
        (("left", "left"), View("agents", column=7)),
    ],
)
def test_keys_do_what_the_last_line_says(keys, view):
    """And what means nothing changes nothing."""
    made = sheets(None, reading(0))
    now = View()
    for key in keys:
        now = pressed(now, key, made)
    assert now == view


def test_only_metrics_are_served() -> None:
    """Another path is no page of metrics; the root has a link to them."""
    gatherer = Gatherer(FakeFinder(), [FakeMeter(ENTRIES)], FakeClock())  # type: ignore[arg-type]
    server = exposition.serve(gatherer, "127.0.0.1", 0)
    try:
        answers = {}
        for path in ("/metrics", "/", "/other"):
            asked = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
            asked.request("GET", path)
            answer = asked.getresponse()
            answers[path] = (answer.status, answer.read().decode())
            asked.close()
    finally:
        server.shutdown()
        server.server_close()
    assert [status for status, _ in answers.values()] == [200, 200, 404]
    assert "bpf_map_entries{" in answers["/metrics"][1]
    assert 'href="/metrics"' in answers["/"][1]
    assert "bpf_map_entries" not in answers["/other"][1]
