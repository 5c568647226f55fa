"""A setting among the words of a command line: ``--flag value``, ``--flag=value``, ``--buffers key=value``.

``Knob.path`` is ``--flag``, or ``--flag key=`` where the flag is given several times for different keys
(Tracee's ``--buffers kernel.events=N``, Falco's ``-o key=value``). Of the same setting given twice the
last one counts, as nearly all parsers have it.

Not here: how words are quoted (``command_line``), where they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_SWITCHES = ("true", "false", "yes", "no", "on", "off", "1", "0")


class Flag(NamedTuple):
    """``name`` with its dashes, and the ``key=`` within its value, empty where there is none."""

    name: str
    key: str


class Hit(NamedTuple):
    """Where a value stands: in which word, behind which beginning of it; None: the flag stands alone."""

    word: int
    prefix: str | None


def parse(path: str) -> Flag:
    """The flag that a knob's path means.

    Raises:
        ValueError: It begins with no dash, or has a key without ``=``.
    """
    name, _, key = path.strip().partition(" ")
    key = key.strip()
    if (
        not name.startswith("-")
        or not name.strip("-")
        or "=" in name
        or (key and key.find("=") != len(key) - 1)
    ):
        raise ValueError(f"{path!r} is no flag: write --flag, or --flag key=")
    return Flag(name, key)


def complaint(path: str) -> str:
    """Why a profile's path is no flag; empty when it is one."""
    try:
        parse(path)
    except ValueError as error:
        return str(error)
    return ""


def find(words: Sequence[str], flag: Flag, *, switch: bool = False) -> Hit | None:
    """The last place in which the flag is given.

    Args:
        words: The command line, its program first.
        flag: Which.
        switch: It is a yes or a no, so that a word behind it may be none of its.
    """
    found: Hit | None = None
    at = 1
    while at < len(words) and words[at] != "--":
        word = words[at]
        if word.startswith(f"{flag.name}=") and word[len(flag.name) + 1 :].startswith(flag.key):
            found = Hit(at, f"{flag.name}={flag.key}")
        elif word == flag.name:
            behind = words[at + 1] if at + 1 < len(words) else None
            if switch and (behind is None or behind.lower() not in _SWITCHES):
                found = Hit(at, None)
            elif behind is not None and behind.startswith(flag.key):
                found = Hit(at + 1, flag.key)
                at += 1
            elif behind is not None:
                at += 1  # the same flag for another key
        at += 1
    return found


def end(words: Sequence[str]) -> int:
    """Where a flag can be added: before ``--``, else behind the last word."""
    return words.index("--") if "--" in words[1:] else len(words)


def added(flag: Flag, value: str) -> list[str]:
    """The words that set it: ``--flag=value``, but ``-f value`` and ``--flag key=value``."""
    if flag.name.startswith("--") and not flag.key:
        return [f"{flag.name}={value}"]
    return [flag.name, f"{flag.key}{value}"]
