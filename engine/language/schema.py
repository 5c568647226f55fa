"""JSON Schemas of the documents that people write, for their editors.

One promise: a schema is made from the very structs that the loader fills, so the two can't
disagree; the words that an editor shows are those structs' docstrings.

Not here: judging a document (``engine.language.loader``, ``engine.language.check``), which say more.
"""

from __future__ import annotations

import importlib
import re
import typing
from typing import Any

import msgspec

from engine import units
from engine.errors import UnknownName

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
#: Kind of document → module and struct; a policy is read by its own module.
_KINDS = {
    "runbook": ("engine.language.model", "Runbook"),
    "profile": ("engine.agents.profile", "Profile"),
    "policy": ("engine.guarding.policy", "Policy"),
    "case": ("engine.rehearsals.model", "Rehearsal"),
}
_TEMPLATE = {"type": "string", "pattern": r"\{\{"}
_DURATION = {
    "anyOf": [
        {"type": "number", "minimum": 0, "description": "seconds"},
        {"type": "string", "pattern": r"^([0-9.]+\s*(ns|us|µs|ms|s|m|min|h|d|w)\s*)+$"},
        _TEMPLATE,
    ],
    "examples": units.EXAMPLES["duration"].split(", "),
}


def schema(kind: str) -> dict[str, Any]:
    """The schema of a ``runbook``, a ``profile``, a ``policy`` or a ``case``.

    Raises:
        UnknownName: There is no such kind of document.
    """
    if kind not in _KINDS:
        raise UnknownName("kind of document", kind, _KINDS)
    module, name = _KINDS[kind]
    cls = getattr(importlib.import_module(module), name)
    (_,), parts = msgspec.json.schema_components([cls], ref_template="#/$defs/{name}")
    for part, struct in _structs(cls, {}).items():
        _finish(parts[part], struct)
    whole = parts.pop(cls.__name__)
    whole["properties"].get("steps", {}).get("items", {}).pop("discriminator", None)
    return {"$schema": _DRAFT, **whole, "title": kind.capitalize(), "$defs": parts}


def keys(kind: str) -> frozenset[str]:
    """The keys that a document of this kind may have at its top."""
    module, name = _KINDS[kind]
    cls = getattr(importlib.import_module(module), name)
    return frozenset(info.encode_name for info in msgspec.structs.fields(cls))


def as_json(schema: dict[str, Any]) -> bytes:
    """A schema as it lies beside the documents."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2) + b"\n"


def _structs(
    kind: Any,  # noqa: ANN401 - a type hint
    found: dict[str, type[msgspec.Struct]],
) -> dict[str, type[msgspec.Struct]]:
    """All structs that a type is made of, by their names."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__name__ not in found:
        found[kind.__name__] = kind
        for info in msgspec.structs.fields(kind):
            _structs(info.type, found)
    for part in typing.get_args(kind):
        _structs(part, found)
    return found


def _finish(part: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """What msgspec can't know: descriptions, how texts are read, and that a verb is a key."""
    summary, fields = _told(struct)
    part["description"] = summary
    tag = struct.__struct_config__.tag_field
    if tag:
        part["properties"].pop(tag, None)
        part["required"] = [name for name in part.get("required", []) if name != tag]
    for info in msgspec.structs.fields(struct):
        shape = part["properties"][info.encode_name]
        reads = _reads(info.type)
        if "duration" in reads:
            shape = {**_DURATION, **{key: shape[key] for key in ("default",) if shape.get(key) is not None}}
        elif "one-or-many" in reads:
            many = next(one for one in (shape, *shape.get("anyOf", ())) if "items" in one)
            shape = {"anyOf": [many["items"], {key: many[key] for key in ("type", "items")}]}
            shape = _any_scalar(shape) if "verbatim" in repr(info.type) else shape
        elif "verbatim" in repr(info.type):
            shape = _any_scalar(shape)
        elif info.encode_name == "default" or shape.get("default") in (None, ""):
            shape.pop("default", None)
        part["properties"][info.encode_name] = {"description": fields.get(info.name, ""), **shape}


def _any_scalar(shape: Any) -> Any:  # noqa: ANN401 - a schema or a part of one
    """Where a text is taken as it stands, whatever YAML would make of it."""
    if shape == {"type": "string"}:
        return {"type": ["string", "number", "boolean"]}
    if isinstance(shape, dict):
        return {key: _any_scalar(one) for key, one in shape.items()}
    return [_any_scalar(one) for one in shape] if isinstance(shape, list) else shape


def _reads(kind: Any) -> set[str]:  # noqa: ANN401 - a type hint
    """The ``reads`` marks in a type hint, those of list items left out."""
    marks = {(mark.extra or {}).get("reads", "") for mark in getattr(kind, "__metadata__", ())}
    if isinstance(getattr(kind, "__args__", None), tuple) and type(None) in kind.__args__:
        for one in kind.__args__:
            marks |= _reads(one)
    return marks


def _told(struct: type[msgspec.Struct]) -> tuple[str, dict[str, str]]:
    """The summary of a struct, and the sentence of each of its fields, from the docstrings."""
    summary, fields = "", {}
    for one in reversed(struct.__mro__):
        text = one.__dict__.get("__doc__") or ""
        head, _, attributes = text.partition("Attributes:")
        if issubclass(one, msgspec.Struct) and one is struct:
            summary = " ".join(head.split())
        for match in re.finditer(r"^\s{8}(\w+): (.+(?:\n\s{12}.+)*)", attributes, re.MULTILINE):
            fields[match[1]] = " ".join(match[2].split())
    return summary, fields
