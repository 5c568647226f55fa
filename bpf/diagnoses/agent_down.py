"""Why an agent does not run, or does not go on running: from how it ended and how often.

Its promise: pure; a cause is named only where something says it. An agent that somebody stopped is told from
one that died, and what ends it each time stands before the fact that it ends again and again.

Not here: how it is found out (``unit-state``), starting it (the remediation ``restart``).
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from bpf.diagnoses.wording import count, span
from engine.values import Case, Cause, Verdict

NAME = "agent-down"
#: So many restarts within ten minutes are a loop; fewer may be an operator at work.
LOOP_RESTARTS = 3
#: An agent that has run for so long is up, whatever ended the one before it.
SETTLED_S = 60.0
_FIX = {
    "oom-killed": "start it, then find out what grows: runbook run memory-leak",
    "crash-loop": "its author's turn, with its last words and a core file (coredumpctl); no start mends it",
    "failed-load": "runbook run load-failure",
    "crashed": "start it; keep what it said last, and its core file if there is one (coredumpctl)",
    "stopped-by-human": "ask who stopped it; start it when nobody objects",
}


class AgentDown:
    """The diagnosis ``agent-down``."""

    name = NAME
    summary = "why an agent does not run, or does not go on running"
    causes: Mapping[str, str] = {
        "oom-killed": "The kernel killed it for want of memory.",
        "crash-loop": "It ends soon after each start, and is started again and again.",
        "failed-load": "Its programs do not load, so it gives up.",
        "crashed": "It died of a fault of its own, or ended by itself.",
        "stopped-by-human": "Somebody had it stopped.",
    }
    wants = ("unit-state",)

    def decide(self, case: Case) -> Verdict:
        """Rank what ended it; nothing for an agent that runs steadily."""
        seen = case.evidence.get("unit")
        if seen is None:
            return Verdict(diagnosis=NAME, sentence="Nothing can be said: unit-state was not looked at.")
        if _is_up(case):
            return Verdict(diagnosis=NAME, sentence=f"{case.target.name} runs{_since(case)}.")
        found = [
            cause for cause in (_oom(case), _load(case), _loop(case), _crash(case), _stop(case)) if cause
        ]
        causes = tuple(sorted(found, key=lambda one: -one.confidence))
        state = "is started again and again" if case.number("unit.running") else "does not run"
        end = causes[0].sentence if causes else "nothing says how it ended"
        return Verdict(
            diagnosis=NAME, sentence=f"{case.target.name} {state}: {end}.", causes=causes, notes=seen.notes
        )


def _is_up(case: Case) -> bool:
    """Runs the whole window, and no loop has just gone round."""
    if not (case.number("unit.running") and case.number("unit.steady")):
        return False
    young = (case.number("unit.uptime_s") or 0.0) < SETTLED_S
    return not (young and (case.number("unit.restarts") or 0) >= LOOP_RESTARTS)


def _oom(case: Case) -> Cause | None:
    if not case.number("unit.oom_killed"):
        return None
    line = case.text("unit.oom_line")
    limited = "its cgroup's limit" if line and "cgroup" in line else "the machine's memory"
    return _cause(
        case, "oom-killed", 0.95, f"the kernel killed it for want of memory ({limited})",
        (line, _unit_says(case), _ended(case)),
    )  # fmt: skip


def _load(case: Case) -> Cause | None:
    if not case.number("unit.failed_load"):
        return None
    why = case.text("unit.load_sentence")
    return _cause(
        case, "failed-load", 0.9, "its programs do not load" + (f": {why}" if why else ""),
        (_named("explain", case.text("unit.load_cause")), _last_line(case)),
    )  # fmt: skip


def _loop(case: Case) -> Cause | None:
    restarts, per_min = case.number("unit.restarts") or 0.0, case.number("unit.restarts_per_min") or 0.0
    if restarts < LOOP_RESTARTS and case.text("unit.result") != "start-limit-hit":
        return None
    each = f", {_death(case)} each time" if _death(case) else ""
    return _cause(
        case, "crash-loop", 0.85, f"it was started again {count(restarts)} times within ten minutes{each}",
        (f"{per_min:.3g} restarts a minute", case.text("unit.crash_line"), _unit_says(case)),
    )  # fmt: skip


def _crash(case: Case) -> Cause | None:
    """A death that something tells of; with no word at all, the least of it."""
    if case.number("unit.oom_killed") or case.text("unit.stopped_by") == "human":
        return None
    death, code = _death(case), case.number("unit.exit_code")
    if death:
        sentence, confidence = f"it died of {death}", 0.8
    elif code:
        sentence, confidence = f"it ended with {count(code)}", 0.7
    elif code == 0:
        sentence, confidence = "it ended by itself, and says that all went well", 0.5
    elif case.number("unit.failed_load") or case.number("unit.running"):
        return None
    else:
        sentence, confidence = "it ended without a word, as a process does that is killed", 0.4
    against = ("its programs did not load, which may be why",) if case.number("unit.failed_load") else ()
    said = (
        case.text("unit.crash_line"),
        _unit_says(case),
        _last_line(case),
    )
    return _cause(case, "crashed", confidence, sentence, said, against)


def _stop(case: Case) -> Cause | None:
    if case.text("unit.stopped_by") != "human" or case.number("unit.running"):
        return None
    return _cause(
        case, "stopped-by-human", 0.9, "somebody had it stopped",
        (case.text("unit.stopped_line"), _unit_says(case)),
        ("a shutdown or an update of its package stops it in the same way",),
    )  # fmt: skip


def _cause(  # noqa: PLR0913, PLR0917 - a cause's own fields
    case: Case,
    name: str,
    confidence: float,
    sentence: str,
    speaks: tuple[str | None, ...],
    against: tuple[str, ...] = (),
) -> Cause:
    age = case.number("unit.last_seen_s")
    when = f"; its last sign of life was {span(age)} ago" if age else ""
    return Cause(
        name=name,
        sentence=f"{sentence}{when}" if not case.number("unit.running") else sentence,
        confidence=confidence,
        speaks_for=tuple(dict.fromkeys(one for one in speaks if one)),
        speaks_against=against,
        settles="its log, and the kernel's: journalctl --dmesg",
        fix=_FIX[name],
    )


def _death(case: Case) -> str:
    """The signal that ended it, by name; empty when it is not known, or was a kill for want of memory."""
    number = case.number("unit.exit_signal")
    if number is None or case.number("unit.oom_killed"):
        return ""
    try:
        return signal.Signals(int(number)).name
    except ValueError:
        return f"signal {count(number)}"


def _ended(case: Case) -> str | None:
    restarts = case.number("unit.restarts")
    return f"started again {count(restarts)} times within ten minutes" if restarts else None


def _unit_says(case: Case) -> str | None:
    unit, result = case.text("unit.unit"), case.text("unit.result")
    return f"{unit}: {case.text('unit.active_state') or 'unknown'}, {result}" if unit and result else None


def _named(name: str, value: str | None) -> str | None:
    return f"{name}: {value}" if value else None


def _last_line(case: Case) -> str | None:
    return _named("its last line", case.text("unit.last_line"))


def _since(case: Case) -> str:
    uptime = case.number("unit.uptime_s")
    return f" since {span(uptime)}" if uptime else ""
