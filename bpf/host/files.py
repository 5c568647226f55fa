"""Small files of procfs, sysfs and securityfs, below a root that tests may choose.

One promise: what is not there and what may not be read are told apart, in words.

Not here: what the files mean.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path("/")


def read(root: Path, path: str) -> tuple[str, str]:
    """The text of ``root/path`` without surrounding blanks; or "" and why there is none."""
    try:
        return (root / path).read_text("utf-8", "replace").strip(), ""
    except OSError as error:
        return "", f"/{path}: {error.strerror}"


def text(root: Path, path: str) -> str:
    """The same, where the reason does not matter."""
    return read(root, path)[0]


def link(root: Path, path: str) -> str:
    """What a symbolic link holds; empty when it can't be read."""
    try:
        return os.readlink(root / path)  # noqa: PTH115 - namespaces are no paths: user:[4026531837]
    except OSError:
        return ""
