"""Where in a JSON body something stands: ``incident.title``, ``items[0].id``, ``["odd name"]``, ``"a text"``.

A path goes from the alert; one that begins with ``$`` goes from the whole body. A text in quotes stands
for itself. Nothing is computed.

Not here: what is looked for (``engine.server.alerts.generic``).
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from engine.errors import UsageError

_STEP: Final = re.compile(r'\.?([^\s.\[\]"$][^\s.\[\]"]*)|\[(\d{1,6})\]|\["([^"]*)"\]')
_LITERAL: Final = re.compile(r'"([^"]*)"')


class Path(msgspec.Struct, frozen=True):
    """A path that was read.

    Attributes:
        steps: Names and indices, from the outside in.
        literal: The text that it stands for, in place of any steps.
        root: It goes from the whole body.
    """

    steps: tuple[str | int, ...] = ()
    literal: str | None = None
    root: bool = False

    def find(self, alert: object, whole: object) -> object:
        """What stands there; None where nothing does."""
        if self.literal is not None:
            return self.literal
        value = whole if self.root else alert
        for step in self.steps:
            if isinstance(step, str) and isinstance(value, dict):
                value = value.get(step)
            elif isinstance(step, int) and isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return None
        return value


def parse(written: str) -> Path:
    """A path as written in the settings. Raises ``UsageError``."""
    text = written.strip()
    if match := _LITERAL.fullmatch(text):
        return Path(literal=match[1])
    root = text.startswith("$")
    at, steps = int(root), list[str | int]()
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (at == 0 and text.startswith(".")):
            break
        name, index, quoted = match.groups()
        steps.append(int(index) if index is not None else name if name is not None else quoted)
        at = match.end()
        if at < len(text) and text[at] not in ".[":
            break
    if at < len(text) or not (steps or root):
        raise UsageError(
            f"{written!r} is no path into a body",
            fix='write it as incident.title, items[0].id, $.common.node or "a text"',
        )
    return Path(tuple(steps), None, root)
