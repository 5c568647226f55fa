"""Why a BPF program, map or link does not load: from the failing calls, the log and the host's facts.

Its promise: it decides from the case alone; calls that fail in the same way are judged together, and
what each cause explains is its share of the failing calls. One errno never decides.

Not here: the rules (``bpf.explain``), what to do about it (``remediations``).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bpf.explain.causes import CAUSES
from bpf.explain.scoring import explain
from engine.values import Case, Cause, Scalar, Verdict

NAME = "load-failure"
#: A cause below this confidence is not worth a line; so many are told at most.
WORTH_NAMING, MOST = 0.03, 5
#: Kinds of failing calls that are judged; the most frequent first.
MOST_KINDS = 20
#: Log tail that is judged per kind, in characters.
TAIL = 16 << 10
#: bpf() commands in the words in which libraries tell of them, which the rules know.
_WORDS = {
    "PROG_LOAD": "load program",
    "MAP_CREATE": "map create",
    "BTF_LOAD": "load btf",
    "LINK_CREATE": "attach program (link create)",
    "PROG_ATTACH": "attach program",
    "RAW_TRACEPOINT_OPEN": "attach raw tracepoint",
    "OBJ_PIN": "failed to pin object",
}


class Kind(NamedTuple):
    """Calls that failed alike: the same command, name and errno.

    Attributes:
        text: What the rules judge: the call in a library's words, and the end of its log.
        who: The thread's name and pid of the last one.
    """

    text: str
    who: str
    sentence: str
    calls: int


class LoadFailure:
    """The diagnosis ``load-failure``."""

    name = NAME
    summary = "why a BPF program, map or link does not load"
    causes: Mapping[str, str] = {
        name: f"{about.means[:1].upper()}{about.means[1:]}." for name, about in CAUSES.items()
    }
    wants = ("load-failures", "host-facts", "agent-log")

    def decide(self, case: Case) -> Verdict:
        """Rank the causes over all kinds of failing calls; of the log alone when no call was seen."""
        facts = _facts(case)
        kinds = _kinds(case)
        notes = _notes(case)
        if not kinds:
            return _from_log(case, facts, notes)
        found = _merge([(kind, explain(kind.text, facts)) for kind in kinds])
        total = sum(kind.calls for kind in kinds)
        sentence = f"{total} failed: {kinds[0].sentence}" if total > 1 else kinds[0].sentence
        if found:
            sentence += f": {found[0].sentence}"
        else:
            sentence += ", and no known cause fits"
        return Verdict(diagnosis=NAME, sentence=f"{sentence}.", causes=found, notes=notes)


def _facts(case: Case) -> dict[str, Scalar]:
    """The host's facts as plain values; None is unknown."""
    seen = case.evidence.get("host")
    return {name: reading.value for name, reading in seen.readings.items()} if seen else {}


def _kinds(case: Case) -> list[Kind]:
    """The failing calls by kind; libraries' feature tests only when there is nothing else."""
    seen = case.evidence.get("loads")
    rows = seen.tables.get("failures", ()) if seen else ()
    wanted = [row for row in rows if not _is_feature_test(row)] or list(rows)
    groups: dict[tuple[Scalar, ...], list[Mapping[str, Scalar]]] = {}
    for row in wanted:
        groups.setdefault((row.get("command"), row.get("name"), row.get("errno")), []).append(row)
    ranked = sorted(groups.values(), key=len, reverse=True)[:MOST_KINDS]
    return [_kind(alike) for alike in ranked]


def _is_feature_test(row: Mapping[str, Scalar]) -> bool:
    """A library that tries what the kernel can do: it means no harm when that fails."""
    insns, name = row.get("insns"), str(row.get("name") or "")
    tiny = (
        row.get("command") == "PROG_LOAD" and isinstance(insns, int | float) and 0 < insns <= 4 and not name
    )
    return tiny or name.startswith("libbpf_")


def _kind(alike: list[Mapping[str, Scalar]]) -> Kind:
    """One kind in words: of the row that has the longest log."""
    row = max(alike, key=lambda one: len(str(one.get("log_tail") or "")))
    command = str(row.get("command") or "")
    name, kind = str(row.get("name") or "(no name)"), str(row.get("type") or "")
    why = _in_words(row.get("errno"))
    call = (
        f"{_WORDS.get(command, command.lower())} {name} ({kind}): {why}"
        if kind
        else f"{_WORDS.get(command, command.lower())} {name}: {why}"
    )
    lines = [call]
    if row.get("refused_by"):
        lines.append(f"refused by a {row['refused_by']} filter before the kernel looked at it")
    lines.append(str(row.get("log_tail") or "")[-TAIL:])
    who = f"{row.get('comm') or 'a process'}[{row.get('pid') or '?'}]"
    return Kind(
        "\n".join(lines), who, f"{who} could not {_verb(command)} {name} ({row.get('errno')})", len(alike)
    )


def _verb(command: str) -> str:
    return {"MAP_CREATE": "create map", "OBJ_PIN": "pin", "PROG_LOAD": "load", "BTF_LOAD": "load types"}.get(
        command, "attach"
    )


def _in_words(code: Scalar) -> str:
    """``EPERM`` or 1 → ``operation not permitted (EPERM)``."""
    numbers = {name: number for number, name in errno.errorcode.items()} | {"ENOTSUPP": 524}
    number = int(code) if isinstance(code, int | float) else numbers.get(str(code), 0)
    name = errno.errorcode.get(number, "ENOTSUPP" if number == 524 else str(code))
    words = os.strerror(number).lower() if number else "failed"
    return f"{words} ({name})"


def _merge(judged: list[tuple[Kind, tuple[Cause, ...]]]) -> tuple[Cause, ...]:
    """One ranking: confidence is the mean over the failing calls, ``explains`` the share it leads."""
    total = sum(kind.calls for kind, _ in judged)
    confidence: dict[str, float] = {}
    leads: dict[str, int] = {}
    best: dict[str, Cause] = {}
    for kind, causes in judged:
        for place, cause in enumerate(causes):
            confidence[cause.name] = confidence.get(cause.name, 0.0) + cause.confidence * kind.calls / total
            leads[cause.name] = leads.get(cause.name, 0) + (kind.calls if place == 0 else 0)
            if cause.name not in best or cause.confidence > best[cause.name].confidence:
                best[cause.name] = cause
    ranked = sorted(confidence, key=lambda name: (-confidence[name], name))
    return tuple(
        _weighed(best[name], confidence[name], leads[name] / total)
        for name in ranked[:MOST]
        if confidence[name] >= WORTH_NAMING
    )


def _weighed(cause: Cause, confidence: float, explains: float) -> Cause:
    return Cause(
        name=cause.name,
        sentence=cause.sentence,
        confidence=round(confidence, 3),
        explains=round(explains, 3),
        speaks_for=cause.speaks_for,
        speaks_against=cause.speaks_against,
        arithmetic=cause.arithmetic,
        settles=cause.settles,
        fix=cause.fix,
    )


def _from_log(case: Case, facts: Mapping[str, Scalar], notes: tuple[str, ...]) -> Verdict:
    """What the agent's log says, when no failing call was seen."""
    said = case.text("log.tail") or case.text("log.last_line")
    found = explain(said, facts)[:MOST] if said else ()
    if found:
        causes = tuple(_weighed(cause, cause.confidence, 0.0) for cause in found)
        sentence = f"No call failed in the window; the agent's log says: {found[0].sentence}."
        return Verdict(diagnosis=NAME, sentence=sentence, causes=causes, notes=notes)
    if "loads" not in case.evidence:
        return Verdict(
            diagnosis=NAME, sentence="Nothing can be said: no failing call was looked for.", notes=notes
        )
    return Verdict(diagnosis=NAME, sentence="Nothing failed to load in the window.", notes=notes)


def _notes(case: Case) -> tuple[str, ...]:
    """What was not looked at, and what that means."""
    return tuple(_missing(case.evidence))


def _missing(evidence: Iterable[str]) -> list[str]:
    seen = set(evidence)
    notes = []
    if "loads" not in seen:
        notes.append("load-failures was not looked at: only the log is judged")
    if "host" not in seen:
        notes.append("host-facts was not looked at: what leads to the same errno can't be told apart")
    return notes
