"""A job: one run that was accepted, from the queue to its end.

Not here: rows (``engine.server.worker.queue``), which one comes next (``schedule``), what it does
(``carry``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

State = Literal["queued", "running", "waiting", "ended"]


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One run that was accepted.

    Attributes:
        id: The run's, in the journal too.
        runbook, path: Its name, and the file that was matched; empty for whatever the name means then.
        target: As a trigger or a person named it; empty for none.
        inputs: As written.
        alert: Id of the alert that asks for it; empty where a person does.
        by: Who is answerable.
        doing: ``start``; ``resume`` once it has waited, or was begun by somebody else.
        tries: How often it was handed to a process that did not bring it to an end.
        outcome: Once it has ended.
        due: When the question that it waits with expires (epoch seconds).
    """

    id: str
    runbook: str
    path: str = ""
    target: str = ""
    inputs: dict[str, str] = {}
    alert: str = ""
    by: str = ""
    dry_run: bool = False
    doing: Literal["start", "resume"] = "start"
    state: State = "queued"
    tries: int = 0
    queued_at: float
    started_at: float | None = None
    ended_at: float | None = None
    outcome: str = ""
    due: float | None = None

    @property
    def place(self) -> str:
        """What only one run at once may work on."""
        return self.target or f"host:{self.runbook}"
