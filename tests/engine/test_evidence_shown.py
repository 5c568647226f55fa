"""What ``look`` and ``targets`` print of what could and could not be found out."""

import re

from engine.agents import answers
from engine.catalog import installed
from engine.commands import explained, seen, targets
from engine.evidence import unknown
from engine.reports import story
from engine.reports.timeline import headline
from engine.values import Evidence, Inventory, Knob, Reading, Target
from tests.samples import runs

NO_RING = "no ring buffer whose positions can be seen"


def evidence(**readings):
    return Evidence(
        probe="event-flow", short="flow", target="lab", started_at=0, ended_at=10, readings=readings
    )


def blind():
    names = ("fill_peak", "fill_mean", "burst_s", "pattern", "samples", "full_spells")
    return evidence(
        dropped_per_s=Reading(value=12_000.0, unit="events/s", source="kernel perf buffer losses"),
        burst_in_per_s=Reading(missing="the arrivals came in no bursts"),
        **{name: Reading(missing=NO_RING) for name in names},
    )


def test_each_reason_why_something_is_unknown_is_told_once(capsys):
    """Thirty-two lines with the same reason bury the two numbers that are there."""
    seen.tell(blind())
    told = capsys.readouterr().out
    assert told.count(NO_RING) == 1
    assert "flow.fill_peak, flow.fill_mean, flow.burst_s" in told
    assert re.search(r"flow.dropped_per_s +12,000/s", told)


def test_a_report_names_the_first_readings_of_a_reason_and_counts_the_rest():
    """A list of what could not be seen is read; a wall is not."""
    run = runs.burst_run()
    events = (story.record.Seen(at=1.0, evidence=blind()), story.record.Seen(at=2.0, evidence=blind()))
    told = story.tell(story.record.Run(head=run.head, events=events)).unseen
    assert told == [
        ("flow.burst_in_per_s", "the arrivals came in no bursts", ""),
        ("flow.fill_peak, flow.fill_mean, flow.burst_s, flow.pattern and 2 more", NO_RING, ""),
    ]


def test_a_reading_without_a_reason_is_not_measured():
    """An empty reason would print as nothing at all."""
    assert unknown(evidence(pattern=Reading())) == {"not measured": ["pattern"]}


def test_ids_are_no_numbers(capsys):
    """25,931 is not what one types after --pid."""
    known = evidence(top_pid=Reading(value=25_931), ring_map_id=Reading(value=203_507))
    seen.tell(known)
    told = capsys.readouterr().out
    assert re.search(r"flow.top_pid +25931\n", told)
    assert re.search(r"flow.ring_map_id +203507\n", told)


def test_a_count_needs_no_unit_behind_it():
    """'entries 1 count' is no English."""
    counted = Evidence(
        probe="x", short="x", target="", started_at=0, ended_at=1,
        readings={"entries": Reading(value=1, unit="count")},
    )  # fmt: skip
    assert headline(counted) == "entries 1"


def test_what_could_not_be_listed_is_a_question_mark_and_not_a_zero():
    """Without the right to list BPF objects nobody knows that there are none."""
    target = Target(name="lab", ref="lab")
    assert targets.row(target, None)[4:] == ["?", "?", "?", "?"]
    nothing = Inventory(taken_at=0.0, source="made up")
    assert targets.row(target, nothing)[4:] == ["0", "0", "0", "-"]


def test_a_knob_with_a_live_door_shows_what_is_in_force_there(capsys, tmp_path):
    """'sampling 1' while one event in twelve comes through is untrue."""
    file = tmp_path / "agent.yaml"
    file.write_text("one_in: 1\n")
    live = Knob(name="sampling", backend="bpf-variable", path="sample_n", map_id=2**31 - 1)
    knob = Knob(name="sampling", backend="yaml-file", file=str(file), path="one_in", live=live)
    target = Target(name="lab", ref="lab", knobs={"sampling": knob})
    explained.tell_target(target, answers.ask(target, None, None, installed()))
    assert re.search(r"sampling +1, live: unknown", capsys.readouterr().out)
