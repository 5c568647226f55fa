"""What SQLite and the system say of the journal, in the operator's words, with what to do about it.

Not here: what is wrong with its content (``examining``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import JournalUnavailable


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the system say into the operator's words.

    Raises:
        JournalUnavailable: In place of every ``sqlite3.Error`` and ``OSError``.
    """
    import sqlite3  # noqa: PLC0415

    try:
        yield
    except (sqlite3.Error, OSError) as error:
        reason = (
            (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        )
        raise JournalUnavailable(
            f"the journal {path} can't be used: {reason}; without it nothing is changed",
            fix=way_out(reason, path),
        ) from error


def way_out(reason: str, path: Path) -> str:
    """What to do about what SQLite or the system said."""
    for words, advice in (
        ("full", f"free space on the file system of {path}, or choose another place with --state"),
        ("No space", f"free space on the file system of {path}, or choose another place with --state"),
        ("locked", "another runbook is writing: try again, or see runbook runs"),
        ("malformed", f"move {path} aside, keep it for the audit, and start again"),
        ("not a database", f"move {path} aside, keep it for the audit, and start again"),
        ("later release", "use that release, or another place with --state"),
        ("append-only", "report this: the journal refused to be rewritten"),
        ("UNIQUE", "try again: two runs chose the same id or number"),
    ):
        if words in reason:
            return advice
    return "run as the user who owns it (root for /var/lib/runbook), or choose another place with --state"
