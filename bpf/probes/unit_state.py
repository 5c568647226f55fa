"""Does the agent run, how did it end, does it end again and again: of its unit and of the process table.

Its promise: an agent without any process is the usual case here, and so is one that dies while it is looked
at; whatever can't be read is told as missing, and a death is only claimed where something says it.

Asks systemd where it is the init, else the process table, the pid file and the log that the profile
names, and the kernel's log.
Not here: containers' runtimes (the probe ``kubernetes`` looks at pods), what to do about it.
Cost: a look at the process table four times a second, some 10 ms each on a large machine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bpf.down import ending, last_words, systemd
from bpf.down.crashes import crashes
from bpf.down.fields import FIELDS
from bpf.down.readings import Looked, readings_of, rows_of
from bpf.down.whereabouts import Found, find, last_pid, names_of, uptime_s
from bpf.probes.asked import named
from bpf.system import kmsg, oom_kills
from bpf.system.logtail import Tail
from engine.contracts import Window
from engine.values import Evidence, Field, Support, Target

EVERY_S = 0.25
#: The lines of its log that are read for its last words.
_LINES = 400
_HEALTH_S = 0.5


class UnitState:
    """The probe ``unit-state``."""

    name = "unit-state"
    short = "unit"
    summary = "whether the agent runs, how it ended, and whether it ends again and again"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {}
    needs_target = True
    cpu_ceiling = 0.5

    def __init__(self, run: systemd.Run | None = None, device: Path = kmsg.DEVICE) -> None:
        self._run = run
        self._device = device

    def supported(self, target: Target | None) -> Support:
        """Works everywhere; who has neither unit nor log nor pid file can be told little of."""
        if target is None or systemd.unit_of(target) or target.log_file or target.facts.get("pid_file"):
            return Support(answer="yes", why="the process table is there")
        return Support(
            answer="yes",
            why="whether it runs; how it ended is hard to tell without unit, log or pid file",
            fix="set log: and the facts unit or pid_file in the agent's profile",
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Look for processes through the window, and at its end at all that is left."""
        target = named(target, self.name)
        unit, notes = self._unit(target)
        unit_pid = unit.pid if unit else 0
        started_at = window.begin()
        looks: list[Found | None] = [find(target, unit_pid)]
        for _ in window.ticks(EVERY_S):
            looks.append(find(target, unit_pid))
            window.show("runs", float(looks[-1] is not None))
        now = window.clock.now()
        looked = self._look(target, unit, looks, now)
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=now,
            readings=readings_of(target, looked),
            tables=rows_of(looked),
            notes=(*notes, *looked.notes),
        )

    def _unit(self, target: Target) -> tuple[systemd.Unit | None, tuple[str, ...]]:
        name = systemd.unit_of(target)
        if not name:
            return None, ()
        try:
            return systemd.show(name, self._run), ()
        except systemd.NoSystemd as error:
            return None, (f"systemd was not asked: {error}",)

    def _look(
        self, target: Target, unit: systemd.Unit | None, looks: list[Found | None], now: float
    ) -> Looked:
        if unit is not None:
            unit, _ = self._unit(target)  # its state may have changed meanwhile
        written = _log(target)
        log = kmsg.read(self._device)
        notes = (
            (*written.notes, f"the kernel's log: {log.problem} ({log.fix})") if log.problem else written.notes
        )
        words = last_words.read(written.lines)
        runs = looks[-1]
        who = _who(target, unit, looks, written, now)
        again, per_min = ending.restarts(words.again, _starts(looks), now, unit)
        return Looked(
            unit=unit,
            runs=runs,
            steady=runs is not None and len(set(looks)) == 1,
            starts=_starts(looks),
            uptime_s=uptime_s(runs) if runs else None,
            healthy=_healthy(target.health_url) if runs else None,
            words=words,
            ending=ending.of(who, words, oom_kills.kills(log.lines), tuple(crashes(log.lines)), unit),
            restarts=again,
            restarts_per_min=per_min,
            lines=written.lines,
            log_at=written.at,
            pids=tuple(sorted(who.pids)),
            kernel_log=not log.problem,
            now=now,
            notes=notes,
        )


class _Log(NamedTuple):
    """The last lines of its log, when it was last written, and what could not be read."""

    lines: tuple[str, ...] = ()
    at: float | None = None
    notes: tuple[str, ...] = ()


def _who(
    target: Target, unit: systemd.Unit | None, looks: list[Found | None], log: _Log, now: float
) -> ending.Who:
    """All pids that it had, by whatever tells one; and since when."""
    filed = last_pid(target)
    names = names_of(target)
    told = {
        int(found[1])
        for line in log.lines
        for name in names
        for found in re.finditer(rf"\b{re.escape(name)}\[(\d+)\]", line)
    }
    pids = {process.pid for process in target.processes} | {found.pid for found in looks if found}
    pids |= told | ({filed[0]} if filed else set()) | ({unit.pid} if unit else set())
    groups = {process.cgroup for process in target.processes} | ({unit.name} if unit else set())
    running = looks[-1] is not None
    ago = (now if running or log.at is None else log.at) - ending.HORIZON_S
    since = filed[1] if filed and not running else ago
    return ending.Who(
        names=names,
        pids=frozenset(pids - {0}),
        groups=frozenset(groups - {"", "/"}),
        since=since,
        last_line_at=log.at,
    )


def _log(target: Target) -> _Log:
    tail = Tail(target.log_file)
    try:
        if tail.problem:
            return _Log(notes=(f"its log was not read: {tail.problem}",))
        return _Log(tuple(tail.before()[-_LINES:]), Path(target.log_file).stat().st_mtime)
    except OSError as error:
        return _Log(notes=(f"its log was not read: {error}",))
    finally:
        tail.close()


def _starts(looks: list[Found | None]) -> int:
    """Processes that began within the window: each new one after the first look."""
    return len({found for found in looks if found} - {looks[0]})


def _healthy(url: str) -> bool | None:
    """Whether it answers 200; None where it has no such endpoint."""
    if not url:
        return None
    from urllib.error import URLError  # noqa: PLC0415 - not cheap, and only where one is asked
    from urllib.request import urlopen  # noqa: PLC0415

    try:
        with urlopen(url, timeout=_HEALTH_S) as answer:  # noqa: S310 - as the profile names it
            return bool(answer.status == 200)
    except (URLError, OSError, ValueError):
        return False
