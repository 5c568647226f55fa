"""All rows of a journal held against the chain: what was altered, removed, moved, cut off, forged.

One promise: nothing is called whole that was not checked. What can't be checked, since the key or the
anchor is not at hand, is said, and counts as not shown to be whole.

Not here: one row's hash (``chain``), the tables beside the chain (``derived``).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import msgspec

from engine import text
from engine.journal import chain
from engine.journal.chain import SEAL, Damage, End, Row
from engine.journal.keys import Key
from engine.journal.rows import DETAILS, Cut, decode
from engine.record import Pruned


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """What was found.

    Attributes:
        damages: Every place where the journal is not what was written.
        unchecked: What could not be checked, a sentence each.
        rows: How many there are.
        keyed_from: The first row that was made with a key; 0 for none. An earlier release made those before.
        dropped: Rows whose content went after the time for which runs are kept; on record, and chained.
        keys: Ids of the keys with which rows were made.
    """

    damages: tuple[Damage, ...] = ()
    unchecked: tuple[str, ...] = ()
    rows: int = 0
    keyed_from: int = 0
    dropped: int = 0
    keys: tuple[str, ...] = ()


class Against(NamedTuple):
    """What a journal is held against.

    Attributes:
        keys: Those at hand, by id.
        anchor: The end as noted beside the database; None when there is none.
        tip: Row and hash (hex) that somebody kept elsewhere.
        expects_key: It was made by a release that keys rows, or a key was made for it.
        complete: It is a journal in its place, so an absent anchor was removed.
    """

    keys: Mapping[str, Key] = {}
    anchor: End | None = None
    tip: tuple[int, str] | None = None
    expects_key: bool = True
    complete: bool = True


def examine(rows: Iterable[Row], against: Against) -> Findings:
    """Hold all rows (by rising number) against the chain, the anchor and a tip kept elsewhere."""
    walk = _Walk(against)
    for row in rows:
        walk.step(row)
    walk.finish()
    return Findings(
        damages=tuple(walk.found),
        unchecked=tuple(walk.unchecked()),
        rows=walk.count,
        keyed_from=walk.keyed_from,
        dropped=sum(map(len, walk.dropped.values())),
        keys=tuple(dict.fromkeys((*walk.checked_with, *walk.unknown))),
    )


class _Walk:
    """One pass over the rows."""

    def __init__(self, against: Against) -> None:
        self._against = against
        self.found: list[Damage] = []
        self.count = self._last = self.keyed_from = 0
        self._tip = chain.ROOT
        self._anchored = self._tipped = False
        self.checked_with: dict[str, None] = {}
        self.unknown: dict[str, list[int]] = {}
        self.dropped: dict[str, dict[int, bytes]] = {}
        self._pruned: dict[str, list[Pruned]] = {}

    def step(self, row: Row) -> None:
        """One row: its place, its hash, its content."""
        self.count += 1
        if row.seq != self._last + 1:
            self.found.append(_missing(self._last + 1, row.seq - 1, "removed"))
        elif row.prev != self._tip:
            self._say(row, "moved", f"it was not written after row {self._last} as that stands now")
        why = self._unkeyed(row) if row.seal is None else self._keyed(row)
        if why:
            self._say(row, *why)
        self._content(row)
        self._ends(row)
        self._last, self._tip = row.seq, row.hash

    def _unkeyed(self, row: Row) -> tuple[str, str] | None:
        """Why a row of an earlier release is not what was written."""
        if self.keyed_from:
            return "forged", "it carries no key, and rows before it do"
        if row.kind is not None:
            return "altered", "it says of what kind it is, which no earlier release did"
        if not row.dropped and chain.link(row.prev, row.seq, row.run, row.body) != row.hash:
            return "altered", "its content does not match its hash"
        return None

    def _keyed(self, row: Row) -> tuple[str, str] | None:
        """Why a keyed row is not what was written, as far as the keys at hand tell."""
        self.keyed_from = self.keyed_from or row.seq
        seal, kind = row.seal or "", row.kind or ""
        if not seal.startswith(SEAL):
            return "altered", f"{seal!r} is no way of ours to make a row"
        if not row.dropped and chain.kind_of(row.body) != kind:
            return "altered", f"its content is no {kind or 'event'}"
        name = seal.removeprefix(SEAL)
        key = self._against.keys.get(name)
        if key is None:
            self.unknown.setdefault(name, []).append(row.seq)
            if self._against.keys:
                return "forged", f"it was made with the key {name}, which is none of those at hand"
            return None
        self.checked_with[name] = None
        if not hmac.compare_digest(chain.keyed(key, row), row.hash):
            return "altered", "its content does not match its hash, or it was made without the key"
        return None

    def _content(self, row: Row) -> None:
        """Note contents that are gone, and who is on record for them."""
        if row.dropped:
            self.dropped.setdefault(row.run, {})[row.seq] = chain.digest_of(row.body)
            if row.kind is not None and row.kind not in DETAILS:
                self._say(row, "dropped", f"{row.kind} is never dropped")
        elif not row.run and isinstance(event := decode(row.body), Cut):
            rows = (
                f"row {event.first}" if event.first == event.last else f"rows {event.first} to {event.last}"
            )
            when = text.moment(event.at)
            said = f"{rows} had been cut off at the end when the journal was opened to go on, {when}"
            self.found.append(Damage(seq=event.first, what="cut-off", sentence=said))
        elif chain.kind_of(row.body) == "pruned" and isinstance(event := decode(row.body), Pruned):
            self._pruned.setdefault(row.run, []).append(event)

    def _ends(self, row: Row) -> None:
        """Hold a row against the anchor and the tip that names it."""
        anchor, tip = self._against.anchor, self._against.tip
        if anchor is not None and row.seq == anchor.seq:
            self._anchored = True
            if row.hash != anchor.hash:
                self._say(row, "altered", "the anchor holds another hash for it")
        if tip is not None and row.seq == tip[0]:
            self._tipped = True
            if row.hash.hex() != tip[1].lower():
                self._say(row, "altered", "the tip that was kept elsewhere holds another hash for it")

    def finish(self) -> None:
        """What can be said only once all rows are known."""
        self._check_dropped()
        self._check_anchor()
        tip = self._against.tip
        if tip is not None and tip[0] and not self._tipped:
            said = f"row {tip[0]}, the tip that was kept elsewhere, is gone"
            self.found.append(Damage(seq=tip[0], what="cut-off", sentence=said))
        if self.count and not self.keyed_from and self._against.expects_key:
            said = f"rows 1 to {self._last} carry no key, though there is one: the journal was made anew"
            self.found.append(Damage(seq=1, what="forged", sentence=said))

    def _check_dropped(self) -> None:
        for run, gone in self.dropped.items():
            events = self._pruned.get(run, ())
            named = [seq for event in events for a, b in self._real(event) for seq in range(a, b + 1)]
            for seq in sorted(gone.keys() - set(named)):
                said = f"the content of row {seq} of run {run} is gone, and nobody is on record for it"
                self.found.append(Damage(seq=seq, run=run, what="dropped", sentence=said))
        for run, events in self._pruned.items():
            gone = self.dropped.get(run, {})
            for event in events:
                if event.rows and event.digest != digest_over(self._real(event), gone):
                    first, last = event.rows[0][0], event.rows[-1][1]
                    said = f"rows {first} to {last} of run {run}, whose content was dropped, were altered"
                    self.found.append(Damage(seq=first, run=run, what="altered", sentence=said))

    def _real(self, event: Pruned) -> list[tuple[int, int]]:
        """The rows that it names, as far as there can be such; a forged one may name any number."""
        return [(first, last) for first, last in event.rows if 0 < first <= last <= self._last]

    def _check_anchor(self) -> None:
        anchor = self._against.anchor
        if anchor is None:
            if self._last and self._against.complete:
                said = "the anchor is missing or unreadable"
                self.found.append(Damage(seq=self._last, what="anchor", sentence=said))
            return
        if self.keyed_from and not anchor.key and self.keyed_from < self._last:
            said = "the anchor carries no key, though rows do: it was made anew"
            self.found.append(Damage(seq=anchor.seq, what="anchor", sentence=said))
        key = self._against.keys.get(anchor.key)
        proof = key and chain.anchored(key, anchor.seq, anchor.hash)
        if (proof and proof != anchor.proof) or (anchor.key and not key and self._against.keys):
            said = "the anchor was altered, or made without the key"
            self.found.append(Damage(seq=anchor.seq, what="anchor", sentence=said))
        if anchor.seq > self._last:
            self.found.append(_missing(self._last + 1, anchor.seq, "cut-off"))
        elif not self._anchored and anchor.seq:
            said = f"row {anchor.seq}, the anchored one, is gone"
            self.found.append(Damage(seq=anchor.seq, what="removed", sentence=said))

    def unchecked(self) -> Iterable[str]:
        """What could not be checked, and with what it could be."""
        if self.unknown and not self._against.keys:
            for name, seqs in self.unknown.items():
                yield (
                    f"rows {seqs[0]} to {seqs[-1]} were made with the key {name}, which is not here: their"
                    " order was checked; whether somebody made them anew was not (--key FILE)"
                )
        if self._against.anchor is None and not self._against.complete and self._against.tip is None:
            yield "there is no anchor beside it: rows cut off at its end would not be seen (--tip ROW:HASH)"

    def _say(self, row: Row, what: str, why: str) -> None:
        said = (
            f"row {row.seq} of run {row.run} was {what}: {why}"
            if row.run
            else f"row {row.seq} was {what}: {why}"
        )
        self.found.append(Damage(seq=row.seq, run=row.run, what=what, sentence=said))


def digest_over(stretches: Iterable[tuple[int, int]], digests: Mapping[int, bytes]) -> str:
    """What ``Pruned`` names its rows by: SHA-256 over their numbers and digests."""
    whole = hashlib.sha256()
    for first, last in stretches:
        for seq in range(first, last + 1):
            whole.update(b"%d %b\n" % (seq, digests.get(seq, b"")))
    return whole.hexdigest()


def _missing(first: int, last: int, what: str) -> Damage:
    rows = f"row {first} is" if first == last else f"rows {first} to {last} are"
    place = " at the end" if what == "cut-off" else ""
    return Damage(seq=first, what=what, sentence=f"{rows} missing{place}")
