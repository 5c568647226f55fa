"""A text made bounded: lines of bounded length, repetitions once, binary noise set aside.

One promise: whatever comes in, at most ``MOST`` characters are judged, and a note says what was
left out. Lines that differ only in their numbers count as the same line.

Not here: judging (``scoring``), reading a verifier log's states (``bpf.verifier``).
"""

from __future__ import annotations

import bisect
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO

from engine.errors import UsageError

#: Characters that the rules look at; bytes that are read from a file.
MOST, HEAD_BYTES, TAIL_BYTES = 64 << 10, 1 << 20, 3 << 20
#: A line is judged up to this length.
LINE = 2000
#: Share of unprintable bytes from which it is no text.
NOISE = 0.3

_DIGITS = re.compile(r"\d+", re.ASCII)
_NO_DIGITS = dict.fromkeys(map(ord, "0123456789"))
_ESCAPE = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
#: Control characters but the line end: no terminal shall obey a log.
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")
#: Instructions and states of a verifier log: many lines, none of which is a message.
_INSTRUCTION = re.compile(r"\s*(?:\d{1,7}: (?:\([0-9a-f]{2}\)|R\d)|; |R\d=|from \d+ to \d+)")
#: One instruction of a verifier's log.
_STEP = re.compile(r"\d: \([0-9a-f]{2}\) ")
#: Stems of which a line has one when it may say why something failed.
_SPEAKING = (
    "err",
    "fail",
    "deni",
    "permit",
    "invalid",
    "lost",
    "drop",
    "kill",
    "not",
    "warn",
    "libbpf",
    "can't",
    "cannot",
    "unable",
    "too",
    "full",
    "leak",
    "cpu",
)


@dataclass(frozen=True, slots=True)
class Text:
    """Lines to judge.

    Attributes:
        lines: As they stood, in order, repetitions left out.
        lower: The same in lower case, padded with blanks so that words have edges.
        joined: ``lower`` with line ends. starts: where each line starts in it.
        notes: What was left out, in sentences.
    """

    lines: Sequence[str]
    lower: Sequence[str]
    joined: str
    starts: Sequence[int]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, text: str, notes: tuple[str, ...] = ()) -> Text:
        """Bound a text."""
        if "\x1b" in text:
            text = _ESCAPE.sub("", text)
        plain = text.replace("\\n", "\n").replace("\r", "\n").replace("\t", " ")
        if _CONTROL.search(plain):
            plain = _CONTROL.sub(" ", plain)
        rows = plain.split("\n")
        seen: dict[str, str] = {}
        for bare, line in zip(_without_digits(plain).split("\n"), rows, strict=True):
            seen.setdefault(bare[:LINE], line[:LINE])
        lines = [line for line in seen.values() if line.strip()]
        size = sum(map(len, lines))
        if size > MOST:
            lines, left_out = _fewer(lines)
            notes = (*notes, f"{left_out} lines that say least were left out")
        lower = [f" {line.lower()} " for line in lines]
        starts, at = [], 0
        for line in lower:
            starts.append(at)
            at += len(line) + 1
        return cls(lines, lower, "\n".join(lower), starts, notes)

    @property
    def is_verifier_log(self) -> bool:
        """Whether it holds instructions or the end of a verifier's log."""
        return (
            " insns" in self.joined
            or "-- begin prog load log" in self.joined
            or _STEP.search(self.joined) is not None
        )

    def line_at(self, position: int) -> int:
        """Index of the line that a position of ``joined`` lies in."""
        return bisect.bisect_right(self.starts, position) - 1


def _fewer(lines: list[str]) -> tuple[list[str], int]:
    """The lines that speak, up to ``MOST`` characters: the first quarter and the last of them."""
    kept = [line for line in lines if not _INSTRUCTION.match(line)]
    if sum(map(len, kept)) > MOST:
        kept = [line for line in kept if _speaks(line.lower())]
    head = _up_to(kept, MOST // 4)
    tail = _up_to(kept[len(head) :][::-1], MOST - MOST // 4)[::-1]
    return head + tail, len(lines) - len(head) - len(tail)


def _without_digits(text: str) -> str:
    """As it is without digits; translating is only fast for ASCII."""
    return text.translate(_NO_DIGITS) if text.isascii() else _DIGITS.sub("", text)


def _speaks(line: str) -> bool:
    return any(stem in line for stem in _SPEAKING)


def _up_to(lines: list[str], most: int) -> list[str]:
    size = 0
    for count, line in enumerate(lines):
        size += len(line)
        if size > most:
            return lines[:count]
    return lines


def read(source: BinaryIO, name: str) -> tuple[str, tuple[str, ...]]:
    """A text from a file or pipe, and notes on what was not read.

    Raises:
        UsageError: It is empty, or no text.
    """
    head = source.read(HEAD_BYTES)
    tail, skipped = _tail(source)
    if not head.strip():
        raise UsageError(f"{name} is empty", fix="give an error text, an agent's log or a verifier log")
    if _is_noise(head[:65536]):
        raise UsageError(
            f"{name} is binary, not a text",
            fix="give the text of the log: journalctl -u UNIT | runbook explain",
        )
    notes = (f"{skipped:,} bytes in the middle were not read",) if skipped else ()
    joint = b"\n" if skipped else b""
    return (head + joint + tail).decode("utf-8", "replace"), notes


def _tail(source: BinaryIO) -> tuple[bytes, int]:
    """The last bytes of what is still to come, and how many before them were left out."""
    if source.seekable():
        here, end = source.tell(), source.seek(0, os.SEEK_END)
        source.seek(max(here, end - TAIL_BYTES))
        return source.read(TAIL_BYTES), max(0, end - TAIL_BYTES - here)
    tail, skipped = b"", 0
    while block := source.read(TAIL_BYTES):
        skipped += max(0, len(tail) + len(block) - TAIL_BYTES)
        tail = (tail + block)[-TAIL_BYTES:]
    return tail, skipped


def _is_noise(sample: bytes) -> bool:
    """Whether so much is unprintable that it can't be a log; UTF-8 in prose is fine."""
    text = sample.decode("utf-8", "replace")
    odd = sum(1 for letter in text if letter == "\ufffd" or (letter < " " and letter not in "\t\n\r\x1b\f\b"))
    return odd > NOISE * len(text)
