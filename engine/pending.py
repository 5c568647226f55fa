"""What a run waits for, read from its events alone: a change that was requested, or a question.

Not here: answering (``engine.running``), showing (``engine.server.page``, ``engine.reports``).
"""

from __future__ import annotations

from typing import NamedTuple

from engine.record import Answered, Asked, Planned, Requested, Ruled, Run


class Waiting(NamedTuple):
    """A change that waits for a yes.

    Attributes:
        run: Whose it is: the run itself, or one that it called.
        planned: What is asked for.
    """

    run: Run
    requested: Requested
    planned: Planned


def open_request(run: Run) -> Waiting | None:
    """The change that a run, or one that it called, waits with.

    None once it is ruled on, and once the run has ended. What was requested before the run broke off
    can be answered too.
    """
    if run.head.outcome not in {None, "waiting"}:
        return None
    planned: dict[str, Planned] = {}
    found: Waiting | None = None
    for event in run.events:
        if isinstance(event, Planned):
            planned[event.step] = event
        elif isinstance(event, Requested):
            found = Waiting(run, event, planned[event.step])
        elif isinstance(event, Ruled) and found and event.digest == found.requested.digest:
            found = None
    inner = (open_request(one) for one in reversed(run.called))
    return found or next((one for one in inner if one), None)


def open_question(run: Run) -> tuple[Run, Asked] | None:
    """The question that a run, or one that it called, waits for; None once the run has ended."""
    if run.head.outcome not in {None, "waiting"}:
        return None
    found: dict[str, Asked] = {}
    for event in run.events:
        if isinstance(event, Asked) and event.expires_at is not None:
            found[event.step] = event
        elif isinstance(event, Answered | Ruled):
            found.pop(event.step, None)
    if found:
        return run, list(found.values())[-1]
    inner = (open_question(one) for one in reversed(run.called))
    return next((one for one in inner if one), None)
