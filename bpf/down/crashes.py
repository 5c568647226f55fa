"""Processes that died of a fault, as the kernel's log tells it.

The kernel writes such a line where ``debug.exception-trace`` is 1 (the default on x86), or
``kernel.print-fatal-signals``; it names the thread and the file that it ran in.

Source: ``arch/x86/mm/fault.c`` (show_signal_msg), ``arch/x86/kernel/traps.c`` (show_signal),
``kernel/signal.c`` (print_fatal_signal), ``arch/arm64/kernel/traps.c`` (arm64_show_signal).
Not here: reading the log, and processes killed for want of memory (``bpf.system.oom_kills``).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bpf.system.kmsg import Line

_FAULT = re.compile(
    r"^(?:traps: )?(?P<comm>\S.{0,15}?)\[(?P<tid>\d+)\]:? (?P<what>segfault|general protection"
    r"|trap invalid opcode|trap divide error|trap \w+|unhandled exception|bad frame)\b"
)
_FATAL = re.compile(r"^(?:(?P<comm>\S.{0,15}?): )?potentially unexpected fatal signal (?P<number>\d+)")
_FILE = re.compile(r" in (?P<file>[^\[\s]+)\[")
_SIGNALS = {
    "trap invalid opcode": signal.SIGILL,
    "trap divide error": signal.SIGFPE,
    "trap int3": signal.SIGTRAP,
}


class Crash(NamedTuple):
    """One death.

    Attributes:
        at: Epoch seconds.
        tid: The thread that did it; 0 when not told. comm: Its name, which may differ from the process's.
        file: The executable or library that it ran in; empty when not told.
    """

    at: float
    tid: int
    comm: str
    file: str
    signal: int
    text: str


def crashes(lines: Iterable[Line]) -> Iterator[Crash]:
    """Those that the log tells of, oldest first."""
    for line in lines:
        if fault := _FAULT.search(line.text):
            file = _FILE.search(line.text)
            number = int(_SIGNALS.get(fault["what"], signal.SIGSEGV))
            yield Crash(
                line.at, int(fault["tid"]), fault["comm"], file["file"] if file else "", number, line.text
            )
        elif fatal := _FATAL.search(line.text):
            yield Crash(line.at, 0, fatal["comm"] or "", "", int(fatal["number"]), line.text)
