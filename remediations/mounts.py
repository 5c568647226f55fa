"""Mount a file system of the kernel that an agent needs: bpffs to pin in, tracefs to attach through.

Only where the agent's host has none at that place. For a lasting mount it belongs into
/etc/fstab or a mount unit, which is told and not done.

Touches: one mount point. Undo: unmounted when it is still ours and nothing is in it.
Source: Linux Documentation/filesystems/ ("bpf"), Documentation/trace/ftrace.rst ("The File System").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import msgspec

from engine.values import Change, Knob, Plan, Risk, Setting, Target
from remediations import load_proof
from remediations.knobs import start
from remediations.knobs.backend import hands
from remediations.planning import KnobPlanner, Question, nothing, plan
from remediations.start_change import RAN, StartChange, runs


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``: none. The place is the profile's fact, or the usual one."""


class _MountPlanner(KnobPlanner[Options]):
    """Plans one mount; subclasses say of what and where."""

    kind = Options
    file_system: ClassVar[str]
    place: ClassVar[str]
    fact: ClassVar[str]
    risk: ClassVar[Risk] = "low"

    def find(self, target: Target) -> Knob | None:
        """Where the agent looks for it, as its profile says, else the usual place."""
        return Knob(
            name=self.knob,
            backend="mount",
            file=target.facts.get(self.fact) or self.place,
            unit="text",
            reload=load_proof.start_of(target),
        )

    def decide(self, asked: Question[Options]) -> Plan:
        """Mount where nothing is mounted."""
        knob, kind = asked.knob, self.file_system
        if asked.now.value == kind:
            nothing(f"{kind} is mounted on {knob.file} already")
        if asked.now.value is not None:
            nothing(f"{asked.now.value} is mounted on {knob.file}: it is not ours to cover")
        why = f"{kind} is not mounted on {knob.file}, where the agent looks for it"
        made = Change(
            knob=knob, before=None, after=kind, before_text="not mounted", after_text=f"{kind} mounted",
            why=why, where=knob.file,
        )  # fmt: skip
        return plan(
            self.name, asked, (made,), f"mount {kind} on {knob.file}: {why}", load_proof.predictions(asked),
            warnings=(
                f"gone after a reboot; to keep it, in /etc/fstab: {kind} {knob.file} {kind} defaults 0 0",
                *load_proof.warnings(knob.reload),
            ),
        )  # fmt: skip


class MountChange(StartChange):
    """Undo ends an agent that uses the mount before it unmounts, where the agent can be started again."""

    def undo(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> str | None:
        """Unmount what is ours and unused; the agent is started again, whatever came of it.

        Raises:
            ChangedSince: It is used, or no longer ours; left mounted.
        """
        way = change.knob.reload
        in_use = way.by != "none" and self.state(change, target, captured) == "after" and runs(target)
        if not in_use:
            return super().undo(change, target, captured)
        start.end(way, target)
        start.wait_gone(way, target, self._clock)
        try:
            return hands(change.knob.backend).restore(change, target, captured).note or None
        finally:
            if captured.get(RAN):
                start.anew(way, target)


class MountBpffsPlanner(_MountPlanner):
    """Plans the mount of a BPF file system."""

    name = "mount-bpffs"
    summary = "Mount a BPF file system where the agent pins its objects."
    knob = "mount-bpffs"
    file_system, place, fact = "bpf", "/sys/fs/bpf", "bpffs"


class MountBpffs(MountChange):
    """Remediation ``mount-bpffs``."""

    planner = MountBpffsPlanner()


class MountTracefsPlanner(_MountPlanner):
    """Plans the mount of the trace file system."""

    name = "mount-tracefs"
    summary = "Mount tracefs, through which probes and tracepoints are attached."
    knob = "mount-tracefs"
    file_system, place, fact = "tracefs", "/sys/kernel/tracing", "tracefs"


class MountTracefs(MountChange):
    """Remediation ``mount-tracefs``."""

    planner = MountTracefsPlanner()
