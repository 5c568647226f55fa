"""Steps once for each item: names, ids, failures, and items side by side."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from engine.clock import Cancel
from engine.language.model import Change, Check, Each, Look, Step, Tell
from engine.record import Listed, Run, StepSkipped, StepStarted, Told
from engine.running import resume
from engine.testing import FakeProbe, FakeTarget, FakeWatcher, fake_tools, rehearse
from tests.engine.rehearsed import agent, flow, of_type, poll, ring, runbook


def each(*steps: Step, over: str = '["a", "b", "c"]', **further: Any) -> Each:
    named = tuple(
        step if step.id else type(step)(**{**_fields(step), "id": str(n)}) for n, step in enumerate(steps, 1)
    )
    return Each(id="4", steps=named, items=over, **further)


def _fields(step: Step) -> dict[str, Any]:
    return {name: getattr(step, name) for name in step.__struct_fields__}


def told(done: Run) -> list[str]:
    return [one.sentence for one in of_type(done, Told)]


def go(*steps: Step, lab: FakeTarget | None = None, **further: Any) -> Run:
    lab = lab or agent()
    return rehearse(runbook(*steps, goal=None), [flow(lab), ring(lab), poll(lab)], lab, **further)


@pytest.mark.parametrize(
    ("over", "sentence", "says"),
    [
        ('["a", "b"]', "{{ item }}", ["a", "b"]),
        ("[1, 2.5]", "{{ item + 1 }}", ["2", "3.5"]),
        ('{"x": 1, "y": 2}', "{{ item.key }}={{ item.value }}", ["x=1", "y=2"]),
        ("[]", "{{ item }}", []),
    ],
)
def test_lists_and_mappings_are_gone_through(over: str, sentence: str, says: list[str]) -> None:
    """Whatever an author can name, in the order that it has."""
    assert told(go(each(Tell(sentence=sentence), over=over))) == says


def test_the_rows_of_a_table_are_gone_through() -> None:
    """A table of maps, one row after the other."""
    rows = {"maps": ({"name": "events", "fill": 0.9}, {"name": "pids", "fill": None})}
    lab = agent()
    probe = FakeProbe(name="map-fill", short="maps", sees={"n": 2})
    look, collect = Look(id="l", probes=("map-fill",)), probe.collect

    def with_rows(*given: Any) -> Any:
        return msgspec.structs.replace(collect(*given), tables=rows)

    probe.collect = with_rows  # type: ignore[method-assign]
    inside = Tell(sentence="{{ map.name }} is full", when="map.fill is known and map.fill != none")
    done = rehearse(runbook(look, each(inside, over="maps.maps", label="map"), goal=None), [probe], lab)

    assert told(done)[0] == "events is full"


def test_every_step_names_its_item_in_the_record() -> None:
    """An auditor can tell the second item's look from the first one's."""
    done = go(each(Look(probes=("event-flow",)), Tell(id="say", sentence="x"), over='["a", "b"]'))
    ids = [one.step for one in of_type(done, StepStarted)]

    assert ids == ["4", "4[1]", "4[1].1", "4[1].say", "4[2]", "4[2].1", "4[2].say"]


def test_what_was_seen_of_one_item_is_not_there_for_the_next() -> None:
    """A condition must not hold by the numbers of another item."""
    first = Look(probes=("event-flow",), label="seen", when='item == "a"')
    done = go(each(first, Tell(sentence="{{ item }}", when="seen.dropped_per_s > 0"), over='["a", "b"]'))

    assert told(done) == ["a"]


def test_more_items_than_the_limit_are_left_out_and_said() -> None:
    """A table of ten thousand rows is no reason for ten thousand looks."""
    done = go(each(Tell(sentence="{{ item }}"), limit=2))

    assert told(done) == ["a", "b"]
    assert of_type(done, Listed)[0].left_out == 1


def test_an_unknown_list_is_skipped_with_its_reason() -> None:
    """Nobody knows is not nothing."""
    look = Look(id="l", probes=("event-flow",))
    done = go(look, each(Tell(sentence="x"), over="flow.rings"))

    assert told(done) == []
    assert "flow.rings was not measured" in of_type(done, StepSkipped)[0].because


def test_a_failed_item_stops_the_run_unless_the_step_goes_on() -> None:
    """One broken map among many need not stop the look at the others."""
    broken = Tell(sentence="{{ item.x }}", when='item == "b"')
    assert go(each(broken)).head.outcome == "failed"
    done = go(each(broken, Tell(sentence="{{ item }} is right"), on_failure="continue"))

    assert [line for line in told(done) if "right" in line] == ["a is right", "c is right"]
    assert any(line.startswith("item b: ") for line in told(done))


def test_a_check_within_ends_the_run() -> None:
    """An end is an end, wherever it is said."""
    done = go(each(Tell(sentence="{{ item }}"), Check(must="no b", that='item != "b"')))

    assert (done.head.outcome, told(done)[0], told(done)[-1]) == ("unfixed", "a", "b")


def test_changes_within_are_made_and_taken_back_like_others(tmp_path: Path) -> None:
    """Each with its own id, so that nothing is done twice after a crash."""
    lab = agent()
    inside = Change(remediation="ring", keep="always", when='item == "b"')
    parts = [flow(lab), ring(lab)]
    rehearse(runbook(each(inside), goal=None), parts, lab, directory=tmp_path)
    assert lab.settings["ring"] == 4
    settled = resume.undo("last", fake_tools(tmp_path, parts, lab))

    assert [(one.step, one.state) for one in settled] == [("4[2].1", "undone")]


def test_items_side_by_side_take_the_time_of_one() -> None:
    """Ten looks of ten seconds need not take a hundred."""
    together = threading.Barrier(3, timeout=20)
    lab = agent()
    probe = FakeProbe(sees=lambda: {"dropped_per_s": float(together.wait() >= 0)})
    inside = (Look(probes=("event-flow",)), Tell(sentence="{{ item }} {{ flow.dropped_per_s }}"))
    done = rehearse(runbook(each(*inside, at_once=3), goal=None), [probe], lab)

    assert sorted(told(done)) == ["a 1", "b 1", "c 1"]
    assert done.head.outcome == "healthy"


def test_a_failure_side_by_side_is_raised_in_the_runs_own_thread() -> None:
    """And, where the step goes on, noted with its item."""
    inside = Tell(sentence="{{ item.x }}", when='item == "b"')
    assert go(each(inside, at_once=2)).head.outcome == "failed"
    done = go(each(inside, at_once=2, on_failure="continue"))

    assert [line.split(":")[0] for line in told(done)] == ["item b"]


def test_a_wish_to_stop_ends_between_two_items() -> None:
    """A long table must not hold up whoever pressed Ctrl-C."""
    cancel = Cancel()
    watcher = FakeWatcher(on_event=lambda event: cancel.set() if isinstance(event, Told) else None)
    done = go(each(Tell(sentence="{{ item }}")), cancel=cancel, watcher=watcher)

    assert (done.head.outcome, told(done)) == ("interrupted", ["a"])
