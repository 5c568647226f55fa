"""The agent's log: only what was written in the window, over rotation, and never zero for unknown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bpf.flow.sources import LogSource
from bpf.probes.agent_log import AgentLog, Told, readings_of, written_at
from bpf.system.logtail import Tail
from engine.testing import check_probe
from engine.values import Counter, Evidence, Target

LOST = Counter(counts="dropped", source="log", name=r"lost (\d+)")
TOTAL = Counter(counts="dropped", source="log", name=r"dropped events: (\d+)", cumulative=True)


def test_lines_are_given_whole_and_once(tmp_path):
    """A line that is still being written waits for its end."""
    log = tmp_path / "a.log"
    log.write_text("old\n")
    tail = Tail(str(log))
    with log.open("a") as out:
        out.write("one\ntw")
        out.flush()
        assert tail.lines() == ["one"]
        out.write("o\n")
    assert tail.lines() == ["two"]
    assert tail.lines() == []
    tail.close()


def test_a_rotated_log_is_followed(tmp_path):
    """logrotate moves the file away; the agent writes on into a new one."""
    log = tmp_path / "a.log"
    log.write_text("old\n")
    tail = Tail(str(log))
    with log.open("a") as out:
        out.write("last of the old\n")
    log.rename(tmp_path / "a.log.1")
    log.write_text("first of the new\n")
    assert tail.lines() == ["last of the old", "first of the new"]
    tail.close()


def test_a_truncated_log_is_followed(tmp_path):
    """copytruncate keeps the file and cuts it to nothing."""
    log = tmp_path / "a.log"
    log.write_text("a long line that was here before\n")
    tail = Tail(str(log))
    log.write_text("new\n")
    assert tail.lines() == ["new"]
    tail.close()


def test_a_running_total_starts_from_the_last_one_before_the_window():
    """'dropped events: 160' after 'dropped events: 100' is sixty."""
    source = LogSource(TOTAL, ["dropped events: 90", "dropped events: 100"])
    told = Told({"dropped": source})
    told.take(["noise", "dropped events: 160"])
    assert told.grown("dropped") == 60


def test_increments_are_summed_and_silence_is_unknown():
    """No line is no answer."""
    told = Told({"dropped": LogSource(LOST, ["lost 5"])})
    assert told.grown("dropped") is None
    told.take(["lost 2 samples", "lost 3 samples", "ERROR: cannot write"])
    readings = readings_of(told, 10.0, "a.log")
    assert readings["dropped_per_s"].value == 0.5
    assert readings["errors_per_s"].value == 0.1
    assert readings["last_error"].value == "ERROR: cannot write"
    check_probe(
        AgentLog(),
        Evidence(probe="agent-log", short="log", target="a", started_at=0, ended_at=10, readings=readings),
    )


def test_a_log_that_is_missing_is_said_with_the_way_out(tmp_path):
    """Doctor shows this line."""
    support = AgentLog().supported(Target(name="a", ref="a", log_file=str(tmp_path / "no.log")))
    assert support.answer == "no"
    assert "no.log" in support.why
    assert support.fix


def test_errors_from_before_the_agents_start_are_not_recent():
    """What an earlier process told is past; a line without a time is of the time of the one before it."""
    before = [
        "2026-11-22T10:00:00Z error: map is full",
        "  failed at line 3",
        "2026-11-22T12:00:05.123Z ERROR cannot send",
    ]
    start = datetime(2026, 11, 22, 12, 0, tzinfo=UTC).timestamp()
    told = Told({}, before, start)
    assert told.recent_errors == 1
    assert told.recent_error == "2026-11-22T12:00:05.123Z ERROR cannot send"
    assert Told({}, before).recent_errors == 3  # of an agent that does not run all count
    assert Told({}, before[:2], start).recent_errors == 0


def test_errors_without_a_time_are_kept_and_said_to_be_of_unknown_age():
    """Nothing is hidden that may matter."""
    told = Told({}, ["error: map is full"], 1_000_000.0)
    assert told.recent_errors == 1
    assert told.recent_error == "error: map is full (may be older than its start)"
    told.take(["error: now"])
    assert told.recent_error == "error: now"


@pytest.mark.parametrize(
    ("line", "at"),
    [
        ("1970-01-01T00:00:10+00:00 x", 10),
        ('{"ts":"1970-01-01T01:00:10.5+0100"}', 10),
        ("1970-01-01 99:00:00 x", None),
        ("no time", None),
    ],
)
def test_times_of_log_lines(line, at):
    """As most agents write them."""
    assert written_at(line) == at
