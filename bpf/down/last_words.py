"""What an agent's log says at its end: it was told to stop, how it died, its programs failed to load.

Its promise: text only, in the words that many agents use; it claims nothing that no line says, and gives the
line with every claim.

Not here: why a load failed (``bpf.explain``), following a log that grows (``agent-log``).
"""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

#: So many of the last lines may tell of a failed load: a verifier's log stands before the last line.
LOAD_LINES = 60
#: A stop is told in the last lines, and so is a death.
LAST_LINES = 5

_STOPPED = re.compile(
    r"(?i)\bSIGTERM\b|\bSIGINT\b|\bterminated\b|\binterrupt\b|\bshutting down\b|\bgraceful(ly)?\b"
    r"|\bsignal(: | )?(15|2)\b|\bstopp(ed|ing) (agent|daemon|service|by)\b"
)
_DIED = re.compile(
    r"(?i)\b(?:ended|killed|terminated) by signal:? (?P<number>\d+)"
    r"|\bsignal: (?P<name>killed|segmentation fault|aborted)"
    r"|\b(?P<word>SIGSEGV|SIGABRT|SIGBUS|SIGILL|SIGFPE)\b"
    r"|\bexit(?:ed|s)? with (?:code |status )?(?P<code>\d+)"
    r"|^(?P<panic>panic|fatal error): |\b(?P<panicked>panicked at)\b"
)
_AGAIN = re.compile(
    r"(?i)\brestart(?:ing)? (?:\d+|in|the agent)\b|\bscheduled restart\b|\bback-?off\b.*\brestart"
)
_LOAD = re.compile(
    r"(?i)failed to load|BEGIN PROG LOAD LOG|BPF_PROG_LOAD"
    r"|\b(?:can(?:'t|not)|could not|couldn't|unable to) load\b|\bload program\b"
    r"|failed to (?:attach|create map)|invalid CO-RE|prog .*: relo "
)
#: A start that went well: what failed before it is over.
_READY = re.compile(r"(?i)\b(ready|up and running|listening on|serving|started successfully)\b")
_MOMENT = re.compile(r"\b(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\d*(Z|[+-]\d\d:?\d\d)?")
_NAMES = {"killed": signal.SIGKILL, "segmentation fault": signal.SIGSEGV, "aborted": signal.SIGABRT}


class Words(msgspec.Struct, frozen=True, kw_only=True):
    """What the end of a log tells.

    Attributes:
        stopped: The line that says it was told to stop; empty when none does.
        died: The line that says it died. signal, code: As that line has them.
        load: The lines about a load that failed, and what stands around them; empty: none does.
        again: When somebody started it again, by the stamps of the lines that say so; epoch seconds.
    """

    stopped: str = ""
    died: str = ""
    signal: int | None = None
    code: int | None = None
    load: str = ""
    again: tuple[float, ...] = ()


def read(lines: Sequence[str]) -> Words:
    """From the last lines of a log, oldest first."""
    last = [line for line in lines if line.strip()][-LAST_LINES:]
    died = next((found for line in reversed(last) if (found := _DIED.search(line))), None)
    stopped = next((line for line in reversed(last) if _STOPPED.search(line) and not _DIED.search(line)), "")
    ending = _since_ready(lines[-LOAD_LINES:])
    failed = any(_LOAD.search(line) for line in ending)
    return Words(
        stopped="" if failed else stopped.strip(),  # it ends itself then, however politely
        died=died.string.strip() if died else "",
        signal=_signal(died) if died else None,
        code=int(died["code"]) if died and died["code"] else None,
        load="\n".join(ending) if failed else "",
        again=tuple(_times(line for line in lines if _AGAIN.search(line))),
    )


def _since_ready(lines: Sequence[str]) -> Sequence[str]:
    """The lines after the last start that went well."""
    ready = [at for at, line in enumerate(lines) if _READY.search(line) and not _LOAD.search(line)]
    return lines[ready[-1] + 1 :] if ready else lines


def _signal(died: re.Match[str]) -> int | None:
    if died["number"]:
        return int(died["number"])
    if died["name"]:
        return int(_NAMES[died["name"].lower()])
    return int(signal.Signals[died["word"].upper()]) if died["word"] else None


def _times(lines: Iterator[str]) -> Iterator[float]:
    """The moments of the lines that have one; without a zone it is taken for UTC."""
    for line in lines:
        found = _MOMENT.search(line)
        if not found:
            continue
        zone = "+00:00" if found[3] in (None, "Z") else found[3]
        try:
            moment = datetime.fromisoformat(f"{found[1]}T{found[2].replace(',', '.')}{zone}")
        except ValueError:
            continue
        yield moment.astimezone(UTC).timestamp()
