"""``{config.metrics.port}`` and its like: what a profile takes from one running process.

One promise: what is not there leaves the whole text empty, never half filled, unless the
placeholder names a value for that case (``{config.metrics.port|9100}``).

Not here: templates of runbooks (``{{ … }}``, ``engine.language.expressions``).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from engine.agents.processes import ProcessTable
from engine.language.yaml_nodes import Complaints, Mapping, Node, Scalar, Sequence, compose, decode

PLACEHOLDER = re.compile(r"\{([a-z]+)(?:\.([^{}|]+))?(?:\|([^{}]*))?\}")

#: What fills them → whether a name follows (``{config.KEY.PATH}``).
SOURCES = {
    **dict.fromkeys(("config", "argument", "environment"), True),
    **dict.fromkeys(("pid", "exe", "file", "directory", "python"), False),
}


def option(argv: tuple[str, ...], *flags: str) -> str | None:
    """The value of the first of these options in a command line: ``--x V`` or ``--x=V``."""
    for flag in flags:
        for place, word in enumerate(argv):
            if word == flag and place + 1 < len(argv):
                return argv[place + 1]
            if word.startswith(f"{flag}="):
                return word[len(flag) + 1 :]
    return None


class Placeholders:
    """Fills the placeholders of a profile's texts for one process."""

    def __init__(self, table: ProcessTable, pid: int, config_file: str) -> None:
        self._table = table
        self.page_bytes = table.page_bytes
        self._pid = pid
        self._config_file = config_file
        self._root: Node | None = None
        self._read = False
        self._sources: dict[str, Callable[[str], str | None]] = {
            "config": self._config,
            "argument": lambda flag: option(table.argv(pid), flag),
            "environment": lambda name: table.environment(pid, name),
            "pid": lambda _: str(pid),
            "exe": lambda _: table.exe(pid),
            "file": lambda _: config_file,
            "directory": lambda _: str(Path(config_file).parent) if config_file else None,
            "python": lambda _: sys.executable,
        }

    def fill(self, text: str) -> str:
        """The text with every placeholder filled; empty when one of them is not there."""
        filled, missing = [], False
        at = 0
        for match in PLACEHOLDER.finditer(text):
            source = self._sources.get(match[1])
            if source is None:
                continue  # braces of another meaning
            value = source(match[2] or "")
            if value is None:
                value = match[3]
            missing = missing or value is None
            filled += [text[at : match.start()], value or ""]
            at = match.end()
        return "" if missing else "".join([*filled, text[at:]])

    def _config(self, path: str) -> str | None:
        """The text of a scalar by its key path; in a directory of options, of a file by its name."""
        try:
            if Path(self._config_file).is_dir():
                option = Path(self._config_file) / path
                return (option.read_text(errors="replace").strip() or None) if option.is_file() else None
        except OSError:
            return None  # it lies where we may not look
        node = self._config_root()
        for word in path.split("."):
            if isinstance(node, Mapping) and word in node.items:
                node = node.items[word][1]
            elif isinstance(node, Sequence) and word.isdigit() and int(word) < len(node.items):
                node = node.items[int(word)]
            else:
                return None
        return node.text if isinstance(node, Scalar) else None

    def _config_root(self) -> Node | None:
        """The configuration as nodes; None when it is no YAML or can't be read."""
        if not self._read:
            self._read = True
            complaints = Complaints(self._config_file)
            try:
                with Path(self._config_file).open("rb") as file:
                    text = decode(file.read((1 << 20) + 1), complaints)
            except OSError:
                text = None
            self._root = compose(text, complaints) if text is not None else None
        return self._root
