"""All meters read at once: the targets of this moment, and every number of theirs.

One promise: a meter that breaks costs its own numbers only, and is counted; targets that come and
go are followed without a restart.

Not here: showing the numbers (``engine.metering.exposition``, ``engine.terminal.top``).
Cost: one look at ``/proc`` and one inventory per read, and what the meters take.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import TracebackType

import msgspec

from engine.agents.targets import Finder
from engine.catalog import Catalog
from engine.contracts import Clock, Meter
from engine.errors import RunbookError
from engine.values import Family, Inventory, Sample, Target

#: How often meters glance between two reads, in seconds: peaks shorter than this are missed.
GLANCE_S = 0.1

#: What the gathering itself measures.
OWN: Mapping[str, Family] = {
    "runbook_read_seconds": Family(help="Time that the last read of all meters took."),
    "runbook_meter_errors_total": Family(
        help="Reads that a meter could not finish.", type="counter", labels=("meter",)
    ),
    "bpf_agent_up": Family(help="1 while the agent runs, 0 for one that is set up here and does not."),
}


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """One read of everything.

    Attributes:
        at: Monotonic seconds.
        targets: By ref, running and stopped.
    """

    at: float
    samples: tuple[Sample, ...]
    targets: dict[str, Target]


class Gatherer:
    """Reads all meters; use it as a context.

    Args:
        finder: Finds the targets, anew for each read.
        meters: The open eyes.
        only: A target's name: the others are left out; empty for all.
    """

    def __init__(self, finder: Finder, meters: Iterable[Meter], clock: Clock, only: str = "") -> None:
        self._finder, self._meters, self._clock, self._only = finder, tuple(meters), clock, only
        self._errors = {meter.name: 0 for meter in self._meters}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._glancing = threading.Thread(target=self._glance, name="glances", daemon=True)

    def __enter__(self) -> Gatherer:
        self._glancing.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._glancing.join()
        for meter in self._meters:
            meter.close()

    @property
    def families(self) -> dict[str, Family]:
        """Every series that may come, by name."""
        found = dict(OWN)
        for meter in self._meters:
            found |= meter.families
        return found

    def read(self) -> Reading:
        """Everything now. One caller at a time; others wait.

        Raises:
            TargetNotFound: None is of the name that was asked for.
        """
        with self._lock:
            began = self._clock.monotonic()
            running, stopped = self._targets()
            inventory = self._finder.inventory or Inventory(taken_at=self._clock.now(), source="none")
            samples = [
                *(Sample(family="bpf_agent_up", value=1.0, target=one.ref) for one in running),
                *(Sample(family="bpf_agent_up", value=0.0, target=one.ref) for one in stopped),
            ]
            for meter in self._meters:
                samples += self._of(meter, running, inventory)
            samples += [
                Sample(family="runbook_meter_errors_total", value=count, labels=(name,))
                for name, count in self._errors.items()
            ]
            took = self._clock.monotonic() - began
            samples.append(Sample(family="runbook_read_seconds", value=took))
            return Reading(
                at=began, samples=tuple(samples), targets={one.ref: one for one in (*running, *stopped)}
            )

    def _targets(self) -> tuple[tuple[Target, ...], tuple[Target, ...]]:
        if self._only:
            one = self._finder.find(self._only)
            return ((one,), ()) if one.processes else ((), (one,))
        running = self._finder.find_all()
        return running, self._finder.stopped(running)

    def _of(self, meter: Meter, running: tuple[Target, ...], inventory: Inventory) -> list[Sample]:
        try:
            return list(meter.read(running, inventory))
        except (RunbookError, OSError):
            self._errors[meter.name] += 1
            return []

    def _glance(self) -> None:
        while not self._stop.wait(GLANCE_S):
            with self._lock:
                for meter in self._meters:
                    meter.glance()


def installed(parts: Catalog, *, thorough: bool) -> tuple[Meter, ...]:
    """All installed meters, each made anew; ``thorough`` as in ``contracts.Meter``."""
    return tuple(parts.load("meter", name)(thorough=thorough) for name in parts.names("meter"))
