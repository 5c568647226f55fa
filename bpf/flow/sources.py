"""Where an agent's own counts of received and lost events are read from.

Its promise: a count that can't be read is None and says why; it is never taken for zero. A
counter that the agent sets back starts anew and never counts below zero.

Not here: choosing among them and laying them over time (``bpf.flow.counting``).
"""

from __future__ import annotations

import ctypes
import re
import struct
from collections.abc import Callable
from typing import Protocol, TypeVar

from bpf.library import library
from bpf.objects import variables
from bpf.syscall import MapInfo, map_info, opened
from bpf.system.procfs import read_text
from bpf.system.prometheus import Sample, scrape, total
from engine.errors import ProbeFailed, RunbookError
from engine.values import Counter, Target

T = TypeVar("T")
_ARRAY, _PERCPU_ARRAY = 2, 6  # linux/bpf.h


class Source(Protocol):
    """One place that holds a count.

    Attributes:
        label: ``bpf-variable dropped``, ``metric NAME`` …: what an operator is told.
        cheap: Reading takes microseconds, so it is read with every sample.
    """

    label: str
    cheap: bool

    def read(self) -> float | None:
        """The count as it stands now, or None when it can't be had."""

    def close(self) -> None:
        """Let go of what was opened."""


class VariableSource:
    """A global variable of the agent's BPF program. One load of memory."""

    cheap = True

    def __init__(self, target: Target, counter: Counter) -> None:
        self._variable, name = _first(counter, lambda name: variables.find(target.map_ids, name))
        self.label = f"bpf-variable {name}"
        self.map_id = self._variable.map_id

    def read(self) -> float | None:
        """The value now."""
        return self._variable.read()

    def close(self) -> None:
        """Let go of the map."""
        self._variable.close()


class Page:
    """One metrics page, fetched once for all counters that stand on it.

    Attributes:
        problem: Why the last fetch failed; empty when it did not.
    """

    def __init__(self, url: str, timeout_s: float = 0.5) -> None:
        self.url = url
        self.samples: list[Sample] = []
        self.problem = "" if url else "the profile names no metrics address"
        self._timeout_s = timeout_s

    def fetch(self) -> bool:
        """Get the page anew; False when it could not be had."""
        self.samples = []
        if not self.url:
            return False
        try:
            self.samples = scrape(self.url, self._timeout_s)
            self.problem = ""
        except (OSError, ValueError) as error:
            self.problem = f"{self.url}: {error}"
        return not self.problem


class MetricSource:
    """A series of the agent's metrics page; the page is fetched by whoever owns it."""

    cheap = False

    def __init__(self, page: Page, counter: Counter) -> None:
        self._page, self._counter = page, counter
        self.label = f"metric {counter.name}"

    def read(self) -> float | None:
        """The sum of the series that match, as of the last fetch."""
        name, value = counted(self._page.samples, self._counter)
        self.label = f"metric {name}"
        return value

    def close(self) -> None:
        """Nothing is open."""


class LogSource:
    """What the lines of an agent's log amount to, as they are fed to it.

    Unknown until a line was seen: silence may mean that the agent does not log it.
    """

    label = "log"
    cheap = False

    def __init__(self, counter: Counter, before: list[str]) -> None:
        """``before``: lines from before the window; only a running total has a use for them."""
        self._patterns = [re.compile(pattern) for pattern in (counter.name, *counter.also)]
        self._cumulative = counter.cumulative
        self._count: float | None = None
        if self._cumulative:
            self.feed(before)

    def feed(self, lines: list[str]) -> None:
        """Take new lines in; those that do not match are passed over."""
        for line in lines:
            found = next(filter(None, (pattern.search(line) for pattern in self._patterns)), None)
            if found:
                number = float(found[1]) if found.groups() else 1.0
                self._count = number if self._cumulative else (self._count or 0.0) + number

    def read(self) -> float | None:
        """What the lines so far amount to; None until one was seen."""
        return self._count

    def close(self) -> None:
        """Nothing is open."""


class MapSource:
    """A number in a BPF array, summed over CPUs when it is per CPU. One system call, 2 µs.

    The profile may name another place with the labels ``key`` (index) and ``offset`` (bytes into
    the value), both 0 otherwise. Numbers are 64 bits wide, or as wide as the value.
    """

    cheap = False

    def __init__(self, target: Target, counter: Counter) -> None:
        (self._map_id, self._info), name = _first(counter, lambda name: _array_named(target, name))
        self._key = struct.pack("=I", int(counter.labels.get("key", "0")))
        self._offset = int(counter.labels.get("offset", "0"))
        self.label = f"bpf-map {name}"

    def read(self) -> float | None:
        """The number now; None when the map is gone."""
        stride = (self._info.value_size + 7) // 8 * 8
        copies = _possible_cpus() if self._info.type == _PERCPU_ARRAY else 1
        room = ctypes.create_string_buffer(stride * copies)
        with opened("map", self._map_id) as fd:
            if library().bpf_map_lookup_elem(fd, self._key, room) < 0:
                return None
        wide = "=Q" if self._info.value_size - self._offset >= 8 else "=I"
        return float(sum(struct.unpack_from(wide, room, n * stride + self._offset)[0] for n in range(copies)))

    def close(self) -> None:
        """Nothing is open."""


def counted(samples: list[Sample], counter: Counter) -> tuple[str, float | None]:
    """The names of a metric counter that are on a page, and their count; None when none is."""
    found: list[tuple[str, float]] = []
    for names in ((counter.name, *counter.also), *((name,) for name in counter.adds)):
        known = ((name, total(samples, name, counter.labels)) for name in names)
        found += [(name, value) for name, value in known if value is not None][:1]
    if not found:
        return counter.name, None
    return " + ".join(name for name, _ in found), sum(value for _, value in found)


def _first(counter: Counter, find: Callable[[str], T]) -> tuple[T, str]:
    """What the first name that is there stands for, and the name.

    Raises:
        RunbookError: None is there; of the first name.
    """
    missing: RunbookError | None = None
    for name in (counter.name, *counter.also):
        try:
            return find(name), name
        except RunbookError as error:
            missing = missing or error
    assert missing is not None  # noqa: S101 - a counter has a name
    raise missing


def _array_named(target: Target, name: str) -> tuple[int, MapInfo]:
    """The target's array of that name; the kernel keeps 15 characters of it."""
    for map_id in target.map_ids:
        info = map_info(map_id)
        if info.name.decode(errors="replace") == name[:15] and info.type in (_ARRAY, _PERCPU_ARRAY):
            return map_id, info
    raise ProbeFailed(f"the target has no array named {name}", fix="runbook targets lists its maps")


def _possible_cpus() -> int:
    """CPUs the kernel keeps per-CPU values for: ``0-3`` is 4."""
    last = read_text("/sys/devices/system/cpu/possible").strip().replace(",", "-").rpartition("-")[2]
    return int(last or 0) + 1
