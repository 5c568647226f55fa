"""A log file followed from its end, over rotation.

Its promise: whole lines, each once; a file that can't be read gives none and says why.

Not here: what the lines mean (``bpf.flow.sources``, ``bpf.probes.agent_log``).
"""

from __future__ import annotations

import os
from pathlib import Path

#: How far back ``before`` looks: enough for the last totals, cheap to search.
BEFORE_BYTES = 256 * 1024


class Tail:
    """A log file read from its end on.

    Attributes:
        problem: Why nothing can be read; empty when it can.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path) if path else None
        self.problem = "" if path else "the profile names no log file"
        self._fd = -1
        self._rest = b""
        self._open(at_end=True)

    def before(self) -> list[str]:
        """The last lines before the place that ``lines`` goes on from."""
        if self._fd < 0:
            return []
        here = os.lseek(self._fd, 0, os.SEEK_CUR)
        start = max(0, here - BEFORE_BYTES)
        return os.pread(self._fd, here - start, start).decode(errors="replace").splitlines()[start > 0 :]

    def lines(self) -> list[str]:
        """Whole lines since the last call."""
        found = self._rest + self._more()
        if self.path and self._rotated():
            self._open(at_end=False)
            found += self._more()
        whole, _, self._rest = found.rpartition(b"\n")
        return whole.decode(errors="replace").splitlines() if whole else []

    def close(self) -> None:
        """Let go of the file. Doing it twice is no error."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _more(self) -> bytes:
        parts = []
        while self._fd >= 0 and (part := os.read(self._fd, 1 << 20)):
            parts.append(part)
        return b"".join(parts)

    def _rotated(self) -> bool:
        try:
            now = Path(self.path or "").stat()
        except OSError:
            return False
        if self._fd < 0:
            return True
        mine = os.fstat(self._fd)
        return (now.st_ino, now.st_dev) != (mine.st_ino, mine.st_dev) or now.st_size < os.lseek(
            self._fd, 0, os.SEEK_CUR
        )

    def _open(self, *, at_end: bool) -> None:
        self.close()
        if self.path is None:
            return
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            if at_end:
                os.lseek(self._fd, 0, os.SEEK_END)
            self.problem = ""
        except OSError as error:
            self.problem = f"{self.path}: {error.strerror}"
