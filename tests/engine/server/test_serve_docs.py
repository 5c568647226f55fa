"""docs/serve.md: its settings are those of the program, its snippets are read as they stand."""

from __future__ import annotations

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from engine import text
from engine.language.model import Seconds
from engine.server import settings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "serve.md").read_text()
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
PARTS: dict[str, type[msgspec.Struct]] = {
    "": settings.Settings,
    "listen": settings.Listen,
    "senders[]": settings.Sender,
    "senders[].signature": settings.Signature,
    "senders[].mapping": settings.Mapping,
    "limits": settings.Limits,
    "runs": settings.Runs,
    "people": settings.People,
    "notify[]": settings.Notify,
    "tracing": settings.Tracing,
}


def reference() -> list[str]:
    """The table's rows, from the docstrings and defaults of the settings."""
    rows = []
    for part, kind in PARTS.items():
        told = _told(kind)
        hints = typing.get_type_hints(kind, include_extras=True)
        for field in msgspec.structs.fields(kind):
            where = f"{part}.{field.name}" if part else field.name
            if where not in PARTS and f"{where}[]" not in PARTS:
                rows.append(f"| `{where}` | {_default(field, hints[field.name])} | {told[field.name]} |")
    return rows


def _told(kind: type) -> dict[str, str]:
    """Attribute → its sentence."""
    lines = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2].splitlines()
    found: dict[str, str] = {}
    name = ""
    for line in lines:
        match = re.match(r"    (\w+): (.*)", line)
        if match:
            name, found[match[1]] = match[1], match[2]
        elif name:
            found[name] += f" {line.strip()}"
    return {key: value.replace("|", "\\|") for key, value in found.items()}


def _default(field: msgspec.structs.FieldInfo, hint: Any) -> str:
    value = field.default
    if field.required:
        return "must be given"
    if hint == Seconds and isinstance(value, int | float):
        return f"`{text.span(value)}`" if value else "`0`"
    if value in ("", (), None) or value is msgspec.NODEFAULT:
        return "–"
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    """In the order and the words of the program."""
    table = PAGE.partition("## Settings\n")[2].partition("\n## ")[0]
    there = [line for line in table.splitlines() if line.startswith("| `")]
    assert there == reference(), "\n".join(reference())


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_snippet_of_settings_is_read(number: int, tmp_path: Path) -> None:
    """A reader copies them; other programs' snippets are YAML at least."""
    block = BLOCKS[number]
    if re.match(r"(?:#.*\n)*serve: 1", block):
        path = tmp_path / "serve.yaml"
        path.write_text(block)
        assert settings.load(path)
    else:
        assert yaml.safe_load(block)
