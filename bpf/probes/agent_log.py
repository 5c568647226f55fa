"""What an agent's own log says in the window: losses it tells, errors, how talkative it is.

Its promise: only lines written in the window count; a log that can't be read gives no numbers,
not zeros. Rotation is followed. Of an agent that does not run, ``tail`` is how its log ends.

Not here: journald; what a line means beyond the profile's patterns and the word "error".
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

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
#: A date and a time as logs write them, near the beginning of a line, and the zone.
TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,]\d+)?(Z|[+-]\d\d:?\d\d)?", re.IGNORECASE)
_HEAD = 120
#: A line may be written, by a clock of seconds, just before the start that the kernel knows.
_SLACK_S = 1.5
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
            help="lines that speak of an error among the last before the window, from its start on, and in it"
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

    def __init__(
        self, sources: Mapping[str, LogSource], before: Sequence[str] = (), started_at: float = 0.0
    ) -> None:
        self._sources = sources
        dated = list(since(before, started_at))
        earlier = [(line, known) for line, known in dated if ERROR.search(line)]
        line, known = (earlier or [("", True)])[-1]
        doubt = "" if known or not started_at or not line else " (may be older than its start)"
        self._earlier, self._earlier_error = len(earlier), line[:LINE_LENGTH] + doubt
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
        """Of the window and of the lines just before it, from the agent's start on where they bear times."""
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


def since(lines: Sequence[str], started_at: float) -> Iterator[tuple[str, bool]]:
    """The lines that were not written before a moment, each with whether its time is known.

    A line without a time is of the time of the line before it; where that has none either, it is kept.
    """
    at: float | None = None
    for line in lines:
        at = latest if (latest := written_at(line)) is not None else at
        if at is None or at + _SLACK_S >= started_at:
            yield line, at is not None


def written_at(line: str) -> float | None:
    """When a line was written by its own words, epoch seconds; the later reading where no zone is named."""
    found = TIME.search(line[:_HEAD])
    if found is None:
        return None
    try:
        told = datetime.fromisoformat(f"{found[1]} {found[2]}{(found[3] or '').replace('Z', '+00:00')}")
        return max(told.timestamp(), (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None


def _started_at(target: Target) -> float:
    """When its main process started, epoch seconds; 0 when it does not run or that is not known."""
    ticks = target.processes[0].started_ticks if target.processes else 0
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + ticks / os.sysconf("SC_CLK_TCK") if ticks else 0.0


def _follow(target: Target, tail: Tail, window: Window) -> Evidence:
    told = Told(
        {
            counter.counts: LogSource(counter, tail.before())
            for counter in target.counters
            if counter.source == "log"
        },
        tail.before(),
        _started_at(target),
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
