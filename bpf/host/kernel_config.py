"""How the running kernel was built: its configuration, from wherever this distribution keeps it.

One promise: ``yes``, ``no`` or None. A file that can't be found makes every answer None; an
option that the file does not name is ``no``, as the build system writes only what it knows.

Not here: what the options mean for a program.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

_PLACES = (
    "proc/config.gz",
    "boot/config-{release}",
    "lib/modules/{release}/config",
    "usr/lib/modules/{release}/config",
    "usr/src/linux-headers-{release}/.config",
)
MISSING = "neither /proc/config.gz nor /boot/config-RELEASE is there"


class KernelConfig(msgspec.Struct, frozen=True):
    """The options that are set, without ``CONFIG_``.

    Attributes:
        source: The file they were read from; empty when there is none.
    """

    source: str = ""
    options: Mapping[str, str] = {}

    def answer(self, option: str) -> str | None:
        """Whether an option is built in or a module."""
        if not self.source:
            return None
        return "yes" if self.options.get(option) in ("y", "m") else "no"


def place(root: Path, release: str) -> str:
    """The file that holds the configuration; empty when there is none."""
    for pattern in _PLACES:
        path = pattern.format(release=release)
        if (root / path).exists():
            return f"/{path}"
    return ""


def read(root: Path, release: str) -> KernelConfig:
    """The running kernel's configuration. 5 ms."""
    source = place(root, release)
    if not source:
        return KernelConfig()
    try:
        content = (root / source.lstrip("/")).read_bytes()
        if source.endswith(".gz"):
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return KernelConfig()
    return KernelConfig(source, parse(content.decode(errors="replace")))


def parse(content: str) -> dict[str, str]:
    """``CONFIG_BPF=y`` → ``{"BPF": "y"}``; comments, ``is not set`` among them, set nothing."""
    found = {}
    for line in content.splitlines():
        if line.startswith("CONFIG_"):
            name, _, value = line[7:].partition("=")
            found[name] = value.strip('"')
    return found
