"""Asking for events told from work on them, by what threads did; and clock ticks as a last rung."""

from __future__ import annotations

from bpf.stacks import ticking
from bpf.stacks.fields import FIELDS
from bpf.stacks.spinning import ThreadWork, reader_of, spun_s
from engine.fakes import FakeClock
from engine.values import Process, Target


def thread(tid: int, **seen: float) -> ThreadWork:
    whole = {
        "read_bytes": 0,
        "sleeps": 0,
        "asked_s": 0.0,
        "ran_s": 0.0,
        "ticks": 0,
        "awake_ticks": 0,
        "empty_ticks": 0,
    }
    return ThreadWork(tid=tid, name="reader", **(whole | seen))  # type: ignore[arg-type]


SPINNER = thread(1, read_bytes=990, ran_s=10.0, ticks=1000, awake_ticks=1000, empty_ticks=950)


def test_a_reader_that_never_sleeps_with_its_ring_empty_spins():
    """No system call betrays it: busy-poll."""
    exporter = thread(2, read_bytes=20, ran_s=0.2, sleeps=900, ticks=20)
    reader = reader_of([SPINNER, exporter], 1000)
    assert reader is SPINNER
    assert spun_s(SPINNER, reader, 100) == 9.5


def test_a_reader_that_never_sleeps_since_it_is_behind_works():
    """Its ring is not empty: cpu-bound."""
    behind = thread(1, read_bytes=1000, ran_s=10.0, ticks=1000, awake_ticks=990, empty_ticks=5)
    assert spun_s(behind, reader_of([behind], 1000), 100) == 0.0


def test_a_reader_that_sleeps_between_events_works_however_empty_its_ring_is():
    """It took the event out before it worked on it: hot-reader."""
    busy = thread(1, read_bytes=1000, ran_s=6.0, sleeps=5000, ticks=600, awake_ticks=0)
    assert spun_s(busy, reader_of([busy], 1000), 100) == 0.0


def test_a_worker_behind_the_reader_is_not_taken_for_a_spinner():
    """It never sleeps, the ring is empty, and it works: its queue is what is full."""
    reader = thread(2, read_bytes=1000, ran_s=0.5, sleeps=900, ticks=50)
    worker = thread(1, read_bytes=995, ran_s=10.0, ticks=1000, awake_ticks=1000, empty_ticks=990)
    assert reader_of([worker, reader], 1000) is reader
    assert spun_s(worker, reader, 100) == 0.0


def test_without_any_event_whoever_runs_with_empty_rings_spins():
    """There is no work that it could be doing."""
    assert reader_of([SPINNER], 0) is None
    assert spun_s(SPINNER, None, 100) == 9.5


def test_time_between_an_empty_wait_and_the_next_sleep_is_asking():
    """A reader that polls with a millisecond's time-out sleeps, and asks all the same."""
    poller = thread(1, sleeps=9000, asked_s=1.2, ran_s=1.4, ticks=140)
    assert spun_s(poller, poller, 100) == 1.2


def test_a_few_ticks_are_no_ground_to_judge_by():
    """One tick in 50 ms of awakeness is chance."""
    assert spun_s(thread(1, ticks=2, awake_ticks=2, empty_ticks=2), None, 100) == 0.0


class OneTick:
    """A window whose ticks are over at once, after something has happened."""

    seconds = 10.0
    clock = FakeClock()

    def __init__(self, happens):
        self._happens = happens

    def ticks(self, _every_s):
        yield 0.0
        self._happens()


def process(place, user, system, state="R"):
    here = place / "7" / "task" / "7"
    here.mkdir(parents=True, exist_ok=True)
    fields = [state, *["0"] * 10, str(user), str(system), *["0"] * 4, "1", "0", "5", *["0"] * 10]
    for file in (place / "7" / "stat", here / "stat"):
        file.write_text(f"7 (agent) {' '.join(fields)}\n")
    (here / "comm").write_text("reader\n")
    (here / "schedstat").write_text("0 0 0\n")
    (here / "status").write_text("")
    (here / "stack").write_text("[<0>] copy_to_user+0x10/0x20\n[<0>] do_syscall_64+0x1/0x2\n")


def test_clock_ticks_tell_user_and_kernel_where_no_stack_can_be_had(tmp_path):
    """A kernel that lets no BPF program sample still tells how the CPU splits; the rest is unknown."""
    process(tmp_path, 100, 50)
    target = Target(name="agent", ref="agent", processes=(Process(pid=7, started_ticks=5),))
    window = OneTick(lambda: process(tmp_path, 400, 150))
    readings, tables = ticking.watch(target, window, tmp_path)  # type: ignore[arg-type]
    assert readings["user_share"].value == 0.75
    assert readings["kernel_share"].value == 0.25
    assert readings["top_kernel_function"].value == "copy_to_user"
    assert tables["threads"][0]["thread"] == "reader"
    assert set(readings) <= set(FIELDS)
    assert all(ticking.missing(name) for name in FIELDS)
