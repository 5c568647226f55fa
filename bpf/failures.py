"""One failing ``bpf()`` call of anybody: what was asked for, what came of it, and the log's tail.

``decode`` makes it from a record of our tracer; ``Retries`` joins the attempts of one load: libraries
try without a log first, and again with one when that fails. Pure, no system calls.

Not here: the tracer (``bpf.loads``). Source: ``union bpf_attr`` of ``linux/bpf.h``.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable, Iterable
from itertools import islice, takewhile
from typing import NamedTuple

import msgspec

from bpf.objects.names import MAP_TYPES, PROGRAM_TYPES, named, text

#: Commands whose failing means that something did not load or attach; lookups fail by the way.
COMMANDS = {
    0: "MAP_CREATE",
    5: "PROG_LOAD",
    6: "OBJ_PIN",
    8: "PROG_ATTACH",
    17: "RAW_TRACEPOINT_OPEN",
    18: "BTF_LOAD",
    28: "LINK_CREATE",
    29: "LINK_UPDATE",
    32: "ENABLE_STATS",
    33: "ITER_CREATE",
    35: "PROG_BIND_MAP",
    36: "TOKEN_CREATE",
}
_TINY = 4  # instructions
_AT_ONCE_S = 0.02  # a library's own next try; an agent's takes longer
_MOST_TRIES = 8  # of libraries; more is an agent in a loop
_ERRNOS = {**errno.errorcode, 512: "ERESTARTSYS", 524: "ENOTSUPP"}
_WITH_LOG = ("PROG_LOAD", "BTF_LOAD")

_HEAD = struct.Struct("=QQIIIiIIIIIIII16s64s152s")  # struct failure of load_failures.bpf.c
_LOG_END_NOT_FOUND, _BEFORE_ENTRY = 1, 2
# Offsets into union bpf_attr
_PROGRAM = struct.Struct("=II16xII16x16s4xI")  # type, insns; log level, size; name, expected attach type
_PROGRAM_BTF = struct.Struct("=108xI")  # attach_btf_id
_BTF = struct.Struct("=16xIII")  # size, log size, log level
_MAP = struct.Struct("=IIIII8x16s")  # type, key, value, entries, flags; name
_ATTACH = struct.Struct("=8xI")  # attach_type of LINK_CREATE and PROG_ATTACH

AttachType = Callable[[int], str]


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """A ``bpf()`` call that failed, or several attempts at the same.

    Attributes:
        at: When it returned; seconds since the Unix epoch.
        comm: Name of the thread that called.
        name: Of the program, map or tracepoint; a path for OBJ_PIN; empty when it has none.
        type: Of program or map, or the kind of attachment; empty when there is none.
        insns: Instructions of a program; 0 for everything else.
        detail: Further arguments, in words.
        errno: ``EACCES`` …
        duration_us: Of the last attempt, in the kernel.
        log_tail: The end of the verifier's log, at most 16 KiB; empty when none was asked for.
        log_complete: ``log_tail`` is the whole log.
        log_asked: The caller gave room for a log.
        tries: Attempts joined.
        refused_by: ``seccomp`` when a filter refused the call before the kernel looked at it.
    """

    at: float
    pid: int
    tid: int
    uid: int
    comm: str
    command: str
    name: str
    type: str
    insns: int
    detail: str
    errno: str
    duration_us: float
    log_tail: str = ""
    log_complete: bool = False
    log_asked: bool = False
    tries: int = 1
    refused_by: str = ""

    @property
    def is_feature_test(self) -> bool:
        """Looks like a library trying what the kernel can do, which is meant to fail on some kernels."""
        tiny = self.command == "PROG_LOAD" and self.insns <= _TINY and not self.name
        return tiny or self.name.startswith("libbpf_")

    @property
    def sentence(self) -> str:
        """On one line: ``bpftool[812] PROG_LOAD no_check (tracepoint, 6 insns): EACCES after 41 µs``."""
        details = "" if self.command == "PROG_LOAD" else self.detail
        insns = f"{self.insns} insns" if self.insns else ""
        about = ", ".join(part for part in (self.type, insns, details) if part)
        what = " ".join(part for part in (self.command, self.name, f"({about})" if about else "") if part)
        by = f", refused by {self.refused_by}" if self.refused_by else f" after {self.duration_us:.0f} µs"
        test = " (a feature test by its looks)" if self.is_feature_test else ""
        return f"{self.comm}[{self.pid}] {what}: {self.errno}{by}{test}"

    def last_lines(self, most: int = 6) -> list[str]:
        """Where the reason stands: the log's last lines, without the verifier's own statistics.

        From 7.3 on an explanation follows, of which the verdict and its reason are given, without the
        source and the path that were told already.
        """
        lines = [line for line in self.log_tail.splitlines() if line.strip()]
        verdict = next((at for at, line in enumerate(lines) if line.startswith(_VERDICT)), len(lines))
        told = [line for line in lines[:verdict] if not line.startswith(_STATISTICS)]
        explained = takewhile(lambda line: not line.startswith(_PLACE), lines[verdict:])
        return [*told[-most:], *islice(explained, most)]


_VERDICT, _PLACE = "Verification failed:", "At:"
_STATISTICS = ("processed ", "verification time ", "stack depth ")


def decode(record: bytes, epoch_at_boot: float, attach_type: AttachType = "attach type {}".format) -> Failure:
    """A record of the tracer in words.

    Args:
        record: ``struct failure``, its log as long as it is.
        epoch_at_boot: Epoch seconds when the monotonic clock was 0.
        attach_type: Names the kernel's attach types.
    """
    at, took, pid, tid, uid, result, command, _, _, log_length, _, log_bytes, flags, _, comm, words, attr = (
        _HEAD.unpack_from(record)
    )
    log = record[_HEAD.size : _HEAD.size + log_bytes].rstrip(b"\0")
    known = COMMANDS.get(command, f"command {command}")
    asked = _asked_for(known, attr, text(words), attach_type)
    return Failure(
        at=epoch_at_boot + at / 1e9,
        pid=pid,
        tid=tid,
        uid=uid,
        comm=text(comm),
        command=known,
        name=asked.name,
        type=asked.type,
        insns=asked.insns,
        detail=asked.detail,
        errno=_ERRNOS.get(-result, f"errno {-result}"),
        duration_us=took / 1e3,
        log_tail=_whole_lines(log, cut=log_length > log_bytes),
        log_complete=bool(log) and log_length <= log_bytes and not flags & _LOG_END_NOT_FOUND,
        log_asked=_asks_for_log(known, attr),
        refused_by="seccomp" if flags & _BEFORE_ENTRY else "",
    )


def _whole_lines(log: bytes, *, cut: bool) -> str:
    """The log as text; the first line goes when it was cut in its middle."""
    shown = log.decode("utf-8", "replace")
    return shown.partition("\n")[2] or shown if cut else shown


def _asks_for_log(command: str, attr: bytes) -> bool:
    if command == "PROG_LOAD":
        return bool(_PROGRAM.unpack_from(attr)[2])
    return command == "BTF_LOAD" and bool(_BTF.unpack_from(attr)[2])


class _Asked(NamedTuple):
    """What a call asked for."""

    name: str = ""
    type: str = ""
    insns: int = 0
    detail: str = ""


def _asked_for(command: str, attr: bytes, words: str, attach_type: AttachType) -> _Asked:
    """Name, type, instructions and further arguments of a call."""
    match command:
        case "PROG_LOAD":
            return _program(attr, words, attach_type)
        case "MAP_CREATE":
            kind, key, value, entries, flags, name = _MAP.unpack_from(attr)
            sizes = f"key {key} bytes, value {value} bytes, {entries} entries, flags {flags:#x}"
            return _Asked(name=text(name), type=named(MAP_TYPES, kind), detail=sizes)
        case "BTF_LOAD":
            return _Asked(detail=f"{_BTF.unpack_from(attr)[0]} bytes")
        case "LINK_CREATE" | "PROG_ATTACH":
            return _Asked(type=attach_type(_ATTACH.unpack_from(attr)[0]))
        case _:
            return _Asked(name=words)


def _program(attr: bytes, license_text: str, attach_type: AttachType) -> _Asked:
    kind, insns, _, _, name, place = _PROGRAM.unpack_from(attr)
    (btf_id,) = _PROGRAM_BTF.unpack_from(attr)
    told = (
        f"license {license_text}" if license_text else "",
        attach_type(place) if place else "",
        f"attaches to BTF type {btf_id}" if btf_id else "",
    )
    return _Asked(
        name=text(name),
        type=named(PROGRAM_TYPES, kind),
        insns=insns,
        detail=", ".join(part for part in told if part),
    )


# ── attempts ────────────────────────────────────────────────────────────────────


class Retries:
    """Joins attempts at one load into one failure, as they come.

    A load that asked for no log is held back for ``HOLD_S``: its library's next call is then the same
    load with a log. So is one whose log had no room (ENOSPC): it is tried again with more.
    """

    HOLD_S = 1.0

    def __init__(self) -> None:
        self._held: dict[int, Failure] = {}

    def feed(self, attempts: Iterable[Failure]) -> list[Failure]:
        """Take attempts in; give what is settled by them."""
        settled = []
        for attempt in attempts:
            now, before = attempt, self._held.pop(attempt.tid, None)
            if before is not None and _again(before, attempt):
                now = msgspec.structs.replace(
                    attempt, tries=before.tries + 1, name=attempt.name or before.name
                )
            elif before is not None:
                settled.append(before)
            if _to_come(now):
                self._held[now.tid] = now
            else:
                settled.append(now)
        return settled

    def ripe(self, now: float) -> list[Failure]:
        """Give what was held back long enough; epoch seconds."""
        due = [tid for tid, failure in self._held.items() if now - failure.at >= self.HOLD_S]
        return [self._held.pop(tid) for tid in due]

    def rest(self) -> list[Failure]:
        """Give all that is still held back."""
        rest = list(self._held.values())
        self._held.clear()
        return rest


def _to_come(failure: Failure) -> bool:
    """Whether libraries would try this again with (more) room for a log."""
    return failure.command in _WITH_LOG and (not failure.log_asked or failure.errno in ("ENOSPC", "EAGAIN"))


def _again(before: Failure, now: Failure) -> bool:
    """Whether the same thread tries the same again: with a log, or at once (bcc leaves the name out)."""
    same = (before.command, before.type, before.insns) == (now.command, now.type, now.insns)
    pause_s = now.at - now.duration_us / 1e6 - before.at
    return same and (now.log_asked or pause_s < _AT_ONCE_S) and before.tries < _MOST_TRIES
