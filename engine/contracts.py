"""What a probe, a diagnosis, a remediation, a guard and a notifier must offer.

Strangers' parts and ours come through the same door: an entry point of the group named
beside each protocol, whose object is a class or function that is called without
arguments and gives one of these.

Not here: any implementation. ``engine.running.looking`` makes windows, ``engine.catalog`` finds
the parts, ``engine.testing`` has fakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from engine.values import (
    Case,
    Change,
    Decision,
    Evidence,
    Family,
    Field,
    Inventory,
    Knob,
    KnobValue,
    Plan,
    Reading,
    Sample,
    Setting,
    Support,
    Target,
    Verdict,
)


class Clock(Protocol):
    """Time, handed in: tests run without waiting."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def sleep(self, seconds: float) -> None:
        """Wait; may return early when the run is cancelled."""


class Window(Protocol):
    """The stretch of time that all probes of one step watch together.

    A probe arms itself (loads BPF, opens files), then calls ``begin`` once, which waits until
    all probes of the step are armed, then watches with ``ticks`` or ``wait`` and collects.
    """

    @property
    def seconds(self) -> float:
        """How long the window lasts."""

    @property
    def clock(self) -> Clock:
        """The clock of the run."""

    @property
    def options(self) -> Mapping[str, Setting]:
        """The step's ``with`` for this probe, durations in seconds, sizes in bytes."""

    @property
    def directory(self) -> str:
        """Where relative paths in the options start: the runbook's own directory, or the working one."""

    def begin(self) -> float:
        """Say 'armed'; returns the common start (epoch seconds). Call exactly once."""

    def ticks(self, every_s: float) -> Iterator[float]:
        """Epoch seconds about every ``every_s`` until the window ends; the last one at its end.

        Ends early when the run is cancelled. Raises ``ProbeFailed`` when the probe has used
        more CPU than its ceiling.
        """

    def wait(self) -> None:
        """Sleep until the window ends or the run is cancelled."""

    def show(self, label: str, value: float, unit: str = "") -> None:
        """A number as it comes, for the live display. Cheap; never recorded."""

    def say(self, words: str) -> None:
        """Something seen, as it happens: printed by a single look, else let go. Never recorded."""


@runtime_checkable
class Probe(Protocol):
    """An eye: looks, never changes. Group ``runbook.probes``.

    Attributes:
        name: ``event-flow``. short: ``flow``, the word of expressions.
        summary: One line for ``runbook doctor`` and the docs.
        fields: Every reading it can give; a reading outside it is a bug.
        options: Each option of ``with``: name → help. ``window`` is everybody's.
        needs_target: False for probes of the host.
        cpu_ceiling: Share of one core it may use over its window before it is stopped.
    """

    name: str
    short: str
    summary: str
    fields: Mapping[str, Field]
    options: Mapping[str, str]
    needs_target: bool
    cpu_ceiling: float

    def supported(self, target: Target | None) -> Support:
        """Whether it can look here, at this target (None: at all), and what would mend a no."""

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Look for one window.

        A value that can't be had is a ``Reading`` without value, with ``missing`` filled.

        Raises:
            ProbeFailed: Nothing at all could be seen.
            TargetGone: The target ended in the window.
        """


@runtime_checkable
class Meter(Protocol):
    """An eye that is always open: numbers of all targets, again and again. Group ``runbook.meters``.

    One object lives as long as the exporter or ``runbook top``; it may keep things open between reads.
    Like a probe it changes nothing. A number that can't be had is left out, never given as zero. Made
    with ``thorough``: whether it may keep on what costs the machine all the time (BPF run statistics).

    Attributes:
        families: Series name → what it measures.
    """

    name: str
    families: Mapping[str, Family]

    def read(self, targets: Sequence[Target], inventory: Inventory) -> Iterable[Sample]:
        """All numbers now. Targets come and go between reads; costs at most some ms per target."""

    def glance(self) -> None:
        """Called several times a second between reads, for peaks; takes microseconds."""

    def close(self) -> None:
        """Let go of everything."""


@runtime_checkable
class Diagnosis(Protocol):
    """From evidence to ranked causes; pure. Group ``runbook.diagnoses``.

    Attributes:
        causes: Every cause it can name → one sentence of explanation.
        wants: Probes whose evidence it reads.
    """

    name: str
    summary: str
    causes: Mapping[str, str]
    wants: tuple[str, ...]

    def decide(self, case: Case) -> Verdict:
        """Decide from the case alone. Missing evidence lowers confidence and is noted."""


class Planner(Protocol):
    """The part of a remediation that can't write. A dry-run is handed only this.

    Attributes:
        knob: The knob it turns; empty when it turns none.
        options: Each option of ``with``: name → help.
        risk: The least risk any plan of it has.
    """

    name: str
    summary: str
    knob: str
    options: Mapping[str, str]
    risk: Literal["low", "medium", "high"]

    def read(self, target: Target) -> dict[str, KnobValue]:
        """The present values that ``plan`` needs, by knob name. Reads only."""

    def plan(self, case: Case) -> Plan:
        """Decide from the case alone: reads nothing, writes nothing."""


@runtime_checkable
class Remediation(Planner, Protocol):
    """A hand: one kind of change. Group ``runbook.remediations``.

    The engine journals ``capture`` before ``apply``, so ``undo`` can be called by a fresh
    process with nothing but the change, what was captured, and the target found anew.
    """

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """All that ``undo`` needs to put back exactly what is there now. Reads only.

        Raises:
            ChangedSince: The value is no longer ``change.before``.
        """

    def apply(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:
        """Write, make it take effect, and wait until the target is healthy with it.

        Raises:
            ChangedSince: The value is no longer ``change.before``; nothing was written.
            ChangeFailed: It could not be made; says what state it left.
        """

    def state(
        self, change: Change, target: Target, captured: Mapping[str, Setting]
    ) -> Literal["before", "after", "other"]:
        """Read back: does the setting hold the value before, the one after, or another?"""

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Put back exactly what was there (byte for byte in a file) and make it take effect.

        Does nothing when the change was never made. When the value is back but its reload may
        be missing (an undo was killed in between), reloads: so call it in state ``before`` too.

        Returns:
            A note for the record (the agent is gone, so nothing was reloaded), or None.

        Raises:
            ChangedSince: Somebody else has set it since; left as it is.
            ChangeFailed: It could not be put back; the fix is how to do it by hand.
        """


class KnobBackend(Protocol):
    """A way to read and write settings. Group ``runbook.knobs``."""

    name: str

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """The present value; absent and unreadable are told apart. Never raises for either."""


class Guard(Protocol):
    """A reason to hold back. Group ``runbook.guards``. See ``engine.guarding.guards``."""

    name: str

    def judge(self, plan: Plan, situation: object) -> Decision:
        """Allow, ask or deny; with the numbers compared."""


class Notifier(Protocol):
    """A way to tell people. Group ``runbook.notifiers``. Must not hold up a run."""

    name: str

    def tell(self, sentence: str, facts: Mapping[str, str]) -> None:
        """Send; errors are the engine's to note, never to stop for."""


class InventoryReader(Protocol):
    """Reads all BPF objects of the machine with their owners. Group ``runbook.inventory``."""

    def read(self) -> Inventory:
        """Everything now; the second read of one reader may be far cheaper than the first."""

    def close(self) -> None:
        """Let go of what it keeps between reads."""


#: Group ``runbook.targets``, under the scheme of its refs (``k8s``): the target behind ``k8s:…``, which is
#: no process of this host. Its ``ref`` finds it again. Raises ``TargetNotFound`` when there is none.
FindTarget = Callable[[str], Target]

#: Group ``runbook.readers``, under ``setting``: what a knob holds now, in the place that counts.
ReadSetting = Callable[[Knob, Target], KnobValue]
#: Group ``runbook.readers``, under ``lines``: what the owner of an agent's configuration writes, and where,
#: so that a change stays when runbook no longer keeps it. From the change alone; reads nothing.
KeptLines = Callable[[Change], str]
#: Group ``runbook.readers``, under ``counters``: what each counter of a target says now, in their order.
ReadCounters = Callable[[Target], tuple[Reading, ...]]
