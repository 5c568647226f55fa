"""Agents as recorded: each a directory with its process, BPF objects, metrics page, log and configuration.

``recorded.yaml`` says what runs and what the profile must make of it; the other files of the directory stand
for the agent's own (``{here}`` in its command line and environment is where they then are). Written from the
facts that the profile names as its sources, in the formats that those agents write.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bpf.flow.sources import LogSource, counted
from bpf.system.prometheus import parse
from engine.agents import profiles
from engine.agents.processes import ProcessTable
from engine.agents.targets import Finder
from engine.values import BpfMap, Counter, Host, Inventory, Target

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "runbooks" / "agents"
#: Other processes of the host, none of which is an agent of ours.
NEIGHBOURS = [
    {"pid": 1, "comm": "systemd", "exe": "/usr/lib/systemd/systemd", "argv": ["/sbin/init"]},
    {"pid": 77, "comm": "controller", "exe": "/usr/bin/controller", "argv": ["/usr/bin/controller"]},
    {"pid": 78, "comm": "falcoctl", "exe": "/usr/bin/falcoctl", "argv": ["falcoctl", "artifact", "follow"]},
]


def names() -> list[str]:
    """All recorded agents."""
    return sorted(path.parent.name for path in HERE.glob("*/recorded.yaml"))


class Recording:
    """One recorded agent, set up in a directory of the test's own."""

    def __init__(self, name: str, root: Path) -> None:
        self.here = root / "agent"
        shutil.copytree(HERE / name, self.here)
        written = (self.here / "recorded.yaml").read_text().replace("{here}", str(self.here))
        self.said: dict[str, Any] = yaml.safe_load(written)
        self._proc = root / "proc"
        for process in [*NEIGHBOURS, *self.said["processes"]]:
            self._process(process)
        self.host = Host(**{"cpus": 8, "possible_cpus": 8, "online_cpus": 8} | self.said.get("host", {}))

    def targets(self) -> tuple[Target, ...]:
        """What is found with all shipped profiles."""
        known = [profiles.load(path) for path in sorted(SHIPPED.glob("*.yaml"))]
        finder = Finder(known, self._inventory, read_processes=lambda: ProcessTable(self._proc))
        found = finder.find_all()
        assert finder.notes == ()
        return found

    def target(self) -> Target:
        """The recorded agent."""
        (one,) = [one for one in self.targets() if one.profile == self.said["profile"]]
        return one

    def counts(self, target: Target) -> Iterator[tuple[Counter, str, float | None]]:
        """What each counter of the profile that needs no kernel reads, and by which name."""
        samples = list(parse(self._text("metrics.txt")))
        for counter in target.counters:
            if counter.source == "metric":
                name, value = counted(samples, counter)
                yield counter, name, value
            elif counter.source == "log":
                source = LogSource(counter, [])
                source.feed(self._text("log.txt").splitlines())
                yield counter, "log", source.read()

    def _text(self, name: str) -> str:
        path = self.here / name
        return path.read_text() if path.exists() else ""

    def _inventory(self) -> Inventory:
        pid = self.said["processes"][0]["pid"]
        maps = [BpfMap(id=n, owners=(pid,), **one) for n, one in enumerate(self.said["maps"], 100)]
        return Inventory(taken_at=0, source="recorded", maps=tuple(maps))

    def _process(self, told: dict[str, Any]) -> None:
        pid, comm = told["pid"], told["comm"]
        folder = self._proc / str(pid)
        folder.mkdir(parents=True)
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "cmdline").write_bytes("\0".join(told["argv"]).encode() + b"\0")
        (folder / "cgroup").write_text(f"0::{told.get('cgroup', '/')}\n")
        environ = told.get("environ", {})
        (folder / "environ").write_text("".join(f"{key}={value}\0" for key, value in environ.items()))
        (folder / "stat").write_text(f"{pid} ({comm}) S 1 " + "0 " * 17 + "100 0 0\n")
        (folder / "cwd").symlink_to(told.get("cwd", "/"))
        (folder / "exe").symlink_to(told["exe"])
