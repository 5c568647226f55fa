"""What ``value | name`` may do in an expression: pure functions of plain data.

Not here: which arguments they take (``engine.language.syntax.FILTERS``), unknown values and
``default`` (``engine.language.expressions``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from engine import text as people
from engine.language.unknown import Record, Unknown


def text(value: object) -> str:
    """A value within a text: numbers short, truth values as written, lists with commas."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() else f"{value:.6g}"
    if isinstance(value, list | tuple):
        return ", ".join(text(item) for item in value)
    if isinstance(value, Record | Unknown):
        return repr(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {text(item)}" for key, item in value.items())
    return str(value)


def _number(value: Any) -> int | float:  # noqa: ANN401 - refused unless a number
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError
    return value


def _numbers(value: Any) -> list[int | float]:  # noqa: ANN401
    if not isinstance(value, list | tuple) or not value:
        raise TypeError
    return [_number(item) for item in value]


def _words(value: Any) -> str:  # noqa: ANN401
    if not isinstance(value, str):
        raise TypeError
    return value


def _items(value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, list | tuple | str | Mapping):
        raise TypeError
    return value


def _end(value: Any, index: int) -> object:  # noqa: ANN401
    if not isinstance(value, list | tuple | str):
        raise TypeError
    return value[index] if value else Unknown("the list is empty")


def _round(value: Any, digits: int = 0) -> int | float:  # noqa: ANN401
    if not isinstance(digits, int) or not 0 <= digits <= 12:
        raise ValueError
    return round(_number(value), digits) if digits else round(_number(value))


def _convert(value: Any, kind: Callable[[Any], int | float]) -> int | float:  # noqa: ANN401
    if isinstance(value, str) and len(value) > 40:
        raise ValueError
    return kind(float(value) if isinstance(value, str) else _number(value))


ALL: dict[str, Callable[..., object]] = {
    "abs": lambda value: abs(_number(value)),
    "round": _round,
    "int": lambda value: _convert(value, int),
    "float": lambda value: _convert(value, float),
    "length": lambda value: len(_items(value)),
    "count": lambda value: len(_items(value)),
    "first": lambda value: _end(value, 0),
    "last": lambda value: _end(value, -1),
    "min": lambda value: min(_numbers(value)),
    "max": lambda value: max(_numbers(value)),
    "sum": lambda value: sum(_numbers(value)),
    "join": lambda value, between=", ": _words(between).join(text(item) for item in _items(value)),
    "lower": lambda value: _words(value).lower(),
    "upper": lambda value: _words(value).upper(),
    "trim": lambda value: _words(value).strip(),
    "bytes": lambda value: people.size(_number(value)),
    "duration": lambda value: people.span(_number(value)),
    "rate": lambda value: f"{people.count(_number(value))}/s",
    "share": lambda value: people.share(_number(value)),
}
