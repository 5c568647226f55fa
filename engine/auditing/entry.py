"""One row of the audit: one thing that somebody may have to answer for.

Not here: which things those are (``engine.auditing.rows``).
"""

from __future__ import annotations

import msgspec

#: How an answer came, in words.
_WAYS = {
    "command": "by command",
    "page": "on the page",
    "link": "by a signed link",
    "terminal": "at the terminal",
    "engine": "by the engine",
}


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One row.

    Attributes:
        at: ISO-8601, UTC.
        what: ``run``, ``dry-run``, ``refused start`` · ``alert`` · ``change``, ``rehearsed``, ``refusal`` ·
            ``request``, ``approval``, ``denial``, ``expiry``, ``void``, ``withdrawal``, ``question``,
            ``answer``, ``barred`` · ``lease``, ``undo``, ``resumed``, ``pruned``, ``end``, ``key``, ``cut``.
        subject: A runbook, a remediation, an alert.
        state: The outcome, or how the change stands.
        by: Who did it; for a run who asked for it.
        because: Why.
        leave: By whose leave: a person, with the way their yes came, or the policy.
        before, after: The setting's values, as an operator reads them.
        verified: How it was proven: the goal's values, and what was predicted beside what was measured.
        later: What became of it after the run, when, and by whom.
    """

    at: str
    run: str
    what: str
    subject: str
    detail: str
    state: str
    by: str
    because: str
    target: str = ""
    leave: str = ""
    before: str = ""
    after: str = ""
    verified: str = ""
    later: str = ""


def way(via: str) -> str:
    """How an answer came, in words."""
    return _WAYS.get(via, f"by {via}" if via else "")
