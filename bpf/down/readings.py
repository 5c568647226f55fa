"""The readings and tables of ``unit-state``, from what was looked at.

Not here: looking (``bpf.probes.unit_state``), what the fields mean (``bpf.down.fields``).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from bpf.down.ending import Ending
from bpf.down.last_words import Words
from bpf.down.systemd import Unit
from bpf.down.whereabouts import Found, last_pid
from bpf.objects import pins
from engine.values import Cause, Reading, Scalar, Target

#: Lines of the log that people are shown, and the longest of them.
ROWS, LINE_LENGTH = 20, 500


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """All that was seen, at the end of the window; the names are those of the fields."""

    unit: Unit | None
    runs: Found | None
    steady: bool
    starts: int
    uptime_s: float | None
    healthy: bool | None
    words: Words
    ending: Ending
    restarts: int
    restarts_per_min: float
    lines: tuple[str, ...]
    log_at: float | None
    pids: tuple[int, ...]
    kernel_log: bool
    now: float
    notes: tuple[str, ...] = ()


def readings_of(target: Target, looked: Looked) -> dict[str, Reading]:
    """Every field, measured or with the reason why not."""
    return {
        **_now(looked),
        **_unit(looked.unit),
        **_end(target, looked),
        **_load(looked),
        "restarts": Reading(value=looked.restarts, source="log, journal, process table"),
        "restarts_per_min": Reading(value=looked.restarts_per_min, unit="1/min", source="the same"),
        "last_line": _text(
            looked.lines[-1][:LINE_LENGTH] if looked.lines else "", "its log", "no log was read"
        ),
        "pinned_programs": _pinned(target),
    }


def rows_of(looked: Looked) -> dict[str, tuple[dict[str, Scalar], ...]]:
    """The last lines of its log, for people."""
    lines = [line[:LINE_LENGTH] for line in looked.lines[-ROWS:]]
    return {"last_lines": tuple({"line": line} for line in lines)}


def _now(looked: Looked) -> dict[str, Reading]:
    runs, source = looked.runs, "process table"
    gone = "it does not run"
    healthy = looked.healthy
    return {
        "running": Reading(value=runs is not None, source=source),
        "steady": Reading(value=looked.steady, source=source),
        "starts": Reading(value=looked.starts, source=source),
        "healthy": _known(healthy, "health endpoint", gone if runs is None else "it has no health endpoint"),
        "pid": _known(runs.pid if runs else None, source, gone),
        "uptime_s": _known(looked.uptime_s, source, gone, unit="s"),
    }


def _unit(unit: Unit | None) -> dict[str, Reading]:
    if unit is None:
        none = Reading(missing="it is no service of a systemd that could be asked")
        return dict.fromkeys(("unit", "active_state", "result"), none)
    return {
        "unit": Reading(value=unit.name, source="systemd"),
        "active_state": _text(unit.active_state, "systemd", "systemd does not say"),
        "result": _text(unit.result, "systemd", "systemd does not say"),
    }


def _end(target: Target, looked: Looked) -> dict[str, Reading]:
    end, words = looked.ending, looked.words
    unsaid = "it runs" if looked.runs else "nothing says how it ended"
    oom: bool | None = end.kill is not None
    if not oom and not looked.kernel_log and (looked.unit is None or looked.unit.result != "oom-kill"):
        oom = None
    oom = True if looked.unit is not None and looked.unit.result == "oom-kill" else oom
    line = end.crash.text if end.crash else words.died
    filed = last_pid(target)
    signs = [looked.log_at, filed[1] if filed else None, end.kill and end.kill.at, end.crash and end.crash.at]
    last = max((sign for sign in signs if sign is not None), default=None)
    age = 0.0 if looked.runs else None if last is None else max(0.0, looked.now - last)
    return {
        "exit_code": _known(end.exit_code, "systemd, log", unsaid),
        "exit_signal": _known(end.exit_signal, "systemd, kernel log, log", unsaid),
        "oom_killed": _known(oom, "kernel log", "the kernel's log can't be read"),
        "oom_line": _text(end.kill.text if end.kill else "", "kernel log", "no such line"),
        "crash_line": _text(line[:LINE_LENGTH], "kernel log, log", "no such line"),
        "stopped_by": _text("none" if looked.runs else end.stopped_by or "", "systemd, log", unsaid),
        "stopped_line": _text(end.stopped_line[:LINE_LENGTH], "systemd, log", "no such line"),
        "last_seen_s": _known(age, "log, pid file, kernel log", "nothing tells when it last lived", unit="s"),
    }


class _Why(NamedTuple):
    cause: str = ""
    sentence: str = ""


def _load(looked: Looked) -> dict[str, Reading]:
    """Whether its log ends with a failed load, and the likeliest reason; one that runs on has loaded."""
    failed = bool(looked.words.load) and not looked.steady
    why = _explained(looked.words.load) if failed else _Why()
    missing = "no reason is known" if failed else "no load failed"
    return {
        "failed_load": _known(failed if looked.lines else None, "log", "no log was read"),
        "load_cause": _text(why.cause, "explain", missing),
        "load_sentence": _text(why.sentence, "explain", missing),
    }


def _explained(text: str) -> _Why:
    from bpf.explain.scoring import explain  # noqa: PLC0415 - its rules are many, and rarely needed here

    causes: tuple[Cause, ...] = explain(text)
    return _Why(causes[0].name, causes[0].sentence) if causes else _Why()


def _pinned(target: Target) -> Reading:
    """Programs that hang in its directory of the BPF file system."""
    directory = target.facts.get("bpffs", "").rstrip("/")
    if not directory:
        return Reading(missing="the profile does not say where it pins (fact bpffs)")
    held = pins.read()
    found = [1 for (kind, _), paths in held.items() if kind == "prog" and _under(directory, paths)]
    return Reading(value=len(found), source=directory)


def _under(directory: str, paths: tuple[str, ...]) -> bool:
    return any(path.startswith(f"{directory}/") for path in paths)


def _text(value: str, source: str, missing: str) -> Reading:
    return Reading(value=value, source=source) if value else Reading(missing=missing)


def _known(value: Scalar, source: str, missing: str, unit: str = "") -> Reading:
    if value is None:
        return Reading(unit=unit, missing=missing)
    return Reading(value=value, unit=unit, source=source)
