"""Alertmanager's label matchers: ``severity=~"warning|critical"``.

One promise: a pattern says whether it fits within a bounded time, whatever an alert holds. Patterns come
from runbooks only; those that could take exponential time are refused when they are read.

Source: Alertmanager's documentation, "Matcher"; patterns are anchored at both ends, as there.
Not here: which runbook gets an alert (``engine.server.worker.intake``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from engine.errors import UsageError

#: The longest pattern, and how many steps one may take at worst.
MAX_PATTERN = 500
MAX_STEPS = 1_000_000
#: So many ways through a pattern beside its endless repetitions.
MAX_WAYS = 1000
#: A repetition up to so often counts as alternatives, more as endless.
FEW = 8

_FORM = re.compile(
    r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^"\\\s]*))\s*', re.DOTALL
)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


class Matcher(msgspec.Struct, frozen=True):
    """One condition on one label; a label that is not there is empty.

    Attributes:
        pattern: Of ``=~`` and ``!~``.
        loops: How many unbounded repetitions the pattern holds: its steps grow with that power.
    """

    label: str
    sign: str
    value: str
    pattern: re.Pattern[str] | None = None
    loops: int = 0

    def fits(self, labels: Mapping[str, str]) -> tuple[bool, str]:
        """Whether it holds, and the label's value beside what was wanted."""
        found = labels.get(self.label, "")
        if self.pattern is None:
            holds = (found == self.value) == (self.sign == "=")
        elif len(found) ** self.loops > MAX_STEPS:
            return False, f"{self.label} is too long ({len(found)} characters) for {self.shown}"
        else:
            holds = (self.pattern.fullmatch(found) is not None) == (self.sign == "=~")
        seen = f"{self.label} is {_short(found)}" if self.label in labels else f"{self.label} is not there"
        return holds, f"{seen}, {self.shown} {'holds' if holds else 'does not'}"

    @property
    def shown(self) -> str:
        """As a runbook writes it."""
        return f'{self.label}{self.sign}"{self.value}"'


def read(text: str) -> Matcher:
    """A matcher from a runbook's text.

    Raises:
        UsageError: It is none, or its pattern is wrong or could take too long.
    """
    form = _FORM.fullmatch(text)
    if form is None:
        raise UsageError(f"{text!r} is no matcher", fix='write label="value", or =~, !=, !~')
    label, sign, quoted, bare = form.groups()
    value = bare if quoted is None else re.sub(r"\\(.)", _escape, quoted, flags=re.DOTALL)
    if sign in {"=", "!="}:
        return Matcher(label, sign, value)
    if len(value) > MAX_PATTERN:
        raise UsageError(f"the pattern of {label} is too long", fix=f"write at most {MAX_PATTERN} characters")
    try:
        parsed = re._parser.parse(value, re.DOTALL)  # type: ignore[attr-defined]  # the parser of re itself
        cost = _cost(parsed, value)
        return Matcher(label, sign, value, re.compile(value, re.DOTALL), cost.loops)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"{value!r} is no pattern: {error}", fix="write a regular expression (RE2)"
        ) from error


def _escape(found: re.Match[str]) -> str:
    """Go's escapes; what is none stays, for the pattern to read."""
    return _ESCAPES.get(found[1], found[0])


class _Cost(msgspec.Struct, frozen=True):
    """At worst ``ways`` · length ^ ``loops`` steps."""

    loops: int = 0
    ways: int = 1

    def __mul__(self, other: _Cost) -> _Cost:
        return _Cost(self.loops + other.loops, self.ways * other.ways)


def _cost(parsed: Any, pattern: str) -> _Cost:  # noqa: ANN401 - re's own tree
    """What a pattern can take at worst; refuses what is exponential."""
    cost = _Cost()
    for kind, detail in parsed:
        name = str(kind)
        if name in {"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"}:
            least, most, body = detail
            inner = _cost(body, pattern)
            if int(most) > 1 and inner != _Cost():
                raise _dear(pattern)
            few = int(most) <= FEW
            cost *= inner * (_Cost(ways=int(most) - int(least) + 1) if few else _Cost(loops=1))
        elif name == "SUBPATTERN":
            cost *= _cost(detail[3], pattern)
        elif name == "BRANCH":
            branches = [_cost(branch, pattern) for branch in detail[1]]
            cost *= _Cost(max(one.loops for one in branches), sum(one.ways for one in branches))
        elif name not in {"LITERAL", "NOT_LITERAL", "ANY", "IN", "AT", "CATEGORY"}:
            raise _dear(pattern)
    if cost.ways > MAX_WAYS:
        raise _dear(pattern)
    return cost


def _dear(pattern: str) -> UsageError:
    return UsageError(
        f"the pattern {pattern!r} could take endless time",
        fix="write it without repetitions or alternatives inside a repetition, and without look-around",
    )


def _short(value: str) -> str:
    return repr(value if len(value) <= 80 else f"{value[:79]}…")
