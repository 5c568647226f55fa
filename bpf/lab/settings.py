"""The agent's configuration as text: the shipped file with some values replaced.

The result reads like the shipped one: same order, same comments.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

SHIPPED = Path(__file__).with_name("lab-agent.yaml")


def render(values: Mapping[str, str]) -> str:
    """The shipped file with ``{"ring.size": "1MiB", …}`` set.

    Raises:
        KeyError: The shipped file has no such setting.
    """
    text = SHIPPED.read_text()
    for path, value in values.items():
        section, _, key = path.partition(".")
        line = re.compile(rf"(?ms)(^{section}:.*?^  {key}:)[^\n#]*?(?= *(?:#|$))")
        text, count = line.subn(lambda found, value=value: f"{found[1]} {value}", text, count=1)  # type: ignore[misc]
        if not count:
            raise KeyError(path)
    return text


def own_sources(sources: tuple[str, ...], port: int) -> tuple[str, ...]:
    """The sources with process names of their own, so that agents side by side see none of each other's."""
    return tuple(source.replace(":", f"-{port}:", 1) for source in sources)
