"""The notices that are to go out: kept until they were told, handed out to the listener.

One promise: a notice that is on disk is told at least once or given up after a day, whoever is killed
in between; a service that is dead holds up its own notices only. Towards one service at most
``at_most`` go out in ten minutes; of what is more a number is told, at most once a minute.

A notice that was handed out comes again when nobody has said within ``HANDED_S`` what became of it.
Moments are wall-clock time, since they outlive the process; one that lies further ahead than we set any is
of a clock that was set back since, and counts as past.
Every function takes a connection, runs statements and never commits: the transaction is the caller's.

Not here: what is told (``engine.server.worker.notices``), how it is sent (``engine.server.telling``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from engine import redaction
from engine.journal import rows
from engine.redaction import HERE
from engine.server.messages import Notice, NoticeTold
from engine.server.settings import Notify, seconds
from engine.server.worker.links import Link, Links
from engine.server.worker.notices import LINES, Draft, wanted

if TYPE_CHECKING:
    import sqlite3

SCHEMA = """
CREATE TABLE IF NOT EXISTS notices (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    name TEXT NOT NULL,
    about TEXT NOT NULL,
    run TEXT NOT NULL,
    at REAL NOT NULL,
    due REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    handed_at REAL,
    told_at REAL,
    problem TEXT NOT NULL DEFAULT '',
    folded_in INTEGER,
    draft BLOB NOT NULL,
    UNIQUE (key, name)
);
CREATE INDEX IF NOT EXISTS notices_open ON notices (name, due) WHERE told_at IS NULL;
CREATE INDEX IF NOT EXISTS notices_told ON notices (name, told_at) WHERE told_at IS NOT NULL;
"""

#: After so long without word a notice that was handed out is handed out again.
HANDED_S = 90.0
#: So many of one service are on their way at once.
AT_ONCE = 4
#: The stretch that ``at_most`` is counted over, and how often a number is told beyond it.
WINDOW_S, SUMMARY_S = 600.0, 60.0
#: Waits between tries: the first, the longest; and when it is given up.
FIRST_WAIT_S, LONGEST_WAIT_S, GIVEN_UP_S = 15.0, 900.0, 86400.0

_OPEN = "told_at IS NULL AND name = :name"


def add(db: sqlite3.Connection, drafts: Iterable[Draft | None], notify: Sequence[Notify]) -> int:
    """Keep what is to be told, for each who wants to hear it; gives how many are new."""
    new = 0
    for draft in drafts:
        if draft is None:
            continue
        clean = redaction.HERE.struct(draft)
        new += sum(_put(db, clean, one.name) for one in notify if wanted(draft, one))
    return new


def _put(db: sqlite3.Connection, draft: Draft, name: str) -> int:
    row = (draft.key, name, draft.about, draft.run, draft.at, draft.at, rows.encode(draft))
    return db.execute(
        "INSERT OR IGNORE INTO notices (key, name, about, run, at, due, draft) VALUES (?,?,?,?,?,?,?)", row
    ).rowcount


def hand_out(
    db: sqlite3.Connection, notify: Sequence[Notify], links: Links | None, now: float, limit: int = 20
) -> tuple[Notice, ...]:
    """The notices that are to be sent now, the most pressing first; they count as handed out.

    ``links``: makes the links of notices about approvals; None for none.
    """
    found: list[Notice] = []
    for one in notify:
        for id_, draft in _due(db, one, now)[: max(0, limit - len(found))]:
            db.execute("UPDATE notices SET handed_at = ? WHERE id = ?", (now, id_))
            found.append(_notice(id_, draft, one, links, now))
    return tuple(found)


def settle(
    db: sqlite3.Connection, told: NoticeTold, now: float
) -> Literal["told", "again", "given up", "unknown"]:
    """Write down what became of a notice; gives what is done now."""
    row = db.execute(
        "SELECT name, at, tries FROM notices WHERE id = ? AND told_at IS NULL", (told.notice,)
    ).fetchone()
    if row is None:
        return "unknown"
    name, at, tries = row
    problem = HERE.text(told.problem)[:500]
    if not problem or now - at >= GIVEN_UP_S:
        db.execute("UPDATE notices SET told_at = ?, problem = ? WHERE id = ?", (now, problem, told.notice))
        return "given up" if problem else "told"
    wait = min(FIRST_WAIT_S * 2 ** min(tries, 10), LONGEST_WAIT_S)
    db.execute(
        "UPDATE notices SET tries = tries + 1, problem = ?, handed_at = NULL WHERE id = ?",
        (problem, told.notice),
    )
    # the service is in trouble, not this notice: all of its others wait as well
    db.execute(
        f"UPDATE notices SET due = max(due, :due) WHERE {_OPEN} AND handed_at IS NULL",  # noqa: S608 - our own text
        {"due": now + wait, "name": name},
    )
    return "again"


def withdraw(db: sqlite3.Connection, run: str, now: float) -> None:
    """A run waits no more: what was not told about its waiting need not be."""
    db.execute(
        "UPDATE notices SET told_at = ?, problem = 'it waits no more'"
        " WHERE run = ? AND about = 'waiting' AND told_at IS NULL",
        (now, run),
    )


def give_up(db: sqlite3.Connection, notify: Sequence[Notify], now: float) -> int:
    """Give up what is older than a day, or for somebody who is no more in the settings; gives how many."""
    names = msgspec.json.encode([one.name for one in notify]).decode()
    return db.execute(
        "UPDATE notices SET told_at = ?, problem = problem || ' (given up)' WHERE told_at IS NULL"
        " AND (at <= ? OR name NOT IN (SELECT value FROM json_each(?)))",
        (now, now - GIVEN_UP_S, names),
    ).rowcount


def forget(db: sqlite3.Connection, before: float) -> None:
    """Rows of notices that were told, or given up, before a moment."""
    db.execute("DELETE FROM notices WHERE told_at IS NOT NULL AND told_at < ?", (before,))


def waiting(db: sqlite3.Connection) -> int:
    """How many have not gone out yet."""
    (number,) = db.execute("SELECT count(*) FROM notices WHERE told_at IS NULL").fetchone()
    return int(number)


def _due(db: sqlite3.Connection, one: Notify, now: float) -> list[tuple[int, Draft]]:
    """What may go out to one service now; what is too much is folded into a number."""
    on_the_way, lately, summary_at = _lately(db, one.name, now)
    rows = db.execute(
        f"SELECT id, draft FROM notices WHERE {_OPEN} AND (due <= :now OR due > :latest)"  # noqa: S608 - our own text
        " AND (handed_at IS NULL OR handed_at <= :silent OR handed_at > :now)"
        " ORDER BY about != 'waiting', about = 'ended', id LIMIT 1000",
        {"name": one.name, "now": now, "silent": now - HANDED_S, "latest": now + LONGEST_WAIT_S},
    ).fetchall()
    open_ = [(int(id_), msgspec.json.decode(draft, type=Draft)) for id_, draft in rows]
    left = max(0, one.at_most - lately)
    go, more = open_[:left], [pair for pair in open_[left:] if not pair[1].key.startswith(_SUMMARY)]
    again = [pair for pair in open_[left:] if pair[1].key.startswith(_SUMMARY)]
    if more and now - summary_at >= SUMMARY_S:
        again.append(_fold(db, one, more, now))
    return [*go, *again][: max(0, AT_ONCE - on_the_way)]


_SUMMARY = "summary/"


def _lately(db: sqlite3.Connection, name: str, now: float) -> tuple[int, int, float]:
    """How many are on their way, how many went out or are on their way of late, and the last number."""
    facts = {
        "name": name, "now": now, "silent": now - HANDED_S, "window": now - WINDOW_S,
        "summary": f"{_SUMMARY}%",
    }  # fmt: skip
    (on_the_way,) = db.execute(
        f"SELECT count(*) FROM notices WHERE {_OPEN} AND handed_at > :silent AND handed_at <= :now",  # noqa: S608 - our own text
        facts,
    ).fetchone()
    (told,) = db.execute(
        "SELECT count(*) FROM notices WHERE name = :name AND told_at > :window AND told_at <= :now"
        " AND problem = '' AND folded_in IS NULL AND key NOT LIKE :summary",
        facts,
    ).fetchone()
    (summary_at,) = db.execute(
        "SELECT coalesce(max(at), :window) FROM notices"
        " WHERE name = :name AND at > :window AND at <= :now AND key LIKE :summary",
        facts,
    ).fetchone()
    return int(on_the_way), int(told) + int(on_the_way), float(summary_at)


def _fold(
    db: sqlite3.Connection, one: Notify, more: Sequence[tuple[int, Draft]], now: float
) -> tuple[int, Draft]:
    """One notice in place of many."""
    drafts = [draft for _, draft in more]
    asking = sum(draft.about == "waiting" for draft in drafts)
    waits = f"; {asking} of them {'waits' if asking == 1 else 'wait'} for an answer" if asking else ""
    number = len(drafts)
    summary = Draft(
        key=f"{_SUMMARY}{more[0][0]}/{now:.3f}",
        at=now,
        about="waiting" if asking else "ended",
        sentence=f"{number:,} more {'notice' if number == 1 else 'notices'}, told as one{waits}",
        evidence=tuple(draft.sentence for draft in drafts[:LINES]),
        path="/",
    )
    _put(db, summary, one.name)
    (id_,) = db.execute(
        "SELECT id FROM notices WHERE key = ? AND name = ?", (summary.key, one.name)
    ).fetchone()
    folded = msgspec.json.encode([row for row, _ in more]).decode()
    db.execute(
        "UPDATE notices SET told_at = ?, folded_in = ? WHERE id IN (SELECT value FROM json_each(?))",
        (now, id_, folded),
    )
    return int(id_), summary


def _notice(id_: int, draft: Draft, one: Notify, links: Links | None, now: float) -> Notice:
    """A draft as it goes to one person, with a link of theirs where they can answer by one."""
    link, until = "", min(now + seconds(one.link_for), draft.link_until)
    if links is not None and one.person and draft.digest and until > now:
        link = links.path(Link(run=draft.run, digest=draft.digest, person=one.person, until=until))
    return Notice(
        id=id_,
        to=one.name,
        at=draft.at,
        about=draft.about,
        run=draft.run,
        outcome=draft.outcome,
        target=draft.target,
        runbook=draft.runbook,
        sentence=draft.sentence,
        evidence=draft.evidence,
        path=draft.path,
        link=link,
    )
