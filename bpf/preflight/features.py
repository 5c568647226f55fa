"""Which kernel brought which program, map and attach type, and which helper.

Its promise: the kernel's own BTF decides where it is known, for it lists them all, what a distribution
added or took over included; the version decides otherwise. Cost: one read of a table of 7 KB.

Not here: instructions (``bpf.preflight.instructions``).
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

import msgspec

from bpf.preflight.btf import ENUMS, Btf

Group = Literal["program", "map", "attach", "helper"]
Version = tuple[int, int]
_ENUMS: dict[Group, str] = {
    "program": "bpf_prog_type",
    "map": "bpf_map_type",
    "attach": "bpf_attach_type",
    "helper": "bpf_func_id",
}
_GROUPS: dict[str, Group] = {group: group for group in _ENUMS}


class Feature(msgspec.Struct, frozen=True):
    """One number of ``linux/bpf.h`` with its name in lower case and the first kernel that has it.

    ``gpl``: a helper only for programs under a licence that is compatible with the GPL.
    """

    group: Group
    number: int
    name: str
    since: Version
    gpl: bool = False


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What one kernel has.

    Attributes:
        listed: By group, the numbers that the kernel's BTF lists; None when there is no BTF or it
            does not tell.
        at_least, before: The version as the features bound it: ``at_least`` ≤ version < ``before``.
    """

    listed: dict[Group, frozenset[int] | None]
    at_least: Version
    before: Version


@functools.cache
def table() -> dict[tuple[Group, int], Feature]:
    """All that is known, by group and number."""
    found: dict[tuple[Group, int], Feature] = {}
    for line in Path(__file__).with_name("features.txt").read_text("ascii").splitlines():
        if not line.startswith("#"):
            group, number, name, since, *gpl = line.split()
            kind = _GROUPS[group]
            found[kind, int(number)] = Feature(kind, int(number), name, version(since), bool(gpl))
    return found


def number(group: Group, name: str) -> int:
    """The number of a feature by its name."""
    return next(one.number for one in table().values() if (one.group, one.name) == (group, name))


def name(group: Group, wanted: int) -> str:
    """``ringbuf``, ``bpf_loop``; a newer one than the table by its number."""
    found = table().get((group, wanted))
    if found is None:
        return f"{group} {wanted}"
    return f"bpf_{found.name}" if group == "helper" else found.name


def version(text: str) -> Version:
    """``6.1.0-56-cloud-amd64`` → (6, 1).

    Raises:
        ValueError: It does not begin with two numbers.
    """
    major, minor = text.split(".")[:2]
    digits = minor[: len(minor) - len(minor.lstrip("0123456789"))]
    return int(major), int(digits)


def told(since: Version) -> str:
    """(5, 17) → ``5.17``."""
    return f"{since[0]}.{since[1]}"


def known(btf: Btf | None, release: Version | None) -> Known:
    """What a kernel has, by its BTF and its version, as far as they are known."""
    listed: dict[Group, frozenset[int] | None] = {group: _listed(btf, group) for group in _ENUMS}
    if release is not None:
        return Known(listed=listed, at_least=release, before=(release[0], release[1] + 1))
    low, high = (0, 0), (1 << 30, 0)
    for one in table().values():
        there = listed[one.group]
        if there is not None:
            if one.number in there:
                low = max(low, one.since)
            else:
                high = min(high, one.since)
    return Known(listed=listed, at_least=low, before=max(high, (low[0], low[1] + 1)))


def _listed(btf: Btf | None, group: Group) -> frozenset[int] | None:
    type_id = btf.first(_ENUMS[group], ENUMS) if btf is not None else 0
    if btf is None or not type_id:
        return None
    return frozenset(value for name, value in btf.enumerators(type_id) if not name.startswith("__"))


def has(here: Known, group: Group, wanted: int) -> bool | None:
    """Whether the kernel has it; None when it can't be known."""
    listed = here.listed[group]
    if listed is not None:
        return wanted in listed
    found = table().get((group, wanted))
    return newer(here, found.since) if found is not None else None


def newer(here: Known, since: Version) -> bool | None:
    """Whether the kernel is of this version or later; None when its bounds leave it open."""
    if here.at_least >= since:
        return True
    return False if here.before <= since else None
