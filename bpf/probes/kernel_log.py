"""What the kernel's own log says of BPF and of memory: errors, warnings, processes killed.

Its promise: what was overwritten before we looked is told as missing, and a log that can't be read
gives no numbers, not zeros. Lines of the whole buffer count, not only those of the window, since a
kill or an oops matters hours later; ``last_at_s`` says how old the newest is.

Not here: what an agent writes (``agent-log``). Cost: a millisecond, whatever the window.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bpf.system import kmsg, oom_kills
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Reading, Support, Target

#: Lines that are about BPF.
_ABOUT = re.compile(r"(?i)\b(e?bpf|btf|xdp|kprobe|uprobe|tracepoint|ftrace)\b|\bbpf_")
#: Lines that tell of something wrong, whatever their level.
_WRONG = re.compile(
    r"(?i)\b(BUG|Oops|WARNING|error|fail(ed|ure)?|invalid|unable|denied|rejected|corrupt\w*|lockup|stall)\b"
)
#: KERN_ERR: lines at this level or below are wrong by the kernel's own word.
_ERROR_LEVEL = 3
_ROWS = 20


class KernelLog:
    """The probe ``kernel-log``."""

    name = "kernel-log"
    short = "klog"
    summary = "Errors about BPF and processes killed for want of memory, in the kernel's log"
    fields: Mapping[str, Field] = {
        "errors": Field(help="lines about BPF that tell of something wrong"),
        "last_error": Field(help="the newest of them", type="text"),
        "last_error_age_s": Field(help="how long ago", unit="s"),
        "kills": Field(help="processes killed for want of memory, of the target where there is one"),
        "last_kill": Field(help="the newest of them", type="text"),
        "last_kill_age_s": Field(help="how long ago", unit="s"),
        "covers_s": Field(help="how far back the log goes", unit="s"),
    }
    options: Mapping[str, str] = {}
    needs_target = False
    cpu_ceiling = 0.5

    def __init__(self, device: Path = kmsg.DEVICE) -> None:
        self._device = device

    def supported(self, target: Target | None) -> Support:  # noqa: ARG002 - the contract's
        """Needs the right to read the kernel's log."""
        log = kmsg.read(self._device)
        if log.problem:
            return Support(answer="no", why=log.problem, fix=log.fix)
        return Support(answer="yes", why=f"{len(log.lines)} records")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Read it once, at the window's end."""
        started_at = window.begin()
        if target is not None:
            window.wait()
        log = kmsg.read(self._device)
        if log.problem:
            raise ProbeFailed(f"the kernel's log can't be read: {log.problem}", fix=log.fix)
        now = window.clock.now()
        wrong = [line for line in log.lines if _is_wrong(line)]
        killed = list(oom_kills.kills(log.lines))
        if target is not None:
            killed = list(oom_kills.of_target(killed, target))
        notes = ("older records were overwritten before we looked",) if log.lost else ()
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name if target else "",
            started_at=started_at,
            ended_at=now,
            readings={
                "errors": _number(len(wrong)),
                **_newest("last_error", wrong, now),
                "kills": _number(len(killed)),
                **_newest("last_kill", killed, now),
                "covers_s": _number(now - log.lines[0].at if log.lines else 0.0, "s"),
            },
            tables={
                "errors": tuple(
                    {"at": line.at, "level": line.level, "text": line.text} for line in wrong[-_ROWS:]
                ),
                "kills": tuple(
                    {"at": kill.at, "pid": kill.pid, "comm": kill.comm, "cgroup": kill.cgroup}
                    for kill in killed[-_ROWS:]
                ),
            },
            notes=notes,
        )


def _is_wrong(line: kmsg.Line) -> bool:
    return bool(_ABOUT.search(line.text)) and (line.level <= _ERROR_LEVEL or bool(_WRONG.search(line.text)))


def _newest(name: str, found: list[kmsg.Line] | list[oom_kills.Kill], now: float) -> dict[str, Reading]:
    if not found:
        none = Reading(missing="no such line")
        return {name: none, f"{name}_age_s": none}
    newest = found[-1]
    return {
        name: Reading(value=newest.text, source=_SOURCE),
        f"{name}_age_s": _number(max(0.0, now - newest.at), "s"),
    }


def _number(value: float, unit: str = "") -> Reading:
    return Reading(value=value, unit=unit, source=_SOURCE)


_SOURCE = "/dev/kmsg"
