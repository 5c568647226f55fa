"""Log lines: one event one line, whatever stands in it."""

from __future__ import annotations

import io
import json
import logging
import os
import tempfile
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Refused
from engine.server.log import MAX_FACT, FromLibraries, Log, goes_to_journal


def written(form: str = "text", event: str = "alert accepted", **facts: object) -> str:
    stream = io.StringIO()
    Log("worker", form, stream).info(event, **facts)  # type: ignore[arg-type]
    return stream.getvalue()


def test_a_line_for_people_begins_with_time_level_part_and_event() -> None:
    """Who reads the log sees when, how bad, who and what first; facts follow as name=value."""
    moment, level, part, rest = written(run="r-1", queued=3).split(" ", 3)
    assert moment.endswith("Z")
    assert (level, part) == ("info", "worker")
    assert rest == "alert accepted  run=r-1 queued=3\n"


def test_json_keeps_types_and_the_log_s_own_names() -> None:
    """Numbers stay numbers; a fact called like one of the log's own fields does not replace it."""
    line = json.loads(written("json", run="r-1", seconds=0.25, ok=True, level="high"))
    assert line["level"] == "info"
    assert line["level_"] == "high"
    assert (line["seconds"], line["ok"], line["run"]) == (0.25, True, "r-1")


@given(st.text(st.characters(), max_size=80), st.sampled_from(["text", "json"]))
def test_no_text_forges_a_line_or_steers_a_terminal(words: str, form: str) -> None:
    """Whatever an alert's label holds, a line stays one line of printable characters."""
    line = written(form, event=words, label=words, several=(words, words))
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    if form == "json":
        assert set(json.loads(line)) <= {"time", "level", "part", "event", "label", "several"}


def test_a_value_with_blanks_or_quotes_can_t_pass_for_a_second_fact() -> None:
    """`x run=other` stays within the quotes of its own name."""
    assert written(label='x" run=other').rstrip().endswith(r'label="x\" run=other"')


def test_a_long_fact_is_cut() -> None:
    """A megabyte in a label does not become a megabyte in the log."""
    assert len(written(label="a" * 1_000_000)) < MAX_FACT + 200


def test_an_error_of_ours_is_told_with_its_fix() -> None:
    """The log says what to do as well."""
    line = written(error=Refused("another run works on it", fix="wait for it"))
    assert "another run works on it (fix: wait for it)" in line


def test_a_closed_stream_stops_nobody() -> None:
    """What can't be written is lost; the worker goes on."""
    stream = io.StringIO()
    log = Log("worker", "text", stream)
    stream.close()
    log.error("it is full")


def test_a_fact_that_can_t_be_shown_stops_nobody() -> None:
    """A stranger's error whose words can't be had is named by its type."""

    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert "Broken" in written(error=Broken())


def test_lines_below_the_level_are_not_written() -> None:
    """Debugging is asked for."""
    stream = io.StringIO()
    Log("worker", "text", stream).debug("frame", size=3)
    assert stream.getvalue() == ""
    Log("worker", "text", stream, least="debug").debug("frame", size=3)
    assert " debug " in stream.getvalue()


def test_under_systemd_a_line_begins_with_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal keeps the time itself and learns how bad it is."""
    with tempfile.TemporaryFile("w+") as stream:
        place = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{place.st_dev}:{place.st_ino}")
        assert goes_to_journal(stream)
        assert not goes_to_journal(io.StringIO())
        Log("worker", "text", stream).error("queue full")
        stream.seek(0)
        assert stream.read() == "<3>worker queue full\n"


def test_lines_of_several_threads_do_not_mix() -> None:
    """Each line is whole."""
    stream = io.StringIO()
    log = Log("run", "json", stream)

    def speak() -> None:
        for number in range(200):
            log.info("step", number=number, words="x" * 50)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 800
    assert all(json.loads(line)["words"] == "x" * 50 for line in lines)


def test_libraries_speak_through_the_same_log() -> None:
    """What uvicorn warns of comes in the same form, from its warnings upward."""
    stream = io.StringIO()
    handler = FromLibraries(Log("listener", "json", stream))
    logger = logging.Logger("uvicorn.error")
    logger.addHandler(handler)
    logger.info("started")
    logger.warning("bad %s", "request\nline")
    logger.warning("odd %d", "text")
    line = json.loads(stream.getvalue().splitlines()[0])
    assert (line["level"], line["by"], line["event"]) == ("warning", "uvicorn.error", "bad request line")


def test_secrets_are_taken_out_of_facts() -> None:
    """What cleans texts sees every text, events included."""
    stream = io.StringIO()
    log = Log("worker", "json", stream, clean=lambda words: words.replace("hunter2", "(secret)"))
    log.info("login hunter2", password="hunter2", error=ValueError("hunter2"))
    assert "hunter2" not in stream.getvalue()
