"""Whole runs made by hand with realistic numbers, for everything that tells a run again.

The story: bursts of 60,000 events/s for 0.4 s every 2 s into a 256 KiB ring of 72-byte
records whose reader takes 30,000/s. A shorter poll interval does not help and is taken
back; a 2 MiB ring does.
"""

import math

from engine import record
from engine.values import (
    Cause,
    Change,
    Cost,
    Decision,
    Evidence,
    Knob,
    Plan,
    Prediction,
    Process,
    Reading,
    Reload,
    Series,
    Target,
    Verdict,
)

START = 1_795_316_472.0  # 2026-11-22 03:01:12 UTC
RECORD, SERVICE, BURST, QUIET = 72, 30_000.0, 60_000.0, 4_000.0
FILE = "/etc/lab-agent.yaml"
EVIL = "<script>alert(1)</script>\"'&\x1b[2J|`x`"

RING = Knob(
    name="ring-buffer-size",
    backend="yaml-file",
    file=FILE,
    path="ring.size",
    unit="bytes",
    reload=Reload(by="signal", loses=("events between the old and the new ring",)),
)
POLL = Knob(name="poll-interval", backend="yaml-file", file=FILE, path="reader.poll_interval", unit="ms")
LAB = Target(
    name="lab",
    ref=f"lab:{FILE}",
    profile="lab",
    processes=(Process(pid=4711, comm="lab-agent", exe="/usr/bin/lab-agent", argv=("lab-agent",)),),
    program_ids=(61, 62),
    map_ids=(40, 41, 42),
    rings=(41,),
    record_bytes=64,
    drop_visibility="full",
    knobs={"ring-buffer-size": RING, "poll-interval": POLL},
    metrics_url="http://127.0.0.1:9435/metrics",
    log_file="/var/log/lab-agent.log",
    config_file=FILE,
    facts={"unit": "lab-agent.service"},
)


def flow(at: float, ring_bytes: int, seconds: float = 10.0) -> Evidence:
    """The picture of one window with a ring of ``ring_bytes``, by simulation at 10 ms."""
    times, fill, came, went, lost = [], [], [], [], []
    held, step = 0.0, 0.01
    for index in range(int(seconds / step)):
        now = index * step
        wave = 1 + 0.06 * math.sin(now * 9.1) + 0.04 * math.sin(now * 23.7)
        offered = (BURST if (now % 2.0) < 0.4 else QUIET) * wave
        taken = min(SERVICE, held / RECORD / step + offered)
        held += (offered - taken) * step * RECORD
        dropped = max(0.0, held - ring_bytes) / RECORD / step
        held = max(0.0, min(held, ring_bytes))
        times.append(at + now)
        fill.append(held / ring_bytes)
        came.append(offered)
        went.append(taken)
        lost.append(dropped)
    mean = {name: sum(row) / len(row) for name, row in (("in", came), ("out", went), ("lost", lost))}

    def series(label: str, unit: str, values: list[float]) -> Series:
        return Series(label=label, unit=unit, times=tuple(times), values=tuple(values))

    full = sum(1 for level in fill if level >= 0.99) / len(fill)
    rate = "events/s"
    return Evidence(
        probe="event-flow",
        short="flow",
        target="lab",
        started_at=at,
        ended_at=at + seconds,
        readings={
            "in_per_s": Reading(value=mean["in"], unit=rate, source="ring positions + bpf-variable dropped"),
            "out_per_s": Reading(value=mean["out"], unit=rate, source="ring positions"),
            "dropped_per_s": Reading(value=mean["lost"], unit=rate, source="bpf-variable dropped"),
            "fill_peak": Reading(value=max(fill), unit="share", source="ring positions"),
            "full_share": Reading(value=full, unit="share", source="ring positions"),
            "burst_in_per_s": Reading(value=BURST, unit=rate, source="ring positions"),
            "service_per_s": Reading(value=SERVICE, unit=rate, source="ring positions"),
            "ring_bytes": Reading(value=ring_bytes, unit="bytes", source="map info"),
            "pattern": Reading(value="bursts"),
        },
        series={
            "fill": series("Fill of ring events", "share", fill),
            "in": series("Events in", rate, came),
            "out": series("Events out", rate, went),
            "dropped": series("Events lost", rate, lost),
        },
        tables={"rings": ({"name": "events", "bytes": ring_bytes, "fill_peak": round(max(fill), 3)},)},
        cost=Cost(cpu_s=0.021, memory_bytes=180_224, wall_s=seconds),
    )


def process(at: float, seconds: float = 10.0) -> Evidence:
    """CPU and memory of the agent over one window, sampled four times a second."""
    times = tuple(at + 0.25 * index for index in range(int(seconds * 4)))
    busy = tuple(0.22 + (0.5 if (moment - at) % 2 < 0.6 else 0.0) for moment in times)
    rss = tuple(24_100_000 + 1200 * index for index in range(len(times)))
    return Evidence(
        probe="process",
        short="process",
        target="lab",
        started_at=at,
        ended_at=at + seconds,
        readings={
            "cpu_cores": Reading(value=0.37, unit="cores", source="/proc/4711/stat"),
            "busiest_thread_cores": Reading(value=0.35, unit="cores", source="/proc/4711/task"),
            "throttled_share": Reading(unit="share", missing="no CPU quota is set on its cgroup"),
            "runq_wait_share": Reading(value=0.021, unit="share", source="/proc/4711/task/*/schedstat"),
            "rss_bytes": Reading(value=24_182_784, unit="bytes", source="/proc/4711/status"),
        },
        series={
            "cpu": Series(label="CPU of lab-agent", unit="cores", times=times, values=busy),
            "rss": Series(label="Memory of lab-agent", unit="bytes", times=times, values=rss),
        },
        tables={
            "threads": (
                {"tid": 4711, "name": "lab-agent", "cores": 0.02},
                {"tid": 4712, "name": "reader", "cores": 0.35},
            )
        },
        notes=("run-queue wait covers the threads alive at the end of the window",),
        cost=Cost(cpu_s=0.011, wall_s=seconds),
    )


def cost_of_programs(at: float) -> Evidence:
    """Run time per program, with statistics on for the window."""
    row = {
        "id": 61,
        "name": "on_sys_enter",
        "type": "tracepoint",
        "runs_per_s": 15_210,
        "ns_per_run": 412,
        "cores": 0.006,
    }
    return Evidence(
        probe="program-cost",
        short="cost",
        target="lab",
        started_at=at,
        ended_at=at + 10,
        readings={
            "cpu_cores": Reading(value=0.0063, unit="cores", source="bpf statistics"),
            "hottest": Reading(value="on_sys_enter", source="bpf statistics"),
            "hottest_ns_per_run": Reading(value=412, unit="ns", source="bpf statistics"),
        },
        tables={"programs": (row,)},
        cost=Cost(cpu_s=0.004, bpf_s=0.0012, wall_s=10.0),
    )


VERDICT = Verdict(
    diagnosis="event-loss",
    sentence="Bursts of 60,000 events/s overrun a 256 KiB ring that holds 0.12 s of them.",
    causes=(
        Cause(
            name="burst-exceeds-buffer",
            sentence="Bursts of 60,000 events/s last 0.4 s; the ring holds 0.12 s of their surplus.",
            confidence=0.92,
            explains=0.97,
            speaks_for=(
                "the ring was full for 14 % of the window, in 5 spells of 0.28 s",
                "on average 15,200 events/s come in and the reader takes up to 30,000/s",
                "it drains to zero after each spell",
            ),
            speaks_against=("bursts come every 2.0 s: a longer one than 0.4 s was not seen",),
            arithmetic=(
                "surplus in a burst = (60,000 − 30,000)/s × 0.4 s × 72 B = 844 KiB",
                "the ring: 256 KiB = 0.12 s of surplus",
                "needed: 2 × 844 KiB → 2 MiB, the next power of two of pages",
            ),
            settles="a window of a minute shows whether longer bursts occur",
        ),
        Cause(
            name="reader-polls-too-slowly",
            sentence="The reader wakes every 100 ms: up to 0.1 s late for a burst.",
            confidence=0.31,
            explains=0.12,
            speaks_for=("the consumer position moves in steps of 100 ms",),
            speaks_against=("the ring stays full after a wake-up", "fill would still pass 100 % at 10 ms"),
        ),
    ),
    notes=("no kernel count of failed reserves on this kernel: drops come from the agent's own variable",),
)

POLL_PLAN = Plan(
    remediation="poll-interval",
    changes=(
        Change(
            knob=POLL,
            before=100,
            after=25,
            before_text="100 ms",
            after_text="25 ms",
            why="waking four times as often takes 75 ms off the start of each burst",
            where=f"{FILE}: reader.poll_interval",
        ),
    ),
    predictions=(
        Prediction(
            measure="flow.dropped_per_s",
            before=4_330.0,
            after=3_100.0,
            unit="events/s",
            at_most=True,
            arithmetic="75 ms × 30,000/s fewer lost per burst",
        ),
    ),
    risk="low",
    undo_by_hand=f"set reader.poll_interval: 100ms in {FILE}, then kill -HUP 4711",
)

RING_PLAN = Plan(
    remediation="ring-buffer-size",
    changes=(
        Change(
            knob=RING,
            before="256KiB",
            after="2MiB",
            before_text="256 KiB",
            after_text="2 MiB",
            why="a burst brings 844 KiB more than the reader takes; twice that, up to a power of two",
            where=f"{FILE}: ring.size",
        ),
    ),
    predictions=(
        Prediction(
            measure="flow.fill_peak",
            before=1.0,
            after=0.5,
            unit="share",
            at_most=True,
            arithmetic="(844 KiB + 20 %) / 2 MiB = 0.49",
        ),
        Prediction(
            measure="flow.dropped_per_s",
            before=4_330.0,
            after=0.0,
            unit="events/s",
            arithmetic="0 while bursts last less than 0.97 s",
        ),
    ),
    risk="low",
    loses=("events between the old and the new ring",),
    memory_bytes=1_835_008,
    memory_limit="64 MiB asked for by the runbook",
    undo_by_hand=f"set ring.size: 256KiB in {FILE}, then kill -HUP 4711",
)

ALLOWED = (
    Decision(
        answer="allow",
        guard="bounds",
        because="2 MiB is within 4 KiB … 64 MiB",
        values={"after": 2_097_152, "maximum": 67_108_864},
    ),
    Decision(
        answer="allow",
        guard="budget",
        because="2 of 6 changes used this hour",
        values={"used": 2, "per_hour": 6},
    ),
    Decision(answer="allow", guard="cooldown", because="no change of this knob in the last 10 min"),
    Decision(answer="ask", guard="approval", because="the policy asks for low risk; answered by --yes"),
)


def head(**changes: object) -> record.RunHead:
    """The head of the fixed run, with what a test wants different."""
    facts: dict = {
        "id": "20261122-0301-events-dropped-k3f9",
        "runbook": "events-dropped",
        "runbook_hash": "9f2c" * 16,
        "summary": "An eBPF agent loses events between the kernel and its reader.",
        "target": "lab",
        "target_ref": LAB.ref,
        "inputs": {"window": 10.0, "memory_limit": 67_108_864},
        "started_at": START,
        "ended_at": START + 66.4,
        "outcome": "fixed",
        "sentence": "Fixed: a 2 MiB ring holds the bursts; 4,330 events/s were lost, none for 20 s now.",
        "by": "root (sudo: anna)",
        "host": "node-7",
        "kernel": "6.18.5",
        "engine": "0.1.0",
        "pid": 5120,
    }
    return record.RunHead(**(facts | changes))


def _looking(at: float, step: str, ring: int, whole: bool = False) -> tuple[record.Event, ...]:
    """A window's events, told when it has ended."""
    seen = [flow(at, ring), process(at)] + ([cost_of_programs(at)] if whole else [])
    return tuple(record.Seen(at=at + 10.1, step=step, evidence=evidence) for evidence in seen)


def _goal(at: float, phase: str, lost: float, held: float = 0.0) -> record.GoalMeasured:
    return record.GoalMeasured(
        at=at,
        step="goal",
        phase=phase,
        condition="flow.dropped_per_s == 0",
        holds=lost == 0,
        values={"flow.dropped_per_s": lost},
        held_s=held,
        hold_s=20.0,
    )


def burst_run() -> record.Run:
    """Two changes tried, one taken back, one kept: ``fixed``."""
    t, small, large = START, 262_144, 2_097_152
    events: tuple[record.Event, ...] = (
        record.TargetFound(at=t + 0.1, target=LAB),
        record.StepStarted(
            at=t + 0.2, step="goal", title="measure the goal", action="look event-flow", seconds=10
        ),
        *_looking(t + 0.3, "goal", small)[:1],
        _goal(t + 10.4, "before", 4_330.0),
        record.StepStarted(
            at=t + 10.5,
            step="1",
            title="look",
            action="event-flow, process, program-cost, event-sources",
            seconds=10,
        ),
        *_looking(t + 10.8, "1", small, whole=True),
        record.ProbeMissed(
            at=t + 20.9,
            step="1",
            probe="event-sources",
            problem="its program was refused: fentry is not supported here",
            fix="runbook doctor",
            fallback="agent-metrics",
        ),
        record.StepStarted(at=t + 21.0, step="2", title="decide", action="event-loss"),
        record.Decided(at=t + 21.0, step="2", verdict=VERDICT),
        record.StepStarted(
            at=t + 21.1, step="3.rungs.1", title="change poll-interval", action="poll-interval"
        ),
        record.Planned(at=t + 21.1, step="3.rungs.1", plan=POLL_PLAN, rung=1),
        record.Judged(
            at=t + 21.2,
            step="3.rungs.1",
            remediation="poll-interval",
            decisions=ALLOWED,
            answer="ask",
            by="--yes",
        ),
        record.Intended(
            at=t + 21.3,
            step="3.rungs.1",
            attempt=1,
            remediation="poll-interval",
            change=POLL_PLAN.changes[0],
            captured={"sha256": "77aa"},
        ),
        record.Applied(at=t + 21.9, step="3.rungs.1", attempt=1),
        *_looking(t + 22.0, "3.rungs.1", small),
        _goal(t + 32.2, "after", 4_330.0),
        record.Compared(
            at=t + 32.2,
            step="3.rungs.1",
            remediation="poll-interval",
            measure="flow.dropped_per_s",
            unit="events/s",
            before=4_330.0,
            predicted=3_100.0,
            measured=4_330.0,
            at_most=True,
            met=False,
        ),
        record.Settled(
            at=t + 32.9,
            step="3.rungs.1",
            attempt=1,
            state="undone",
            because="4,330 events/s are still lost: it did not help",
        ),
        record.StepStarted(
            at=t + 33.0, step="3.rungs.2", title="change ring-buffer-size", action="ring-buffer-size"
        ),
        record.Planned(at=t + 33.0, step="3.rungs.2", plan=RING_PLAN, rung=2),
        record.Judged(
            at=t + 33.1,
            step="3.rungs.2",
            remediation="ring-buffer-size",
            decisions=ALLOWED,
            answer="ask",
            by="--yes",
        ),
        record.Intended(
            at=t + 33.2,
            step="3.rungs.2",
            attempt=2,
            remediation="ring-buffer-size",
            change=RING_PLAN.changes[0],
            captured={"sha256": "77aa"},
        ),
        record.Applied(at=t + 34.0, step="3.rungs.2", attempt=2),
        *_looking(t + 34.2, "3.rungs.2", large),
        _goal(t + 44.4, "after", 0.0),
        record.Compared(
            at=t + 44.4,
            step="3.rungs.2",
            remediation="ring-buffer-size",
            measure="flow.fill_peak",
            unit="share",
            before=1.0,
            predicted=0.5,
            measured=0.445,
            at_most=True,
            met=True,
        ),
        record.Compared(
            at=t + 44.4,
            step="3.rungs.2",
            remediation="ring-buffer-size",
            measure="flow.dropped_per_s",
            unit="events/s",
            before=4_330.0,
            predicted=0.0,
            measured=0.0,
            met=True,
        ),
        record.Settled(
            at=t + 44.5, step="3.rungs.2", attempt=2, state="kept", because="no events were lost in 10 s"
        ),
        record.StepSkipped(at=t + 44.5, step="3.rungs.3", title="change workers", because="the goal holds"),
        record.StepStarted(
            at=t + 44.6, step="goal", title="hold the goal", action="look event-flow", seconds=20
        ),
        *_looking(t + 45.0, "goal", large)[:1],
        _goal(t + 55.2, "hold", 0.0, held=10.0),
        *_looking(t + 55.6, "goal", large)[:1],
        _goal(t + 65.8, "hold", 0.0, held=20.0),
        record.Told(at=t + 66.0, step="4", sentence="Fixed: a 2 MiB ring holds the bursts."),
        record.Ended(
            at=t + 66.4,
            outcome="fixed",
            sentence=head().sentence,
            cost=Cost(cpu_s=0.61, bpf_s=0.0012, memory_bytes=46_137_344, wall_s=66.4),
        ),
    )
    return record.Run(head=head(), events=events)


def rehearsal_run() -> record.Run:
    """A dry-run: one plan that would be made, one that guards hold back."""
    t = START
    sentence = "Rehearsed: one change would be made, nothing was."
    events: tuple[record.Event, ...] = (
        record.TargetFound(at=t + 0.1, target=LAB),
        *_looking(t + 0.3, "goal", 262_144)[:1],
        _goal(t + 10.4, "before", 4_330.0),
        record.Decided(at=t + 21.0, step="2", verdict=VERDICT),
        record.Planned(
            at=t + 21.1,
            step="3.rungs.1",
            plan=Plan(remediation="workers", reason="the reader uses one thread whatever the setting"),
        ),
        record.Would(at=t + 21.2, step="3.rungs.2", plan=RING_PLAN, decisions=ALLOWED, answer="ask"),
        record.Ended(at=t + 21.3, outcome="rehearsed", sentence=sentence, cost=Cost(cpu_s=0.3, wall_s=21.3)),
    )
    return record.Run(
        head=head(dry_run=True, outcome="rehearsed", sentence=sentence, ended_at=t + 21.3), events=events
    )


def killed_run() -> record.Run:
    """The engine died between the intent and its outcome: the change is ``unknown``."""
    whole = burst_run()
    cut = next(i for i, event in enumerate(whole.events) if isinstance(event, record.Intended)) + 1
    return record.Run(
        head=head(outcome=None, ended_at=None, sentence=""), events=whole.events[:cut], state="interrupted"
    )


def hostile_run() -> record.Run:
    """Every text that came from outside tries to be markup, a script or a terminal command."""
    evil = EVIL
    cause = Cause(name=evil, sentence=evil, confidence=0.5, speaks_for=(evil,), arithmetic=(evil,))
    process_ = Process(pid=1, comm=evil, exe=evil, argv=(evil,))
    seen = Evidence(
        probe=evil,
        short=evil,
        target=evil,
        started_at=START,
        ended_at=START + 1,
        readings={evil: Reading(value=evil, source=evil), "x": Reading(missing=evil)},
        series={evil: Series(label=evil, unit=evil, times=(START, START + 1), values=(1.0, 2.0))},
        tables={evil: ({evil: evil},)},
        notes=(evil,),
    )
    change = Change(
        knob=Knob(name=evil, backend=evil, file=evil),
        before=evil,
        after=evil,
        before_text=evil,
        after_text=evil,
        why=evil,
        where=evil,
    )
    plan = Plan(remediation=evil, changes=(change,), undo_by_hand=evil, loses=(evil,), warnings=(evil,))
    events: tuple[record.Event, ...] = (
        record.TargetFound(
            at=START, target=Target(name=evil, ref=evil, processes=(process_,), facts={evil: evil})
        ),
        record.Seen(at=START + 1, evidence=seen),
        record.Decided(at=START + 1, verdict=Verdict(diagnosis=evil, sentence=evil, causes=(cause,))),
        record.Planned(at=START + 2, plan=plan),
        record.Judged(
            at=START + 2,
            remediation=evil,
            decisions=(Decision(answer="ask", guard=evil, because=evil, values={evil: evil}),),
            answer="ask",
            by=evil,
        ),
        record.Intended(at=START + 2, attempt=1, remediation=evil, change=change),
        record.Settled(at=START + 3, attempt=1, state="left", because=evil, undo_by_hand=evil),
        record.Told(at=START + 3, sentence=evil, fix=evil),
        record.Ended(at=START + 4, outcome="failed", sentence=evil),
    )
    return record.Run(
        head=head(runbook=evil, by=evil, inputs={evil: evil}, outcome="failed", sentence=evil), events=events
    )
