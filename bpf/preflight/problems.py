"""What a file given to preflight can be wrong about: exit code 2, nothing was touched.

Not here: anything else that can go wrong (``engine.errors``).
"""

from __future__ import annotations

from engine.errors import UsageError


class BadFile(UsageError):
    """A file is not what it should be, is cut off, or is damaged."""

    def __init__(self, path: str, problem: str, *, fix: str = "") -> None:
        super().__init__(f"{path} {problem}", fix=fix or f"check the file: file {path}")
        self.path = path
