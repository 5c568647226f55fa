"""Give the service of an agent what it lacks, through a drop-in file of its systemd unit.

``systemd-capabilities``: AmbientCapabilities for a service that does not run as root, and
CapabilityBoundingSet where the unit's own leaves one out. ``memlock-limit``: LimitMEMLOCK, on
kernels that count locked memory for BPF (before 5.11).

Touches: one file of our own in /etc/systemd/system/UNIT.d, ``daemon-reload``, and a restart.
Source: systemd.exec(5); Linux commit bdcbb57c2c ("bpf: Eliminate rlimit-based memory accounting").
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Change, Knob, Plan, Reload, Target
from remediations import load_proof
from remediations.file_capabilities import needed
from remediations.knobs.systemd_dropin import HEAD, place
from remediations.options import says
from remediations.planning import KnobPlanner, OptionsT, Question, nothing, plan
from remediations.start_change import StartChange

_SETTLE_S = 30.0


class _DropinPlanner(KnobPlanner[OptionsT]):
    """Plans a drop-in; subclasses say which lines."""

    subject: str

    def find(self, target: Target) -> Knob | None:
        """Our file beside the agent's unit."""
        unit = load_proof.unit_of(target)
        if not unit:
            return None
        restart = Reload(by="systemd", unit=unit, settle_s=max(_SETTLE_S, target.start.settle_s))
        file = str(place(unit, self.subject))
        return Knob(name=self.knob, backend="systemd-dropin", file=file, unit="text", reload=restart)

    def lacking(self, target: Target) -> str:
        """Without a unit there is no drop-in."""
        return f"{target.name} is no systemd service (unit: in its profile's facts names one)"

    def _plan(self, asked: Question[OptionsT], lines: tuple[str, ...], why: str) -> Plan:
        text = f"{HEAD}[Service]\n" + "".join(f"{line}\n" for line in lines)
        unit = asked.knob.reload.unit
        if text == asked.now.value:
            nothing(f"{asked.knob.file} says so already: systemctl restart {unit}")
        made = Change(
            knob=asked.knob,
            before=asked.now.value,
            after=text,
            before_text="no such file" if asked.now.value is None else "as a former run wrote it",
            after_text="; ".join(lines),
            why=why,
            where=asked.knob.file,
        )
        return plan(
            self.name, asked, (made,), f"{'; '.join(lines)} for {unit}, and restart it: {why}",
            load_proof.predictions(asked), risk="medium", warnings=(f"{unit} is restarted",),
        )  # fmt: skip


class CapabilityOptions(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    capabilities: Annotated[
        str, says("text", "Which, separated by commas; empty: decided by what failed to load.")
    ] = ""


class SystemdCapabilitiesPlanner(_DropinPlanner[CapabilityOptions]):
    """Decides on AmbientCapabilities and CapabilityBoundingSet."""

    name = "systemd-capabilities"
    summary = "Give an agent's service the capabilities that BPF needs."
    knob = "systemd-capabilities"
    risk = "medium"
    kind = CapabilityOptions
    subject = "capabilities"

    def decide(self, asked: Question[CapabilityOptions]) -> Plan:
        """What is needed and lacking; the bounding set only where it is in the way."""
        wanted = needed(asked.case, asked.options.capabilities)
        if asked.case.text("host.user_namespace") == "child":
            nothing("the agent runs in a user namespace: capabilities in there do not count for BPF")
        words = " ".join(word.upper() for word in wanted)
        bounding = (asked.case.text("host.caps_bounding") or "").split()
        lines = [f"AmbientCapabilities={words}"]
        if bounding and any(word not in bounding for word in wanted):
            lines.append(f"CapabilityBoundingSet={words}")  # added to the unit's own
        return self._plan(asked, tuple(lines), f"the agent lacks {', '.join(wanted)}")


class SystemdCapabilities(StartChange):
    """Remediation ``systemd-capabilities``."""

    planner = SystemdCapabilitiesPlanner()


class MemlockOptions(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    to: Annotated[str, says("text", "The limit as systemd reads it: 256M, infinity.")] = "infinity"


class MemlockLimitPlanner(_DropinPlanner[MemlockOptions]):
    """Decides on LimitMEMLOCK."""

    name = "memlock-limit"
    summary = "Let an agent's service lock the memory that BPF takes (kernels before 5.11)."
    knob = "memlock-limit"
    risk = "medium"
    kind = MemlockOptions
    subject = "memlock"

    def decide(self, asked: Question[MemlockOptions]) -> Plan:
        """Only where the limit counts."""
        counted = asked.case.text("host.memcg_accounting")
        if counted == "yes":
            nothing(
                "this kernel charges BPF memory to the cgroup (5.11): the memlock limit means nothing to it"
            )
        if counted is None:
            nothing("host.memcg_accounting is unknown: whether the limit counts depends on the kernel")
        limit = asked.case.number("host.memlock_bytes")
        if limit is not None and limit < 0:
            nothing("the agent's memlock limit is unlimited already")
        now = "unknown" if limit is None else f"{limit:,.0f} bytes"
        why = f"the memlock limit is {now}, and this kernel counts BPF memory against it"
        return self._plan(asked, (f"LimitMEMLOCK={asked.options.to}",), why)


class MemlockLimit(StartChange):
    """Remediation ``memlock-limit``."""

    planner = MemlockLimitPlanner()
