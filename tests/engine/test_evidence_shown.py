"""What ``look`` and ``targets`` print of what could and could not be found out."""

import re

import msgspec
import pytest

from engine.agents import answers
from engine.catalog import installed
from engine.commands import explained, look, seen, targets
from engine.errors import UsageError
from engine.evidence import unknown
from engine.reports import story
from engine.reports.timeline import HEADLINES, headline
from engine.values import Evidence, Inventory, Knob, Process, Reading, Target
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


def test_every_headline_is_a_reading_of_its_probe():
    """A name that is misspelt would show nothing, for ever."""
    parts = installed()
    fields = {}
    for name in parts.names("probe"):
        probe = parts.probe(name)
        fields.setdefault(probe.short, set()).update(probe.fields)
    wrong = {
        f"{short}.{name}"
        for short, wanted in HEADLINES.items()
        for name, _ in wanted
        if name not in fields[short]
    }
    assert not wrong


def test_the_headline_of_a_map_is_which_one_and_how_full():
    """Not the first four fields, whatever they are."""
    maps = Evidence(
        probe="map-fill", short="maps", target="", started_at=0, ended_at=1,
        readings={
            "id": Reading(value=7), "name": Reading(value="cache"), "type": Reading(value="hash"),
            "fill_share": Reading(value=0.97, unit="share"),
            "growth_per_s": Reading(value=12.0, unit="entries/s"),
            "stale_share": Reading(value=0.9, unit="share"),
        },
    )  # fmt: skip
    assert headline(maps) == "map cache · fill 97 % · growth 12/s · stale 90 %"


def test_samples_that_were_taken_are_counted_and_none_is_not_told(capsys):
    """Zero samples beside thousands is untrue."""
    seen.tell(evidence(samples=Reading(value=4_321)))
    assert "4,321 samples" in capsys.readouterr().out
    seen.tell(evidence())
    assert "samples" not in capsys.readouterr().out


def test_agents_of_one_name_are_told_apart_by_their_configuration(capsys, monkeypatch):
    """Rows that differ only in a pid tell nobody which is which."""

    class Two:
        inventory, notes = None, ()

        def find_all(self):
            made = [
                Target(name="lab", ref=f"lab:{file}", config_file=file, processes=(Process(pid=pid),))
                for pid, file in ((1, "/a/agent.yaml"), (2, "/b/agent.yaml"))
            ]
            return made[: self.many]

        def stopped(self, running):
            return ()

    for Two.many, shown in ((2, True), (1, False)):
        monkeypatch.setattr(targets.finding, "on_this_host", Two)
        targets.targets(name="", explain=False, as_json=False)
        told = capsys.readouterr().out
        assert ("/a/agent.yaml" in told) == shown
        assert ("CONFIG" in told) == shown


def test_a_look_lasts_an_hour_at_most():
    """Nothing would be told for a day."""
    with pytest.raises(UsageError, match="one hour is the most"):
        look.look("process", seconds="99999s")


def test_the_file_of_stacks_is_there_before_anything_is_printed(monkeypatch, tmp_path):
    """``| head`` closes the pipe."""
    row = {"folded": "main;work", "samples": 9}
    stacks = msgspec.structs.replace(evidence(), tables={"stacks": (row,)})
    monkeypatch.setattr(look, "glance", lambda *_words, **_more: stacks)

    def closed(_seen):
        raise BrokenPipeError

    monkeypatch.setattr(look, "tell", closed)
    with pytest.raises(BrokenPipeError):
        look.look("cpu-profile", seconds="1s", stacks=tmp_path / "a.folded")
    assert (tmp_path / "a.folded").read_text() == "main;work 9\n"


def test_without_stacks_the_readings_are_told_before_the_error(monkeypatch, capsys, tmp_path):
    """What was seen is not thrown away."""
    monkeypatch.setattr(look, "glance", lambda *_words, **_more: blind())
    with pytest.raises(UsageError, match="gave no stacks"):
        look.look("event-flow", seconds="1s", stacks=tmp_path / "a.folded")
    assert "flow.dropped_per_s" in capsys.readouterr().out
