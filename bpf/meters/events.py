"""Events of all targets: received and lost, as far as anybody counts them.

Its promise: the best source for each stage, named in the label ``source``; totals since the exporter
began to look. A stage that nobody counts has no series: absent is unknown, not zero.

Not here: bytes in and out of ring buffers (``bpf.meters.rings``), rates.
Cost: one scrape of the agent's own page where a counter stands there, else microseconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from bpf.flow.counting import Counters, Tally
from engine.values import Family, Inventory, Sample, Target

_LABELS = ("stage", "source")


class EventMeter:
    """The meter ``events``."""

    name = "events"
    families: Mapping[str, Family] = {
        "bpf_events_received_total": Family(help="Events received.", type="counter", labels=_LABELS),
        "bpf_events_dropped_total": Family(
            help="Events lost: in the kernel's ring, at the reader, in the agent's queue, at its exporter.",
            type="counter",
            labels=_LABELS,
        ),
    }

    def __init__(self, *, thorough: bool = False, monotonic: Callable[[], float] = time.monotonic) -> None:
        del thorough
        self._monotonic = monotonic
        self._open: dict[tuple[str, int, tuple[int, ...]], Counters] = {}

    def read(self, targets: Sequence[Target], inventory: Inventory) -> Iterator[Sample]:  # noqa: ARG002
        """All counts of all targets. A reloaded agent has other maps, so its counts are opened anew."""
        wanted = {(one.ref, one.pid, one.map_ids): one for one in targets}
        for gone in self._open.keys() - wanted.keys():
            self._open.pop(gone).close()
        for key, target in wanted.items():
            counters = self._open.get(key)
            if counters is None:
                counters = self._open[key] = Counters(target)
            yield from self._of(target.ref, counters)

    def glance(self) -> None:
        """Nothing peaks here."""

    def close(self) -> None:
        """Let go of all counters."""
        for counters in self._open.values():
            counters.close()
        self._open.clear()

    def _of(self, ref: str, counters: Counters) -> Iterator[Sample]:
        counters.take(self._monotonic)
        tallies = [("bpf_events_dropped_total", tally) for tally in counters.dropped.values()]
        if counters.received:
            tallies.append(("bpf_events_received_total", counters.received))
        for family, tally in tallies:
            if tally.source.cheap:
                tally.take(self._monotonic())
            del tally.counts[:-1]  # only the total matters here
            if tally.counts:
                yield Sample(family=family, value=tally.grown, target=ref, labels=_labels(tally))


def _labels(tally: Tally) -> tuple[str, str]:
    return tally.stage, tally.label
