"""The frozen values that pass between the rooms.

Eyes give ``Evidence``; diagnoses turn it into a ``Verdict`` of ranked ``Cause``s;
remediations turn both into a ``Plan`` of ``Change``s with ``Prediction``s; guards
answer with a ``Decision``. All are msgspec structs: frozen, compared by value, and
written to the journal as JSON as they are (``msgspec.to_builtins``).

Units stand in the name where they can: ``_s`` seconds, ``_bytes``, ``_per_s``,
``_share`` (0.0 to 1.0), ``_cores`` (1.0 is one CPU). Moments are seconds since the
Unix epoch, UTC.

Not here: behaviour beyond reading a value's own fields.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

Scalar = bool | int | float | str | None
#: What a setting may hold: a scalar, or a list or mapping of scalars (filters).
Setting = Scalar | list[Scalar] | dict[str, Scalar]
Risk = Literal["low", "medium", "high"]


# ── support and cost ────────────────────────────────────────────────────────────


class Support(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether something can work on this machine: yes, no, or could not find out.

    Attributes:
        answer: ``unknown`` is never treated as ``no``.
        why: The fact that decided it, for an operator.
        fix: The command or step that mends a ``no``; empty for a ``yes``.
    """

    answer: Literal["yes", "no", "unknown"]
    why: str = ""
    fix: str = ""


class Cost(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What looking or changing cost this machine.

    Attributes:
        cpu_s: CPU seconds of our own threads and children.
        bpf_s: Seconds that our own BPF programs ran, where statistics were on; else 0.
        memory_bytes: Growth of our resident memory, or a child's peak.
        wall_s: Elapsed seconds.
    """

    cpu_s: float = 0.0
    bpf_s: float = 0.0
    memory_bytes: int = 0
    wall_s: float = 0.0


# ── the target ──────────────────────────────────────────────────────────────────


class Process(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One process, pinned to its start so that a reused pid is not mistaken for it.

    Attributes:
        started_ticks: Field 22 of ``/proc/PID/stat``: clock ticks since boot.
        argv: The command line, split.
        cgroup: Path of its cgroup as in ``/proc/PID/cgroup``: the v2 path, or the
            path in the v1 ``cpu`` hierarchy.
    """

    pid: int
    started_ticks: int = 0
    comm: str = ""
    exe: str = ""
    argv: tuple[str, ...] = ()
    uid: int = 0
    cgroup: str = ""


class BpfProgram(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A loaded BPF program, of any process.

    Attributes:
        type: The kernel's name in lower case: ``tracing``, ``kprobe``, ``tracepoint`` …
        run_ns: Total run time; 0 while statistics were never on (kernel 5.1+).
        memory_bytes: Translated and JITed code as the kernel accounts it; 0 if unknown.
        attached_to: What its link or BTF says it is attached to, when known.
        pinned: Paths in bpffs.
    """

    id: int
    name: str
    type: str
    run_ns: int = 0
    run_count: int = 0
    recursion_misses: int = 0
    verified_insns: int = 0
    loaded_at: float = 0.0
    memory_bytes: int = 0
    map_ids: tuple[int, ...] = ()
    btf_id: int = 0
    attached_to: str = ""
    owners: tuple[int, ...] = ()
    pinned: tuple[str, ...] = ()


class BpfMap(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A BPF map, of any process.

    Attributes:
        type: The kernel's name in lower case: ``hash``, ``ringbuf``, ``perf_event_array`` …
        entries: Elements in use, or None where counting needs a walk.
        memory_bytes: What the kernel says it takes, or None where it does not say.
        fill_bytes: For a ring buffer, bytes between consumer and producer; else None.
        owners: Pids that hold a file descriptor of it.
    """

    id: int
    name: str
    type: str
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    btf_id: int = 0
    entries: int | None = None
    memory_bytes: int | None = None
    fill_bytes: int | None = None
    frozen: bool = False
    owners: tuple[int, ...] = ()
    pinned: tuple[str, ...] = ()


class BpfLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A BPF link: what a program is attached to."""

    id: int
    type: str
    program_id: int = 0
    attached_to: str = ""
    owners: tuple[int, ...] = ()
    pinned: tuple[str, ...] = ()


class Inventory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything BPF on this machine at one moment.

    Attributes:
        source: Which rung served: ``iterators`` or ``bpf-syscall``.
        comms: Process name of each owner pid.
        notes: What could not be read, and why.
    """

    taken_at: float
    source: str
    programs: tuple[BpfProgram, ...] = ()
    maps: tuple[BpfMap, ...] = ()
    links: tuple[BpfLink, ...] = ()
    comms: dict[int, str] = {}
    notes: tuple[str, ...] = ()


class Counter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One place where an agent says how many events it received or lost.

    Attributes:
        counts: What it counts; ``refused``: entries that a full map did not take.
        stage: Where on the way: ``ring`` (kernel buffer), ``reader``, ``queue`` (the
            agent's own queue), ``exporter``.
        source: ``bpf-variable``, ``bpf-map``, ``metric`` or ``log``.
        name: Variable, map or metric name; for a log a regular expression with one group.
        also: Other names of the same, of other versions of the agent: the first that is there counts.
        adds: For a metric: further names that are added, where one stage loses in several ways.
        labels: For a metric, the label values that must match.
        resets: The agent sets it back by itself; differences below zero start anew.
        cumulative: For a log: the number is a total, not an increment.
    """

    counts: Literal["received", "dropped", "refused"]
    stage: Literal["ring", "reader", "queue", "exporter"] = "ring"
    source: Literal["bpf-variable", "bpf-map", "metric", "log"]
    name: str
    also: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    resets: bool = False
    cumulative: bool = False


class Reload(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a target is made to take a new setting, and what that costs it.

    Attributes:
        by: ``none`` (takes effect at once), ``signal``, ``systemd``, ``command``, ``http``.
        signal: Name such as ``SIGHUP``.
        unit: systemd unit, for ``reload-or-restart``.
        argv: Command, as a list; never a shell.
        url: HTTP endpoint that is sent a POST.
        settle_s: The longest time until the new setting is in force.
        confirm: A series on the target's metrics page whose value changes when it has reloaded
            (``agent_config_generation``); empty when it does not say, and settle_s is waited out.
        loses: State that is lost, one phrase each.
    """

    by: Literal["none", "signal", "systemd", "command", "http"] = "none"
    signal: str = "SIGHUP"
    unit: str = ""
    argv: tuple[str, ...] = ()
    url: str = ""
    settle_s: float = 10.0
    confirm: str = ""
    loses: tuple[str, ...] = ()


class Knob(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One setting of a target: where it stands, its bounds, and how it takes effect.

    Attributes:
        name: The knob's common name: ``ring-buffer-size``, ``poll-interval``, ``workers``,
            ``batch-size``, ``sampling``, ``event-filter``, ``wakeup-policy``, ``cpu-quota`` …
        backend: ``yaml-file``, ``bpf-variable``, ``cgroup`` …: a name of ``remediations/knobs/``.
        file: For a file: its absolute path.
        path: The key path within the file (``reader.poll_interval``), or the variable's name.
        map_id: For ``bpf-variable``: the data map that holds the variable.
        unit: Of the value as written there: ``bytes``, ``KiB``, ``MiB``, ``pages``, ``ms``, ``s``,
            ``count``, ``one-in-n``, ``cores``, ``text``, ``bool``, ``list``; ``preset``: an index into
            ``presets``; ``doublings``: 2 to the power of it, times ``base``.
        presets: What each written value amounts to, in base units.
        base: Of ``doublings``: what 0 amounts to, in base units.
        rounding: What fits: ``none`` (anything), ``page``, ``power-of-two`` (of its own unit),
            ``power-of-two-pages``.
        misfit: What the agent does with a value that does not fit: it is ``rounded`` silently, or
            ``refused``, and then the agent does not start.
        per: What has the size: ``total`` one buffer; ``cpu`` one for each possible CPU, ``online-cpu``
            for each that is on; ``cpu-share``: one buffer, of which it is each possible CPU's share.
        cpus_each: Of ``cpu`` and ``online-cpu``: how many CPUs share one; 0: all of them.
        unbounded: The value that means "no limit"; never planned, since memory then has none.
        minimum, maximum: Bounds in the knob's own unit; None where there is none.
        choices: For text: the allowed words.
        needs: Other settings that make the knob useful, in words (workers need idle cores).
        live: The same setting through a door that needs no reload, if there is one.
        map: The BPF map that it belongs to, by name; empty when it belongs to none or to the only one.
        in_force: A series on the target's metrics page that holds the effective value it works
            with (``agent_ring_bytes``); empty when it does not say.
        verified: Whether its effect was seen to work; else a change asks at least.
        warns: What a change of it may cause, a sentence each.
        otherwise: Other places for the same setting: the first in which it is set counts (``in_use``).
        source: Where these facts were read.
    """

    name: str
    backend: str
    file: str = ""
    path: str = ""
    map_id: int = 0
    unit: str = "count"
    default: Setting = None
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[str, ...] = ()
    rounding: Literal["none", "page", "power-of-two", "power-of-two-pages"] = "none"
    per: Literal["total", "cpu", "online-cpu", "cpu-share"] = "total"
    reload: Reload = Reload()
    live: Knob | None = None
    map: str = ""
    in_force: str = ""
    verified: bool = True
    presets: dict[str, float] = {}
    base: float = 0.0
    misfit: Literal["rounded", "refused"] = "rounded"
    cpus_each: int = 1
    unbounded: Setting = None
    warns: tuple[str, ...] = ()
    otherwise: tuple[Knob, ...] = ()
    source: str = ""
    help: str = ""

    @property
    def places(self) -> tuple[Knob, ...]:
        """The setting in each of its places, this one first; ``KnobValue.place`` counts them from 0."""
        if not self.otherwise:
            return (self,)
        others = (msgspec.structs.replace(one, live=one.live or self.live) for one in self.otherwise)
        return (msgspec.structs.replace(self, otherwise=()), *others)


class KnownMap(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a profile says of one of its agent's BPF maps that the kernel can't tell.

    Attributes:
        pid_at: Where in a key the id of the process (or thread) stands that owns the entry, in bytes;
            None where a key holds none, or it is not known.
        pid_size: Its width in bytes.
        owner: What the id names.
        time_at: Where in a value the moment of its last use stands: 64 bits, nanoseconds on the
            kernel's monotonic clock (``bpf_ktime_get_ns``); None where it holds none.
        clean: Entries of owners that are gone may be deleted from outside.
        refused: Where the agent counts the entries that did not fit.
    """

    pid_at: int | None = None
    pid_size: int = 4
    owner: Literal["pid", "tid"] = "pid"
    time_at: int | None = None
    clean: bool = True
    refused: Counter | None = None


class Target(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One running eBPF agent on this host.

    Attributes:
        name: What an operator types: the profile's name, or ``comm:pid`` for the generic one.
        ref: Unique on this host and stable over a restart of the agent: profile and config
            file, or profile and pid where there is no file. Locks and cooldowns use it.
        profile: The agent profile it matched; ``generic`` for none.
        map_ids, program_ids, link_ids: Its BPF objects.
        rings: Ids of its ring buffers (and perf event arrays) that carry events.
        record_bytes: Size of one record without the 8-byte header when fixed; else None.
        pid_at: Where in a record the 32-bit process id of its cause stands; None when not known.
        drop_visibility: How much of its loss the agent itself can show.
        maps: What the profile says of its maps, by map name.
        metrics_url, health_url, heap_url, log_file: Empty when unknown.
        start: How it is started anew, when it runs and when it does not; ``none``: not known.
        facts: Further facts of the profile (``unit``, ``optional_programs`` …); ``executable``: its
            program, for one that does not run.
    """

    name: str
    ref: str
    profile: str = "generic"
    processes: tuple[Process, ...] = ()
    program_ids: tuple[int, ...] = ()
    map_ids: tuple[int, ...] = ()
    link_ids: tuple[int, ...] = ()
    rings: tuple[int, ...] = ()
    record_bytes: int | None = None
    pid_at: int | None = None
    drop_visibility: Literal["full", "partial", "none"] = "none"
    counters: tuple[Counter, ...] = ()
    knobs: dict[str, Knob] = {}
    maps: dict[str, KnownMap] = {}
    metrics_url: str = ""
    health_url: str = ""
    heap_url: str = ""
    log_file: str = ""
    config_file: str = ""
    start: Reload = Reload()
    facts: dict[str, str] = {}

    @property
    def pid(self) -> int:
        """The main process: the first one. 0 when nothing runs."""
        return self.processes[0].pid if self.processes else 0


# ── evidence ────────────────────────────────────────────────────────────────────


class Field(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a probe promises to measure under one name.

    Attributes:
        type: ``number``, ``text``, ``bool``, or ``rows`` for a table.
        unit: ``events/s``, ``bytes``, ``share``, ``cores``, ``s`` …
    """

    help: str
    type: Literal["number", "text", "bool", "rows"] = "number"
    unit: str = ""


class Reading(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One measured value, with where it came from.

    Attributes:
        value: None means it could not be measured; ``missing`` then says why.
        source: Which rung served: ``ring positions``, ``metric NAME``, ``/proc/PID/stat`` …
    """

    value: Scalar = None
    unit: str = ""
    source: str = ""
    missing: str = ""


class Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Samples over time, for a chart.

    Attributes:
        times: Seconds since the Unix epoch.
        values: As many as ``times``.
    """

    label: str
    unit: str = ""
    times: tuple[float, ...] = ()
    values: tuple[float, ...] = ()


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one probe saw of one target in one window.

    Attributes:
        probe: The probe's full name (``event-flow``).
        short: The name under which runbooks read it (``flow``).
        tables: Rows for people and diagnoses: one dict per row, same keys in each.
        notes: Degradations in sentences: which rung served, what could not be seen.
    """

    probe: str
    short: str
    target: str
    started_at: float
    ended_at: float
    readings: dict[str, Reading] = {}
    series: dict[str, Series] = {}
    tables: dict[str, tuple[dict[str, Scalar], ...]] = {}
    notes: tuple[str, ...] = ()
    cost: Cost = Cost()

    def number(self, name: str) -> float | None:
        """The reading as a number, or None when it is absent, unknown or no number."""
        reading = self.readings.get(name)
        if reading is None or isinstance(reading.value, str) or reading.value is None:
            return None
        return float(reading.value)

    def text(self, name: str) -> str | None:
        """The reading as text, or None when it is absent or unknown."""
        reading = self.readings.get(name)
        return None if reading is None or reading.value is None else str(reading.value)


# ── meters ──────────────────────────────────────────────────────────────────────


class Family(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What all series of one name measure.

    Attributes:
        type: ``counter`` only grows (its name ends in ``_total``); ``gauge`` goes both ways.
        labels: Beyond ``target`` and ``profile``, which every series of a target has.
    """

    help: str
    type: Literal["counter", "gauge"] = "gauge"
    labels: tuple[str, ...] = ()


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One number of one series at one moment.

    Attributes:
        family: Its name, as Prometheus has it: ``bpf_map_entries``.
        target: The target's ``ref``; empty for what is about the machine.
        labels: The values of the family's own labels, in their order.
    """

    family: str
    value: float
    target: str = ""
    labels: tuple[str, ...] = ()


# ── causes ──────────────────────────────────────────────────────────────────────


class Cause(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One explanation, with the numbers that speak for and against it.

    Attributes:
        name: ``burst-exceeds-buffer``, ``reader-cpu-bound`` …
        sentence: The cause in one sentence with its decisive numbers.
        confidence: 0.0 to 1.0; how well the evidence fits, not a probability.
        explains: Share of the trouble (of the drops) it explains, or None.
        speaks_for, speaks_against: One fact each, with numbers.
        arithmetic: The reckoning, line by line, for the report.
        settles: What to look at to be sure.
        fix: What mends it, where no remediation of ours does.
    """

    name: str
    sentence: str
    confidence: float
    explains: float | None = None
    speaks_for: tuple[str, ...] = ()
    speaks_against: tuple[str, ...] = ()
    arithmetic: tuple[str, ...] = ()
    settles: str = ""
    fix: str = ""


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One question of a check list, with its answer.

    Attributes:
        name: ``BTF``, ``kernel log``: two words at most.
        answer: ``unknown`` is what could not be looked at; it is never ``good``.
        sentence: What was seen, with its numbers.
        fix: For ``bad``: what mends it, or which runbook finds out more.
    """

    name: str
    answer: Literal["good", "bad", "unknown"]
    sentence: str
    fix: str = ""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A diagnosis's answer: ranked causes, the likeliest first; none when nothing fits.

    Attributes:
        checks: For a check list, every question in order, also those whose answer is good.
    """

    diagnosis: str
    sentence: str
    causes: tuple[Cause, ...] = ()
    notes: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()


# ── plans ───────────────────────────────────────────────────────────────────────


class KnobValue(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a knob holds now.

    Attributes:
        value: In the knob's own unit and type; None when absent from its place (the agent's
            default then rules) or unreadable (``missing`` says why).
        raw: The very text that stands there, or None when absent.
        effective: What it amounts to in base units: bytes, seconds, cores, count.
        absent: Its very place is not there (no such file), so it is set elsewhere or nowhere.
        place: Which of the knob's ``places`` it was read from.
    """

    value: Setting = None
    raw: str | None = None
    effective: Setting = None
    source: str = ""
    missing: str = ""
    absent: bool = False
    place: int = 0


def in_use(values: Sequence[KnobValue]) -> KnobValue:
    """Of what a setting's ``places`` hold, what counts; with ``place`` filled.

    The first in which it is set. One that can't be read may hold it and ends the search. Set
    nowhere: the first in which it could be, else the first.
    """
    placed = [msgspec.structs.replace(value, place=place) for place, value in enumerate(values)]
    for value in placed:
        if value.value is not None or value.raw is not None or (value.missing and not value.absent):
            return value
    return next((value for value in placed if not value.missing), placed[0])


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One write: before → after, and why.

    Attributes:
        knob: Self-contained, so that a fresh process can undo it.
        before, after: In the knob's own unit; ``before`` None means it was not set there.
        before_text, after_text: As an operator reads them: ``256KiB``, ``1 in 10``.
        where: ``/etc/agent.yaml: reader.poll_interval``.
        live: Written through the knob's live door, so no reload is needed.
        detail: The change line by line (a unified diff, a patch), where before → after is not all of it.
        final: Why there is nothing to take back (an agent was started); undo then only says this.
    """

    knob: Knob
    before: Setting
    after: Setting
    before_text: str
    after_text: str
    why: str
    where: str = ""
    live: bool = False
    detail: str = ""
    final: str = ""


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a plan says it will do to one measured number.

    Attributes:
        measure: ``flow.fill_peak``: evidence short name and field.
        before: As measured; None when unknown.
        after: As expected.
        at_most: The prediction also holds when the number is below ``after``.
        promised: A change that breaks it does harm, and is undone whatever else it brings.
        arithmetic: By what reckoning.
    """

    measure: str
    after: float
    before: float | None = None
    unit: str = ""
    at_most: bool = False
    promised: bool = False
    arithmetic: str = ""


class Plan(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a remediation would do. An empty one says why in ``reason``.

    Attributes:
        reason: Why there is nothing to change; or, with changes, the plan in a sentence.
        blocked: Without changes: one may be called for, and the setting can't be changed here.
        loses: What state the reload loses; copied from the knob's reload.
        memory_bytes: Memory it adds (negative: frees).
        memory_limit: Which limit that memory falls under, in words.
        undo_by_hand: The command or edit that takes it back without us.
        temporary: Hides or loses events on purpose: should have a lease.
        warnings: What the change may cause.
    """

    remediation: str
    changes: tuple[Change, ...] = ()
    reason: str = ""
    blocked: bool = False
    predictions: tuple[Prediction, ...] = ()
    risk: Risk = "low"
    loses: tuple[str, ...] = ()
    memory_bytes: int = 0
    memory_limit: str = ""
    undo_by_hand: str = ""
    temporary: bool = False
    warnings: tuple[str, ...] = ()


class Host(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the arithmetic needs to know of the machine.

    Attributes:
        cpus: Those that we may run on.
        possible_cpus: Those that it could ever have; the kernel's per-CPU memory is for these.
        online_cpus: Those that are on; 0: not told, take ``cpus``.
    """

    cpus: int = 1
    possible_cpus: int = 1
    online_cpus: int = 0
    page_bytes: int = 4096
    memory_bytes: int = 0


class Case(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that a diagnosis or a plan decides from: no other reads, no clock.

    Attributes:
        evidence: By short name (``flow``, ``process`` …).
        knobs: Current values by knob name; filled for plans.
        options: The step's ``with``, typed and resolved.
        repeats: How many seconds ago the same remediation was applied to this target, within the last
            day, oldest first; filled for plans.
    """

    target: Target
    evidence: dict[str, Evidence] = {}
    verdict: Verdict | None = None
    knobs: dict[str, KnobValue] = {}
    host: Host = Host()
    options: dict[str, Setting] = {}
    repeats: tuple[float, ...] = ()

    def number(self, path: str) -> float | None:
        """``flow.in_per_s`` as a number, or None when unknown."""
        short, _, name = path.partition(".")
        seen = self.evidence.get(short)
        return seen.number(name) if seen is not None else None

    def text(self, path: str) -> str | None:
        """``flow.drop_source`` as text, or None when unknown."""
        short, _, name = path.partition(".")
        seen = self.evidence.get(short)
        return seen.text(name) if seen is not None else None


# ── guards ──────────────────────────────────────────────────────────────────────


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A guard's answer to a plan.

    Attributes:
        answer: ``ask`` needs a human's yes; ``deny`` can't be overridden by ``--yes``.
        guard: Which one spoke.
        values: The numbers it compared, for the decision trace.
    """

    answer: Literal["allow", "ask", "deny"]
    guard: str
    because: str
    values: dict[str, Scalar] = {}
