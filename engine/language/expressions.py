"""Conditions and templates over plain data, with a third truth value: unknown.

One promise: whatever an expression says, evaluating it reads nothing but the names handed
in, changes nothing, ends soon, and gives a small value or an ``ExpressionError``. Text that
came from an alert is data: it is put in, never read as an expression.

Not here: reading (``syntax``), reckoning (``evaluation``), types at check time
(``engine.language.shapes``), what names a run has (``engine.language.scope``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from engine.errors import ExpressionError
from engine.language import filters, syntax
from engine.language.arithmetic import bounded, describe
from engine.language.evaluation import Walk
from engine.language.syntax import parse, parse_template, quote
from engine.language.unknown import Unknown
from engine.values import Scalar, Setting


class Answer(msgspec.Struct, frozen=True):
    """What came of a condition.

    Attributes:
        holds: None when it could not be known.
        because: The condition with the values it met, for the report.
        values: The measured names in it; None for an unknown one.
    """

    holds: bool | None
    because: str
    values: dict[str, Scalar] = {}


def ask(text: str, names: Mapping[str, object]) -> Answer:
    """Whether a condition holds.

    Raises:
        ExpressionError: It is wrong, or gives something other than true, false or unknown.
    """
    parsed = parse(text)
    result = Walk(names, text).value(parsed.parts[0])
    if not isinstance(result, bool | Unknown):
        raise ExpressionError(
            f"a condition gave {describe(result)}, neither true nor false, in {quote(text)}",
            fix="compare it with something: … > 0",
        )
    values = _values(parsed, names)
    shown = ", ".join(f"{name} is {_shown(value)}" for name, value in values.items())
    because = f"{quote(text)}{': ' if shown else ''}{shown}"
    if isinstance(result, Unknown):
        return Answer(None, f"{quote(text)} is unknown: {result.why or shown}", values)
    return Answer(result, because, values)


def evaluate(text: str, names: Mapping[str, object]) -> object:
    """The value of a bare expression: scalar, list, dict, or ``Unknown``.

    Raises:
        ExpressionError: It is wrong.
    """
    return Walk(names, text).value(parse(text).parts[0])


def render(value: Setting, names: Mapping[str, object]) -> Setting:
    """A setting with every ``{{ … }}`` in it replaced; a lone one keeps its value's type.

    Raises:
        ExpressionError: A template is wrong, or a value it needs alone is unknown.
    """
    if isinstance(value, list):
        return [_scalar(_render(item, names), item) for item in value]
    if isinstance(value, dict):
        return {key: _scalar(_render(item, names), item) for key, item in value.items()}
    return _render(value, names)


def strict(text: str, names: Mapping[str, object]) -> str:
    """A text with its templates filled by texts and numbers; nothing unknown, no list, no record.

    Raises:
        ExpressionError: A template is wrong, or gives something else.
    """
    if "{{" not in text:
        return text
    walk = Walk(names, text)
    filled = []
    for part in parse_template(text).parts:
        value = walk.value(part)
        if isinstance(value, Unknown):
            _setting(value, text)  # raises, with the reason
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ExpressionError(
                f"{quote(text)} gave {describe(value)} where a text or a number is needed",
                fix="name a field of it",
            )
        filled.append(filters.text(value))
    return str(bounded("".join(filled), text))


def names_in(text: str, *, template: bool = False) -> tuple[str, ...]:
    """The dotted names that an expression (or a template) reads: ``flow.dropped_per_s``."""
    return (parse_template(text) if template else parse(text)).names()


def _render(value: Scalar, names: Mapping[str, object]) -> Setting:
    if not isinstance(value, str) or "{{" not in value:
        return value
    parts = parse_template(value).parts
    walk = Walk(names, value)
    if len(parts) == 1 and type(parts[0]).__name__ != "TemplateData":
        return _setting(walk.value(parts[0]), value)
    return _scalar(bounded("".join(filters.text(walk.value(part)) for part in parts), value), value)


def _setting(result: object, text: str) -> Setting:
    """An expression's result as a setting; unknown and records are refused."""
    if isinstance(result, Unknown):
        why = f": {result.why}" if result.why else ""
        raise ExpressionError(
            f"{quote(text)} is unknown{why}", fix="give it a value for that case: {{ … | default(0) }}"
        )
    if isinstance(result, list):
        return [_scalar(item, text) for item in result]
    if isinstance(result, dict):
        return {str(key): _scalar(item, text) for key, item in result.items()}
    return _scalar(result, text)


def _scalar(result: object, text: object) -> Scalar:
    if result is None or isinstance(result, bool | int | float | str):
        return result
    raise ExpressionError(
        f"{quote(str(text))} gave {describe(result)} where one plain value is needed",
        fix="name a field of it",
    )


def _values(parsed: syntax.Parsed, names: Mapping[str, object]) -> dict[str, Scalar]:
    """The scalars behind the dotted names of a condition; unknown ones as None."""
    found: dict[str, Scalar] = {}
    for name in parsed.names():
        if "." not in name:
            name = f"{name}.name"  # noqa: PLW2901 - of `cause.is(…)` the report shows cause.name
        try:
            value = Walk(names, name).value(parse(name).parts[0])
        except ExpressionError:
            continue  # `x is defined` names what may not be there
        if isinstance(value, Unknown):
            found[name] = None
        elif value is None or isinstance(value, bool | int | float | str):
            found[name] = value
    return found


def _shown(value: Scalar) -> str:
    return "unknown" if value is None else filters.text(value)
