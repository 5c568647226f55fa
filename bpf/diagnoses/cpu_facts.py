"""The numbers that ``cpu-use`` decides from, taken from the case.

Its promise: a number that was not measured is None here, so a rule has to say what it does
without it. CPU in cores, rates per second, prices in seconds of CPU.

Not here: splitting the cost (``cpu_bill``), the causes (``cpu_causes``).
"""

from __future__ import annotations

import msgspec

from engine.values import Case, Evidence, Scalar

#: A reader that works or sleeps for more than this share of the time does not spin.
MOSTLY = 0.5
#: From this share of a core on a thread never rests.
WHOLE_CORE = 0.85
#: Bytes of a record in a ring at least: its header of 8, and 8 more.
SMALLEST_RECORD = 16.0
#: The most CPU that one sleep and its wake-up are taken to cost, in seconds.
DEAREST_SLEEP_S = 12e-6


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """One BPF program's cost: runs a second, seconds a run, cores."""

    name: str
    runs: float
    price: float
    cores: float


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One function of the profile; ``share`` of the samples that ended in it."""

    name: str
    kind: str
    share: float


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured."""

    own: float | None
    bpf: float | None
    programs: tuple[Program, ...]
    events: float | None
    events_at_most: float | None
    dropped: float | None
    spin: float | None
    spin_from: str
    empty_per_s: float | None
    empty_share: float | None
    wakeups: float | None
    syscalls: float | None
    syscalls_per_event: float | None
    top_syscall: str
    sleeps: float | None
    system: float | None
    functions: tuple[Function, ...]
    top: Function | None
    kernel_share: float | None
    unresolved: float | None
    stacks: tuple[tuple[str, float], ...]
    thread: str
    thread_cores: float | None
    loudest: str
    loudest_share: float | None
    optional: tuple[str, ...]

    @property
    def total(self) -> float | None:
        """Its own CPU and that of its BPF programs, which run on the account of whoever triggers them."""
        return None if self.own is None else self.own + (self.bpf or 0.0)

    @property
    def waking(self) -> float:
        """Cores that go into falling asleep and waking up: its time in the kernel, where it sleeps often."""
        if not self.sleeps or not self.system:
            return 0.0
        return min(self.system, self.sleeps * DEAREST_SLEEP_S)

    @property
    def hottest(self) -> Program | None:
        """The BPF program that costs most."""
        return max(self.programs, key=lambda one: one.cores, default=None)


def facts_of(case: Case) -> Facts:
    """Take the numbers from the evidence; what no probe saw is None."""
    own = case.number("process.cpu_cores")
    events = _first(case, "flow.in_per_s", "work.events_per_s")
    events = _of_bytes(case) if events is None else events
    functions = _functions(case.evidence.get("profile"))
    spin, spin_from = _spin(case, own, events)
    in_ring = case.number("sources.ring_share")
    return Facts(
        own=own,
        bpf=case.number("cost.cpu_cores") if "cost" in case.evidence else _sampled(case, "bpf_share"),
        programs=_programs(case),
        events=events,
        events_at_most=_at_most(case) if events is None else None,
        dropped=case.number("flow.dropped_per_s"),
        spin=spin,
        spin_from=spin_from,
        empty_per_s=case.number("work.empty_wakeups_per_s"),
        empty_share=case.number("work.empty_share"),
        wakeups=case.number("work.wakeups_per_s"),
        syscalls=case.number("work.syscalls_per_s"),
        syscalls_per_event=case.number("work.syscalls_per_event"),
        top_syscall=case.text("work.top_syscall") or "",
        sleeps=case.number("process.context_switches_per_s"),
        system=case.number("process.cpu_system_cores"),
        functions=functions,
        top=_top(case, functions),
        kernel_share=case.number("profile.kernel_share"),
        unresolved=case.number("profile.unresolved_share"),
        stacks=_stacks(case.evidence.get("profile")),
        thread=case.text("process.busiest_thread") or "",
        thread_cores=case.number("process.busiest_thread_cores"),
        loudest=case.text("sources.ring_comm" if in_ring is not None else "sources.top_comm") or "",
        loudest_share=in_ring if in_ring is not None else case.number("sources.top_share"),
        optional=optional_programs(case.target.facts),
    )


def optional_programs(facts: dict[str, str]) -> tuple[str, ...]:
    """The programs that a profile's fact ``optional_programs`` names, with spaces or commas between."""
    return tuple(facts.get("optional_programs", "").replace(",", " ").split())


def _spin(case: Case, own: float | None, events: float | None) -> tuple[float | None, str]:
    """CPU used while there was nothing to read, and how that is known.

    Without the probe ``reader-work``, a thread that never rests though its reader is hardly ever
    behind is taken to spin: it would need λ/μ of the time for its events. A worker behind the reader
    looks the same, so this is only a suspicion.
    """
    spin = case.number("work.spin_cores")
    if spin is not None:
        return (spin if own is None else min(spin, own)), "reader-work"
    service, thread = case.number("flow.service_per_s"), case.number("process.busiest_thread_cores")
    if own is None or events is None or not service or thread is None or thread < WHOLE_CORE:
        return None, ""
    needed, asleep = events / service, case.number("flow.asleep_share") or 0.0
    if needed > MOSTLY or asleep > MOSTLY or case.number("flow.dropped_per_s"):
        return None, ""
    return min(own, thread) - needed, "event-flow"


def _of_bytes(case: Case) -> float | None:
    """Events by the bytes that go into the ring and the size of the records seen there."""
    written, size = case.number("flow.bytes_in_per_s"), case.number("sources.record_bytes")
    return written / size if written is not None and size else None


def _at_most(case: Case) -> float | None:
    """The most events that can arrive: one for each run, and none smaller than a ring's smallest record."""
    size = case.number("flow.bytes_in_per_s")
    bounds = (case.number("cost.runs_per_s"), size / SMALLEST_RECORD if size is not None else None)
    return min((bound for bound in bounds if bound is not None), default=None)


def _first(case: Case, *paths: str) -> float | None:
    return next((value for path in paths if (value := case.number(path)) is not None), None)


def _sampled(case: Case, part: str) -> float | None:
    """Cores by the profile's samples, which count BPF programs wherever they ran."""
    whole, portion = case.number("profile.cpu_cores"), case.number(f"profile.{part}")
    return None if whole is None or portion is None else whole * portion


def _programs(case: Case) -> tuple[Program, ...]:
    """What each program costs; from the profile alone only the hottest, and not how often it runs."""
    cost = case.evidence.get("cost")
    if cost is None:
        name, sampled = case.text("profile.top_program"), _sampled(case, "top_program_share")
        return (Program(name=name, runs=0.0, price=0.0, cores=sampled),) if name and sampled else ()
    found = [
        Program(
            name=str(row.get("name") or row.get("id")),
            runs=_number(row.get("runs_per_s")),
            price=_number(row.get("ns_per_run")) * 1e-9,
            cores=_number(row.get("cores")),
        )
        for row in cost.tables.get("programs", ())
    ]
    hottest, cores = cost.text("hottest"), cost.number("hottest_cores")
    if found or hottest is None or cores is None:
        return tuple(found)
    price = (cost.number("hottest_ns_per_run") or 0.0) * 1e-9
    return (Program(name=hottest, runs=cores / price if price else 0.0, price=price, cores=cores),)


def _functions(profile: Evidence | None) -> tuple[Function, ...]:
    if profile is None:
        return ()
    rows = [
        Function(
            name=str(row.get("function")), kind=str(row.get("kind")), share=_number(row.get("self_share"))
        )
        for row in profile.tables.get("functions", ())
    ]
    return tuple(sorted(rows, key=lambda one: one.share, reverse=True))


def _top(case: Case, functions: tuple[Function, ...]) -> Function | None:
    """Where the agent's own time goes: the function with most samples, those of BPF programs left out."""
    told = [
        Function(name=name, kind=kind, share=part)
        for kind in ("user", "kernel")
        if (name := case.text(f"profile.top_{kind}_function"))
        and (part := case.number(f"profile.top_{kind}_share")) is not None
    ]
    found = told or [one for one in functions if one.kind != "bpf"]
    return max(found, key=lambda one: one.share, default=None)


def _stacks(profile: Evidence | None) -> tuple[tuple[str, float], ...]:
    if profile is None:
        return ()
    rows = profile.tables.get("stacks", ())
    return tuple((str(row.get("folded")), _number(row.get("samples"))) for row in rows)


def _number(value: Scalar) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
