"""What was allocated in a window and not freed at its end: by site, by age, and how it grows.

Pure. Its promise: growth is what was allocated in the first half of the window and outlived the second:
what lives shorter than half a window can't look like a leak. Its range comes from eight stretches of the
first half, one fact each. A cache at its bound also has survivors; it gives older memory back instead,
which the net growth shows.

Not here: watching (``bpf.probes.allocations``), naming addresses (``bpf.stacks.naming``).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from bpf.memory.growth import Growth, estimate
from bpf.memory.telling import Readings, known, missing
from engine.values import Scalar

_STRETCHES = 8
_MOST_SITES = 30
_SOURCE = "uprobes on the allocator"
_UNNAMED = "[unknown]"
_PER_S, _RATE = "bytes/s", "1/s"


class Site(msgspec.Struct, frozen=True):
    """Where memory was asked for.

    Attributes:
        function: The program's own function nearest to the allocator.
        module: Its file.
        stack: Functions, the innermost first.
        named: False when only the file and the place in it are known.
    """

    function: str
    module: str
    stack: tuple[str, ...] = ()
    named: bool = True


class Piece(msgspec.Struct, frozen=True):
    """One allocation that is not freed: bytes, seconds since the watching began, where."""

    bytes: int
    born_s: float
    site: Site


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """All calls of the watching, followed or not.

    Attributes:
        hits: Probe hits.
        older: Frees of memory that was not followed.
        no_room: Allocations that our table had no room for.
        held, released: Bytes in the allocator's own sizes; 0 where those are not known.
    """

    hits: int = 0
    calls: int = 0
    bytes: int = 0
    frees: int = 0
    older: int = 0
    freed: int = 0
    followed: int = 0
    no_room: int = 0
    held: int = 0
    released: int = 0


def together(tallies: Sequence[Tally]) -> Tally:
    """Several processes' counts as one."""
    columns = zip(*(msgspec.structs.astuple(one) for one in tallies), strict=True)
    return Tally(**dict(zip(Tally.__struct_fields__, map(sum, columns), strict=True)))


def since(before: Tally, after: Tally) -> Tally:
    """What came in between."""
    pairs = zip(msgspec.structs.astuple(before), msgspec.structs.astuple(after), strict=True)
    return Tally(**{name: b - a for name, (a, b) in zip(Tally.__struct_fields__, pairs, strict=True)})


class Watched(msgspec.Struct, frozen=True, kw_only=True):
    """What was seen.

    Attributes:
        seconds: How long. one_in: one of so many allocations was followed.
        net: Growth of held minus released over time; None where the allocator's sizes are not known.
    """

    pieces: Sequence[Piece]
    tally: Tally
    seconds: float
    one_in: int = 1
    net: Growth | None = None


def readings(seen: Watched, allocator: str) -> Readings:
    """All readings."""
    return {**_rates(seen), **_growth(seen), **_net(seen), **_top(seen)} | {
        "allocator": known(allocator, "", "its files' symbols"),
        "sampled_one_in": known(seen.one_in, "", "option one_in"),
        "watched_s": known(seen.seconds, "s", _SOURCE),
        "probe_hits_per_s": known(seen.tally.hits / seen.seconds, _RATE, _SOURCE),
        "not_followed": known(seen.tally.no_room * seen.one_in, "", _SOURCE),
    }


def rows(seen: Watched) -> tuple[dict[str, Scalar], ...]:
    """A row for each site, the one with the most old bytes first."""
    half, whole = seen.seconds / 2, sum(piece.bytes for piece in seen.pieces) or 1
    held: dict[Site, list[Piece]] = defaultdict(list)
    for piece in seen.pieces:
        held[piece.site].append(piece)
    found: list[dict[str, Scalar]] = []
    for site, pieces in held.items():
        amount, old = (
            sum(piece.bytes for piece in pieces),
            sum(piece.bytes for piece in pieces if piece.born_s < half),
        )
        found.append(
            {
                "site": site.function,
                "module": site.module,
                "stack": " ← ".join(site.stack),
                "bytes": amount * seen.one_in,
                "count": len(pieces) * seen.one_in,
                "share": amount / whole,
                "bytes_per_s": old * seen.one_in / half,
                "old_share": old / amount if amount else 0.0,
                "oldest_s": seen.seconds - min(piece.born_s for piece in pieces),
            }
        )
    return tuple(
        sorted(found, key=lambda row: (-_number(row, "bytes_per_s"), -_number(row, "bytes")))[:_MOST_SITES]
    )


def _number(row: Mapping[str, Scalar], name: str) -> float:
    value = row[name]
    return float(value) if isinstance(value, int | float) else 0.0


def _rates(seen: Watched) -> Readings:
    tally, seconds = seen.tally, seen.seconds
    found = {
        "allocated_bytes_per_s": known(tally.bytes / seconds, _PER_S, _SOURCE),
        "allocations_per_s": known(tally.calls / seconds, _RATE, _SOURCE),
        "freed_bytes_per_s": known(tally.freed * seen.one_in / seconds, _PER_S, _SOURCE),
        "frees_per_s": known(tally.frees / seconds, _RATE, _SOURCE),
        "net_allocations_per_s": known((tally.calls - tally.frees) / seconds, _RATE, _SOURCE),
    }
    if seen.one_in > 1 or tally.no_room:
        return found | missing(
            "not all allocations were followed, so older ones can't be told", "older_frees_per_s"
        )
    return found | {"older_frees_per_s": known(tally.older / seconds, _RATE, _SOURCE)}


def _old(seen: Watched) -> list[Piece]:
    return [piece for piece in seen.pieces if piece.born_s < seen.seconds / 2]


def _growth(seen: Watched) -> Readings:
    """What outlived half of the window, and its range."""
    half, old = seen.seconds / 2, _old(seen)
    stretches = [0.0] * _STRETCHES
    for piece in old:
        stretches[min(_STRETCHES - 1, int(max(0.0, piece.born_s) / half * _STRETCHES))] += piece.bytes
    _, low, high = estimate([part * seen.one_in * _STRETCHES / half for part in stretches])
    slope = sum(stretches) * seen.one_in / half
    low, high = min(low, slope), max(high, slope)
    allocated = seen.tally.bytes / 2  # the first half's, were it even
    found = {
        "outstanding_bytes": known(sum(one.bytes for one in seen.pieces) * seen.one_in, "bytes", _SOURCE),
        "outstanding_count": known(len(seen.pieces) * seen.one_in, "", _SOURCE),
        "old_bytes": known(slope * half, "bytes", _SOURCE),
        "outstanding_bytes_per_s": known(slope, _PER_S, _SOURCE),
        "outstanding_low": known(low, _PER_S, _SOURCE),
        "outstanding_high": known(high, _PER_S, _SOURCE),
        "growing": known(low > 0 and _not_replaced(seen, slope, len(old) * seen.one_in / half), "", _SOURCE),
    }
    if not allocated:
        return found | missing("nothing was allocated", "survival_share")
    return found | {"survival_share": known(min(1.0, slope * half / allocated), "share", _SOURCE)}


def _not_replaced(seen: Watched, slope: float, survivors_per_s: float) -> bool:
    """Whether what stays comes on top of what there was: a cache at its bound gives as much back."""
    if seen.net is not None:
        return seen.net.low > 0 and seen.net.slope > slope / 4
    return (seen.tally.calls - seen.tally.frees) / seen.seconds > survivors_per_s / 2


def _net(seen: Watched) -> Readings:
    if seen.net is None:
        why = "the sizes of pieces are known of glibc's allocator only, and after seven looks"
        return missing(why, "net_bytes_per_s", "net_low", "net_high")
    return {
        "net_bytes_per_s": known(seen.net.slope, _PER_S, _SOURCE),
        "net_low": known(seen.net.low, _PER_S, _SOURCE),
        "net_high": known(seen.net.high, _PER_S, _SOURCE),
    }


def _top(seen: Watched) -> Readings:
    """The function with the most bytes, of the old ones when there are any."""
    if not seen.pieces:
        return missing(
            "nothing that it allocated was left",
            "top_site",
            "top_site_bytes",
            "top_site_share",
            "unresolved_share",
        )
    chosen = _old(seen) or list(seen.pieces)
    amounts: dict[str, int] = defaultdict(int)
    for piece in chosen:
        amounts[piece.site.function] += piece.bytes
    function, old = max(amounts.items(), key=lambda item: item[1])
    whole = sum(amounts.values()) or 1
    left = sum(piece.bytes for piece in seen.pieces) or 1
    unnamed = sum(piece.bytes for piece in seen.pieces if not piece.site.named)
    here = sum(piece.bytes for piece in seen.pieces if piece.site.function == function)
    rate = old * seen.one_in / (seen.seconds / 2) if _old(seen) else 0.0
    return {
        "top_site": known(function or _UNNAMED, "", _SOURCE),
        "top_site_bytes": known(here * seen.one_in, "bytes", _SOURCE),
        "top_site_bytes_per_s": known(rate, _PER_S, _SOURCE),
        "top_site_share": known(old / whole, "share", _SOURCE),
        "unresolved_share": known(unnamed / left, "share", _SOURCE),
    }
