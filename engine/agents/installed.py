"""Agents that are set up on this host and do not run: found by their configuration files.

One promise: an agent is only told of when its profile says how to start it and a file of its
configuration is really there.

Not here: those that run (``engine.agents.targets``), starting one (remediations).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from engine.agents.placeholders import Placeholders
from engine.agents.processes import ProcessTable
from engine.agents.profile import Config, Profile


class NoProcess(ProcessTable):
    """Stands for the process of an agent that has none: its environment would be ours."""

    def environment(self, pid: int, name: str) -> str | None:  # noqa: ARG002 - there is no process
        """A variable of our own environment."""
        return os.environ.get(name)


def files(known: Iterable[Profile], running: Iterable[str]) -> Iterator[tuple[Profile, str]]:
    """Each profile with a configuration file that no running agent uses, by profile and path."""
    taken = set(running)
    for profile in known:
        if profile.start.by == "none":
            continue
        config = profile.config if isinstance(profile.config, Config) else Config(otherwise=profile.config)
        for pattern in (*config.installed, config.otherwise):
            filled = Placeholders(NoProcess(), 0, "").fill(pattern)
            for path in sorted(glob.glob(filled)) if filled.startswith("/") else ():  # noqa: PTH207 - absolute
                if path not in taken and os.path.isfile(path):  # noqa: PTH113 - a text in, a text out
                    taken.add(path)
                    yield profile, path
