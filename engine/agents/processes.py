"""The processes of this machine, read from procfs as little as each question needs.

One promise: a process that ends while it is read is simply not there; nothing is guessed.
Only the name is read for every process; command line, program and cgroup when asked for.

Source: proc(5). Cost: about 10 µs a process for the names.

Not here: which of them are agents (``engine.agents.targets``).
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

from engine.values import Process


class ProcessTable:
    """One look at ``/proc``; what was read of a process is kept for as long as the table is.

    Attributes:
        page_bytes: Size of a page on the machine that the processes run on.
    """

    page_bytes = mmap.PAGESIZE

    def __init__(self, proc: Path = Path("/proc")) -> None:
        self._proc = str(proc)
        self._comms: dict[int, str] | None = None

    def comms(self) -> dict[int, str]:
        """Name of every process by pid; kernel threads too."""
        if self._comms is None:
            self._comms = dict(self._read_comms())
        return self._comms

    def _read_comms(self) -> Iterator[tuple[int, str]]:
        for entry in os.listdir(self._proc):  # noqa: PTH208 - twice as fast for thousands of entries
            if entry.isdigit():
                comm = self._text(int(entry), "comm")
                if comm:
                    yield int(entry), comm.rstrip("\n")

    def exe(self, pid: int) -> str:
        """Path of the program, empty when it can't be seen (a kernel thread, or no right to)."""
        try:
            return str(Path(f"{self._proc}/{pid}/exe").readlink()).removesuffix(" (deleted)")
        except OSError:
            return ""

    def argv(self, pid: int) -> tuple[str, ...]:
        """The command line."""
        text = self._text(pid, "cmdline")
        return tuple(text.rstrip("\0").split("\0")) if text else ()

    def environment(self, pid: int, name: str) -> str | None:
        """One variable of its environment at its start; None when not set or not readable."""
        for entry in self._text(pid, "environ").split("\0"):
            key, _, value = entry.partition("=")
            if key == name:
                return value
        return None

    def cwd(self, pid: int) -> str:
        """Its working directory, for relative paths in its command line."""
        try:
            return str(Path(f"{self._proc}/{pid}/cwd").readlink())
        except OSError:
            return "/"

    def cgroup(self, pid: int) -> str:
        """Its path in the v1 ``cpu`` hierarchy where there is one, else in cgroup v2."""
        unified = ""
        for line in self._text(pid, "cgroup").splitlines():
            number, controllers, path = line.split(":", 2)
            if "cpu" in controllers.split(","):
                return path
            if number == "0" and not controllers:
                unified = path
        return unified

    def cgroups(self, pid: int) -> str:
        """Its cgroup paths of all hierarchies, one a line: a systemd unit stands in one of them."""
        return self._text(pid, "cgroup")

    def process(self, pid: int) -> Process | None:
        """The whole of one process, or None when it has ended."""
        stat = self._text(pid, "stat")
        name, _, rest = stat.rpartition(") ")
        fields = rest.split()
        if len(fields) < 20 or fields[0] in ("Z", "X"):
            return None
        return Process(
            pid=pid,
            started_ticks=int(fields[19]),
            comm=name.partition("(")[2],
            exe=self.exe(pid),
            argv=self.argv(pid),
            uid=self._uid(pid),
            cgroup=self.cgroup(pid),
        )

    def parent(self, pid: int) -> int:
        """The pid of its parent; 0 when it has ended."""
        fields = self._text(pid, "stat").rpartition(") ")[2].split()
        return int(fields[1]) if len(fields) > 1 else 0

    def _uid(self, pid: int) -> int:
        try:
            return os.stat(f"{self._proc}/{pid}").st_uid  # noqa: PTH116 - one text, no Path
        except OSError:
            return 0

    def _text(self, pid: int, name: str) -> str:
        try:
            with open(f"{self._proc}/{pid}/{name}", "rb", buffering=0) as file:  # noqa: PTH123 - hot
                return file.read().decode(errors="replace")
        except OSError:
            return ""
