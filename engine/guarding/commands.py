"""Which commands may be run here: exactly those of the policy's list, with the arguments it allows.

One promise: without an entry nothing runs. A pattern stands for one argument; what it leaves open can
never be an option, nor climb out of a directory.

Not here: running them (``engine.running.commands``).
"""

from __future__ import annotations

import functools
import os
import re
import stat
from collections.abc import Iterable, Sequence

from engine.errors import nearest
from engine.guarding.policy import Command


def entry(commands: Iterable[Command], argv: Sequence[str], *, reads: bool) -> Command | None:
    """The first entry that allows a command; an entry that only reads allows nothing else."""
    for one in commands:
        fits = one.run == argv[0] and len(one.arguments) == len(argv) - 1 and (reads or not one.reads)
        if fits and all(map(matches, one.arguments, argv[1:])):
            return one
    return None


def why_not(commands: Sequence[Command], argv: Sequence[str], *, reads: bool) -> str:
    """Why no entry allows a command; empty where one does. Templates stand for any argument."""
    same = [one for one in commands if one.run == argv[0]]
    if not same:
        near = nearest(argv[0], {one.run for one in commands})
        hint = f"; did you mean {near}?" if near else ""
        return f"the policy of this machine lists no command {argv[0]}{hint}"
    may = [one for one in same if reads or not one.reads]
    if not may:
        return f"the policy of this machine lets {argv[0]} only read"
    for one in may:
        pairs = zip(one.arguments, argv[1:], strict=False)
        if len(one.arguments) == len(argv) - 1 and all("{{" in word or matches(p, word) for p, word in pairs):
            return ""
    return f"the policy of this machine lists {argv[0]}, but not with these arguments"


def matches(pattern: str, word: str) -> bool:
    """Whether a pattern allows an argument: `*` is anything but `/`, `**` anything at all.

    What begins with `-` must begin so in the pattern, and `..` within a path must stand there.
    """
    if pattern == word:
        return True
    if word.startswith("-") and not pattern.startswith("-"):
        return False
    if ".." in word.split("/"):
        return False
    return _compiled(pattern).fullmatch(word) is not None


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*|\*)", pattern)
    wild = {"**": r"[^\x00]*", "*": r"[^/\x00]*"}
    return re.compile("".join(wild.get(part) or re.escape(part) for part in parts), re.DOTALL)


def unsafe(program: str) -> str:
    """Why a program must not be run, whatever the list says; empty for one that may.

    Who can write it decides what the list allows.
    """
    try:
        found = os.stat(program)  # noqa: PTH116 - follows links, as running it does
    except OSError as error:
        return f"{program} can't be run: {error.strerror}"
    if not stat.S_ISREG(found.st_mode) or not os.access(program, os.X_OK):
        return f"{program} is no program that this user may run"
    if found.st_uid not in {0, os.geteuid()} or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return f"{program} can be changed by others than root and this user"
    return ""
