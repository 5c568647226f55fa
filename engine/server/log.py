"""Log lines of the listener and the worker: one event a line on stderr, for people or as JSON.

One promise: whatever a fact holds (an alert's label, an agent's message), it stays within its own line
and its own field, without control characters, secrets (``engine.redaction``) or more than
``MAX_FACT`` characters; a line that can't be written is lost, and never stops who wrote it.

Text: ``2026-11-22T03:01:07.123Z info worker alert accepted  run=… alert=…``. JSON: an object with
``time``, ``level``, ``part``, ``event`` and the facts. Under systemd, where the journal keeps the time,
a text line begins with its priority in place of it (``<6>``, sd-daemon(3)). Cost: about 10 µs a line.

Not here: what runs leave behind (``engine.journal``), numbers (``/metrics``).
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal, TextIO

import msgspec

from engine import redaction, text
from engine.errors import RunbookError

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["text", "json"]

#: What one fact may take; more is cut.
MAX_FACT = 1000
#: Priorities of sd-daemon(3), and how much each matters.
_PRIORITY: dict[Level, int] = {"debug": 7, "info": 6, "warning": 4, "error": 3}
#: Ours, whatever a fact is called.
_OWN = ("time", "level", "part", "event")


class Log:
    """Writes one part's lines. Safe to use from several threads.

    Args:
        part: Who speaks: ``listener``, ``worker``, ``run``.
        form: ``text`` or ``json`` (``settings.log``).
        stream: Where to; stderr when not given.
        least: Lines below this level are not written.
        clean: Takes secrets out of a text; ``engine.redaction``'s when not given.
    """

    def __init__(
        self,
        part: str,
        form: Form = "text",
        stream: TextIO | None = None,
        *,
        least: Level = "info",
        clean: Callable[[str], str] | None = None,
    ) -> None:
        self._part = part
        self._form = form
        self._stream = sys.stderr if stream is None else stream
        self._least = _PRIORITY[least]
        self._clean = clean or redaction.HERE.text
        self._journal = goes_to_journal(self._stream)
        self._lock = threading.Lock()

    def debug(self, event: str, **facts: object) -> None:
        """What only whoever looks for a fault wants to read."""
        self._write("debug", event, facts)

    def info(self, event: str, **facts: object) -> None:
        """What happened, as it should."""
        self._write("info", event, facts)

    def warning(self, event: str, **facts: object) -> None:
        """What should not be, and was dealt with."""
        self._write("warning", event, facts)

    def error(self, event: str, **facts: object) -> None:
        """What could not be done."""
        self._write("error", event, facts)

    def _write(self, level: Level, event: str, facts: dict[str, object]) -> None:
        if _PRIORITY[level] > self._least:
            return
        told = {name: self._fact(value) for name, value in facts.items() if value is not None and value != ""}
        line = (
            self._as_json(level, event, told) if self._form == "json" else self._as_text(level, event, told)
        )
        with self._lock, suppress(OSError, ValueError):  # a full disk, a stream that is closed
            self._stream.write(line + "\n")
            self._stream.flush()

    def _fact(self, value: object) -> str | int | float | bool:
        """A value as it may stand in a line."""
        if isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return round(value, 6)
        words = self._clean(_words(value))
        shown = text.plain(words[: MAX_FACT * 2])
        return shown if len(shown) <= MAX_FACT else f"{shown[: MAX_FACT - 1]}…"

    def _as_text(self, level: Level, event: str, told: dict[str, str | int | float | bool]) -> str:
        head = f"<{_PRIORITY[level]}>" if self._journal else f"{_moment(time.time())} {level} "
        facts = "".join(f" {name}={_quoted(value)}" for name, value in told.items())
        return f"{head}{self._part} {self._fact(event)}{' ' if facts else ''}{facts}"

    def _as_json(self, level: Level, event: str, told: dict[str, str | int | float | bool]) -> str:
        own = (_moment(time.time()), level, self._part, self._fact(event))
        line = dict(zip(_OWN, own, strict=True)) | {
            f"{name}_" if name in _OWN else name: value for name, value in told.items()
        }
        prefix = f"<{_PRIORITY[level]}>" if self._journal else ""
        return prefix + msgspec.json.encode(line).decode()


class FromLibraries(logging.Handler):
    """Passes on what libraries log (uvicorn, apprise, asyncio): ``logging.getLogger().addHandler(…)``."""

    def __init__(self, log: Log, least: int = logging.WARNING) -> None:
        super().__init__(least)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One record as one line; a library's mistake in its own words is no reason to stop."""
        with suppress(Exception):
            error = record.exc_info[1] if record.exc_info else None
            level = "error" if record.levelno >= logging.ERROR else "warning"
            told = self._log.error if level == "error" else self._log.warning
            told(record.getMessage(), by=record.name, error=error)


def where(error: BaseException) -> str:
    """File and line where something broke: of ours, nothing of what it was about."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""


def goes_to_journal(stream: TextIO) -> bool:
    """Whether systemd's journal reads this stream: ``$JOURNAL_STREAM`` names its device and inode."""
    named = os.environ.get("JOURNAL_STREAM", "")
    if not named:
        return False
    try:
        place = os.fstat(stream.fileno())
    except (OSError, ValueError, AttributeError):
        return False
    return named == f"{place.st_dev}:{place.st_ino}"


def _moment(at: float) -> str:
    """``2026-11-22T03:01:07.123Z``."""
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at))}.{int(at % 1 * 1000):03}Z"


def _words(value: object) -> str:
    with suppress(Exception):  # a stranger's object may not be able to say what it is
        return _said(value)
    return type(value).__name__


def _said(value: object) -> str:
    if isinstance(value, RunbookError):
        return f"{value.problem} (fix: {value.fix})" if value.fix else value.problem
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, str):
        return value
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(_words(one) for one in value)
    return str(value)


def _quoted(value: str | float) -> str:
    """A value of a text line: in quotes where it would not end at the next blank."""
    shown = str(value)
    if shown and not set(shown) & set(' "=\\'):
        return shown
    return '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
