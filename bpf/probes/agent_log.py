"""What an agent's own log says in the window: losses it tells, errors, how talkative it is.

Its promise: only lines written in the window count; a log that can't be read gives no numbers,
not zeros. Rotation is followed. Of an agent that does not run, ``tail`` is how its log ends.

Not here: journald; what a line means beyond the profile's patterns and the word "error".
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence

from bpf.flow.sources import LogSource
from bpf.probes.asked import named
from bpf.system.logtail import Tail
from bpf.system.procfs import must_live
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Reading, Support, Target

LOOK_EVERY_S = 0.5
#: Lines that tell of an error, in the words and level marks that agents use.
ERROR = re.compile(r"(?i)\b(error|err|fatal|panic|crit|critical|fail|failed|failure)\b")
#: A line is kept up to this length, and so many of the newest.
LINE_LENGTH = 500
TAIL_LINES = 40


class AgentLog:
    """The probe ``agent-log``."""

    name = "agent-log"
    short = "log"
    summary = "losses and errors that the agent's own log tells"
    fields: Mapping[str, Field] = {
        "dropped_per_s": Field(help="losses that the log told of", unit="events/s"),
        "received_per_s": Field(help="received events that the log told of", unit="events/s"),
        "lines_per_s": Field(help="lines written", unit="1/s"),
        "errors_per_s": Field(help="lines that speak of an error", unit="1/s"),
        "last_line": Field(help="the newest line", type="text"),
        "last_error": Field(help="the newest line that speaks of an error", type="text"),
        "recent_errors": Field(
            help="lines that speak of an error among the last before the window and in it"
        ),
        "recent_error": Field(help="the newest of them", type="text"),
        "tail": Field(help="the newest lines; of an agent that does not run, the last it wrote", type="text"),
    }
    options: Mapping[str, str] = {"file": "another log file than the profile's"}
    needs_target = True
    cpu_ceiling = 0.1

    def supported(self, target: Target | None) -> Support:
        """Needs a log file that can be read."""
        if target is None:
            return Support(answer="yes", why="any file can be followed")
        if not target.log_file:
            return Support(
                answer="unknown",
                why="the profile names no log file",
                fix="set log: in the agent's profile, or give the option file",
            )
        tail = Tail(target.log_file)
        tail.close()
        if tail.problem:
            return Support(answer="no", why=tail.problem, fix="set log: in the agent's profile")
        return Support(answer="yes", why=f"{target.log_file} can be read")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Follow the log for one window."""
        target = named(target, self.name)
        tail = Tail(str(window.options.get("file") or target.log_file))
        try:
            if tail.problem:
                raise ProbeFailed(f"the agent's log: {tail.problem}", fix="set log: in the agent's profile")
            return _follow(target, tail, window)
        finally:
            tail.close()


class Told:
    """What the lines of a window told."""

    def __init__(self, sources: Mapping[str, LogSource], before: Sequence[str] = ()) -> None:
        self._sources = sources
        earlier = [line for line in before if ERROR.search(line)]
        self._earlier, self._earlier_error = len(earlier), (earlier or [""])[-1][:LINE_LENGTH]
        self._first = {counts: source.read() for counts, source in sources.items()}
        self.lines, self.errors = 0, 0
        self.last, self.last_error = "", ""
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)

    def take(self, lines: list[str]) -> None:
        """Count new lines."""
        self.lines += len(lines)
        for source in self._sources.values():
            source.feed(lines)
        wrong = [line for line in lines if ERROR.search(line)]
        self.errors += len(wrong)
        self.tail.extend(line[:LINE_LENGTH] for line in lines[-TAIL_LINES:])
        self.last = lines[-1][:LINE_LENGTH] if lines else self.last
        self.last_error = wrong[-1][:LINE_LENGTH] if wrong else self.last_error

    @property
    def recent_errors(self) -> int:
        """Of the window and of the lines just before it."""
        return self._earlier + self.errors

    @property
    def recent_error(self) -> str:
        """The newest of them."""
        return self.last_error or self._earlier_error

    def grown(self, counts: str) -> float | None:
        """What the profile's pattern counted in the window; None when no line told it."""
        source = self._sources.get(counts)
        now = source.read() if source else None
        if now is None:
            return None
        before = self._first[counts] or 0.0
        return now - before if now >= before else now


def _follow(target: Target, tail: Tail, window: Window) -> Evidence:
    told = Told(
        {
            counter.counts: LogSource(counter, tail.before())
            for counter in target.counters
            if counter.source == "log"
        },
        tail.before(),
    )
    if not target.processes:
        told.tail.extend(line[:LINE_LENGTH] for line in tail.before())
    started_at = window.begin()
    for _ in window.ticks(LOOK_EVERY_S):
        told.take(tail.lines())
        window.show("lines", float(told.lines))
    must_live(target)
    ended_at = window.clock.now()
    return Evidence(
        probe="agent-log",
        short="log",
        target=target.name,
        started_at=started_at,
        ended_at=ended_at,
        readings=readings_of(told, ended_at - started_at, str(tail.path)),
    )


def readings_of(told: Told, seconds: float, source: str) -> dict[str, Reading]:
    """Rates from what was told in ``seconds``."""
    whole = seconds or 1.0
    readings = {
        "lines_per_s": Reading(value=told.lines / whole, unit="1/s", source=source),
        "errors_per_s": Reading(value=told.errors / whole, unit="1/s", source=source),
        "recent_errors": Reading(value=told.recent_errors, source=source),
    }
    for name, counts in (("dropped_per_s", "dropped"), ("received_per_s", "received")):
        grown = told.grown(counts)
        readings[name] = (
            Reading(unit="events/s", missing="no line of the log told it")
            if grown is None
            else Reading(value=grown / whole, unit="events/s", source=source)
        )
    texts = (
        ("last_line", told.last),
        ("last_error", told.last_error),
        ("recent_error", told.recent_error),
        ("tail", "\n".join(told.tail)),
    )
    for name, text in texts:
        readings[name] = Reading(value=text, source=source) if text else Reading(missing="no such line")
    return readings
