"""An agent profile: how to find a kind of agent, where its loss shows, and which knobs it has.

One promise: these structs are the document; the editor's schema and the reader are made of them, so a
field that is not here is refused.

Not here: its knobs (``engine.agents.knob_spec``), finding and reading profiles (``engine.agents.profiles``),
what runs on this machine (``engine.agents.targets``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, field

from engine.agents.knob_spec import KnobSpec, Part, ReloadSpec, Texts
from engine.language.model import Slug
from engine.values import Counter


class Match(Part, frozen=True, kw_only=True):
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


class Config(Part, frozen=True, kw_only=True):
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


class Events(Part, frozen=True, kw_only=True):
    """The buffers that carry its events.

    Attributes:
        rings: Names of ring buffer or perf event array maps; all it holds when not given.
        record_bytes: Size of one record without its header, when all are of one size.
        pid_at: Where in a record the process id of its cause stands: bytes from its start, 32 bits wide.
    """

    rings: Texts = ()
    record_bytes: Annotated[int, Meta(ge=1)] | None = None
    pid_at: Annotated[int, Meta(ge=0)] | None = None


class KeySpec(Part, frozen=True, kw_only=True):
    """Whose an entry of a map is.

    Attributes:
        pid_at: Where in the key the id of its process stands: bytes from its start.
        size: Its width in bytes: 4, or 8.
        owner: Whether it is the id of a process (`pid`, what the kernel calls tgid) or of a thread (`tid`).
    """

    pid_at: Annotated[int, Meta(ge=0)]
    size: Annotated[int, Meta(ge=4, le=8)] = 4
    owner: Literal["pid", "tid"] = "pid"


class ValueSpec(Part, frozen=True, kw_only=True):
    """What is known of a map's values.

    Attributes:
        time_at: Where the moment of the last use stands: 64 bits, nanoseconds as of `bpf_ktime_get_ns`.
    """

    time_at: Annotated[int, Meta(ge=0)] | None = None


class MapSpec(Part, frozen=True, kw_only=True):
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


class Needs(Part, frozen=True, kw_only=True):
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


class Profile(Part, frozen=True, kw_only=True):
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
    maps: dict[str, MapSpec] = field(default_factory=dict)
    reload: ReloadSpec = ReloadSpec()
    start: ReloadSpec = ReloadSpec()
    knobs: dict[str, KnobSpec] = field(default_factory=dict)
    needs: Needs = Needs()
    verified: Literal["live", "sources"] = "live"
    sources: Texts = ()
    facts: dict[str, str] = field(default_factory=dict)
