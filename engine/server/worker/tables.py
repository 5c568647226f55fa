"""The queue's tables: their shape and the statements on them.

Not here: transactions and what rows mean (``engine.server.worker.queue``); sessions (``people``) and
notices (``notices``), whose tables stand in the same file.
"""

from __future__ import annotations

#: Of the tables; a queue with a higher one was written by a later release.
VERSION = 2

#: ``told``: its run's journal knows of the alert. ``due``: when an alert is to be judged again; when a
#: waiting run's question expires.
SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS alerts (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body BLOB NOT NULL, sender TEXT NOT NULL,
    received_at REAL NOT NULL, seen INTEGER NOT NULL DEFAULT 1, last_at REAL NOT NULL, fate TEXT NOT NULL,
    because TEXT NOT NULL, run TEXT NOT NULL, trace BLOB NOT NULL, name TEXT NOT NULL,
    fingerprint TEXT NOT NULL, starts_at REAL NOT NULL, status TEXT NOT NULL, told INTEGER NOT NULL,
    due REAL
);
CREATE INDEX IF NOT EXISTS alerts_by_cause ON alerts (fingerprint, status, starts_at);
CREATE INDEX IF NOT EXISTS alerts_by_run ON alerts (run) WHERE run != '';
CREATE INDEX IF NOT EXISTS alerts_by_name ON alerts (name, received_at);
CREATE INDEX IF NOT EXISTS alerts_by_time ON alerts (received_at);
CREATE INDEX IF NOT EXISTS alerts_by_last ON alerts (last_at);
CREATE INDEX IF NOT EXISTS alerts_untold ON alerts (number) WHERE told = 0;
CREATE INDEX IF NOT EXISTS alerts_due ON alerts (due, number) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, runbook TEXT NOT NULL, path TEXT NOT NULL,
    target TEXT NOT NULL, inputs BLOB NOT NULL, alert TEXT NOT NULL, by TEXT NOT NULL,
    dry_run INTEGER NOT NULL, doing TEXT NOT NULL, state TEXT NOT NULL, tries INTEGER NOT NULL DEFAULT 0,
    queued_at REAL NOT NULL, started_at REAL, ended_at REAL, outcome TEXT NOT NULL DEFAULT '', due REAL
);
CREATE INDEX IF NOT EXISTS jobs_by_cause ON jobs (runbook, target, number);
CREATE INDEX IF NOT EXISTS jobs_open ON jobs (state) WHERE state != 'ended';
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (ended_at);
CREATE TABLE IF NOT EXISTS counters (
    kind TEXT NOT NULL, name TEXT NOT NULL, value REAL NOT NULL, PRIMARY KEY (kind, name)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
COMMIT;
"""

#: From the tables of version 1.
FROM_1 = "ALTER TABLE alerts ADD COLUMN due REAL"

# ── alerts ──────────────────────────────────────────────────────────────────────

ADD_ALERT = (
    "INSERT INTO alerts (id, body, sender, received_at, last_at, fate, because, run, trace, name, "
    "fingerprint, starts_at, status, told, due) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHANGE_ALERT = "UPDATE alerts SET fate = ?, because = ?, run = ?, trace = ?, told = ?, due = ? WHERE id = ?"
SEEN_AGAIN = "UPDATE alerts SET seen = seen + 1, last_at = ? WHERE id = ?"
ALERT = (
    "SELECT a.fate, a.run, coalesce(j.state, ''), coalesce(j.outcome, '') FROM alerts a "
    "LEFT JOIN jobs j ON j.id = a.run WHERE a.id = ?"
)
#: Alerts that are to be judged again by now; those for which there was no room (0) when there is some.
DUE = "SELECT body, sender, last_at FROM alerts WHERE due >= ? AND due <= ? ORDER BY due, number LIMIT ?"
MOVE_ALERTS = (
    "UPDATE alerts SET run = ?, because = ?, told = CASE WHEN id = ? THEN 0 ELSE told END "
    "WHERE run = ? AND status = 'firing'"
)
NOT_DUE = "UPDATE alerts SET due = NULL WHERE id = ?"
FULL = "SELECT count(*) FROM alerts WHERE due = 0"
RESOLVED = "SELECT 1 FROM alerts WHERE fingerprint = ? AND status = 'resolved' AND starts_at >= ? LIMIT 1"
#: Not every sender says when what it resolves began: then it ends what fired last before it.
RUN_OF = (
    "SELECT f.run FROM alerts f WHERE f.fingerprint = ? AND f.status = 'firing' AND f.starts_at <= ? "
    "AND f.run != '' AND NOT EXISTS (SELECT 1 FROM alerts r WHERE r.fingerprint = f.fingerprint "
    "AND r.status = 'resolved' AND r.starts_at >= f.starts_at) ORDER BY f.starts_at DESC LIMIT 1"
)
#: Firing alerts of a run that nobody has resolved.
STILL_FIRING = (
    "SELECT 1 FROM alerts f WHERE f.run = ? AND f.status = 'firing' AND NOT EXISTS (SELECT 1 FROM alerts r "
    "WHERE r.fingerprint = f.fingerprint AND r.status = 'resolved' AND r.starts_at >= f.starts_at) LIMIT 1"
)
#: A run that has never begun has no journal to be written into.
UNTOLD = (
    "SELECT a.id, a.run, a.fate, a.body, a.sender, a.number FROM alerts a WHERE a.told = 0 AND a.number > ? "
    "AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = a.run AND j.state = 'queued' "
    "AND j.started_at IS NULL) ORDER BY a.number LIMIT ?"
)
TELL = "UPDATE alerts SET told = 1 WHERE id = ?"
OLD_ALERTS = (
    "DELETE FROM alerts WHERE number IN (SELECT a.number FROM alerts a WHERE a.last_at < ? AND NOT EXISTS "
    "(SELECT 1 FROM jobs j WHERE j.id = a.run AND j.state != 'ended') ORDER BY a.last_at LIMIT ?)"
)
ALERTS = (
    "SELECT id, sender, body, received_at, seen, last_at, fate, because, run, trace FROM alerts "
    "WHERE (?1 = '' OR substr(id, 1, length(?1)) = ?1) AND (?2 = '' OR name = ?2) AND (?3 = '' OR fate = ?3) "
    "AND (?4 = '' OR run = ?4) AND received_at < ?5 ORDER BY received_at DESC, number DESC LIMIT ?6"
)
#: Names of alerts that fire, with what their runs were about.
FIRING = (
    "SELECT DISTINCT f.name, j.target FROM alerts f JOIN jobs j ON j.id = f.run WHERE f.status = 'firing' "
    "AND f.last_at > ? AND NOT EXISTS (SELECT 1 FROM alerts r WHERE r.fingerprint = f.fingerprint "
    "AND r.status = 'resolved' AND r.starts_at >= f.starts_at) LIMIT 1000"
)

# ── jobs ────────────────────────────────────────────────────────────────────────

_JOB = (
    "id, runbook, path, target, inputs, alert, by, dry_run, doing, state, tries, queued_at, started_at, "
    "ended_at, outcome, due"
)
ADD_JOB = f"INSERT INTO jobs ({_JOB}) VALUES ({', '.join('?' * 16)})"  # noqa: S608 - our own names
JOB = f"SELECT {_JOB} FROM jobs WHERE id = ?"  # noqa: S608
OPEN_JOBS = f"SELECT {_JOB} FROM jobs WHERE state != 'ended' ORDER BY number"  # noqa: S608
#: A dry-run counts only for another; one that was called off before it began for none.
LAST_JOB = (
    f"SELECT {_JOB} FROM jobs WHERE runbook = ? AND target = ? AND dry_run <= ? "  # noqa: S608
    "AND NOT (state = 'ended' AND outcome = 'refused' AND started_at IS NULL) ORDER BY number DESC LIMIT 1"
)
JOB_OF_ALERT = (
    f"SELECT {', '.join('j.' + name.strip() for name in _JOB.split(','))}, a.starts_at FROM alerts a "  # noqa: S608
    "JOIN jobs j ON j.id = a.run WHERE a.fingerprint = ? AND a.status = 'firing' "
    "ORDER BY a.starts_at DESC, a.number DESC LIMIT 1"
)
CHANGE_JOB = (
    "UPDATE jobs SET doing = ?, state = ?, tries = ?, started_at = ?, ended_at = ?, outcome = ?, due = ? "
    "WHERE id = ?"
)
#: When each target's last run began, of the last ones.
LAST_STARTS = (
    "SELECT target, max(started_at) FROM jobs WHERE started_at IS NOT NULL "
    "AND number > (SELECT coalesce(max(number), 0) - 2000 FROM jobs) GROUP BY target"
)
QUEUED = "SELECT count(*) FROM jobs WHERE state = 'queued'"
OLD_JOBS = (
    "DELETE FROM jobs WHERE number IN (SELECT j.number FROM jobs j WHERE j.state = 'ended' "
    "AND j.ended_at < ? AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.run = j.id) "
    "ORDER BY j.ended_at LIMIT ?)"
)

# ── counters ────────────────────────────────────────────────────────────────────

ADD_TO = (
    "INSERT INTO counters (kind, name, value) VALUES (?, ?, ?) "
    "ON CONFLICT (kind, name) DO UPDATE SET value = value + excluded.value"
)
SET = "INSERT OR REPLACE INTO counters (kind, name, value) VALUES (?, ?, ?)"
COUNTERS = "SELECT kind, name, value FROM counters"
COUNTER = "SELECT value FROM counters WHERE kind = ? AND name = ?"
