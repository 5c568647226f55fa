"""The running eBPF agents of this host: profiles matched with processes and their BPF objects.

One promise: ``find`` gives exactly one agent or says why not and how to pick; it never guesses
between two. A process that holds BPF objects and fits no profile is a ``generic`` agent. What
could not be looked at (no right to list BPF objects, a profile that can't be read) is in
``notes``, not silently missing.

Not here: profiles (``engine.agents.profiles``), which process fits one (``engine.agents.matching``), what
an agent is made of (``engine.agents.making``), procfs (``engine.agents.processes``), reading BPF objects
(an entry point of group ``runbook.inventory``).
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import cast

from engine import catalog
from engine.agents import explaining, installed, making, profiles
from engine.agents.explaining import Explained
from engine.agents.matching import Held, by_owner, matching, ours
from engine.agents.processes import ProcessTable
from engine.agents.profile import Profile
from engine.agents.profiles import Found
from engine.contracts import FindTarget
from engine.errors import RunbookError, TargetAmbiguous, TargetNotFound, UsageError, nearest
from engine.values import Inventory, Process, Target


class Finder:
    """Finds the agents of one host. Each call looks anew: one read of ``/proc``, one inventory."""

    def __init__(
        self,
        known: Iterable[Profile] | Found,
        read_inventory: Callable[[], Inventory | None],
        *,
        read_processes: Callable[[], ProcessTable] = ProcessTable,
        elsewhere: Callable[[str], FindTarget | None] = lambda _name: None,
        notes: Iterable[str] = (),
    ) -> None:
        self.known = known if isinstance(known, Found) else Found(profiles=tuple(known), files={})
        self._profiles = self.known.profiles
        self._read_inventory = read_inventory
        self._read_processes = read_processes
        self._elsewhere = elsewhere
        self._notes = (*self.known.complaints, *notes)
        self.notes: tuple[str, ...] = self._notes
        self.inventory: Inventory | None = None

    def find_all(self) -> tuple[Target, ...]:
        """Every running agent: those with a profile first, then generic ones; by name and pid."""
        table, held = self._read_processes(), self._held()
        taken: set[int] = set()
        found: list[Target] = []
        for profile in self._profiles:
            pids = [pid for pid in matching(profile.match, table, held) if pid not in taken]
            found += self._of_profile(profile, pids, table, held)
            taken.update(pids)
        me = os.getpid()
        others = [pid for pid in held if pid not in taken and me not in (pid, table.parent(pid))]
        others = [pid for pid in others if not ours(pid, table)]
        generic = [target for pid in others if (target := making.generic(pid, table, held[pid]))]
        return (*sorted(found, key=_order), *sorted(generic, key=_order))

    def find(self, name: str | None = None, pid: int | None = None) -> Target:
        """The one agent that is meant.

        Args:
            name: ``lab``, ``lab:4711``, a process name, or a target's ref; ``k8s:…`` and the like
                are found by who announced the scheme.
            pid: One of its processes.

        Raises:
            TargetNotFound: There is none.
            TargetAmbiguous: There are several.
        """
        if name and (elsewhere := self._elsewhere(name)) is not None:
            return elsewhere(name)
        everything = self.find_all()
        if pid is not None:
            return self._by_pid(pid, everything)
        if name:
            picked = [one for one in everything if _answers(one, name)]
            picked = picked or [one for one in self.stopped(everything) if _answers(one, name)]
        else:
            profiled = [one for one in everything if one.profile != "generic"]
            picked = profiled or [*everything, *self.stopped(everything)]
        if not picked:
            raise self._not_found(name, everything)
        if len(picked) > 1:
            listed = ", ".join(f"{_unique(one)}{_at(one)}" for one in picked)
            what = f"{name!r} could be any of" if name else "several agents run here"
            raise TargetAmbiguous(f"{what}: {listed}", fix=f"pick one: --target {_unique(picked[0])}")
        return picked[0]

    def stopped(self, running: Iterable[Target]) -> tuple[Target, ...]:
        """Agents that are set up here and do not run, whose profile says how to start them."""
        table, found = installed.NoProcess(), []
        for profile, file in installed.files(self._profiles, (one.config_file for one in running)):
            try:
                found.append(making.of_profile(profile, [], file, table, {}))
            except UsageError as error:
                self.notes += (f"profile {profile.profile}: {error.problem}",)
        return tuple(sorted(found, key=lambda one: one.ref))

    def explain(self, only: str = "") -> tuple[Explained, ...]:
        """Why each process fits a profile or not, as of now; of one profile, where it is named."""
        table, held = self._read_processes(), self._held()
        return explaining.explain(self.known, table, held, listed=self.inventory is not None, only=only)

    # ── making targets ──────────────────────────────────────────────────────────

    def _held(self) -> dict[int, Held]:
        """What each process holds, by pid; empty, with a note, when it can't be listed."""
        self.notes, self.inventory = self._notes, None
        try:
            self.inventory = self._read_inventory()
        except RunbookError as error:
            self.notes += (f"BPF objects could not be listed: {error.problem} ({error.fix})",)
        return by_owner(self.inventory) if self.inventory else {}

    def _of_profile(
        self, profile: Profile, pids: list[int], table: ProcessTable, held: dict[int, Held]
    ) -> Iterator[Target]:
        """The agents of one profile: processes with the same configuration are one agent."""
        agents: dict[str, list[Process]] = defaultdict(list)
        for pid in pids:
            process = table.process(pid)
            if process is not None:
                file = making.config_file(profile, table, pid)
                agents[file or f"{pid}"].append(process)
        for at, processes in agents.items():
            processes.sort(key=lambda one: (not held.get(one.pid), one.started_ticks, one.pid))
            if why := making.unreadable(at):
                self.notes += (
                    f"{_named(profile, processes)}: {why}; what it says is unknown (run it as root)",
                )
            try:
                yield making.of_profile(profile, processes, at, table, held)
            except UsageError as error:
                self.notes += (f"profile {profile.profile}: {error.problem}",)

    def _by_pid(self, pid: int, everything: Iterable[Target]) -> Target:
        for one in everything:
            if any(process.pid == pid for process in one.processes):
                return one
        table = self._read_processes()
        process = table.process(pid)
        if process is None:
            raise TargetNotFound(f"no process has the pid {pid}", fix="runbook targets lists what runs")
        if self.inventory is None:
            target = making.generic(pid, table, Held())
            if target is not None:
                return target
        raise TargetNotFound(
            f"process {pid} ({process.comm}) holds no BPF objects and fits no profile",
            fix="runbook targets lists the processes that do",
        )

    def _not_found(self, name: str | None, everything: tuple[Target, ...]) -> TargetNotFound:
        blind = f" ({self.notes[-1]})" if self.inventory is None and self.notes else ""
        if not name:
            fix = "start the agent, or the practice one: runbook lab start --fault burst"
            return TargetNotFound(f"no eBPF agent runs here{blind}", fix=fix)
        near = nearest(name, {one.name for one in everything})
        fix = f"did you mean {near!r}?" if near else "runbook targets lists what runs"
        if any(profile.profile == name for profile in self._profiles):
            fix = f"start {name}, then: runbook targets"
        return TargetNotFound(f"no running agent is {name!r}{blind}", fix=fix)


def on_this_host() -> Finder:
    """A finder with all installed profiles and the installed inventory."""
    parts = catalog.installed()
    return Finder(profiles.find_all(), parts.read_inventory, elsewhere=_elsewhere)


@contextmanager
def followed_on_this_host() -> Iterator[Finder]:
    """As ``on_this_host``, for looking again and again: what reads BPF objects is kept open.

    Raises:
        RunbookError: BPF objects can't be listed.
    """
    reader = catalog.installed().inventory_reader()
    try:
        read = reader.read if reader else lambda: None
        yield Finder(profiles.find_all(), read, elsewhere=_elsewhere)
    finally:
        if reader:
            reader.close()


def _elsewhere(name: str) -> FindTarget | None:
    """Who finds targets of the scheme in ``scheme:…``; None for a process of this host."""
    scheme, colon, _ = name.partition(":")
    parts = catalog.installed()
    if not colon or scheme not in parts.names("kind of target"):
        return None
    return cast(FindTarget, parts.load("kind of target", scheme))


def _named(profile: Profile, processes: list[Process]) -> str:
    return f"{profile.profile}:{processes[0].pid}"


def _answers(target: Target, name: str) -> bool:
    """Whether an operator who types ``name`` may mean this target."""
    comm = _comm(target) or target.name
    return name in (target.name, target.ref, comm) or any(
        name in (f"{target.profile}:{one.pid}", f"{one.comm}:{one.pid}") for one in target.processes
    )


def _comm(target: Target) -> str:
    return target.processes[0].comm if target.processes else ""


def _unique(target: Target) -> str:
    """A name that means this target and no other."""
    if not target.processes:
        return target.ref
    return target.name if ":" in target.name else f"{target.name}:{target.pid}"


def _at(target: Target) -> str:
    return f" ({target.config_file})" if target.config_file and target.processes else ""


def _order(target: Target) -> tuple[str, int]:
    return target.name, target.pid
