"""The events of a run as lines for people: one line per event worth reading.

One promise: the live display, the text report and the timeline of the HTML report say the
same thing of the same event in the same words.

Not here: colours, layout, time (each teller adds its own).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from functools import singledispatch
from typing import Literal, NamedTuple

from engine import record, text
from engine.reports import approvals
from engine.values import Evidence, Plan, Reading

Mark = Literal["look", "goal", "cause", "plan", "change", "good", "bad", "skip", "note", "warn"]

#: What is worth a place in one line, by the evidence's short name, in this order.
HEADLINES: dict[str, tuple[tuple[str, str], ...]] = {
    "flow": (("in_per_s", "in"), ("out_per_s", "out"), ("dropped_per_s", "lost"), ("fill_peak", "fill")),
    "process": (("cpu_cores", "CPU"), ("throttled_share", "throttled"), ("rss_bytes", "memory")),
    "cost": (("cpu_cores", "BPF programs"), ("hottest", "hottest")),
    "sources": (
        ("ring_comm", "most in the ring from"),
        ("ring_share", "share"),
        ("top_comm", "most calls from"),
        ("top_share", "share"),
        ("total_per_s", "of"),
    ),
    "host": (
        ("kernel_release", "kernel"),
        ("seccomp", "seccomp"),
        ("lockdown", "lockdown"),
        ("programs", "programs of the agent"),
    ),
    "maps": (("name", "map"), ("fill_share", "fill"), ("growth_per_s", "growth"), ("stale_share", "stale")),
    "memory": (
        ("anon_bytes", "private"),
        ("slope_bytes_per_s", "growth"),
        ("map_bytes", "maps"),
        ("lasts_s", "lasts"),
        ("limit_bytes", "limit"),
    ),
    "alloc": (
        ("allocated_bytes_per_s", "allocated"),
        ("outstanding_bytes_per_s", "not freed"),
        ("top_site", "most by"),
        ("top_site_share", "share"),
    ),
    "heap": (("inuse_bytes", "in use"), ("top_site", "most by"), ("top_site_share", "share")),
    "work": (
        ("events_per_s", "events"),
        ("cpu_us_per_event", "CPU an event"),
        ("spin_cores", "spinning"),
        ("empty_share", "waits for nothing"),
    ),
    "profile": (
        ("top_function", "most in"),
        ("top_function_share", "share"),
        ("kernel_share", "in the kernel"),
        ("bpf_share", "in BPF"),
    ),
    "unit": (
        ("running", "running"),
        ("uptime_s", "for"),
        ("exit_signal", "signal"),
        ("exit_code", "exit code"),
        ("restarts", "restarts"),
    ),
    "objects": (("programs", "programs"), ("attached", "attached"), ("maps", "maps"), ("map_bytes", "of")),
    "klog": (
        ("errors", "errors"),
        ("kills", "killed for memory"),
        ("last_kill_age_s", "last kill before"),
        ("last_error_age_s", "last error before"),
    ),
    "log": (
        ("recent_errors", "errors lately"),
        ("errors_per_s", "errors now"),
        ("dropped_per_s", "lost"),
        ("lines_per_s", "lines"),
    ),
    "loads": (("failures", "failed"), ("last_errno", "with"), ("last_program", "last"), ("lost", "not seen")),
}
_AT_MOST = 4


class Line(NamedTuple):
    """One line. ``mark``: what kind it is, for a colour or a sign. ``detail`` may be empty."""

    mark: Mark
    words: str
    detail: str = ""


def headline(evidence: Evidence) -> str:
    """The numbers of a piece of evidence that people look at first."""
    wanted = HEADLINES.get(evidence.short) or tuple(
        (name, name.replace("_", " ")) for name in evidence.readings
    )
    shown = []
    for name, label in wanted:
        reading = evidence.readings.get(name)
        if reading is not None and reading.value is not None:
            shown.append(f"{text.plain(label)} {_value(name, reading)}")
    return " · ".join(shown[:_AT_MOST])


def _value(name: str, reading: Reading) -> str:
    return text.measure(reading.value, reading.unit or text.unit_of(name))


def comparison(event: record.Compared) -> str:
    """``flow.fill_peak: 100 % → 44.5 %, predicted at most 50 %``."""
    unit = event.unit or text.unit_of(event.measure)
    before = "" if event.before is None else f"{text.measure(event.before, unit)} → "
    bound = "at most " if event.at_most and event.predicted else ""
    predicted = f"predicted {bound}{text.measure(event.predicted, unit)}"
    return f"{text.plain(event.measure)}: {before}{text.measure(event.measured, unit)}, {predicted}"


def measured(event: record.GoalMeasured) -> str:
    """The goal's values with units: ``flow.dropped_per_s = 4,330/s``."""
    return ", ".join(
        f"{text.plain(name)} = {text.measure(value, text.unit_of(name))}"
        for name, value in event.values.items()
    )


def at_work(event: record.StepStarted) -> tuple[str, str]:
    """A step's title, and what it does where the title does not say so already."""
    title, action = text.plain(event.title), text.plain(event.action)
    return title, "" if title.startswith(action) else action


def events(run: record.Run) -> Iterator[record.Event]:
    """The events of a run, those of the runs that it called in their place but for their ends."""
    called = {one.head.id: one for one in run.called}
    for event in run.events:
        yield event
        if isinstance(event, record.Called) and event.run in called:
            inner = called[event.run]
            yield from (one for one in events(inner) if not isinstance(one, record.Ended))


@singledispatch
def line(event: record.Event) -> Line | None:  # noqa: ARG001 - each kind of event has its own below
    """The line of an event; None for one that another line already tells."""
    return None


@line.register
def _(event: record.Seen) -> Line:
    return Line("look", text.plain(event.evidence.probe), headline(event.evidence))


@line.register
def _(event: record.ProbeMissed) -> Line:
    instead = f"; {event.fallback} instead" if event.fallback else ""
    return Line("warn", f"{text.plain(event.probe)} could not look", text.plain(event.problem + instead))


@line.register
def _(event: record.TargetFound) -> Line:
    pids = ", ".join(str(process.pid) for process in event.target.processes[:_AT_MOST])
    return Line("note", f"target {text.plain(event.target.name)}", f"pid {pids}" if pids else "no process")


@line.register
def _(event: record.StepSkipped) -> Line:
    return Line("skip", f"skipped {text.plain(event.title)}", text.plain(event.because))


@line.register
def _(event: record.Resumed) -> Line:
    return Line("note", f"taken up again: {event.doing}", f"by {text.plain(event.by)}")


@line.register
def _(event: record.Listed) -> Line:
    left = f"; {event.left_out} more are left out" if event.left_out else ""
    return Line("warn" if left else "note", f"for each of {text.several(len(event.items), 'item')}{left}")


@line.register
def _(event: record.Ran) -> Line:
    how = "took too long and was ended" if event.exit_code is None else f"exit code {event.exit_code}"
    said = next(iter((event.stdout.strip() or event.stderr.strip()).splitlines()), "")
    mark: Mark = "look" if event.exit_code == 0 else "warn"
    words = text.plain(f"ran {shlex.join(event.argv)}")
    return Line(
        mark, words, text.plain(f"{how}, {text.span(event.seconds)}{f': {said[:120]}' if said else ''}")
    )


@line.register
def _(event: record.Asked) -> Line:
    until = f"until {text.day_and_time(event.expires_at)}" if event.expires_at else "dry-run: not asked"
    who = f" {text.plain(event.who)}" if event.who else ""
    return Line("plan", f"asks{who}: {text.plain(event.question)}", until)


@line.register
def _(event: record.Answered) -> Line:
    if event.expired:
        return Line("warn", "nobody answered in time: it is a no")
    said = ", ".join(f"{name}: {text.setting(value)}" for name, value in event.values.items())
    comment = f" ({event.comment})" if event.comment else ""
    return Line("note", f"answered by {text.plain(event.by)}", text.plain(f"{said}{comment}"))


@line.register
def _(event: record.Requested) -> Line:
    return Line("plan", f"asks for a yes: {text.plain(event.remediation)}", approvals.request(event))


@line.register
def _(event: record.Ruled) -> Line:
    marks: dict[str, Mark] = {"approved": "good", "denied": "bad", "withdrawn": "note"}
    words, _, why = approvals.ruling(event).partition(": ")
    return Line(marks.get(event.answer, "warn"), text.plain(words), text.plain(why))


@line.register
def _(event: record.Barred) -> Line:
    return Line("warn", text.plain(f"{event.by} could not {event.wanted}"), text.plain(event.because))


@line.register
def _(event: record.Alerted) -> Line:
    mark: Mark = "good" if event.did == "resolved" else "note"
    return Line(mark, text.plain(approvals.alert(event)), text.plain(event.summary))


@line.register
def _(event: record.Extended) -> Line:
    by = f"by {event.by}" if event.by else ""
    why = ": ".join(filter(None, (by, event.comment)))
    return Line(
        "note", f"change {event.attempt} lasts until {text.day_and_time(event.lease_until)}", text.plain(why)
    )


@line.register
def _(event: record.Called) -> Line:
    return Line("plan", f"calls {text.plain(event.runbook)}", f"run {text.plain(event.run)}")


@line.register
def _(event: record.Returned) -> Line:
    good = record.EXIT_CODES.get(event.outcome) == 0
    words = f"{text.plain(event.runbook)} ended: {event.outcome}"
    return Line("good" if good else "bad", words, text.plain(event.sentence))


@line.register
def _(event: record.Told) -> Line | None:
    if event.repeats:
        return None
    marks: dict[str, Mark] = {"note": "note", "warning": "warn", "error": "bad"}
    return Line(marks[event.level], text.plain(event.sentence), text.plain(event.fix))


@line.register
def _(event: record.GoalMeasured) -> Line:
    if event.holds is None:
        return Line("warn", "goal could not be measured", text.plain(event.condition))
    if not event.holds:
        return Line("bad", "goal does not hold", measured(event))
    held = (
        f" for {text.span(event.held_s)} of {text.span(event.hold_s)}"
        if event.held_s and event.hold_s
        else ""
    )
    return Line("good", f"goal holds{held}", measured(event))


@line.register
def _(event: record.Decided) -> Line:
    verdict = event.verdict
    if verdict.checks:
        wrong = any(check.answer == "bad" for check in verdict.checks)
        return Line("warn" if wrong else "good", "checked", text.plain(verdict.sentence))
    name = text.plain(verdict.causes[0].name) if verdict.causes else "none fits"
    return Line("cause", f"cause: {name}", text.plain(verdict.sentence))


@line.register
def _(event: record.Ended) -> Line:
    good = record.EXIT_CODES.get(event.outcome) == 0
    return Line("good" if good else "bad", event.outcome, text.plain(event.sentence))


@line.register
def _(event: record.Planned) -> Line:
    if not event.plan.changes:
        found = "can't be changed" if event.plan.blocked else "nothing to do"
        return Line("skip", f"{text.plain(event.plan.remediation)}: {found}", text.plain(event.plan.reason))
    return _plan("plan", event.plan)


@line.register
def _(event: record.Would) -> Line:
    held = " (but the guards say no)" if event.answer == "deny" else ""
    return _plan(f"would change{held}", event.plan)


def _plan(verb: str, plan: Plan) -> Line:
    steps = ", ".join(f"{change.before_text} → {change.after_text}" for change in plan.changes)
    why = plan.changes[0].why if plan.changes else plan.reason
    return Line("plan", f"{verb}: {text.plain(plan.remediation)} {text.plain(steps)}", text.plain(why))


@line.register
def _(event: record.Judged) -> Line:
    because = "; ".join(text.plain(d.because) for d in event.decisions if d.answer == event.answer != "allow")
    if event.answer == "deny":
        return Line("bad", "held back by the guards", because)
    if event.answer == "ask" and not event.by:
        return Line("warn", "waits for a yes", because)
    by = f" by {text.plain(event.by)}" if event.by else ""
    return Line("note", f"allowed{by}", because or f"{text.several(len(event.decisions), 'guard')} agreed")


@line.register
def _(event: record.Intended) -> Line:
    where = event.change.where or event.change.knob.name
    if event.change.knob.backend == "command":
        return Line("change", f"running {text.plain(event.change.after_text)}", text.plain(event.change.why))
    return Line("change", f"writing {text.plain(event.change.after_text)}", text.plain(where))


@line.register
def _(event: record.Applied) -> Line:  # noqa: ARG001 - its kind is all it says
    return Line("change", "in force", "written, read back, taken up by the target")


@line.register
def _(event: record.Compared) -> Line:
    if event.met is None:
        return Line("warn", "could not be measured", comparison(event))
    if not event.met:
        return Line("bad", "not as predicted", comparison(event))
    return Line("good", "as predicted, within 25 %", comparison(event))


@line.register
def _(event: record.Settled) -> Line:
    marks: dict[str, Mark] = {"kept": "good", "leased": "good", "undone": "skip", "not-made": "skip"}
    return Line(marks.get(event.state, "bad"), event.state, text.plain(event.because))
