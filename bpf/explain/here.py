"""The facts of the host we run on, as the rules want them: the readings of the probe ``host-facts``.

Not here: reading them (``bpf.probes.host_facts``), what they speak for (``host_rules``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

from bpf.probes.host_facts import HostFacts
from engine.values import Scalar, Setting


class _Clock:
    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class _Moment:
    """A window that is over at once: these facts stand still."""

    seconds = 0.0
    clock = _Clock()
    directory = "."

    def __init__(self, options: Mapping[str, Setting]) -> None:
        self.options = options

    def begin(self) -> float:
        return self.clock.now()

    def ticks(self, every_s: float) -> Iterator[float]:  # noqa: ARG002 - the contract's
        yield self.clock.now()

    def wait(self) -> None:
        return

    def show(self, label: str, value: float, unit: str = "") -> None:  # noqa: ARG002 - the contract's
        return

    def say(self, words: str) -> None:  # noqa: ARG002 - the contract's
        return


#: Facts of a process: ours say nothing about the one that failed.
_OF_PROCESS = frozenset(
    {
        "running",
        "uid",
        "caps_effective",
        "caps_permitted",
        "caps_bounding",
        "caps_ambient",
        "file_caps",
        "executable",
        "programs",
        "user_namespace",
        "no_new_privs",
        "seccomp",
        "apparmor",
        "container",
        "memlock_bytes",
    }
)


def facts_of_this_host(pid: int | None = None) -> tuple[dict[str, Scalar], tuple[str, ...]]:
    """The facts, with a process's rights where one is given, and notes on what could not be read.

    Raises:
        ProbeFailed: There is no such process.
    """
    seen = HostFacts().collect(None, _Moment({"pid": pid} if pid else {}))
    facts: dict[str, Scalar] = {
        name: reading.value
        for name, reading in seen.readings.items()
        if reading.value is not None and (pid or name not in _OF_PROCESS)
    }
    notes = (
        () if pid else ("rights of the process that failed are not looked at: give its --pid while it runs",)
    )
    return facts, seen.notes + notes
