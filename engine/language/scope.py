"""The names that a run's expressions may read, made from its values.

``inputs``, ``target``, ``host``, ``run``, ``alert``, ``outcome``; the evidence by its short
name (or the step's ``as``); the verdicts (``cause``). Everything is copied to plain data.

Not here: evaluating (``engine.language.expressions``), which of them are there at which step
(``engine.language.check``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from engine.language.unknown import Record, Unknown
from engine.values import Cause, Evidence, Host, Setting, Target, Verdict

#: Fields of the names that need no step; ``alert.labels`` and ``.annotations`` hold any key.
TARGET = ("name", "ref", "profile", "pid", "config_file")
HOST = ("cpus", "memory_bytes", "page_bytes")
OUTCOME = ("name", "sentence")
RUN = ("id", "runbook", "dry_run")
ALERT = ("name", "labels", "annotations")
RANKED = ("name", "sentence", "confidence", "explains", "fix", "settles")
CAUSE = (*RANKED, "ranked")
CALLED = ("outcome", "sentence", "cause", "run")
RAN = ("exit_code", "stdout", "stderr", "lines")
ANSWERED = ("answered", "by")


def names(  # noqa: PLR0913 - each is one kind of name, all by keyword
    *,
    inputs: Mapping[str, Setting] | None = None,
    evidence: Mapping[str, Evidence] | None = None,
    verdicts: Mapping[str, Verdict] | None = None,
    results: Mapping[str, Record] | None = None,
    item: Mapping[str, object] | None = None,
    target: Target | None = None,
    host: Host | None = None,
    outcome: tuple[str, str] | None = None,
    run: Mapping[str, Setting] | None = None,
    expected: Iterable[str] = (),
) -> dict[str, object]:
    """All names of one moment of a run.

    Args:
        inputs: Typed and complete.
        evidence: By the name under which the runbook reads it.
        verdicts: By the name under which the runbook reads it, usually ``cause``.
        results: What other steps gave (``of_call``), by the name under which the runbook reads it.
        item: What an ``each`` is at, by the name under which the runbook reads it.
        target: The agent, once found.
        host: The machine, once asked.
        outcome: Name and sentence of how the run stands so far.
        run: ``id``, ``runbook``, ``dry_run``.
        expected: Evidence and verdicts of other steps (``check.given_names``): unknown so far.
    """
    machine = {} if host is None else {field: getattr(host, field) for field in HOST}
    found: dict[str, object] = {name: Unknown(f"{name} was not looked at in this run") for name in expected}
    found["inputs"] = Record("inputs", dict(inputs or {}))
    if target is not None:
        found["target"] = Record("target", {field: getattr(target, field) for field in TARGET})
    if host is not None:
        found["host"] = Record("host", machine, is_open="host" in expected)
    if outcome is not None:
        found["outcome"] = Record("outcome", dict(zip(OUTCOME, outcome, strict=True)))
    if run is not None:
        found["run"] = Record("run", dict(run))
    found |= {name: of_evidence(name, one) for name, one in (evidence or {}).items()}
    if "host" in (evidence or {}):  # a probe of the host tells more of the same
        seen = of_evidence("host", (evidence or {})["host"])
        found["host"] = Record("host", {**machine, **seen.values}, is_open=True)
    found |= {name: of_verdict(name, one) for name, one in (verdicts or {}).items()}
    return found | dict(results or {}) | dict(item or {})


def of_evidence(name: str, evidence: Evidence) -> Record:
    """Evidence as a record: readings, then tables; what has no value is unknown, with its reason."""
    values: dict[str, object] = {table: list(rows) for table, rows in evidence.tables.items()}
    for field, reading in evidence.readings.items():
        missing = f"{name}.{field}: {reading.missing or 'not measured'}"
        values[field] = Unknown(missing) if reading.value is None else reading.value
    return Record(name, values, is_open=True)


def of_verdict(name: str, verdict: Verdict) -> Record:
    """A verdict as a record of its first cause, with ``ranked``, ``is(…)`` and ``has(…)``.

    ``is`` asks about the first cause, ``has`` about all of them; each takes several names.
    """
    ranked = [_of_cause(cause) for cause in verdict.causes]
    none = Unknown(f"{name}: {verdict.sentence or 'no cause fits'}")
    first = ranked[0] if ranked else dict.fromkeys(RANKED, none)
    named = [cause.name for cause in verdict.causes]
    return Record(
        name,
        {**first, "ranked": ranked},
        methods={
            "is": lambda *words: bool(named) and named[0] in words,
            "has": lambda *words: any(word in named for word in words),
        },
    )


def of_call(name: str, *, outcome: str, sentence: str, cause: str, run: str) -> Record:
    """How a called runbook ended; ``cause`` is the name of its first cause, empty when it named none."""
    why = Unknown(f"{name}: it named no cause")
    return Record(name, {"outcome": outcome, "sentence": sentence, "cause": cause or why, "run": run})


def of_command(name: str, *, exit_code: int, stdout: str, stderr: str) -> Record:
    """What a command gave; ``lines`` are those of ``stdout`` without their ends."""
    lines = stdout.splitlines()
    return Record(name, {"exit_code": exit_code, "stdout": stdout, "stderr": stderr, "lines": lines})


def of_answer(
    name: str, parts: Mapping[str, str], values: Mapping[str, Setting], by: str, why: str
) -> Record:
    """An answer to a question; without one every part that is yes or no is a no, the others unknown.

    Args:
        name: Under which it is read.
        parts: The type of each part.
        values: As answered; none when nobody did.
        by: Who answered.
        why: Why there is no answer.
    """
    missing: dict[str, object] = {
        part: False if kind == "bool" else Unknown(f"{name}.{part}: {why}") for part, kind in parts.items()
    }
    return Record(name, {**missing, **values, "answered": bool(values), "by": by})


def _of_cause(cause: Cause) -> dict[str, object]:
    values: dict[str, object] = {field: getattr(cause, field) for field in RANKED}
    if cause.explains is None:
        values["explains"] = Unknown(f"{cause.name}: how much it explains is not known")
    return values


def of_alert(name: str, labels: Mapping[str, str], annotations: Mapping[str, str]) -> dict[str, object]:
    """The names that a trigger may read. Their text is data, whatever it looks like.

    A label that the alert does not bear is unknown: ``… | default(…)`` gives a value for that case.
    """
    values = {
        "name": name,
        "labels": Record("alert.labels", dict(labels), is_open=True),
        "annotations": Record("alert.annotations", dict(annotations), is_open=True),
    }
    return {"alert": Record("alert", values)}
