"""What went wrong, as an answer for whoever asked."""

from __future__ import annotations

from engine.errors import Refused, RunbookError, UnknownName
from engine.server.messages import No


def told(error: RunbookError) -> No:
    """An error as an answer: what happened, the way out, and of which kind it is."""
    if isinstance(error, UnknownName):
        return No(problem=error.problem, fix=error.fix, why="unknown")
    if isinstance(error, Refused):
        return No(problem=error.problem, fix=error.fix, why="conflict")
    return No(problem=error.problem, fix=error.fix, why="failed" if error.exit_code == 4 else "wrong")
