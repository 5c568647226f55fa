"""From a text to ranked causes: which rows of the table speak, and what they add up to.

One promise: every cause named comes with the lines that spoke for it, word for word; no single
errno decides. Time is linear in the text; the text is bounded by ``reading``.

Not here: the rows (``rules_*``), what the host says (``host_rules``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from bpf import verifier
from bpf.explain import (
    host_rules,
    rules_hints,
    rules_kernel,
    rules_libraries,
    rules_objects,
    rules_reports,
    rules_rights,
    rules_running,
    rules_verifier,
)
from bpf.explain.causes import CAUSES
from bpf.explain.features import features
from bpf.explain.reading import Text
from bpf.explain.table import Phrase, Rule, find_in_line, parse
from engine.values import Cause, Scalar

RULES: tuple[Rule, ...] = (
    *rules_verifier.RULES,
    *rules_reports.RULES,
    *rules_reports.REPORT,
    *rules_rights.RULES,
    *rules_kernel.RULES,
    *rules_objects.RULES,
    *rules_libraries.RULES,
    *rules_running.RULES,
    *rules_hints.RULES,
)
_VERIFIER = frozenset(id(rule) for rule in (*rules_verifier.RULES, *rules_reports.RULES))
#: Below so many points of the likeliest cause the priors speak as well.
QUIET = 2.0
#: What a verifier's message counts that isn't the last one of its log.
BESIDE = 0.4
#: Each further row for the same cause counts this much less than the one before.
FADING = 0.6
#: Points per e-fold of confidence; set so that confidence meets the share of right answers.
TEMPERATURE = 1.3
#: Points of "nothing is known": keeps a lone hint from sounding sure.
DOUBT = 1.0
#: Points of the causes that the likeliest is mistaken for.
BESIDE_POINTS = (0.4, 0.2)
#: A cause below this confidence is not worth a line.
WORTH_NAMING = 0.02
#: So many are named whatever their confidence.
ALWAYS = 3
#: Lines quoted for one cause, and their length in characters.
QUOTES, QUOTE_LENGTH = 4, 200
#: Places of one phrase that are looked at.
PLACES = 40


class Spoken(NamedTuple):
    """A row of the table that spoke, and the index of the line it spoke in (-1: none)."""

    rule: Rule
    line: int


def explain(text: str, host: Mapping[str, Scalar] | None = None) -> tuple[Cause, ...]:
    """Rank the causes that a text speaks for; the likeliest first, none when nothing speaks.

    Args:
        text: Any error text, agent log or verifier log; bounded reading is the caller's
            (``reading``), overlong text is bounded here as well.
        host: Facts of the host where it failed, as the probe ``host-facts`` names them.
    """
    return explain_text(Text.of(text), host)


def explain_text(text: Text, host: Mapping[str, Scalar] | None = None) -> tuple[Cause, ...]:
    """As ``explain``, of a text that is already bounded."""
    host = host or {}
    heard = _hear(text, host)
    sayings = host_rules.judge(host, text.joined, heard) if host else ()
    totals = {cause: _total(points for points, _ in rows) for cause, rows in heard.items()}
    for saying in sayings:
        totals[saying.cause] = totals.get(saying.cause, 0.0) + saying.points
    _stand_beside(totals)
    confidences = _softmax({cause: total for cause, total in totals.items() if total > 0})
    ranked = sorted(confidences, key=lambda cause: (-confidences[cause], cause))
    return tuple(
        _cause(name, confidences[name], heard.get(name, []), sayings, text)
        for place, name in enumerate(ranked)
        if place < ALWAYS or confidences[name] >= WORTH_NAMING
    )


def _hear(text: Text, host: Mapping[str, Scalar]) -> dict[str, list[tuple[float, Spoken]]]:
    """Cause → the rows that speak for or against it, with their points in this text."""
    spoken = speak(text, host)
    refusal = verifier.read_lines(text.lines) if text.is_verifier_log else None
    if refusal is not None and not any(id(one.rule) in _VERIFIER for one in spoken):
        spoken.append(Spoken(rules_verifier.UNKNOWN_COMPLAINT, refusal.line))
    heard: dict[str, list[tuple[float, Spoken]]] = {}
    for one in spoken:
        beside = refusal is not None and id(one.rule) in _VERIFIER and one.line != refusal.line
        for cause, points in one.rule.speaks.items():
            heard.setdefault(cause, []).append((points * BESIDE if beside else points, one))
    loudest = max((_total(points for points, _ in rows) for rows in heard.values()), default=0.0)
    for one in speak(text, host, rules_hints.PRIORS) if loudest < QUIET else ():
        for cause, points in one.rule.speaks.items():
            heard.setdefault(cause, []).append((points, one))
    return heard


def speak(
    text: Text, host: Mapping[str, Scalar] | None = None, rules: tuple[Rule, ...] = RULES
) -> list[Spoken]:
    """The rows that speak in a text, each with its first line."""
    kernel = (host or {}).get("kernel_version")
    facts = features(text.lower, int(kernel) if isinstance(kernel, int | float) else None)
    spoken = []
    for rule in rules:
        line = _first_line(rule.when, text, facts)
        if line is None:
            continue
        if rule.needs and _first_line(rule.needs, text, facts) is None:
            continue
        if rule.unless and _first_line(rule.unless, text, facts) is not None:
            continue
        spoken.append(Spoken(rule, line))
    return spoken


def _first_line(phrases: tuple[str, ...], text: Text, facts: Mapping[str, int]) -> int | None:
    """The first line that any of the phrases meets, or None."""
    for phrase in phrases:
        if phrase.startswith("@"):
            if phrase in facts:
                return facts[phrase]
            continue
        line = _place(_parsed(phrase), text)
        if line is not None:
            return line
    return None


def _place(phrase: Phrase, text: Text) -> int | None:
    """The first line that a phrase meets, or None."""
    for word in (phrase.gate,) if phrase.gate else phrase.pieces[0]:
        at = text.joined.find(word)
        for _ in range(PLACES):
            if at < 0:
                break
            index = text.line_at(at)
            if find_in_line(phrase, text.lower[index]):
                return index
            at = text.joined.find(word, text.starts[index] + len(text.lower[index]))
    return None


def _stand_beside(totals: dict[str, float]) -> None:
    """Add what the likeliest cause is mistaken for, behind all that the text itself speaks for."""
    likeliest = max(totals, key=lambda cause: totals[cause], default="")
    if not likeliest or totals[likeliest] <= 0:
        return
    for place, cause in enumerate(CAUSES[likeliest].beside):
        totals[cause] = max(totals.get(cause, 0.0), BESIDE_POINTS[place])


@cache
def _parsed(phrase: str) -> Phrase:
    return parse(phrase)


def _total(points: object) -> float:
    """The strongest row counts whole, each further one less."""
    ordered = sorted(points, key=abs, reverse=True)  # type: ignore[call-overload]
    return float(sum(value * FADING**rank for rank, value in enumerate(ordered)))


def _softmax(totals: Mapping[str, float]) -> dict[str, float]:
    """Totals as shares that add up to less than one: the rest is doubt."""
    weights = {cause: math.exp(total / TEMPERATURE) for cause, total in totals.items()}
    whole = sum(weights.values()) + math.exp(DOUBT / TEMPERATURE)
    return {cause: weight / whole for cause, weight in weights.items()}


def _cause(
    name: str,
    confidence: float,
    rows: list[tuple[float, Spoken]],
    sayings: tuple[host_rules.Saying, ...],
    text: Text,
) -> Cause:
    about = CAUSES[name]
    rows = sorted(rows, key=lambda row: -row[0])
    lines = dict.fromkeys(one.line for points, one in rows if points > 0 and one.line >= 0)
    quotes = tuple(text.lines[line].strip()[:QUOTE_LENGTH] for line in list(lines)[:QUOTES])
    told = tuple(saying.words for saying in sayings if saying.cause == name and saying.points > 0)
    against = tuple(one.rule.means for points, one in rows if points < 0)
    against += tuple(saying.words for saying in sayings if saying.cause == name and saying.points < 0)
    return Cause(
        name=name,
        sentence=about.means,
        confidence=round(confidence, 3),
        speaks_for=quotes + told,
        speaks_against=against,
        arithmetic=tuple(f"{points:+.1f}  {one.rule.means}  [{one.rule.source}]" for points, one in rows),
        settles=about.settles,
        fix=next((one.rule.fix for points, one in rows if points > 0 and one.rule.fix), about.fix),
    )
