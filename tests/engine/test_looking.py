"""Probes watch side by side, and none holds up the others."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from engine.clock import Cancel, SystemClock
from engine.contracts import Window
from engine.errors import ProbeFailed, TargetGone
from engine.running.looking import Missed, Request, View, look
from engine.testing import FakeClock, FakeProbe, failing
from engine.values import Evidence, Support, Target

TARGET = Target(name="fake", ref="fake:x")


def view(seconds: float = 10.0, **further: Any) -> View:
    return View(**{"target": TARGET, "seconds": seconds, "clock": FakeClock(), "cancel": Cancel(), **further})


def seen(*probes: object, of: View | None = None, **further: Any) -> list[Evidence | Missed]:
    requests = [one if isinstance(one, Request) else Request(one) for one in probes]  # type: ignore[arg-type]
    return list(look(requests, of or view(), **further))


class Ticking(FakeProbe):
    """Counts its ticks."""

    every_s = 1.0

    def collect(self, target: Target | None, window: Window) -> Evidence:
        started = window.begin()
        self.ticks = [tick - started for tick in window.ticks(self.every_s)]
        return Evidence(
            probe=self.name, short=self.short, target="", started_at=started, ended_at=window.clock.now()
        )


class Burning(FakeProbe):
    """Uses CPU between its ticks."""

    cpu_ceiling = 0.001

    def collect(self, target: Target | None, window: Window) -> Evidence:
        window.begin()
        for _ in window.ticks(0.01):
            until = time.thread_time() + 0.02
            while time.thread_time() < until:
                pass
        raise AssertionError("it was not stopped")


def test_all_probes_see_the_same_window() -> None:
    """Numbers of one moment can be compared with each other."""
    found = seen(FakeProbe("a", "a"), FakeProbe("b", "b"), FakeProbe("c", "c"))

    assert {(one.started_at, one.ended_at) for one in found if isinstance(one, Evidence)} == {
        (FakeClock().now(), FakeClock().now() + 10.0)
    }
    assert len(found) == 3


def test_five_probes_take_one_window() -> None:
    """Looking with five eyes takes as long as with one."""
    clock = SystemClock()
    before = time.monotonic()
    found = seen(*(FakeProbe(str(n), str(n)) for n in range(5)), of=view(0.2, clock=clock))

    assert len(found) == 5
    assert 0.2 <= time.monotonic() - before < 5 * 0.2


def test_a_probe_that_fails_is_told_and_the_rest_go_on() -> None:
    """Half the evidence is better than none."""
    found = seen(FakeProbe("good", "good"), FakeProbe("bad", "bad", fails=failing("no such file")))

    assert {type(one) for one in found} == {Evidence, Missed}
    (missed,) = [one for one in found if isinstance(one, Missed)]
    assert (missed.probe, missed.error.problem) == ("bad", "no such file")


def test_a_probe_with_a_bug_is_told_like_one_that_failed() -> None:
    """A stranger's probe must not end the run."""
    (missed,) = seen(FakeProbe(fails=KeyError("x")))

    assert isinstance(missed, Missed)
    assert "KeyError" in missed.error.problem


def test_a_fallback_looks_in_the_same_window() -> None:
    """It joins the others: they wait for nobody twice."""
    bad = FakeProbe("bad", "flow", fails=failing())
    other = FakeProbe("other", "flow", sees={"x": 1})
    found = seen(Request(bad, fallback=(other,)), FakeProbe("third", "third"))

    assert [one.fallback for one in found if isinstance(one, Missed)] == ["other"]
    assert {one.probe: one.started_at for one in found if isinstance(one, Evidence)} == {
        "other": FakeClock().now(),
        "third": FakeClock().now(),
    }


def test_an_unsupported_probe_is_not_even_tried() -> None:
    """Its own words say what would mend it."""

    class Unsupported(FakeProbe):
        def supported(self, target: Target | None) -> Support:
            return Support(answer="no", why="no BTF", fix="install a kernel with BTF")

        def collect(self, target: Target | None, window: Window) -> Evidence:
            raise AssertionError

    (missed,) = seen(Unsupported())
    assert isinstance(missed, Missed)
    assert (missed.error.fix, "no BTF" in missed.error.problem) == ("install a kernel with BTF", True)


def test_could_not_find_out_is_not_no() -> None:
    """Unknown support is tried."""

    class Perhaps(FakeProbe):
        def supported(self, target: Target | None) -> Support:
            return Support(answer="unknown", why="could not read the config")

    assert isinstance(seen(Perhaps())[0], Evidence)


def test_ticks_come_evenly_and_the_last_at_the_end() -> None:
    """Rates are made of them."""
    probe = Ticking()
    seen(probe, of=view(3.5))

    assert probe.ticks == pytest.approx([1.0, 2.0, 3.0, 3.5])


def test_a_probe_over_its_cpu_ceiling_is_stopped() -> None:
    """An eye must not cost what it came to find."""
    (missed,) = seen(Burning(), of=view(1.0, clock=SystemClock()))

    assert isinstance(missed, Missed)
    assert "CPU" in missed.error.problem


def test_a_probe_that_never_comes_back_is_given_up() -> None:
    """A hung read of a dead file system must not hang the run."""
    release = threading.Event()

    class Hung(FakeProbe):
        def collect(self, target: Target | None, window: Window) -> Evidence:
            window.begin()
            release.wait(30)
            raise failing()

    found = seen(Hung("hung", "hung"), FakeProbe("good", "good"), of=view(0.0), grace_s=-4.8)
    release.set()
    assert [one.probe for one in found] == ["good", "hung"]


def test_a_window_ends_early_when_the_run_is_cancelled() -> None:
    """Ctrl-C must not take ten seconds."""
    cancel = Cancel()
    cancel.set(2)
    probe = Ticking()
    seen(probe, of=view(3600.0, cancel=cancel, clock=SystemClock(cancel)))

    assert probe.ticks == []


def test_a_target_that_ends_is_not_looked_at_by_a_fallback() -> None:
    """Its end is the answer."""
    found = seen(
        Request(FakeProbe(fails=TargetGone("it ended", fix="start it")), fallback=(FakeProbe("other", "o"),))
    )

    assert [type(one) for one in found] == [Missed]
    assert isinstance(found[0].error, TargetGone)  # type: ignore[union-attr]


def test_options_reach_the_probe_and_a_label_renames_the_evidence() -> None:
    """`as: before` in a runbook."""
    given: dict[str, object] = {}

    class Optional(FakeProbe):
        def collect(self, target: Target | None, window: Window) -> Evidence:
            given.update(window.options)
            return super().collect(target, window)

    (found,) = seen(Request(Optional(), {"window": 3.0}, "before"))
    assert isinstance(found, Evidence)
    assert (found.short, given) == ("before", {"window": 3.0})


def test_evidence_tells_what_it_cost() -> None:
    """Own cost stands in every report, also of probes that do not count it."""
    (found,) = seen(FakeProbe())

    assert isinstance(found, Evidence)
    assert found.cost.wall_s == 10.0
    assert found.cost.cpu_s > 0


def test_a_probe_without_a_target_says_so() -> None:
    """A clear word in place of a stack trace."""
    (missed,) = seen(FakeProbe(), of=view(target=None))

    assert isinstance(missed, Missed)
    assert isinstance(missed.error, ProbeFailed)
