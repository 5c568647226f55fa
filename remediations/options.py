"""The options of a step's ``with``: typed, with a unit, a default and a sentence each.

A remediation declares a frozen struct; ``read`` fills it from what the author wrote, and
complains about unknown names and wrong values.

Not here: what an option does (each remediation).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar, get_args, get_type_hints

import msgspec

from engine.errors import UnknownName, UsageError
from engine.values import Setting
from remediations.knobs import units

OptionsT = TypeVar("OptionsT", bound=msgspec.Struct)
_NUMBERS = {"factor": "count", "share": "count", "count": "count", "cores": "cores"}


def says(unit: str, text: str) -> msgspec.Meta:
    """What an option means: its unit (``bytes``, ``s``, ``factor``, ``share``, ``text`` …) and help."""
    return msgspec.Meta(description=text, extra={"unit": unit})


def described(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Each option's name → its help with unit and default, for the docs and ``runbook check``."""
    found = {}
    for field in msgspec.structs.fields(kind):
        meta = _meta(kind, field.name)
        unit = str((meta.extra or {})["unit"])
        found[field.name] = f"{meta.description} (unit {unit}, default {_shown(field.default, unit)})"
    return found


def _shown(default: object, unit: str) -> str:
    if isinstance(default, bool):
        return "yes" if default else "no"
    if isinstance(default, (int, float)):
        if unit == "bytes":
            return units.say_bytes(default)
        return units.say_seconds(default) if unit == "s" else f"{default:g}"
    return "none" if default is None else f"{default}"


def read(kind: type[OptionsT], given: Mapping[str, Setting], remediation: str) -> OptionsT:
    """The options as given, in base units.

    Raises:
        UnknownName: The remediation has no such option.
        UsageError: A value can't be read in its unit, or is negative.
    """
    known = [field.name for field in msgspec.structs.fields(kind)]
    values: dict[str, object] = {}
    for name, value in given.items():
        if name not in known:
            raise UnknownName(f"option of {remediation}", name, known)
        if value is None:
            continue
        unit = str((_meta(kind, name).extra or {})["unit"])
        try:
            values[name] = _typed(value, unit)
        except ValueError as error:
            raise UsageError(
                f"{remediation}: {name}: {error}", fix=f"{name}: {_meta(kind, name).description}"
            ) from None
    return kind(**values)


def _typed(value: Setting, unit: str) -> Setting:
    if unit in ("text", "yes or no"):
        kind, word = (str, "text") if unit == "text" else (bool, "true or false")
        if not isinstance(value, kind):
            raise ValueError(f"expected {word}, found {value!r}")
        return value
    number = units.effective(value, _NUMBERS.get(unit, unit))
    if not isinstance(number, (int, float)) or number < 0:
        raise ValueError(f"expected a number of at least 0, found {value!r}")
    return number


def _meta(kind: type[msgspec.Struct], name: str) -> msgspec.Meta:
    hint = get_type_hints(kind, include_extras=True)[name]
    assert hint.__class__ is type(Annotated[int, 0])  # noqa: S101 - every option is Annotated
    meta = get_args(hint)[1]
    if not isinstance(meta, msgspec.Meta):
        raise TypeError(f"{kind.__name__}.{name} is not described")
    return meta
