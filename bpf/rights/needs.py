"""From what an agent does with BPF to what it must be allowed, by kernel version.

One promise: every need comes with the reason and the source that its table gives
(``kernel.yaml``, ``agents.yaml``); nothing is needed that no table says.

Not here: what a container is allowed (``bpf.rights.given``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import msgspec

#: CAP_BPF and CAP_PERFMON, and memory accounting by cgroup: major * 1000 + minor.
V5_8, V5_11 = 5008, 5011

Names = tuple[str, ...]


def _version(text: str) -> int:
    major, _, minor = text.partition(".")
    return int(major) * 1000 + int(minor or 0)


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of ``kernel.yaml``: who wants one of ``types`` needs all of ``needs``."""

    types: Names
    why: str
    source: str
    needs: Names = ()
    since: Annotated[str, "a kernel version"] = "0"
    until: Annotated[str, "a kernel version"] = "999"

    def holds(self, kernel: int) -> bool:
        """Whether the line is about this kernel."""
        return _version(self.since) <= kernel < _version(self.until)


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file system that must be visible at ``path``, or at one of ``also``; ``missing``: the cause."""

    name: str
    path: str
    also: Names
    types: Names
    why: str
    source: str
    missing: str


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of ``kernel.yaml``."""

    programs: tuple[Row, ...]
    maps: tuple[Row, ...]
    uses: tuple[Row, ...]
    mounts: tuple[Mount, ...]


class Agent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One entry of ``agents.yaml``."""

    name: str
    images: Names
    source: str
    programs: Names = ()
    uses: Names = ()
    mounts: Names = ()
    capabilities: Names = ()
    host_pid: bool = False


class Doing(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent does.

    Attributes:
        programs, maps: Types of what it loads, as the kernel names them.
        uses: Rows of ``uses`` in ``kernel.yaml``.
        mounts: ``pins`` where it pins.
        capabilities: Further ones that it says it needs.
        host_pid: It works with the process ids of the host.
        source: Who says so.
    """

    programs: Names = ()
    maps: Names = ()
    uses: Names = ()
    mounts: Names = ()
    capabilities: Names = ()
    host_pid: bool = False
    source: str = ""

    def __bool__(self) -> bool:
        return bool(self.programs or self.maps or self.capabilities)


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """One right that must be there: a capability (``BPF``), ``host-pid``, or a mount's path."""

    kind: str
    what: str
    why: str
    source: str
    places: Names = ()
    cause: str = ""


@functools.cache
def rules() -> Rules:
    """The kernel's rules."""
    return msgspec.convert(_table("kernel.yaml"), Rules, strict=False)


@functools.cache
def agents() -> tuple[Agent, ...]:
    """The known agents."""
    return msgspec.convert(_table("agents.yaml"), tuple[Agent, ...])


def known_agent(image: str) -> Agent | None:
    """The agent that an image's name tells; the longest name that fits."""
    bare = image.partition("@")[0].rpartition(":")[0] or image
    fits = [
        (len(name), agent)
        for agent in agents()
        for name in agent.images
        if re.search(rf"(^|/){re.escape(name)}(-ci|-slim|-no-driver)?$", bare)
    ]
    return max(fits, key=lambda pair: pair[0])[1] if fits else None


def version(release: str) -> int | None:
    """``5.10.0-28-amd64`` as 5010; None when it is no kernel release."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return int(match[1]) * 1000 + int(match[2]) if match else None


def needs(doing: Doing, kernels: Iterable[int]) -> tuple[Need, ...]:
    """Everything needed on any of these kernels, each thing once."""
    found: dict[tuple[str, str], Need] = {}
    for kernel in sorted(set(kernels)):
        for need in (*_capabilities(doing, kernel), *_mounts(doing)):
            found.setdefault((need.kind, need.what), need)
    if doing.host_pid:
        why = "it tells processes by the ids that the host gives them"
        found["host", "host-pid"] = Need(kind="host", what="host-pid", why=why, source=doing.source)
    return tuple(found.values())


def implied(name: str, held: frozenset[str]) -> bool:
    """Whether a capability is held, itself or through a greater one."""
    return name in held or (name in ("BPF", "PERFMON") and "SYS_ADMIN" in held)


def _capabilities(doing: Doing, kernel: int) -> Iterable[Need]:
    table = rules()
    everywhere = ("locked-memory",) if doing.programs or doing.maps else ()
    wanted = (
        (table.programs, doing.programs, "program"),
        (table.maps, (*doing.maps, *(("any",) if doing.programs or doing.maps else ())), "map"),
        (table.uses, (*doing.uses, *everywhere), ""),
    )
    for rows, names, noun in wanted:
        for row in rows:
            asked = [name for name in row.types if name in names and name != "any"]
            if row.holds(kernel) and (asked or ("any" in row.types and "any" in names)):
                which = f" ({', '.join(asked)} {noun}s)" if noun and asked else ""
                for name in row.needs:
                    yield Need(kind="capability", what=name, why=row.why + which, source=row.source)
    for name in doing.capabilities:
        replaced = kernel < V5_8 and name in ("BPF", "PERFMON")
        what = "SYS_ADMIN" if replaced else name
        yield Need(kind="capability", what=what, why="the agent says that it needs it", source=doing.source)


def _mounts(doing: Doing) -> Iterable[Need]:
    for one in rules().mounts:
        if set(one.types) & {*doing.programs, *doing.mounts, *doing.uses}:
            places = (one.path, *one.also)
            yield Need(
                kind="mount", what=one.path, why=one.why, source=one.source, places=places, cause=one.missing
            )


def _table(name: str) -> Any:  # noqa: ANN401 - msgspec checks it
    import yaml  # noqa: PLC0415 - only needed where permissions are judged

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every scalar as text: 5.10 is not 5.1
    return _truths(yaml.load((Path(__file__).parent / name).read_text("utf-8"), Loader=loader))  # noqa: S506


def _truths(value: Any) -> Any:  # noqa: ANN401 - any YAML
    if isinstance(value, dict):
        return {key: _truths(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_truths(one) for one in value]
    return value == "true" if value in ("true", "false") else value
