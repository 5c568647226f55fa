"""The stage of a rehearsal: the agent as it goes on, its settings, and what is in force.

One promise: what is seen follows what is in force now, look after look; undoing a change brings back
what was seen before it.

Not here: the parts that look and write there (``engine.rehearsals.parts``), what a case tells
(``engine.rehearsals.cases``).
"""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping

from engine.fakes import FakeClock
from engine.record import Event, Intended
from engine.rehearsals.agent import effective
from engine.rehearsals.sights import Sight
from engine.values import (
    Change,
    KnobValue,
    Setting,
)

#: The phase before any change.
BEFORE = ""
Looks = Mapping[str, Mapping[str, tuple[Sight, ...]]]


class StageClock(FakeClock):
    """A clock that several probes can bring to the end of one window; only the first moves it."""

    def __init__(self) -> None:
        super().__init__()
        self._gate = threading.Lock()

    def reach(self, moment: float) -> None:
        """Let time pass until that moment (epoch seconds)."""
        with self._gate:
            self.sleep(max(0.0, moment - self.now()))


class Stage:
    """The agent as the rehearsal goes on: its settings, and what is in force.

    Args:
        looks: Phase → probe → successive looks; phase ``BEFORE``, or the change in force.
        knobs: Present values by knob; a live door's under ``NAME.live``.
        breaks: Changes that can't be written → why.
    """

    def __init__(self, looks: Looks, knobs: Mapping[str, KnobValue], breaks: Mapping[str, str]) -> None:
        self._looks, self.breaks = looks, breaks
        self.knobs = dict(knobs)
        self.clock = StageClock()
        self._force: list[str] = []
        self._taken: dict[tuple[str, str], int] = {}
        self._undoes: dict[str, str] = {}  # a command → the one that it takes back
        self._lock = threading.Lock()

    def tells(self, probe: str) -> bool:
        """Whether any phase speaks of this probe."""
        return any(probe in by_probe for by_probe in self._looks.values())

    def see(self, probe: str) -> Sight | None:
        """The next look of a probe in the phase that counts now; None when none is told."""
        with self._lock:
            speaking = [phase for phase in (BEFORE, *self._force) if probe in self._looks.get(phase, {})]
            seen: Sight | None = None
            for phase in speaking:
                looks, taken = self._looks[phase][probe], self._taken.get((phase, probe), 0)
                if phase == speaking[-1]:
                    self._taken[phase, probe] = taken = taken + 1
                seen = looks[min(max(taken, 1), len(looks)) - 1].over(seen)
            return seen

    def learn(self, event: Event) -> None:
        """Note which command takes which one back."""
        if isinstance(event, Intended) and event.captured.get("undo"):
            undo, argv = (event.captured.get(name) for name in ("undo", "argv"))
            if isinstance(undo, list) and isinstance(argv, list):
                self._undoes[shlex.join(map(str, undo))] = shlex.join(map(str, argv))

    def ran(self, command: str) -> None:
        """A command has done what it does: what it changes is in force, what it takes back is not."""
        if command in self._undoes:
            self.leave(self._undoes[command])
        elif command in self._looks:
            self.enter(command)

    def value(self, change: Change) -> Setting:
        """What a setting holds now."""
        known = self.knobs.get(key_of(change))
        return known.value if known is not None else None

    def write(self, change: Change, value: Setting) -> None:
        """Set or, with None, unset."""
        raw, amount = None if value is None else str(value), effective(change.knob, value)
        self.knobs[key_of(change)] = KnobValue(value=value, raw=raw, effective=amount, source=change.where)

    def enter(self, change: str) -> None:
        """A change is in force from now on."""
        with self._lock:
            self._force.append(change)

    def leave(self, change: str) -> None:
        """It no longer is."""
        with self._lock:
            places = [place for place, name in enumerate(self._force) if name == change]
            if places:
                del self._force[places[-1]]


def key_of(change: Change) -> str:
    """Under which name a change's setting stands on the stage."""
    return f"{change.knob.name}.live" if change.live else change.knob.name
