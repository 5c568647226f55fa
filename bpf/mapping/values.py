"""What a map's values are: the moment of an entry's last use in them, and whether one can be put back.

Not here: keys (``bpf.mapping.keys``).
"""

from __future__ import annotations

import re
import struct
import time
from collections.abc import Collection, Sequence

from bpf.objects.btf import Member

_CLOCK = struct.Struct("=Q")
_LAST = re.compile(r"last|seen|updated?|access", re.IGNORECASE)
_MOMENT = re.compile(r"(^|_)(ts|ns|time|timestamp|ktime|start|begin)($|_)|_ns$|time", re.IGNORECASE)
#: What the kernel keeps in a value for the program alone; written from outside it would be lost.
_KERNELS_OWN = frozenset(
    ("bpf_timer", "bpf_wq", "bpf_list_head", "bpf_list_node", "bpf_rb_root", "bpf_rb_node", "bpf_refcount")
)
_WHOLE = frozenset(("hash", "percpu_hash", "lru_hash", "lru_percpu_hash"))
#: Of sampled moments so many must be possible, and the latest no older than this.
_POSSIBLE, _RECENT_NS = 0.98, 3_600_000_000_000


def candidates(members: Sequence[Member]) -> list[int]:
    """Places in a value that may hold the moment of the last use, by their names; the likeliest first."""
    numbers = [one for one in members if one.size == 8 and one.name]
    last = [one.offset for one in numbers if _LAST.search(one.name) and _MOMENT.search(one.name)]
    other = [one.offset for one in numbers if _MOMENT.search(one.name)]
    return list(dict.fromkeys((*last, *other)))


def are_moments(numbers: Collection[int], now_ns: int | None = None) -> bool:
    """Whether these are moments on the clock of ``bpf_ktime_get_ns``: past ones, the latest not long ago."""
    if not numbers:
        return False
    now = time.monotonic_ns() if now_ns is None else now_ns
    past = [number for number in numbers if 0 < number <= now]
    return len(past) >= _POSSIBLE * len(numbers) and max(past) > now - min(_RECENT_NS, now // 2)


def why_not_cleanable(kind: str, members: Sequence[Member]) -> str:
    """Why an entry that is deleted from outside could not be put back as it was; empty when it could."""
    if kind not in _WHOLE:
        return f"entries of a {kind} map can't be put back from outside"
    own = sorted(_KERNELS_OWN & {name for one in members for name in one.kinds})
    return f"its values hold {own[0]}, which only the program can make" if own else ""


def time_place(members: Sequence[Member], values: Sequence[bytes]) -> int | None:
    """Where in the values the moment of the last use stands: by the members' names, proven by a sample."""
    for place in candidates(members):
        numbers = [_CLOCK.unpack_from(value, place)[0] for value in values if len(value) >= place + 8]
        if are_moments(numbers):
            return place
    return None
