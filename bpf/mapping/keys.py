"""What a map's keys are: whose entry each one is, and where in the key that stands.

Three sources, the surest first: the agent's profile, the types that the map was loaded with (BTF: names
of the key's members), and sampling: do the numbers at some place of the keys look like processes that
run here? What none of them tells stays unknown.

Not here: whether an owner is alive (``bpf.mapping.owners``).
"""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Callable, Collection, Iterable, Sequence

import msgspec

from bpf.objects.btf import Member
from engine.values import KnownMap

_PROCESS = re.compile(r"(^|_)(pid|tgid|process_?id|proc_?id)($|_)|^(pid|tgid)(ns)?$", re.IGNORECASE)
_THREAD = re.compile(r"(^|_)(tid|thread_?id)($|_)", re.IGNORECASE)
_BOTH = re.compile(r"pid_?tgid|tgid_?pid|pid_?tid|tgid_?tid|ptid", re.IGNORECASE)
_PARENT = re.compile(r"(^|_)(ppid|parent)", re.IGNORECASE)
_CGROUP = re.compile(r"cgroup|cgrp|(^|_)cg_?id", re.IGNORECASE)
_SOCKET = re.compile(r"(^|_)(sock|sk|skp|cookie|skc)($|_)|sock_cookie|socket", re.IGNORECASE)
_ADDRESS = re.compile(r"addr|(^|_)(ip|ip4|ip6|ipv4|ipv6|sport|dport|port)($|_)|tuple", re.IGNORECASE)
#: Longest part of a key that is sampled, in bytes.
_SAMPLED = 64
#: Sampling needs so many different numbers, and this share of them alive.
_FEWEST, _ALIVE = 5, 0.2
#: How many times as often as by chance the numbers must be alive; or nearly all of them.
_BEYOND_CHANCE, _NEARLY_ALL = 4.0, 0.9


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is.

    Attributes:
        kind: ``pid``, ``tid``, ``pid-in-key``, ``cgroup``, ``socket``, ``address`` or ``unknown``.
        source: ``profile``, ``types``, ``sampled``; empty when unknown.
        at, size: Where the owner's id stands and how wide it is; None where there is no id to check.
        words: How it is known, for people.
    """

    kind: str = "unknown"
    source: str = ""
    at: int | None = None
    size: int = 4
    words: str = ""

    @property
    def of_process(self) -> bool:
        """The owner is a process or a thread."""
        return self.kind in ("pid", "tid", "pid-in-key") and self.at is not None

    def reader(self, key_size: int) -> Callable[[bytes], int]:
        """Takes the owner's id out of a key; the machine's own byte order."""
        at, size = self.at or 0, self.size
        if at == 0 and size == key_size:
            return lambda key: int.from_bytes(key, sys.byteorder)
        return lambda key: int.from_bytes(key[at : at + size], sys.byteorder)


UNKNOWN = Layout()


def of_profile(known: KnownMap | None, key_size: int) -> Layout | None:
    """What the profile says; None when it says nothing that fits this key."""
    if known is None or known.pid_at is None or known.pid_at + known.pid_size > key_size:
        return None
    whole = known.pid_at == 0 and known.pid_size == key_size
    return Layout(
        kind=known.owner if whole else "pid-in-key",
        source="profile",
        at=known.pid_at,
        size=known.pid_size,
        words=f"the profile says that a {known.owner} stands at byte {known.pid_at}",
    )


def of_types(members: Sequence[Member], key_size: int) -> Layout | None:
    """By the names of the key's members and their types; None when they tell nothing.

    A process is looked for first, then a control group, a socket, an address.
    """
    ids = [one for one in members if one.size in (4, 8) and not _PARENT.search(one.name)]
    for find in (_both, _process, _thread):
        for one in ids:
            found = find(one, key_size)
            if found:
                return found
    for kind, pattern in (("cgroup", _CGROUP), ("socket", _SOCKET), ("address", _ADDRESS)):
        for one in members:
            if any(pattern.search(name) for name in (one.name, *one.kinds) if name):
                at = one.offset if kind == "cgroup" and one.size == 8 else None
                words = f"its member {_called(one)} says {kind}"
                return Layout(kind=kind, source="types", at=at, size=one.size, words=words)
    return None


def agreed(profile: Layout | None, types: Layout | None) -> Layout | None:
    """The profile's word, unless the types contradict it: then nothing is known, and nothing deleted."""
    if profile is None or types is None or not types.of_process:
        return profile or types
    if (profile.at, profile.size) == (types.at, types.size):
        return profile
    return Layout(
        words=f"{profile.words}, but by the types {types.words} at byte {types.at}: correct the profile"
    )


def _both(one: Member, key_size: int) -> Layout | None:
    """``pid_tgid`` as the helper gives it: the process in the upper half, the thread in the lower."""
    if one.size != 8 or not any(_BOTH.search(name) for name in (one.name, *one.kinds)):
        return None
    at = one.offset + (0 if sys.byteorder == "little" else 4)
    words = f"its member {_called(one)} holds process and thread"
    return Layout(kind="tid" if key_size == 8 else "pid-in-key", source="types", at=at, size=4, words=words)


def _process(one: Member, key_size: int) -> Layout | None:
    if not _PROCESS.search(one.name) and not {"pid_t", "__kernel_pid_t"} & set(one.kinds):
        return None
    return _numbered("pid", one, key_size)


def _thread(one: Member, key_size: int) -> Layout | None:
    return _numbered("tid", one, key_size) if _THREAD.search(one.name) else None


def _numbered(kind: str, one: Member, key_size: int) -> Layout:
    whole = one.offset == 0 and one.size == key_size
    words = f"its member {_called(one)} says {kind}"
    return Layout(
        kind=kind if whole else "pid-in-key", source="types", at=one.offset, size=one.size, words=words
    )


def _called(one: Member) -> str:
    return f"'{one.name or (one.kinds[0] if one.kinds else '?')}'"


def of_sample(keys: Collection[bytes], pids: Collection[int], *, highest: int) -> Layout | None:
    """By the numbers that stand in the keys; None when they do not look like processes.

    Four-byte places are tried, which finds both halves of a ``pid_tgid`` too. At one, all numbers must
    be possible process ids, at least five different ones, a fifth of them alive, and four times as
    many as of numbers taken by chance (or nearly all): a full table of small numbers would pass otherwise.

    Args:
        keys: Some of the map's keys, all of one size.
        pids: Processes that run here now, threads of the kernel left out.
        highest: The highest process id that there may be.
    """
    size = len(next(iter(keys), b""))
    alive = frozenset(pids)
    best: tuple[float, int] | None = None
    for at in range(0, min(size, _SAMPLED) - 3, 4):
        numbers = {struct.unpack_from("=I", key, at)[0] for key in keys}
        share = _likeness(numbers, alive, highest)
        if share is not None and (best is None or share > best[0]):
            best = (share, at)
    if best is None:
        return None
    share, at = best
    return Layout(
        kind="pid" if size == 4 else "pid-in-key",
        source="sampled",
        at=at,
        size=4,
        words=f"{share:.0%} of the numbers at byte {at} of its keys are processes that run here",
    )


def _likeness(numbers: Iterable[int], alive: frozenset[int], highest: int) -> float | None:
    """Share of the numbers that are alive, when that can't be chance."""
    numbers = set(numbers)
    if len(numbers) < _FEWEST or min(numbers) < 1 or max(numbers) > highest:
        return None
    share = len(numbers & alive) / len(numbers)
    low, high = min(numbers), max(numbers)
    by_chance = sum(low <= pid <= high for pid in alive) / (high - low + 1)
    needed = min(_NEARLY_ALL, _BEYOND_CHANCE * by_chance)
    return share if share >= max(_ALIVE, needed) else None
