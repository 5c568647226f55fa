"""What may be set from outside: each input typed, bounded and checked.

One promise: after ``resolve``, every input of a runbook has a value of its type in base units
(seconds, bytes, events per second, shares), or the operator has heard of every wrong one.

Not here: where values come from (command line, alert).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

import msgspec

from engine import units
from engine.errors import UsageError, nearest
from engine.language.documents import Document
from engine.language.model import Input, Runbook
from engine.text import size, span
from engine.values import Scalar, Setting

_LONGEST_SECRET = 64 << 10
_TRUTH = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def resolve(runbook: Runbook, given: Mapping[str, Setting]) -> dict[str, Setting]:
    """Every input's value: as given (texts are read by the input's type), else its default.

    Raises:
        UsageError: An unknown, missing or wrong input; all of them at once.
    """
    wrong: list[str] = []
    for name in given:
        if name not in runbook.inputs:
            near = nearest(name, runbook.inputs)
            known = ", ".join(runbook.inputs) or "none"
            hint = f"did you mean {near!r}?" if near else f"inputs: {known}"
            wrong.append(f"{runbook.runbook} has no input {name!r} ({hint})")
    values: dict[str, Setting] = {}
    for name, spec in runbook.inputs.items():
        value = given.get(name)
        if value is None:
            value = spec.default
            if value is None:
                wrong.append(f"input {name!r} must be given{f': {spec.help}' if spec.help else ''}")
            values[name] = value
            continue
        try:
            values[name] = typed(spec, value)
        except UsageError as error:
            shown = "its value is not right" if spec.secret else f"{error.problem} ({error.fix})"
            wrong.append(f"input {name!r}: {shown}")
    if wrong:
        raise UsageError("\n".join(wrong), fix=f"runbook show {runbook.runbook} lists its inputs")
    return values


def with_secrets(runbook: Runbook, given: Mapping[str, str]) -> dict[str, Setting]:
    """What was given; secret inputs are read from the files that stand for them: ``@FILE``, ``@-`` for stdin.

    A secret on the command line could be read by every process; ``@@`` at the start stands for ``@``.

    Raises:
        UsageError: Such a file can't be read, or is empty.
    """
    found: dict[str, Setting] = dict(given)
    for name, value in given.items():
        spec = runbook.inputs.get(name)
        if spec is not None and spec.secret and value.startswith("@"):
            found[name] = value[1:] if value.startswith("@@") else _from_file(name, value[1:])
    return found


def from_outside(specs: Mapping[str, Input], given: Iterable[str]) -> None:
    """Names of inputs that an alert or the page sets.

    Raises:
        UsageError: One of them only somebody at this host may set.
    """
    for name in given:
        if name in specs and specs[name].local:
            raise UsageError(
                f"input {name!r} is set at this host only, never by an alert or from the page",
                fix="leave it out; or start the run at this host: runbook run",
            )


def _from_file(name: str, place: str) -> str:
    try:
        with Path("/dev/stdin" if place == "-" else place).open(encoding="utf-8") as file:
            text = file.read(_LONGEST_SECRET).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise UsageError(f"input {name!r} can't be read from {place}: {why}", fix="name its file") from error
    if not text:
        raise UsageError(f"input {name!r}: nothing is in {place}", fix="write the secret into it")
    return text


def typed(spec: Input, value: Setting) -> Setting:
    """A value by an input's type, in base units, within its choices and bounds.

    Raises:
        UsageError: It is of another type, or out of bounds.
    """
    result = _convert(spec, value)
    if spec.choices:
        allowed = [_convert(spec, choice) for choice in spec.choices]
        if result not in allowed:
            listed = ", ".join(map(str, spec.choices))
            raise UsageError(f"{value!r} is none of its choices", fix=f"one of: {listed}")
    if isinstance(result, int | float) and not isinstance(result, bool):
        for bound, word in ((spec.minimum, "least"), (spec.maximum, "most")):
            limit = None if bound is None else _convert(spec, bound)
            if isinstance(limit, int | float) and (result < limit if word == "least" else result > limit):
                raise UsageError(f"{value!r} is out of bounds", fix=f"at {word} {_bound(spec, limit)}")
    return result


def _bound(spec: Input, limit: float) -> str:
    """A bound as people write it: 10m, 64 MiB."""
    return span(limit) if spec.type == "duration" else size(limit) if spec.type == "bytes" else f"{limit:g}"


def _convert(spec: Input, value: Setting) -> Setting:
    return _READERS[spec.type](value)


def _text(value: Setting) -> str:
    if not isinstance(value, str):
        raise UsageError(f"{value!r} is not a text", fix=f'put it in quotes: "{value}"')
    return value


def _number(value: Setting) -> int | float:
    number: int | float | None = None
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        number = value
    if number is None or not math.isfinite(number):
        raise UsageError(f"{value!r} is not a number", fix="write it as 3, 0.5 or 100_000")
    return number


def _integer(value: Setting) -> int:
    number = _number(value)
    if number != int(number):
        raise UsageError(f"{value!r} is not a whole number", fix="write it as 3 or 100_000")
    return int(number)


def _truth(value: Setting) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in _TRUTH:
        return _TRUTH[value.lower()]
    raise UsageError(f"{value!r} is neither true nor false", fix="write true or false")


def _items(value: Setting) -> list[Scalar]:
    if isinstance(value, dict):
        raise UsageError("a mapping is not a list", fix="write [a, b] or a,b")
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return list(value) if isinstance(value, list) else [cast(Scalar, value)]


#: From what was given to base units, by the input's type.
_READERS: dict[str, Callable[[Setting], Setting]] = {
    "duration": units.seconds,
    "bytes": units.size,
    "rate": units.rate,
    "share": units.share,
    "number": _number,
    "integer": _integer,
    "bool": _truth,
    "list": _items,
    "text": _text,
}


def typed_defaults(runbook: Runbook, source: Document) -> tuple[Runbook, tuple[str, ...]]:
    """The runbook with its inputs' defaults and bounds in base units; and what is wrong with them."""
    wrong: list[str] = []
    inputs: dict[str, Input] = {}
    for name, spec in runbook.inputs.items():
        inputs[name], problems = typed_spec(spec)
        wrong += [f"{source.where(f'inputs.{name}.{part}')}: {problem}" for part, problem in problems]
    return msgspec.structs.replace(runbook, inputs=inputs), tuple(wrong)


def typed_spec(spec: Input) -> tuple[Input, list[tuple[str, str]]]:
    """An input with its default, bounds and choices in base units; and (part, what is wrong with it)."""
    wrong: list[tuple[str, str]] = []
    bare = Input(type=spec.type)
    changed: dict[str, object] = {}
    for part in ("minimum", "maximum", "choices", "default"):
        value = getattr(spec, part)
        try:
            if part == "choices":
                changed[part] = tuple(typed(bare, one) for one in value)
            elif value is not None:
                limits = msgspec.structs.replace(spec, **changed) if part == "default" else bare
                changed[part] = typed(limits, value)
        except UsageError as error:
            wrong.append((part, f"{error.problem} ({error.fix})"))
            changed.setdefault(part, () if part == "choices" else None)
    return msgspec.structs.replace(spec, **changed), wrong
