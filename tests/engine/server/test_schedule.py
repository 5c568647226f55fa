"""Which queued runs begin: few at once, one per target, nobody forgotten."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from engine.server.worker.job import Job
from engine.server.worker.schedule import choose
from engine.server.worker.standing import BUSY_S, TRIES, Standing, after, busy_s, is_free


def job(name: str, target: str, at: float = 0.0, **more: object) -> Job:
    return Job(id=name, runbook="r", target=target, queued_at=at, **more)


def test_one_run_per_target_and_no_more_than_the_settings_allow() -> None:
    """A target that is worked on keeps its others waiting, and nobody else's."""
    queued = [job("a", "x"), job("b", "x"), job("c", "y"), job("d", "z")]
    assert [one.id for one in choose(queued, [job("r", "x", state="running")], 2, {})] == ["c"]
    assert [one.id for one in choose(queued, [], 2, {})] == ["a", "c"]


def test_a_target_with_a_hundred_alerts_does_not_keep_the_others_waiting() -> None:
    """Whose last run began longest ago is next."""
    queued = [job(f"a{n}", "busy", n) for n in range(100)] + [job("b", "quiet", 200.0)]
    assert [one.id for one in choose(queued, [], 1, {"busy": 150.0})] == ["b"]


def test_what_was_begun_goes_before_what_was_not() -> None:
    """Somebody has answered: their yes has an end."""
    queued = [job("new", "x", 1.0), job("old", "y", 2.0, doing="resume")]
    assert choose(queued, [], 1, {})[0].id == "old"


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 100)), max_size=30),
    st.integers(1, 4),
)
def test_every_queued_run_begins_in_the_end(wanted: list[tuple[str, float]], at_once: int) -> None:
    """However they come: as long as runs end, each has its turn."""
    queued = [job(str(n), target, at) for n, (target, at) in enumerate(wanted)]
    starts: dict[str, float] = {}
    now = 1000.0
    for _ in range(len(wanted)):
        begun = choose(queued, [], at_once, starts)
        assert len({one.place for one in begun}) == len(begun) <= at_once
        now += 1.0
        starts |= {one.target: now for one in begun}
        queued = [one for one in queued if one not in begun]
    assert not queued


def test_the_journal_decides_how_a_job_stands() -> None:
    """Ended is over, broken off goes on, never begun begins, held is left alone."""
    running = job("a", "x", state="running")

    def state(**stands: object) -> tuple[str, str]:
        now = after(running, Standing(**stands), 10.0)
        return now.state, now.doing

    assert state() == ("queued", "start")
    assert state(begun=True) == ("queued", "resume")
    assert state(held=True) == ("running", "start")
    assert state(begun=True, outcome="fixed", ended_at=5.0) == ("ended", "start")
    assert state(begun=True, outcome="waiting", due=20.0) == ("waiting", "start")
    assert state(begun=True, outcome="waiting", due=20.0, answered=True) == ("queued", "resume")
    assert state(begun=True, outcome="waiting", due=9.0) == ("queued", "resume")


def test_a_target_that_is_worked_on_costs_no_try() -> None:
    """However often: held back until a run of ours has ended, tried again where it is not ours."""
    waits = after(job("a", "x", state="running", tries=TRIES, started_at=5.0), Standing(), 10.0, busy=True)
    assert (waits.state, waits.tries, waits.started_at) == ("queued", TRIES, None)

    ahead = job("b", "x:17", state="running")
    assert (is_free(ahead), busy_s(ahead)) == (False, 0.0)
    assert is_free(msgspec.structs.replace(ahead, state="waiting"))
    assert (is_free(None), busy_s(None)) == (True, BUSY_S)


def test_a_run_that_no_child_can_carry_is_given_up() -> None:
    """The last child writes down why; where even that fails, it is not tried for ever."""
    given_up = after(job("a", "x", state="running", tries=TRIES + 1), Standing(), 10.0)
    assert (given_up.state, given_up.outcome) == ("ended", "failed")
