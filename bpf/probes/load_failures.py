"""What did not load, on the whole machine, and what the kernel said about it.

Its promise: every failing program load, BTF load, map creation, link creation or attachment of the
window, with the end of the verifier's log out of the failing process's own buffer; the agent need not
cooperate, log or even live on. What could not be kept is counted.

Traced for its window only: every system call of the machine takes 5 to 30 ns longer meanwhile, every
bpf() call 65 to 110 ns.
Not here: why it failed (the ``load-failure`` diagnosis), failures before the window.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from bpf.failures import Failure
from bpf.libbpf import usable
from bpf.loads import LoadTracer, Losses
from bpf.system.procfs import read_text
from engine.contracts import Window
from engine.values import Evidence, Field, Reading, Scalar, Support, Target

_SOURCE = "tracepoints of bpf()"
_EVERY_S = 0.1  # the ring holds 250 of the largest records: 2,500 failures a second
_MOST_KEPT = 500
_NONE = "nothing failed to load in the window"


class LoadFailures:
    """The probe ``load-failures``."""

    name = "load-failures"
    short = "loads"
    summary = "Every program, map or link that fails to load, with the end of the verifier's log"
    fields: Mapping[str, Field] = {
        "failures": Field(help="loads, creations and attachments that failed"),
        "refused_by_seccomp": Field(help="those of them that a seccomp filter refused"),
        "last_errno": Field(
            help="errno of the last one; feature tests of libraries count only when nothing else failed",
            type="text",
        ),
        "last_command": Field(help="what it was: PROG_LOAD, MAP_CREATE …", type="text"),
        "last_program": Field(help="name of the program or map", type="text"),
        "last_process": Field(help="who tried: name and pid", type="text"),
        "last_log": Field(help="end of its verifier log", type="text"),
        "lost": Field(help="failures that we could not keep up with"),
    }
    options: Mapping[str, str] = {
        "everybody": "with a target: tell of all processes' failures, not of its own alone",
    }
    needs_target = False
    cpu_ceiling = 0.25

    def supported(self, target: Target | None) -> Support:  # noqa: ARG002 - the contract's
        """Needs root, BTF, and tracepoints of system calls."""
        return usable(loading=True)

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Trace for one window; say each failure as it comes."""
        only = None if window.options.get("everybody") else target
        kept: deque[Failure] = deque(maxlen=_MOST_KEPT)
        counts = {"all": 0, "seccomp": 0}

        def take_in(failures: Iterable[Failure]) -> None:
            for failure in failures:
                if only is not None and not _is_of(failure, only):
                    continue
                counts["all"] += 1
                counts["seccomp"] += bool(failure.refused_by)
                kept.append(failure)
                window.say("\n    ".join((failure.sentence, *failure.last_lines())))

        with LoadTracer(window.clock.now() - window.clock.monotonic()) as tracer:
            started_at = window.begin()
            tracer.attempts()  # what failed while others were still arming is not of the window
            for now in window.ticks(_EVERY_S):
                take_in(tracer.take(now))
                window.show("failed loads", counts["all"])
            take_in(tracer.rest())
            losses, notes = tracer.losses(), tracer.notes
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name if target is not None else "",
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=_readings(counts, _last(kept), losses),
            tables={"failures": tuple(map(_row, kept))},
            notes=(*notes, *_missing(counts["all"] - len(kept), losses)),
        )


def _last(kept: Iterable[Failure]) -> Failure | None:
    """The newest failure that mattered: a library's feature test only when there is nothing else."""
    newest = None
    for failure in kept:
        if newest is None or newest.is_feature_test or not failure.is_feature_test:
            newest = failure
    return newest


def _is_of(failure: Failure, target: Target) -> bool:
    """Of its processes, or of one started anew: of the same name and, if it still lives, the same command."""
    if any(failure.pid == process.pid for process in target.processes):
        return True
    argv = tuple(read_text(f"/proc/{failure.pid}/cmdline").rstrip("\0").split("\0"))
    if argv[0] and target.config_file and target.config_file in argv:
        return True
    alike = [process for process in target.processes if process.comm == failure.comm]
    return any(not argv[0] or process.argv in ((), argv) for process in alike)


def _missing(left_out: int, losses: Losses) -> list[str]:
    notes = []
    if left_out:
        notes.append(f"only the last {_MOST_KEPT} are kept; {left_out} before them are counted only")
    if losses.lost:
        notes.append(f"{losses.lost} attempts came faster than we read and are lost")
    if losses.not_followed:
        notes.append(f"{losses.not_followed} calls were not followed: 4,096 others were under way")
    return notes


def _readings(counts: Mapping[str, int], last: Failure | None, losses: Losses) -> dict[str, Reading]:
    readings = {
        "failures": Reading(value=counts["all"], source=_SOURCE),
        "refused_by_seccomp": Reading(value=counts["seccomp"], source=_SOURCE),
        "lost": Reading(value=losses.lost, source="our own counter"),
    }
    if last is None:
        names = ("last_errno", "last_command", "last_program", "last_process", "last_log")
        return readings | {name: Reading(missing=_NONE) for name in names}
    return readings | {
        "last_errno": Reading(value=last.errno, source=_SOURCE),
        "last_command": Reading(value=last.command, source=_SOURCE),
        "last_process": Reading(value=f"{last.comm} ({last.pid})", source=_SOURCE),
        "last_program": _text(last.name, "it has no name"),
        "last_log": _text(last.log_tail, "it asked for no log"),
    }


def _text(value: str, missing: str) -> Reading:
    return Reading(value=value, source=_SOURCE) if value else Reading(missing=missing)


def _row(failure: Failure) -> dict[str, Scalar]:
    return {
        "at": failure.at,
        "pid": failure.pid,
        "comm": failure.comm,
        "uid": failure.uid,
        "command": failure.command,
        "name": failure.name,
        "type": failure.type,
        "insns": failure.insns,
        "errno": failure.errno,
        "refused_by": failure.refused_by,
        "duration_us": failure.duration_us,
        "tries": failure.tries,
        "feature_test": failure.is_feature_test,
        "detail": failure.detail,
        "log_tail": failure.log_tail,
        "log_complete": failure.log_complete,
    }
