"""Entries of a BPF map whose owner is gone: taken out one by one, each looked at again right before.

Its promise: an entry goes only if its owner is gone, its value is what was captured, and its owner is
still gone afterwards; else it is put back at once, unless its agent has made a new one meanwhile. In the
few microseconds in between its agent finds no entry, as it would for a new owner.

What is taken out is kept in the journal, up to a bound, and put back where its key is absent. A map goes
with the agent that made it: after its restart there is nothing to put back, and that is said. Where the
map has filled up again there is no room to put back into, and that is said too.

Not here: deciding (``map_cleanup``), the map's entries themselves (``map_elements``).
"""

from __future__ import annotations

import base64
import contextlib
import errno
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import msgspec

from engine.agents.processes import ProcessTable
from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import map_owners
from remediations.knobs.backend import NotChanged, Restored, State
from remediations.knobs.map_elements import KINDS, Table, refusal, table
from remediations.knobs.map_owners import Ownership, Roll

Pair = tuple[bytes, bytes]
_CHUNK = 256  # entries between two looks at the clock


class Cleaning(msgspec.Struct, frozen=True, kw_only=True):
    """What a change takes out: ``Change.after`` as a structure.

    Attributes:
        at_most: Entries in this change.
        per_s: Entries a second.
        keep_bytes: Keys and values that are kept for undo; beyond it entries go for good.
    """

    map_id: int
    pid_at: int
    pid_size: int = 4
    time_at: int | None = None
    at_most: int = 50_000
    per_s: int = 20_000
    keep_bytes: int = 4 << 20

    @property
    def ownership(self) -> Ownership:
        """Where the owner stands."""
        return Ownership(pid_at=self.pid_at, pid_size=self.pid_size, time_at=self.time_at)


class StaleEntries:
    """Backend ``stale-entries``: those of the map ``Knob.map_id``, named ``Knob.map``."""

    name = "stale-entries"

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sleep, self._monotonic = sleep, monotonic

    def read(self, knob: Knob, target: Target) -> KnobValue:  # noqa: ARG002 - the map is in the knob
        """How many entries the map holds."""
        source = f"map {knob.map} ({knob.map_id})"
        try:
            with table(knob.map_id) as held:
                count = sum(1 for _ in held.walk())
        except OSError as error:
            return KnobValue(source=source, missing=f"{source}: {error.strerror}")
        return KnobValue(value=count, raw=str(count), effective=count, source=source)

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:  # noqa: ARG002
        """The stale entries with their values, as far as they may be kept, and how many more there are."""
        wanted = _wanted(change)
        with _opened(change) as held:
            stale = list(islice(_stale(held, wanted.ownership), wanted.at_most))
            kept = max(0, wanted.keep_bytes // (held.key_size + held.value_size))
            if not stale:
                raise ChangedSince(
                    f"no entry of map {held.name} has an owner that is gone any more", fix="look again"
                )
            return {
                "boot": _boot(),
                "map_id": held.id,
                "pairs": _packed(stale[:kept]),
                "kept": min(kept, len(stale)),
                "beyond": len(stale) - min(kept, len(stale)),
                "key_size": held.key_size,
                "value_size": held.value_size,
            }

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Take them out, at the rate that was agreed.

        Raises:
            NotChanged: None of them was stale any more, or the map can't be written.
        """
        wanted = _wanted(change)
        with _opened(change) as held:
            if held.id != captured["map_id"] or _boot() != captured["boot"]:
                raise ChangedSince(f"map {held.name} is another one now", fix="look again")
            gone = self._take(held, wanted, _pairs(captured))
            beyond = int(str(captured["beyond"]))
            if beyond:
                gone += self._take(held, wanted, islice(_stale(held, wanted.ownership), beyond))
        if not gone:
            raise NotChanged(
                f"all {captured['kept']} entries were used again or their owners are back: none was deleted",
                fix="look again",
            )

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """``before`` when all captured keys are there, or have no room to come back into; else ``after``."""
        try:
            with table(int(str(captured["map_id"]))) as held:
                if _boot() != captured["boot"] or held.key_size != captured["key_size"]:
                    return "before"
                return "after" if self._missing(held, captured) else "before"
        except FileNotFoundError:
            return "before"  # the map went with its agent, or with a reload

    def restore(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> Restored:
        """Put back what was captured where its key is absent.

        Raises:
            ChangeFailed: The map can't be written.
        """
        name = change.knob.map
        try:
            with table(int(str(captured["map_id"]))) as held:
                if _boot() != captured["boot"] or held.key_size != captured["key_size"]:
                    return _went(name, target)
                put, there, left = _put_back(held, _pairs(captured))
        except FileNotFoundError:
            return _went(name, target)
        except OSError as error:
            raise ChangeFailed(
                f"the entries of map {name} can't be put back: {error.strerror}",
                fix="leave them out: their owners are gone",
            ) from None
        said = [
            f"{put:,} entries are back in map {name}" if put else "",
            f"{there:,} had come back by themselves" if there and put else "",
            f"for {left:,} there is no room: the map has filled up again" if left else "",
            f"{captured['beyond']:,} more were deleted beyond what was kept" if captured["beyond"] else "",
        ]
        return Restored(reload=False, note="; ".join(filter(None, said)))

    def _take(self, held: Table, wanted: Cleaning, pairs: Iterable[Pair]) -> int:
        """Take entries out, chunk by chunk; gives how many went for good."""
        begun, done, gone = self._monotonic(), 0, 0
        left = iter(pairs)
        while chunk := list(islice(left, _CHUNK)):
            try:
                gone += _take_chunk(held, wanted.ownership, chunk)
            except OSError as error:
                raise refusal(error, held.name) from None
            done += len(chunk)
            ahead = done / wanted.per_s - (self._monotonic() - begun)
            if ahead > 0:
                self._sleep(ahead)
        return gone

    def _missing(self, held: Table, captured: Mapping[str, Setting]) -> bool:
        """Whether a captured key is absent though there is room for it."""
        present = {key for key, _ in held.walk()}
        absent = any(key not in present for key, _ in _pairs(captured))
        return absent and len(present) < held.max_entries


def _take_chunk(held: Table, owned: Ownership, chunk: list[Pair]) -> int:
    """One chunk: look, take out, look again; what turns out to be alive is put back.

    It is put back last: in a full map there is room by then, whoever took the first that came free.
    """
    before = Roll()
    taken: list[Pair] = []
    owed: list[Pair] = []
    for key, value in chunk:
        if not before.gone(owned, key, value):
            continue
        found = held.take(key)
        if found is not None:
            (taken if found == value else owed).append((key, found))
    after = Roll()
    owed += [(key, value) for key, value in taken if not after.gone(owned, key, value)]
    for key, value in owed:
        held.put(key, value)  # unless its agent has made a new one meanwhile
    return len({key for key, _ in taken} - {key for key, _ in owed})


def _put_back(held: Table, pairs: Iterable[Pair]) -> tuple[int, int, int]:
    """How many were put back, were there, and found no room."""
    put = there = left = 0
    for key, value in pairs:
        try:
            added = held.put(key, value)
        except OSError as error:
            if error.errno not in (errno.E2BIG, errno.ENOSPC, errno.ENOMEM):
                raise
            left += 1
            continue
        put, there = put + added, there + (not added)
    return put, there, left


def _stale(held: Table, owned: Ownership) -> Iterator[Pair]:
    roll = Roll()
    return ((key, value) for key, value in held.walk() if roll.gone(owned, key, value))


def _wanted(change: Change) -> Cleaning:
    return msgspec.convert(change.after, Cleaning)


@contextlib.contextmanager
def _opened(change: Change) -> Iterator[Table]:
    """The change's map, when it can be cleaned at all.

    Raises:
        NotChanged: It is gone, not ours to open, or of a kind that can't be cleaned.
    """
    wanted, name = _wanted(change), change.knob.map
    if why := map_owners.blind():
        raise NotChanged(why, fix="run it in the host's pid namespace")
    with contextlib.ExitStack() as stack:
        try:
            held = stack.enter_context(table(wanted.map_id))
        except OSError as error:
            raise NotChanged(
                f"map {name} ({wanted.map_id}) can't be opened: {error.strerror}", fix="look again"
            ) from None
        if held.type not in KINDS or wanted.pid_at + wanted.pid_size > held.key_size:
            raise NotChanged(
                f"map {held.name} ({held.id}, {held.kind}) is not the one that was looked at",
                fix="look again",
            )
        yield held


def _went(name: str, target: Target) -> Restored:
    table = ProcessTable()
    running = [table.process(one.pid) for one in target.processes]
    runs = any(
        now is not None and one.started_ticks in (0, now.started_ticks)
        for one, now in zip(target.processes, running, strict=True)
    )
    how = "is gone though its agent runs (a reload made a new one?)" if runs else "went with its agent"
    return Restored(reload=False, note=f"map {name} {how}: nothing to put back")


def _boot() -> str:
    """Ids of maps start anew with each boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()


def _packed(pairs: list[Pair]) -> str:
    return base64.b64encode(zlib.compress(b"".join(key + value for key, value in pairs))).decode()


def _pairs(captured: Mapping[str, Setting]) -> list[Pair]:
    raw = zlib.decompress(base64.b64decode(str(captured["pairs"])))
    key, value = int(str(captured["key_size"])), int(str(captured["value_size"]))
    starts = range(0, len(raw), key + value)
    return [(raw[at : at + key], raw[at + key : at + key + value]) for at in starts]
