"""How an agent ended, put together from its unit, its last words and the kernel's log. Pure.

Its promise: a death in the kernel's log is taken for the agent's only where its pid, its cgroup, or its
name *and* the moment fit: other agents of the same name may have died on this machine.

Not here: reading any of it, naming a cause (the diagnosis ``agent-down``).
"""

from __future__ import annotations

import signal
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from bpf.down.crashes import Crash
from bpf.down.last_words import Words
from bpf.down.systemd import Unit
from bpf.system.oom_kills import Kill

#: Starts within this time count as one story, in seconds.
HORIZON_S = 600.0
#: A death that is known by its name only must lie so near the agent's last line.
NEAR_S = 30.0
#: Threads that a process makes at its start have ids so close behind its own.
NEAR_TIDS = 16


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the agent that ended.

    Attributes:
        pids: That it had, as far as known.
        names: Of its processes. groups: Its cgroups, or its unit's name.
        since: Its last start, epoch seconds; 0 when not known.
        last_line_at: When it last wrote into its log; None without one.
    """

    names: frozenset[str]
    pids: frozenset[int] = frozenset()
    groups: frozenset[str] = frozenset()
    since: float = 0.0
    last_line_at: float | None = None


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended; None and empty where nothing says so.

    Attributes:
        stopped_by: ``human``: somebody had it stopped; ``none``: nobody did.
        stopped_line: What says so.
    """

    kill: Kill | None = None
    crash: Crash | None = None
    exit_signal: int | None = None
    exit_code: int | None = None
    stopped_by: Literal["human", "none"] | None = None
    stopped_line: str = ""


def of(
    who: Who,
    words: Words,
    kills: Sequence[Kill],
    crashes: Sequence[Crash],
    unit: Unit | None = None,
) -> Ending:
    """Put it together."""
    told = bool(words.stopped or words.load)
    kill = next((one for one in reversed(kills) if _killed(one, who, told=told)), None)
    crash = None if kill else next((one for one in reversed(crashes) if _crashed(one, who, told=told)), None)
    died = _number(unit.exit_signal if unit else None, crash and crash.signal, words.signal)
    ended = Ending(
        kill=kill,
        crash=crash,
        exit_signal=int(signal.SIGKILL) if kill else died,
        exit_code=_number(unit.exit_code if unit else None, words.code),
    )
    by, line = _stopped(ended, words, unit)
    return msgspec.structs.replace(ended, stopped_by=by, stopped_line=line)


def restarts(again: Iterable[float], seen: int, now: float, unit: Unit | None = None) -> tuple[int, float]:
    """How often it was started again within the horizon, and how often per minute.

    Args:
        again: Moments at which its log says so.
        seen: New processes within the window.
        now: Epoch seconds.
        unit: For its journal, or systemd's own count where there is none.
    """
    began = now - HORIZON_S
    by_log = [at for at in again if at > began]
    entries = unit.entries if unit else ()
    by_unit = [entry.at for entry in entries if entry.what == "started" and entry.at > began][1:]
    times = max(by_log, by_unit, key=len)
    counted = max(len(times), seen, (unit.restarts or 0) if unit and not entries else 0)
    span_s = max(now - min(times), 30.0) if times else 60.0
    return counted, counted / (span_s / 60.0)


def _killed(kill: Kill, who: Who, *, told: bool) -> bool:
    if who.names and kill.comm not in who.names:
        return False
    if kill.pid in who.pids or any(group in kill.cgroup for group in who.groups):
        return kill.at >= who.since - 1.0  # pids are used again, and cgroups too
    return not told and kill.comm in who.names and _near(kill.at, who)


def _crashed(crash: Crash, who: Who, *, told: bool) -> bool:
    if any(0 <= crash.tid - pid <= NEAR_TIDS for pid in who.pids):
        return crash.at >= who.since - 1.0
    file = crash.file.rpartition("/")[2]
    named = any(name in (crash.comm, file[: len(name)]) for name in who.names)
    return not told and named and _near(crash.at, who)


def _near(at: float, who: Who) -> bool:
    """Whether it may be this agent's death, where no pid says so: never when a pid is known."""
    return not who.pids and who.last_line_at is not None and abs(at - who.last_line_at) <= NEAR_S


def _stopped(ended: Ending, words: Words, unit: Unit | None) -> tuple[Literal["human", "none"] | None, str]:
    if unit is not None and (asked := unit.stop_asked):
        return "human", asked.text
    if ended.kill or ended.crash or words.died or words.load:
        return "none", ""
    if unit is not None and (unit.active_state == "failed" or unit.entries):
        return "none", ""
    if words.stopped:
        return "human", words.stopped
    if unit is not None and unit.exit_signal in (signal.SIGTERM, signal.SIGINT):
        return "human", f"{unit.name} ended by signal {unit.exit_signal}"
    return None, ""


def _number(*candidates: int | None) -> int | None:
    return next((one for one in candidates if one is not None), None)
