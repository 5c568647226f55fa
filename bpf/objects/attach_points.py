"""Where a target's programs sit, as places that we can count events at ourselves.

Several programs at one place count once; tracepoints of single system calls join into one place
with a list of calls. What we can't sit at is told with the reason, never guessed.

Not here: attaching and counting (the ``event-sources`` probe).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bpf.system.syscall_names import number_of

_CALL_GROUPS = ("sys_enter_", "sys_exit_")


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One place to count at.

    Attributes:
        label: As an operator knows it: ``raw_tp sys_enter``, ``tracepoint syscalls/sys_enter_openat``.
        tracepoint: The raw tracepoint to attach to; empty for a kernel function.
        function: The kernel function, for a kprobe of ours.
        calls: Only these system calls; empty for all.
    """

    label: str
    tracepoint: str = ""
    function: str = ""
    calls: tuple[int, ...] = ()


class Places(msgspec.Struct, frozen=True, kw_only=True):
    """The places of a target, and those that can't be counted at: label → why."""

    countable: tuple[Place, ...] = ()
    refused: dict[str, str] = {}


def of(attached: Iterable[str]) -> Places:
    """From the ``attached_to`` texts of a target's programs."""
    found: dict[str, Place] = {}
    single: dict[str, dict[str, int]] = {}
    refused: dict[str, str] = {}
    for text in sorted({part for whole in attached for part in whole.split(", ") if part}):
        kind, _, where = text.partition(" ")
        group, _, event = where.rpartition("/")
        if kind in ("raw_tp", "tp_btf") or (kind == "tracepoint" and group != "syscalls"):
            found.setdefault(event, Place(label=text, tracepoint=event))
        elif kind == "tracepoint" and event.startswith(_CALL_GROUPS):
            side, call = event.split("_", 2)[1:]
            number = number_of(call)
            if number is None:
                refused[text] = f"the number of system call {call} is not known"
            else:
                single.setdefault(f"sys_{side}", {})[event] = number
        elif kind in ("kprobe", "kretprobe", "fentry", "fexit", "fmod_ret") and where:
            found.setdefault(where, Place(label=text, function=where))
        else:
            refused[text] = _why_not(kind)
    for tracepoint, calls in single.items():
        if tracepoint not in found:  # else all calls are counted already
            label = f"tracepoint syscalls/{', '.join(calls)}"
            found[label] = Place(label=label, tracepoint=tracepoint, calls=tuple(sorted(calls.values())))
    return Places(countable=tuple(found.values()), refused=refused)


def _why_not(kind: str) -> str:
    if kind == "perf_event":
        return "samples of a clock or counter are caused by no process"
    if kind in ("uprobe", "uretprobe"):
        return "which function of which file it sits at is not known here"
    return "events of this kind can't be counted from outside"
