"""Agent profiles: how to find a kind of agent, and how to read and set its knobs.

One promise: what ``load`` gives back is complete and of the right types, or every complaint
has its file and line. A later folder of the search path overrides an earlier one by the
profile's name, so an operator can correct a shipped profile without touching it.

Not here: what runs on this machine (``engine.agents.targets``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.errors import DocumentError, UsageError
from engine.language import documents, loader
from engine.language.model import AsWritten, Name, Seconds, Slug
from engine.values import Counter

Texts = Annotated[tuple[str, ...], Meta(extra={"reads": "one-or-many"})]
Unit = Literal[
    "bytes", "KiB", "MiB", "GiB", "pages", "ns", "us", "ms", "s", "count", "one-in-n", "cores",
    "share", "text", "bool", "list", "preset", "doublings",
]  # fmt: skip


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all parts of a profile."""


class Match(_Part, frozen=True, kw_only=True):
    """Which processes are this agent. All that is given must fit; of a list any one.

    Attributes:
        comm: The process name as the kernel has it, at most 15 characters.
        exe: A pattern for the path of its program, such as `*/bin/falco`.
        argv: A regular expression found in its command line.
        unit: The systemd unit it runs in.
        map: A BPF map it holds, by the first 15 characters of its name.
        program: A BPF program it holds, by the first 15 characters of its name.
    """

    comm: Texts = ()
    exe: Texts = ()
    argv: str = ""
    unit: str = ""
    map: Texts = ()
    program: Texts = ()


class Config(_Part, frozen=True, kw_only=True):
    """Where its configuration file is.

    Attributes:
        argument: The command-line option that names the file; of several the first one given.
        otherwise: The file when the option is not given.
        installed: Patterns for the files of agents that are set up here; by them one that does not
            run is found. `{environment.NAME}` is then our own environment's.
    """

    argument: Texts = ()
    otherwise: str = ""
    installed: Texts = ()


class Events(_Part, frozen=True, kw_only=True):
    """The buffers that carry its events.

    Attributes:
        rings: Names of ring buffer or perf event array maps; all it holds when not given.
        record_bytes: Size of one record without its header, when all are of one size.
        pid_at: Where in a record the process id of its cause stands: bytes from its start, 32 bits wide.
    """

    rings: Texts = ()
    record_bytes: Annotated[int, Meta(ge=1)] | None = None
    pid_at: Annotated[int, Meta(ge=0)] | None = None


class ReloadSpec(_Part, frozen=True, kw_only=True):
    """How the agent is made to take a new setting.

    Attributes:
        by: `none` when it takes effect at once.
        signal: Such as `SIGHUP`.
        unit: The systemd unit that is reloaded or restarted.
        argv: A command, as a list; it never goes through a shell.
        url: Sent a POST.
        settle: The longest time until the setting is in force.
        confirm: A series on the metrics page that grows with each reload.
        loses: What state is lost, one phrase each.
    """

    by: Literal["none", "signal", "systemd", "command", "http"] = "none"
    signal: str = "SIGHUP"
    unit: str = ""
    argv: tuple[str, ...] = ()
    url: str = ""
    settle: Seconds = 10.0
    confirm: str = ""
    loses: tuple[str, ...] = ()


class KnobSpec(_Part, frozen=True, kw_only=True):
    """One setting: where it stands, its bounds, and how it takes effect.

    Attributes:
        backend: The way to read and write it, such as `yaml-file`, `bpf-variable` or `cgroup`.
        file: Its file; the profile's `config` when not given.
        path: The key path in the file, or the variable's name.
        unit: Of the value as written there.
        default: What the agent does when the setting is absent, as it would be written there.
        minimum: The least it takes; with a unit, or a number in the knob's own unit.
        maximum: The most it takes.
        choices: For text, the allowed words.
        presets: For unit `preset`: what each value amounts to, such as `{4: 8MiB, 5: 16MiB}`.
        base: For unit `doublings`: what 0 amounts to; each 1 more doubles it.
        rounding: What fits; `power-of-two` is of the knob's own unit.
        misfit: Whether a value that does not fit is `rounded` silently or `refused` at start.
        per: What has the size: `total` one buffer; `cpu` one for each possible CPU, `online-cpu` for each
            that is on; `cpu-share`: one buffer, of which the value is each possible CPU's share.
        cpus_each: For `per: cpu`: how many CPUs share one, 0 for all; a number or a placeholder.
        unbounded: The value that means "no limit".
        reload: Overrides the profile's reload.
        live: The same setting through a door that needs no reload.
        map: The BPF map that it belongs to, where the agent has several: `map-capacity`, `map-kind`.
        in_force: A series on the metrics page that holds the value the agent works with.
        verified: Whether its effect was seen to work; else a change always asks.
        needs: What makes it useful, in words.
        warns: What a change of it may cause, a sentence each.
        otherwise: Other places for the same setting, in order: the first in which it is set counts, else
            the first of all.
        source: Where its facts were read: a file of the agent's repository, a page of its documents.
        help: What else to know.
    """

    backend: Name
    file: str = ""
    path: str = ""
    unit: Unit = "count"
    default: AsWritten = None
    minimum: AsWritten = None
    maximum: AsWritten = None
    choices: tuple[str, ...] = ()
    presets: dict[str, AsWritten] = {}
    base: AsWritten = None
    rounding: Literal["none", "page", "power-of-two", "power-of-two-pages"] = "none"
    misfit: Literal["rounded", "refused"] = "rounded"
    per: Literal["total", "cpu", "online-cpu", "cpu-share"] = "total"
    cpus_each: int | str = 1
    unbounded: AsWritten = None
    reload: ReloadSpec | None = None
    live: KnobSpec | None = None
    map: str = ""
    in_force: str = ""
    verified: bool = True
    needs: str = ""
    warns: Texts = ()
    otherwise: tuple[KnobSpec, ...] = ()
    source: str = ""
    help: str = ""


class KeySpec(_Part, frozen=True, kw_only=True):
    """Whose an entry of a map is.

    Attributes:
        pid_at: Where in the key the id of its process stands: bytes from its start.
        size: Its width in bytes.
        owner: Whether it is the id of a process (`pid`, what the kernel calls tgid) or of a thread (`tid`).
    """

    pid_at: Annotated[int, Meta(ge=0)]
    size: Literal[4, 8] = 4
    owner: Literal["pid", "tid"] = "pid"


class ValueSpec(_Part, frozen=True, kw_only=True):
    """What is known of a map's values.

    Attributes:
        time_at: Where the moment of the last use stands: 64 bits, nanoseconds as of `bpf_ktime_get_ns`.
    """

    time_at: Annotated[int, Meta(ge=0)] | None = None


class MapSpec(_Part, frozen=True, kw_only=True):
    """What only the agent knows of one of its maps.

    Attributes:
        key: Whose an entry is.
        value: What a value holds.
        clean: Whether entries whose owner is gone may be deleted from outside.
        refused: Where the agent counts entries that did not fit (`counts: refused`).
    """

    key: KeySpec | None = None
    value: ValueSpec = ValueSpec()
    clean: bool = True
    refused: Counter | None = None


class Needs(_Part, frozen=True, kw_only=True):
    """What the agent needs to run at all.

    Attributes:
        kernel: The least kernel version.
        btf: Whether the kernel must tell its types.
        capabilities: By name, such as `CAP_BPF`; `privileged` when nothing less is documented.
        source: Where this was read.
    """

    kernel: str = ""
    btf: bool = False
    capabilities: Texts = ()
    source: str = ""


class Profile(_Part, frozen=True, kw_only=True):
    """An agent profile.

    Texts may hold `{config.KEY.PATH}`, `{argument.--flag}`, `{environment.NAME}`, `{pid}`, `{exe}`,
    `{file}` (its configuration file), `{directory}` (the file's) and `{python}` (our interpreter);
    with `|` a value for when it is not there: `{config.metrics.port|9100}`.

    Attributes:
        profile: Its name.
        summary: What agent it is.
        match: Which processes are this agent.
        drop_visibility: How much of its loss the agent itself can show.
        config: Its configuration file.
        metrics: Its Prometheus page.
        health: An address that answers 200 when it is well.
        heap: An address that gives a heap profile in pprof's format, such as Go's `/debug/pprof/heap`.
        log: Its log file.
        events: The buffers that carry its events.
        counters: Where it says what it received and lost, the best source first.
        maps: What is to be known of its BPF maps, by name.
        reload: How it takes a new setting.
        start: How it is started, running or not: by `systemd` or `command`. With it an agent that
            does not run is found too, by its configuration file.
        knobs: Its settings by their common names.
        needs: What it needs to run.
        verified: `live`: tried on the agent itself; `sources`: read in its sources and documents only.
        sources: Where the facts were read that bear no source of their own.
        facts: Further facts, by name.
    """

    profile: Slug
    summary: str = ""
    match: Match
    drop_visibility: Literal["full", "partial", "none"] = "none"
    config: str | Config = Config()
    metrics: str = ""
    health: str = ""
    heap: str = ""
    log: str = ""
    events: Events = Events()
    counters: tuple[Counter, ...] = ()
    maps: dict[str, MapSpec] = {}
    reload: ReloadSpec = ReloadSpec()
    start: ReloadSpec = ReloadSpec()
    knobs: dict[str, KnobSpec] = {}
    needs: Needs = Needs()
    verified: Literal["live", "sources"] = "live"
    sources: Texts = ()
    facts: dict[str, str] = {}


def load(path: Path) -> Profile:
    """Read one profile.

    Raises:
        DocumentError: It is wrong; all complaints at once.
    """
    profile, source = documents.read(Profile, loader.read_bytes(path), str(path))
    wrong = _pattern(profile.match.argv, source.where("match.argv"))
    wrong += [
        f"{source.where('match')}: nothing to match by (write comm, exe, argv, unit, map or program)"
    ] * (profile.match == Match())
    for name, knob in profile.knobs.items():
        needs_path = knob.backend in ("yaml-file", "bpf-variable") and not knob.path
        wrong += [f"{source.where(f'knobs.{name}')}: 'path' is missing"] * needs_path
    if wrong:
        raise DocumentError(wrong, fix=f"correct {path}; nothing was done")
    return profile


def _pattern(pattern: str, where: str) -> list[str]:
    """A complaint when it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        return [f"{where}: {pattern!r} is no regular expression ({error})"]
    return []


def available(*, environment: Mapping[str, str] = os.environ) -> dict[str, Path]:
    """All profile files by name (the file's), those of later folders overriding earlier ones."""
    found: dict[str, Path] = {}
    for folder in search_path(environment=environment):
        for path in sorted(folder.glob("*.yaml")) if os.access(folder, os.R_OK | os.X_OK) else ():
            found[path.stem] = path
    return dict(sorted(found.items()))


def load_all(*, environment: Mapping[str, str] = os.environ) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
    """All profiles, and a complaint for each one that can't be read: it is left out, not fatal."""
    profiles: list[Profile] = []
    complaints: list[str] = []
    for path in available(environment=environment).values():
        try:
            profiles.append(load(path))
        except UsageError as error:
            complaints.append(error.problem)
    return tuple(profiles), tuple(complaints)


def search_path(*, environment: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Where profiles are looked for, a later place overriding an earlier one.

    Those that came with the program, ``/etc/runbook/agents``, ``~/.config/runbook/agents``,
    ``$RUNBOOK_PROFILES`` (several, with ``:``).
    """
    yield loader.shipped() / "agents"
    yield Path("/etc/runbook/agents")
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/root')}/.config"
    yield Path(home) / "runbook" / "agents"
    for entry in environment.get("RUNBOOK_PROFILES", "").split(os.pathsep):
        if entry:
            yield Path(entry)
