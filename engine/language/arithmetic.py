"""Reckoning and comparing plain values, bounded in time and size.

Not here: unknown values, which never get this far (``engine.language.evaluation``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from engine.errors import ExpressionError
from engine.language.syntax import BIGGEST, quote
from engine.language.unknown import Unknown

LONGEST_RESULT = 65_536  # characters or items


def _power(base: float, exponent: float) -> float:
    """In floating point, so that it takes the same time for every exponent."""
    result = math.pow(base, exponent)
    whole = isinstance(base, int) and isinstance(exponent, int) and exponent >= 0 and abs(result) < 2**53
    return int(result) if whole else result


ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "FloorDiv": lambda a, b: a // b,
    "Mod": lambda a, b: a % b,
    "Pow": _power,
}
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: bool(a == b),
    "ne": lambda a, b: bool(a != b),
    "lt": lambda a, b: bool(a < b),
    "lteq": lambda a, b: bool(a <= b),
    "gt": lambda a, b: bool(a > b),
    "gteq": lambda a, b: bool(a >= b),
}


def is_number(value: object) -> bool:
    """Whether it can be reckoned with; truth values can't."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def comparable(left: object, right: object, *, order: bool) -> bool:
    """Whether two values are of one kind; ``order`` asks for less and greater too."""
    if is_number(left) and is_number(right):
        return True
    if isinstance(left, str) and isinstance(right, str):
        return True
    if order:
        return False
    return left is None or right is None or type(left) is type(right)


def plain(value: object, name: str) -> object:
    """A value from outside as it enters an expression: not-a-number is unknown."""
    if isinstance(value, float) and not math.isfinite(value):
        return Unknown(f"{name or 'a value'} is not a finite number")
    return value


def bounded(value: Any, text: str) -> Any:  # noqa: ANN401 - whatever came out, handed on
    """The same value, once it is small enough to handle."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and not abs(value) <= BIGGEST:
        raise ExpressionError(f"a number is too big, in {quote(text)}", fix="check the reckoning")
    if isinstance(value, str | list | tuple | dict) and len(value) > LONGEST_RESULT:
        raise ExpressionError(f"a result is too long, in {quote(text)}", fix="use a part of it")
    return value


def describe(value: object) -> str:
    """What sort of value it is, in words."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a truth value"
    if is_number(value):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return (
        "a list"
        if isinstance(value, list | tuple)
        else "unknown"
        if isinstance(value, Unknown)
        else "a record"
    )
