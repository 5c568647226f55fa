"""The agent's own count of entries that a full map did not take; the kernel keeps none.

Not here: counts of events (``bpf.flow.counting``, whose tally is used).
"""

from __future__ import annotations

from bpf.flow.counting import Tally
from bpf.flow.sources import MetricSource, Page, Source, VariableSource
from engine.errors import RunbookError
from engine.values import KnownMap, Reading, Target


class Refusals:
    """The agent's own count of entries that did not fit, where its profile names one."""

    def __init__(self, target: Target | None, known: KnownMap | None) -> None:
        self._tally: Tally | None = None
        self._page: Page | None = None
        self._missing = "the agent's profile names no count of entries that did not fit"
        counter = known.refused if known is not None else None
        if counter is None or target is None:
            return
        try:
            source: Source
            if counter.source == "metric":
                self._page = Page(target.metrics_url)
                source = MetricSource(self._page, counter)
            else:
                source = VariableSource(target, counter)
            self._tally = Tally(counter, source)
        except RunbookError as error:
            self._missing = f"{counter.source} {counter.name}: {error.problem}"

    def take(self, moment: float) -> None:
        """Look once."""
        if self._tally is None:
            return
        if self._page is not None and not self._page.fetch():
            self._missing = self._page.problem
        self._tally.take(moment)

    def reading(self) -> Reading:
        """The rate over the window. Lets go of the source."""
        if self._tally is None:
            return Reading(missing=self._missing)
        self._tally.source.close()
        if not self._tally.known:
            return Reading(missing=f"{self._tally.label} could not be read twice")
        return Reading(value=self._tally.per_s, unit="entries/s", source=self._tally.label)
