"""What can go wrong, told to the operator: what happened, then the way out.

Every error that reaches a person is a ``RunbookError``. Its class says which exit
code it ends with and whether anything on the machine was touched before it.

Not here: printing (``engine.cli``), recording (``engine.journal``).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RunbookError(Exception):
    """Base of every error shown to an operator: what happened, then what to do.

    Attributes:
        problem: What happened, one sentence without a full stop.
        fix: What to do about it, as a command where there is one.
        exit_code: The exit code of the command that ends with this error.
        touched: Whether something on the machine may have been changed.
    """

    exit_code = 4
    touched = False

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}"


class UsageError(RunbookError):
    """The command line, a runbook, a profile or a policy is wrong. Nothing was done."""

    exit_code = 2


class DocumentError(UsageError):
    """A YAML document is wrong: all complaints at once, each with its place.

    Attributes:
        complaints: ``file:line:column: what is wrong (what to write instead)``.
    """

    def __init__(self, complaints: Iterable[str], *, fix: str) -> None:
        self.complaints = tuple(complaints)
        super().__init__("\n".join(self.complaints), fix=fix)


class ExpressionError(UsageError):
    """An expression is malformed, hostile, too dear, or of the wrong type."""


class UnknownName(UsageError):
    """A name that the catalog, a runbook or a profile does not have."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, fix: str = "") -> None:
        names = sorted(known)
        near = nearest(name, names)
        hint = fix or (f"did you mean {near!r}?" if near else f"one of: {', '.join(names) or '-'}")
        super().__init__(f"there is no {kind} named {name!r}", fix=hint)
        self.name = name
        self.nearest = near


class TargetNotFound(UsageError):
    """No running agent matches."""


class TargetAmbiguous(UsageError):
    """More than one running agent matches, and guessing would be wrong."""


class Refused(RunbookError):
    """A guard, a lock or a missing answer held a change back. Nothing was changed."""

    exit_code = 3


class InUse(Refused):
    """Another process works on a run or a target. ``run``: which run has it; empty where nobody knows."""

    def __init__(self, problem: str, *, fix: str, run: str = "") -> None:
        super().__init__(problem, fix=fix)
        self.run = run


class ProbeFailed(RunbookError):
    """A probe could not look. Probes never change anything."""


class TargetGone(RunbookError):
    """The target's process ended while it was being looked at or changed."""


class JournalUnavailable(RunbookError):
    """The journal can't be written, so nothing may be changed."""


class ChangeFailed(RunbookError):
    """A change could not be made, verified or undone; the machine may have been touched."""

    touched = True


class ChangedSince(ChangeFailed):
    """Somebody else has set the value since we looked; it is left as it is."""


class Interrupted(RunbookError):
    """The operator or the system asked the run to stop."""

    exit_code = 130


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like ``word``, or None when none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None
