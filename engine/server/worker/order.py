"""What the worker tells a child to carry out, and what it hears from it.

An order goes to the child's stdin as one line of JSON, never into its arguments, which anybody may read.
The child writes a line for each number that a probe sees, and an empty one for each event that it has
recorded: the journal holds it.

Not here: starting children (``children``), what they do (``carry``).
"""

from __future__ import annotations

import msgspec

#: Exit codes of a child: it has done what can be done; it may not go on now; something else works on the
#: target or the run.
DONE = 0
NOT_NOW = 69
BUSY = 75


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """One run to be carried out, or undone.

    Attributes:
        run: The run's id.
        runbook: Its name, or the file that was matched.
        inputs: As written.
        state: The state directory.
        policy: A file; empty for the machine's own.
        doing: ``carry`` it as far as it goes; else an errand (``engine.server.worker.errands``).
        last: It is not to be tried again: whatever keeps it from beginning is its end.
        trace_to: Where its trace goes (``settings.tracing.endpoint``); empty for nowhere.
        attempt, seconds: Of a lease that is changed.
        asked: The request itself, where an errand needs more of it.
    """

    run: str = ""
    runbook: str = ""
    target: str = ""
    inputs: dict[str, str] = {}
    alert: str = ""
    by: str = ""
    dry_run: bool = False
    state: str = ""
    policy: str = ""
    doing: str = "carry"
    last: bool = False
    trace_to: str = ""
    attempt: int | None = None
    asked: msgspec.Raw = msgspec.Raw(b"null")
    seconds: float = 0.0


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line from a child; without a step it says that something was recorded.

    ``behind``: the run that works on its target, where it could not begin for that.
    """

    step: str = ""
    label: str = ""
    value: float = 0.0
    unit: str = ""
    at: float = 0.0
    behind: str = ""
