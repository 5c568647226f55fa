"""Several probes watch one stretch of time, side by side.

One promise: a window of ten seconds takes ten seconds and a little, however many probes watch;
one that is slow to arm, fails, spends too much CPU or never comes back does not hold up the
others. Every thread's evidence or failure reaches the caller, in the order it happened.

Not here: what a probe sees (``bpf/probes``), what is made of it (``engine.running.goal``).
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from engine.clock import Cancel
from engine.contracts import Clock, Probe
from engine.errors import ProbeFailed, RunbookError, TargetGone
from engine.values import Cost, Evidence, Setting, Target

#: How long the others wait for a probe to arm; it then watches by itself, a little later.
ARMING_S = 5.0
#: How long after the window's end a probe may still take to give its evidence.
GRACE_S = 20.0

#: Shows a number live: probe, label, value, unit.
Show = Callable[[str, str, float, str], None]


class Request(NamedTuple):
    """One probe to look with, and those to take instead when it can't.

    Attributes:
        options: Of the step's ``with``, those this probe knows.
        label: Another short name for the evidence; empty to keep the probe's own.
    """

    probe: Probe
    options: Mapping[str, Setting] = {}
    label: str = ""
    fallback: tuple[Probe, ...] = ()


class View(NamedTuple):
    """What all probes of one step share.

    Attributes:
        seconds: Length of the window.
        directory: Where relative paths in options start.
    """

    target: Target | None
    seconds: float
    clock: Clock
    cancel: Cancel
    show: Show = lambda *_: None
    say: Callable[[str], None] = lambda _: None
    directory: str = "."


class Missed(NamedTuple):
    """A probe that could not look; ``fallback`` names the one that was taken instead."""

    probe: str
    error: RunbookError
    fallback: str = ""


class _Start:
    """The barrier: all wait here until everybody is armed or out."""

    def __init__(self, expected: int, clock: Clock) -> None:
        self._missing = expected
        self._clock = clock
        self._condition = threading.Condition()
        self._moment: tuple[float, float] | None = None

    def arrive(self) -> tuple[float, float]:
        """Armed: wait for the rest; gives the common start (epoch, monotonic) in seconds.

        Who comes after the others have begun gets a start of its own.
        """
        with self._condition:
            if self._moment is not None:
                return self._clock.now(), self._clock.monotonic()
            self._missing -= 1
            self._condition.notify_all()
            if not self._condition.wait_for(lambda: self._missing <= 0, ARMING_S) and self._moment is None:
                self._missing = 0  # late ones find the window begun
                self._condition.notify_all()
            if self._moment is None:
                self._moment = (self._clock.now(), self._clock.monotonic())
            return self._moment

    def leave(self) -> None:
        """Not coming any more."""
        with self._condition:
            self._missing -= 1
            self._condition.notify_all()


class SharedWindow:
    """One probe's view of the window that all of a step share. See ``contracts.Window``."""

    def __init__(self, probe: Probe, options: Mapping[str, Setting], view: View) -> None:
        self._probe = probe
        self._options = options
        self._view = view
        self._start: _Start | None = None
        self._ends = math.inf
        self._cpu_at_start = 0.0

    @property
    def seconds(self) -> float:
        """How long the window lasts."""
        return self._view.seconds

    @property
    def clock(self) -> Clock:
        """The clock of the run."""
        return self._view.clock

    @property
    def options(self) -> Mapping[str, Setting]:
        """The step's ``with`` for this probe."""
        return self._options

    @property
    def directory(self) -> str:
        """Where relative paths in the options start."""
        return self._view.directory

    @property
    def begun(self) -> bool:
        """Whether ``begin`` was called."""
        return self._ends != math.inf

    def join(self, start: _Start) -> None:
        """Share the start with others; without it the window begins when its probe is armed."""
        self._start = start

    def begin(self) -> float:
        """Say 'armed'; returns the common start (epoch seconds). Call exactly once."""
        if self.begun:
            raise ProbeFailed(f"{self._probe.name} began its window twice", fix="report this: it is a bug")
        clock = self.clock
        at, monotonic = self._start.arrive() if self._start else (clock.now(), clock.monotonic())
        self._ends = monotonic + self.seconds
        self._cpu_at_start = time.thread_time()
        return at

    def ticks(self, every_s: float) -> Iterator[float]:
        """Epoch seconds about every ``every_s`` until the window ends; the last one at its end.

        A tick that comes late is not made up for. Cost: 3 µs a tick and the sleep.

        Raises:
            ProbeFailed: The probe has used more CPU than its ceiling.
        """
        clock = self.clock
        due = self._ends - self.seconds + every_s
        while not self._view.cancel:
            clock.sleep(min(due, self._ends) - clock.monotonic())
            self._check_cpu()
            yield clock.now()
            now = clock.monotonic()
            if now >= self._ends:
                return
            due += every_s * max(1, math.ceil((now - due) / every_s))

    def wait(self) -> None:
        """Sleep until the window ends or the run is cancelled."""
        while not self._view.cancel and (left := self._ends - self.clock.monotonic()) > 0:
            self.clock.sleep(left)

    def show(self, label: str, value: float, unit: str = "") -> None:
        """A number as it comes, for the live display."""
        self._view.show(self._probe.name, label, value, unit)

    def say(self, words: str) -> None:
        """Something seen, as it happens."""
        self._view.say(words)

    def _check_cpu(self) -> None:
        used = time.thread_time() - self._cpu_at_start
        allowed = self._probe.cpu_ceiling * self.seconds
        if used > allowed:
            raise ProbeFailed(
                f"{self._probe.name} was stopped: {used:.2f} s of CPU used, {allowed:.2f} s allowed",
                fix="look for a shorter time, or at a quieter target",
            )


def look(requests: Sequence[Request], view: View, *, grace_s: float = GRACE_S) -> Iterator[Evidence | Missed]:
    """Look with all probes at once; gives evidence and failures as they come.

    A probe that does not come back within the grace (wall time, after the window) is given up:
    its thread is a daemon and ends with the process.
    """
    answers: queue.Queue[tuple[int, Evidence | Missed | None]] = queue.Queue()
    start = _Start(len(requests), view.clock)

    def work(place: int, request: Request) -> None:
        for answer in _with_fallbacks(request, view, start):
            answers.put((place, answer))
        answers.put((place, None))

    for place, request in enumerate(requests):
        threading.Thread(target=work, args=(place, request), name=f"look-{place}", daemon=True).start()
    pending = dict(enumerate(requests))
    last = time.monotonic() + ARMING_S + view.seconds + grace_s
    while pending:
        try:
            place, answer = answers.get(timeout=max(0.0, last - time.monotonic()))
        except queue.Empty:
            yield from (Missed(late.probe.name, _never_came(late.probe)) for late in pending.values())
            return
        if answer is None:
            del pending[place]
        else:
            yield answer


def _with_fallbacks(request: Request, view: View, start: _Start) -> Iterator[Evidence | Missed]:
    """Evidence of the first probe that can look, after a ``Missed`` for each that could not."""
    probes = (request.probe, *request.fallback)
    joined = False
    for probe, following in zip(probes, (*probes[1:], None), strict=True):
        window = SharedWindow(probe, request.options, view)
        if not joined:
            window.join(start)
        found = _collect(probe, view.target, window)
        joined = joined or window.begun
        if isinstance(found, Evidence):
            if not joined:
                start.leave()
            yield msgspec.structs.replace(found, short=request.label) if request.label else found
            return
        gone = isinstance(found, TargetGone) or following is None or bool(view.cancel)
        if gone and not joined:
            start.leave()
        yield Missed(probe.name, found, following.name if following and not gone else "")
        if gone:
            return


def _collect(probe: Probe, target: Target | None, window: SharedWindow) -> Evidence | RunbookError:
    """One probe's evidence with its cost filled in, or why it has none."""
    wall, cpu = window.clock.monotonic(), time.thread_time()
    try:
        if probe.needs_target and target is None:
            return ProbeFailed(f"{probe.name} needs a target", fix="name one with --target")
        support = probe.supported(target)
        if support.answer == "no":
            return ProbeFailed(
                f"{probe.name} can't look here: {support.why}", fix=support.fix or "runbook doctor"
            )
        found = probe.collect(target, window)
    except RunbookError as error:
        return error
    except Exception as error:  # noqa: BLE001 - a stranger's probe may fail in any way; the run goes on
        return ProbeFailed(
            f"{probe.name} broke: {type(error).__name__}: {error}", fix="report it to the author of the probe"
        )
    spent = Cost(
        cpu_s=found.cost.cpu_s or time.thread_time() - cpu,
        bpf_s=found.cost.bpf_s,
        memory_bytes=found.cost.memory_bytes,
        wall_s=found.cost.wall_s or window.clock.monotonic() - wall,
    )
    return msgspec.structs.replace(found, cost=spent)


def _never_came(probe: Probe) -> ProbeFailed:
    return ProbeFailed(
        f"{probe.name} did not come back after its window",
        fix="look with it alone: runbook look " + probe.name,
    )
