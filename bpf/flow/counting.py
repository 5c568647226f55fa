"""Choosing the best count at hand for each stage, and following it over a window.

Its promise: one source serves each stage, the first that can be read in the order of its worth,
and it is named; those that failed before it are told, with the reason.

Not here: reading one source (``bpf.flow.sources``), laying counts over ring positions
(``bpf.flow.bursts``).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable

from bpf.flow import kernel_losses
from bpf.flow.sources import LogSource, MapSource, MetricSource, Page, Source, VariableSource
from bpf.system.logtail import Tail
from engine.errors import RunbookError
from engine.values import Counter, Target

#: A count in the kernel is exact and costs nothing to read; a log line comes late or never.
WORTH = {"bpf-variable": 0, "bpf-map": 1, "metric": 2, "log": 3}


class Tally:
    """One count over a window: what it grew by since the first look.

    Attributes:
        stage: Where on the way the events are counted.
        source: Where the number comes from.
        counts: (monotonic seconds, events since the first look), ascending.
    """

    def __init__(self, counter: Counter, source: Source) -> None:
        self.stage = counter.stage
        self.source = source
        self.counts: list[tuple[float, float]] = []
        self._last = 0.0

    @property
    def label(self) -> str:
        """What an operator is told about where the number comes from."""
        return self.source.label

    @property
    def known(self) -> bool:
        """Whether there were two looks to tell a difference by."""
        return len(self.counts) > 1

    @property
    def grown(self) -> float:
        """Events counted from the first look to the last."""
        return self.counts[-1][1] if self.counts else 0.0

    @property
    def per_s(self) -> float:
        """Events per second between the first look and the last."""
        seconds = self.counts[-1][0] - self.counts[0][0] if self.counts else 0.0
        return self.grown / seconds if seconds > 0 else 0.0

    def take(self, moment: float) -> None:
        """Look once."""
        value = self.source.read()
        if value is not None:
            self.add(moment, value)

    def add(self, moment: float, value: float) -> None:
        """Note a value that was read; below the last one it has been set back and starts anew."""
        if not self.counts:
            self.counts.append((moment, 0.0))
        else:
            more = value - self._last if value >= self._last else value
            self.counts.append((moment, self.counts[-1][1] + more))
        self._last = value

    def add_all(self, moments: Iterable[float], values: array[float]) -> None:
        """Note what was read along with each sample."""
        for moment, value in zip(moments, values, strict=True):
            self.add(moment, value)


class Counters:
    """All counts of a target that are worth following, opened; ``close`` when done.

    Attributes:
        dropped: Stage → the count of events lost there.
        received: The best count of events received, if any.
        notes: Sources that could not serve, and why.
    """

    def __init__(self, target: Target) -> None:
        self.notes: list[str] = []
        self._page = Page(target.metrics_url)
        self._tail: Tail | None = None
        self._target = target
        wanted = sorted(target.counters, key=lambda counter: WORTH[counter.source])
        if any(counter.source == "metric" for counter in wanted):
            self._page.fetch()
        self.dropped: dict[str, Tally] = {}
        for stage in dict.fromkeys(counter.stage for counter in wanted if counter.counts == "dropped"):
            best = self._best(c for c in wanted if c.counts == "dropped" and c.stage == stage)
            if best:
                self.dropped[stage] = best
        self.received = self._best(c for c in wanted if c.counts == "received")
        if "ring" not in self.dropped or self.dropped["ring"].source.read() is None:
            self._ask_kernel()

    @property
    def all(self) -> list[Tally]:
        """Every count that is followed."""
        return [*self.dropped.values(), *([self.received] if self.received else [])]

    def take(self, now: Callable[[], float]) -> None:
        """Look at those that are too dear for every sample: one scrape, one read of the log."""
        dear = [tally for tally in self.all if not tally.source.cheap]
        moment = now()
        if any(isinstance(tally.source, MetricSource) for tally in dear):
            self._page.fetch()
            moment = (moment + now()) / 2
        if self._tail:
            lines = self._tail.lines()
            for tally in dear:
                if isinstance(tally.source, LogSource):
                    tally.source.feed(lines)
        for tally in dear:
            tally.take(moment)

    def close(self) -> None:
        """Let go of everything."""
        for tally in self.all:
            tally.source.close()
        if self._tail:
            self._tail.close()

    def _ask_kernel(self) -> None:
        """Where the agent does not count what its ring loses, the kernel may."""
        source, why_not = kernel_losses.source_for(self._target)
        if source is None:
            self.notes.append(f"the kernel does not count the ring's losses: {why_not}")
            return
        self.dropped["ring"] = Tally(Counter(counts="dropped", source="bpf-map", name=source.label), source)

    def _best(self, counters: Iterable[Counter]) -> Tally | None:
        """The first that gives a number now; else the first that may give one yet."""
        waiting: Tally | None = None
        for counter in counters:
            try:
                tally = Tally(counter, self._open(counter))
            except RunbookError as error:
                self.notes.append(f"{counter.source} {counter.name}: {error.problem}")
                continue
            if tally.source.read() is not None:
                return tally
            reason = self._silent(tally.source)
            if reason:
                self.notes.append(f"{counter.source} {counter.name}: {reason}")
            waiting = waiting or tally
        return waiting

    def _open(self, counter: Counter) -> Source:
        if counter.source == "bpf-variable":
            return VariableSource(self._target, counter)
        if counter.source == "bpf-map":
            return MapSource(self._target, counter)
        if counter.source == "metric":
            return MetricSource(self._page, counter)
        self._tail = self._tail or Tail(self._target.log_file)
        return LogSource(counter, self._tail.before())

    def _silent(self, source: Source) -> str:
        if isinstance(source, MetricSource):
            return self._page.problem or "not on the agent's metrics page, so unknown (not zero)"
        return self._tail.problem if self._tail else ""
