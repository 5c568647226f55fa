"""``runbook explain`` at the terminal: text, JSON, bad input, huge input."""

from __future__ import annotations

import io
import json
import sys

import pytest

from bpf.explain.reading import HEAD_BYTES, TAIL_BYTES, read
from engine.cli import main
from engine.errors import UsageError

VERIFIER_LOG = """8: (79) r1 = *(u64 *)(r0 +0)
R0 invalid mem access 'map_value_or_null'
processed 9 insns (limit 1000000) max_states_per_insn 0
"""


class Stdin:
    """Standard input that holds these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)

    def isatty(self) -> bool:
        return False


@pytest.fixture
def piped(monkeypatch):
    """Put bytes into the standard input of the process: the one thing that can't be handed in."""

    def pipe(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", Stdin(data))

    return pipe


def test_json_holds_names_confidence_because_and_fix(piped, capsys):
    """The form that other programs read."""
    piped(b"libbpf: failed to find valid kernel BTF\n")

    assert main(["explain", "--json"]) == 0

    cause = json.loads(capsys.readouterr().out)["causes"][0]
    assert cause["name"] == "btf_missing"
    assert cause["because"] == ["libbpf: failed to find valid kernel BTF"]
    assert 0.5 < cause["confidence"] < 1.0
    assert cause["fix"]


def test_a_file_is_read_and_the_failing_instruction_told(tmp_path, capsys):
    """For verifier logs the place matters as much as the cause."""
    log = tmp_path / "verifier.log"
    log.write_text(VERIFIER_LOG)

    assert main(["explain", str(log)]) == 0

    told = capsys.readouterr().out
    assert "verifier_null_check" in told
    assert "the verifier refused instruction 8: r1 = *(u64 *)(r0 +0)" in told


def test_a_text_that_says_nothing_ends_with_one(piped, capsys):
    """Scripts tell 'no cause named' from 'named'."""
    piped(b"the lunch is at noon\n")

    assert main(["explain"]) == 1
    assert "No known cause" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("data", "problem"), [(b"", "is empty"), (b"\n \n", "is empty"), (bytes(range(256)) * 40, "is binary")]
)
def test_no_text_is_an_error_with_a_way_out(piped, capsys, data, problem):
    """An answer to noise would be noise."""
    piped(data)

    assert main(["explain"]) == 2

    said = capsys.readouterr().err
    assert problem in said
    assert "fix:" in said


def test_a_missing_file_is_an_error_with_a_way_out(tmp_path, capsys):
    """And no traceback."""
    assert main(["explain", str(tmp_path / "gone.log")]) == 2
    assert "can't be read" in capsys.readouterr().err


def test_a_directory_is_an_error_with_a_way_out(tmp_path, capsys):
    """And no traceback."""
    assert main(["explain", str(tmp_path)]) == 2
    assert "can't be read" in capsys.readouterr().err


def test_of_a_huge_file_head_and_tail_are_read_and_the_rest_is_told(tmp_path):
    """A log of 100 MB must not take 100 MB."""
    log = tmp_path / "huge.log"
    with log.open("wb") as sparse:
        sparse.write(b"first line\n" * 10_000)
        sparse.seek(HEAD_BYTES + TAIL_BYTES + 100_000_000)
        sparse.write(b"\nlast line\n")

    with log.open("rb") as source:
        text, notes = read(source, "huge.log")

    assert text.startswith("first line")
    assert text.endswith("last line\n")
    assert len(text) <= HEAD_BYTES + TAIL_BYTES + 1
    assert notes[0].endswith("bytes in the middle were not read")


def test_a_pipe_is_read_as_boundedly_as_a_file():
    """A pipe can't be sought."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    text, notes = read(Pipe(b"a\n" * HEAD_BYTES + b"b\n" * TAIL_BYTES + b"end"), "pipe")

    assert len(text) <= HEAD_BYTES + TAIL_BYTES + 1
    assert text.endswith("end")
    assert notes


def test_utf8_prose_is_no_noise():
    """Half of the world's logs are not ASCII."""
    text, _ = read(io.BytesIO("内核版本太低了，不支持 BPF_MAP_TYPE_RINGBUF\n".encode() * 20), "log")

    assert "RINGBUF" in text


def test_escape_sequences_of_a_log_do_not_reach_the_terminal(piped, capsys):
    """A log is foreign text: it may not move our cursor."""
    piped(b"\x1b[31mlibbpf: failed to find valid kernel BTF\x1b[0m \x9b2J \x1b]0;title\x07\n")

    main(["explain"])

    assert not {"\x1b", "\x9b", "\x07"} & set(capsys.readouterr().out)


def test_an_error_of_reading_comes_before_any_look_at_the_host(tmp_path):
    """Nothing is tried on the host for a wrong file name."""
    with pytest.raises(UsageError), (tmp_path / "x").open("wb+") as empty:
        read(empty, "x")
