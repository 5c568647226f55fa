"""The SQL of the journal.

Not here: the tables (``tables``), when which statement is run (``store``, ``retention``, ``derived``).
"""

from __future__ import annotations

TIP = "SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1"
TIP_SEAL = "SELECT seal FROM events ORDER BY seq DESC LIMIT 1"
CHAIN = (
    "SELECT e.seq, CASE WHEN e.run = 0 THEN '' ELSE coalesce(r.id, '?') END, e.kind, e.seal, "
    "CAST(e.prev AS BLOB), CAST(e.hash AS BLOB), CAST(e.body AS BLOB) "
    "FROM events e LEFT JOIN runs r ON r.number = e.run ORDER BY e.seq"
)
CONTENTS = "SELECT seq, run, seal, CAST(body AS BLOB) FROM events ORDER BY seq"
HEADS = "SELECT number, id, started_at, pruned, CAST(head AS BLOB) FROM runs"
ADD_EVENT = "INSERT INTO events (seq, run, kind, seal, prev, hash, body) VALUES (?, ?, ?, ?, ?, ?, ?)"
EVENTS_OF_RUN = "SELECT CAST(body AS BLOB) FROM events WHERE run = ? ORDER BY seq"
BODIES = (
    "SELECT e.seq, CAST(e.body AS BLOB) FROM events e JOIN runs r ON r.number = e.run "
    "WHERE r.id = ? AND e.seq > ? ORDER BY e.seq"
)
#: Kinds stand in the index, so that the content of what is passed over is never read.
BRIEF = (
    "SELECT CAST(body AS BLOB) FROM events WHERE run = ? "
    "AND (kind IS NULL OR kind NOT IN (SELECT value FROM json_each(?))) ORDER BY seq"
)
OF_NO_RUN = "SELECT CAST(body AS BLOB) FROM events WHERE run = 0 ORDER BY seq"

ADD_RUN = "INSERT INTO runs (id, started_at, head) VALUES (?, ?, ?)"
END_RUN = "UPDATE runs SET head = ? WHERE number = ?"
HEAD_BY_NUMBER = "SELECT head FROM runs WHERE number = ?"
RUN_BY_ID = "SELECT number, head FROM runs WHERE id = ?"
RUNS = "SELECT head FROM runs ORDER BY started_at DESC, number DESC LIMIT ?"
#: A called run's id holds a full stop: it is meant only where it is named itself.
LAST_RUN = (
    "SELECT number, head FROM runs WHERE instr(id, '.') = 0 ORDER BY started_at DESC, number DESC LIMIT 1"
)
RUNS_BY_PREFIX = (
    "SELECT number, head, id FROM runs WHERE substr(id, 1, length(?1)) = ?1 "
    "AND (instr(id, '.') = 0 OR instr(?1, '.') > 0) ORDER BY id LIMIT 20"
)
CALLED_BY = "SELECT id FROM runs WHERE substr(id, 1, length(?1) + 1) = ?1 || '.' ORDER BY number"
ACTIVE = (
    "SELECT r.number, r.head, m.last_at, (SELECT max(settled_at) FROM attempts a WHERE a.run = r.number) "
    "FROM runs r LEFT JOIN moments m ON m.run = r.number "
    "WHERE r.started_at < ?1 AND (m.last_at IS NULL OR m.last_at >= ?2) ORDER BY r.started_at, r.number"
)
TOUCH = "INSERT OR REPLACE INTO moments (run, last_at) VALUES (?, ?)"

CHANGES = (
    "SELECT run, number, seq, target, remediation, state, intended_at, settled_at, lease_until FROM attempts"
)
ADD_ATTEMPT = (
    "INSERT INTO attempts (run, number, seq, target, remediation, intended_at, lease_until) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
EXTEND_ATTEMPT = "UPDATE attempts SET lease_until = ? WHERE run = ? AND number = ?"
APPLY_ATTEMPT = "UPDATE attempts SET state = 'applied' WHERE run = ? AND number = ?"
SETTLE_ATTEMPT = "UPDATE attempts SET state = ?, settled_at = ? WHERE run = ? AND number = ?"
_ATTEMPT_ROWS = (
    "SELECT r.id, a.number, a.target, a.remediation, a.state, "
    "a.intended_at, a.settled_at, a.lease_until, e.body "
    "FROM attempts a JOIN runs r ON r.number = a.run JOIN events e ON e.seq = a.seq "
)
ATTEMPTS = _ATTEMPT_ROWS + (
    "WHERE (? IS NULL OR r.id = ?) AND a.intended_at >= ? AND (? IS NULL OR a.target = ?) ORDER BY a.seq"
)
LEASES = _ATTEMPT_ROWS + "WHERE a.state = 'leased' AND a.lease_until <= ? ORDER BY a.seq DESC"
STANDING = _ATTEMPT_ROWS + "WHERE a.state NOT IN ('undone', 'not-made') ORDER BY a.seq"

OLD_RUNS = (
    "SELECT r.number, r.id, r.head, r.started_at, m.last_at "
    "FROM runs r LEFT JOIN moments m ON m.run = r.number WHERE r.pruned IS NULL ORDER BY r.number"
)
KINDS_OF_RUN = "SELECT seq, kind FROM events WHERE run = ? ORDER BY seq"
BODY = "SELECT CAST(body AS BLOB) FROM events WHERE seq = ?"
DROP_BODY = "UPDATE events SET body = ? WHERE seq = ?"
PRUNE_RUN = "UPDATE runs SET pruned = ? WHERE number = ?"
