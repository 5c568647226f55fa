"""What a run waits for, read from its events alone: a change that was requested, or a question.

Not here: answering (``engine.running``), showing (``engine.server.page``, ``engine.reports``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from engine.record import Answered, Asked, Ended, Event, Planned, Requested, Ruled, Run


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
    can be answered too; a request whose plan is lost can't.
    """
    if run.head.outcome not in {None, "waiting"}:
        return None
    planned: dict[str, Planned] = {}
    found: Waiting | None = None
    for event in run.events:
        if isinstance(event, Planned):
            planned[event.step] = event
        elif isinstance(event, Requested) and event.step in planned:
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


def holder_of(run: Run) -> tuple[Run, Requested | Asked] | None:
    """What a run waits for, a change or a question, and whose it is."""
    if (waiting := open_request(run)) is not None:
        return waiting.run, waiting.requested
    return open_question(run)


def digest(holder: Run, waits: Requested | Asked) -> str:
    """What an answer is bound to: a request's own digest, or SHA-256 (hex) over a question and its run."""
    if isinstance(waits, Requested):
        return waits.digest
    return hashlib.sha256(msgspec.json.encode([holder.head.id, waits], order="sorted")).hexdigest()


def due(run: Run) -> float | None:
    """Until when what a run waits for can be answered (epoch seconds); None when it waits for nothing."""
    found = holder_of(run)
    if found is None:
        return None
    return found[1].decide_by if isinstance(found[1], Requested) else found[1].expires_at


def answered(run: Run) -> bool:
    """Whether what a run waited for has been answered or withdrawn, so that it is to be resumed."""
    if run.head.outcome != "waiting":
        return False
    if any(answered(one) for one in run.called):
        return True
    return any(isinstance(event, Ruled | Answered) for event in _since_end(run))


def _since_end(run: Run) -> Iterator[Event]:
    for event in reversed(run.events):
        if isinstance(event, Ended):
            return
        yield event


def family(run: Run) -> Iterator[Run]:
    """A run and all that it called, each before those that it called."""
    yield run
    for one in run.called:
        yield from family(one)
