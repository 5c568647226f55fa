"""Records of failing calls in words, and attempts joined; no kernel needed."""

from __future__ import annotations

import struct

import msgspec
import pytest

from bpf.failures import Failure, Retries, decode

LOAD = Failure(
    at=100.0, pid=7, tid=7, uid=0, comm="agent", command="PROG_LOAD", name="on_enter", type="kprobe",
    insns=20, detail="", errno="EACCES", duration_us=50.0,
)  # fmt: skip


def with_log(failure: Failure, **further: object) -> Failure:
    return msgspec.structs.replace(failure, log_asked=True, log_tail="1: bad\nprocessed 2 insns\n", **further)


def record(
    command: int, attr: bytes, log: bytes = b"", *, length: int | None = None, flags: int = 0
) -> bytes:
    """As the tracer writes it: ``struct failure``."""
    told = len(log) if length is None else length
    head = struct.pack("=QQIIIi", 5_000_000_000, 2_000, 7, 8, 1000, -22)
    rest = struct.pack("=IIIIIIII", command, len(attr), 65536, told, told - len(log), len(log), flags, 0)
    return (
        head
        + rest
        + b"agent\0\0\xff".ljust(16, b"\0")
        + b"GPL".ljust(64, b"\0")
        + attr.ljust(152, b"\0")
        + log
    )


def load(level: int) -> bytes:
    """A PROG_LOAD's arguments."""
    return struct.pack("=IIQQIIQII16s", 2, 20, 0, 0, level, 65536, 0, 0, 0, b"on_enter")


# ── records ─────────────────────────────────────────────────────────────────────


def test_a_load_is_told_with_who_what_and_why() -> None:
    """One line must be enough to know whose program it was."""
    seen = decode(record(5, load(1), b"0: R1=ctx\nR7 !read_ok\nprocessed 1 insns\n\0"), 1000.0)
    assert (seen.at, seen.pid, seen.tid, seen.uid) == (1005.0, 7, 8, 1000)
    assert seen.sentence == "agent[7] PROG_LOAD on_enter (kprobe, 20 insns): EINVAL after 2 µs"
    assert seen.last_lines() == ["0: R1=ctx", "R7 !read_ok"]
    assert seen.log_complete


def test_of_a_cut_log_the_half_line_is_left_out() -> None:
    """Half an instruction reads like another one."""
    seen = decode(record(5, load(1), b"=scalar()\n9: exit\n", length=100_000), 0.0)
    assert (seen.log_tail, seen.log_complete) == ("9: exit\n", False)


def test_a_log_whose_end_was_not_found_is_not_called_complete() -> None:
    """On kernels before 5.17 the search ends at 1 MiB."""
    assert not decode(record(5, load(1), b"9: exit\n", flags=1), 0.0).log_complete


def test_of_a_newer_verifiers_explanation_the_verdict_and_its_reason_are_shown() -> None:
    """From 7.3 on many lines about source and path stand behind the reason."""
    log = (
        b"R7 !read_ok\n\nVerification failed: Type: Unreadable\n\nReason:\n  never set\n\nAt:\n  f @ x.c:1\n"
    )
    seen = decode(record(5, load(1), log + b"Suggestion:\n  Set R7.\nprocessed 1 insns\n"), 0.0)
    assert seen.last_lines() == [
        "R7 !read_ok",
        "Verification failed: Type: Unreadable",
        "Reason:",
        "  never set",
    ]


@pytest.mark.parametrize("command", [0, 5, 6, 8, 17, 18, 28, 29, 32, 33, 35, 36, 63])
def test_every_command_is_told_from_any_arguments(command: int) -> None:
    """The arguments are another process's memory: anything may stand there."""
    for attr in (b"", b"\xff" * 152):
        assert "EINVAL" in decode(record(command, attr), 0.0).sentence


# ── attempts ────────────────────────────────────────────────────────────────────


def test_a_load_and_its_second_try_with_a_log_are_one_failure() -> None:
    """libbpf asks for a log only after the first try has failed."""
    retries = Retries()
    assert retries.feed([LOAD]) == []
    (seen,) = retries.feed([with_log(LOAD, at=100.01)])
    assert (seen.tries, bool(seen.log_tail)) == (2, True)
    assert retries.rest() == []


def test_bccs_try_without_the_name_does_not_lose_the_name() -> None:
    """It leaves the name out for kernels before 4.15, whenever a load gives EINVAL."""
    nameless = msgspec.structs.replace(LOAD, name="", at=100.0001)
    (seen,) = Retries().feed([LOAD, nameless, with_log(nameless, at=100.0002)])
    assert (seen.name, seen.tries) == ("on_enter", 3)


def test_a_load_that_is_not_tried_again_is_told_after_a_second() -> None:
    """An agent that never asks for a log must be told of all the same, and while one watches."""
    retries = Retries()
    retries.feed([LOAD])
    assert retries.ripe(100.5) == []
    assert retries.ripe(101.5) == [LOAD]


def test_another_program_of_the_same_thread_is_another_failure() -> None:
    """Agents load one program after the other."""
    other = with_log(LOAD, insns=21, name="on_exit")
    assert Retries().feed([LOAD, other]) == [LOAD, other]


def test_an_agent_that_tries_again_and_again_is_not_one_failure() -> None:
    """The number of failures is what shows a loop."""
    later = [msgspec.structs.replace(LOAD, at=100.0 + second) for second in range(5)]
    retries = Retries()
    assert len([*retries.feed(later), *retries.rest()]) == 5


def test_a_map_is_told_at_once() -> None:
    """There is no second try of a map."""
    made = msgspec.structs.replace(LOAD, command="MAP_CREATE")
    assert Retries().feed([made]) == [made]
