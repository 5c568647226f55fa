"""What systemd knows of a service: its state, how its main process ended, who wanted that.

Its promise: reads only, and never waits for longer than two seconds; where systemd is not the init it
says so once, and the process table is asked instead.

Source: systemctl(1) "show", org.freedesktop.systemd1(5), sd-messages(3); systemd 229. Cost: some 10 ms
for each of the two commands.
Not here: starting or stopping anything (the remediations).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence

import msgspec

from engine.values import Target

#: Runs a command and gives what it printed.
Run = Callable[[Sequence[str]], str]

PROPERTIES = (
    "LoadState", "ActiveState", "SubState", "Result", "NRestarts", "MainPID", "ExecMainPID",
    "ExecMainCode", "ExecMainStatus", "ExecMainStartTimestampMonotonic", "ExecMainExitTimestampMonotonic",
)  # fmt: skip
#: ``ExecMainCode`` as wait(2) has it: CLD_EXITED, CLD_KILLED, CLD_DUMPED.
_EXITED, _KILLED = 1, (2, 3)
#: Message ids of systemd's journal entries (sd-messages.h).
_STARTED, _STOPPING = "39f53479d3a045ac8e11786248231fbf", "de5b426a63be47a7b6ac3eaac82e2f6f"
_ENTRIES = 200
_PATIENCE_S = 2.0


class NoSystemd(Exception):
    """systemd can't be asked, or knows no such unit; its text says why."""


class Entry(msgspec.Struct, frozen=True):
    """A message of systemd about the unit: ``started`` or ``stopping``, epoch seconds, its text."""

    what: str
    at: float
    text: str


class Unit(msgspec.Struct, frozen=True, kw_only=True):
    """A service as systemd sees it.

    Attributes:
        result: ``success``, ``exit-code``, ``signal``, ``core-dump``, ``oom-kill``, ``start-limit-hit`` …
        pid: Of the main process that runs, or ran last; 0 when there was none.
        exit_code, exit_signal: Of the last main process; None while it runs or was ended the other way.
        restarts: By systemd itself since somebody last started it; None before systemd 235.
        started_s, ended_s: Of the last main process, on the kernel's monotonic clock; None: never.
        entries: What its journal says of it, oldest first; empty without a journal.
    """

    name: str
    active_state: str
    result: str
    pid: int = 0
    exit_code: int | None = None
    exit_signal: int | None = None
    restarts: int | None = None
    started_s: float | None = None
    ended_s: float | None = None
    entries: tuple[Entry, ...] = ()

    @property
    def stop_asked(self) -> Entry | None:
        """The stop that somebody asked for, if it is what ended the last start."""
        last = self.entries[-1] if self.entries else None
        return last if last is not None and last.what == "stopping" else None


def unit_of(target: Target) -> str:
    """The target's systemd unit: as its profile says, else by its cgroup; empty when there is none."""
    named = target.start.unit or target.facts.get("unit", "")
    if named:
        return named if "." in named else f"{named}.service"
    last = (target.processes[0].cgroup if target.processes else "").rpartition("/")[2]
    return last if last.endswith(".service") else ""


def show(unit: str, run: Run | None = None) -> Unit:
    """What systemd says of it now.

    Raises:
        NoSystemd: It can't be asked, or there is no such unit.
    """
    text = _ask(("systemctl", "show", unit, f"--property={','.join(PROPERTIES)}"), run)
    facts = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if facts.get("LoadState") == "not-found":
        raise NoSystemd(f"systemd knows no unit {unit}")
    code, status = _number(facts, "ExecMainCode"), _number(facts, "ExecMainStatus")
    return Unit(
        name=unit,
        active_state=facts.get("ActiveState", ""),
        result=facts.get("Result", ""),
        pid=_number(facts, "MainPID") or _number(facts, "ExecMainPID") or 0,
        exit_code=status if code == _EXITED else None,
        exit_signal=status if code in _KILLED else None,
        restarts=_number(facts, "NRestarts"),
        started_s=_moment(facts, "ExecMainStartTimestampMonotonic"),
        ended_s=_moment(facts, "ExecMainExitTimestampMonotonic"),
        entries=_journal(unit, run),
    )


def _journal(unit: str, run: Run | None) -> tuple[Entry, ...]:
    """When the unit was started, and when its stop was asked for."""
    command = (
        "journalctl",
        f"--unit={unit}",
        f"--lines={_ENTRIES}",
        "--output=json",
        "--no-pager",
        "--quiet",
    )
    try:
        return tuple(_entries(_ask(command, run)))
    except NoSystemd:
        return ()


def _entries(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        try:
            entry = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue
        what = {_STARTED: "started", _STOPPING: "stopping"}.get(str(entry.get("MESSAGE_ID")))
        if what:
            at = int(entry.get("__REALTIME_TIMESTAMP") or 0) / 1e6
            yield Entry(what, at, str(entry.get("MESSAGE", "")))


def _ask(command: Sequence[str], run: Run | None) -> str:
    try:
        return (run or _run)(command)
    except FileNotFoundError:
        raise NoSystemd(f"there is no {command[0]} here") from None
    except subprocess.CalledProcessError as error:
        said = str(error.stderr or "").strip().splitlines()
        raise NoSystemd(said[0] if said else f"{command[0]} ended with {error.returncode}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoSystemd(f"{command[0]}: {error}") from None


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
    )
    return done.stdout


def _number(facts: dict[str, str], name: str) -> int | None:
    text = facts.get(name, "")
    return int(text) if text.isdigit() else None


def _moment(facts: dict[str, str], name: str) -> float | None:
    microseconds = _number(facts, name)
    return microseconds / 1e6 if microseconds else None
