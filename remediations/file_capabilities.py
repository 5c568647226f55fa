"""Give an agent the capabilities that BPF needs, through its executable.

From 5.8 on CAP_BPF, with CAP_PERFMON for tracing programs and CAP_NET_ADMIN for those of the
network; before, CAP_SYS_ADMIN. Only where the process lacks one and the file can give it: not
with no_new_privs, not in a user namespace, not beyond its bounding set.

Touches: one extended attribute, and a start of the agent. Whoever may run the file gets the
capabilities too. A new version of the file comes without them.
Source: capabilities(7); Linux commit 2c78ee898d8f ("bpf: Implement CAP_BPF").
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Case, Change, Evidence, Knob, Plan, Target
from remediations import load_proof
from remediations.knobs.file_capability import bits, names, parse_words
from remediations.options import says
from remediations.planning import KnobPlanner, Question, nothing, plan
from remediations.start_change import StartChange

CAP_BPF_SINCE = 5008  # kernel 5.8, major · 1000 + minor
#: How the names of network program types begin.
_NETWORK = (
    "sched_",
    "xdp",
    "cgroup_skb",
    "cgroup_sock",
    "sk_",
    "sock_ops",
    "lwt_",
    "flow_dissector",
    "netfilter",
)


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    capabilities: Annotated[
        str, says("text", "Which, separated by commas; empty: decided by what failed to load.")
    ] = ""


class FileCapabilitiesPlanner(KnobPlanner[Options]):
    """Decides on the least capabilities."""

    name = "file-capabilities"
    summary = "Give an agent the capabilities that BPF needs, through its executable."
    knob = "file-capabilities"
    risk = "medium"
    kind = Options

    def find(self, target: Target) -> Knob | None:
        """Its executable, as it runs or as its profile names it."""
        path = executable(target)
        if not path:
            return None
        return Knob(
            name=self.knob,
            backend="file-capability",
            file=path,
            unit="text",
            reload=load_proof.start_of(target),
        )

    def lacking(self, target: Target) -> str:
        """Without a file there is nothing to give capabilities to."""
        return f"which executable {target.name} has is not known: it does not run and its profile names none"

    def decide(self, asked: Question[Options]) -> Plan:
        """What is needed and lacking, on top of what the file gives."""
        wanted = needed(asked.case, asked.options.capabilities)
        refuse_where_useless(asked.case, wanted)
        has = parse_words(str(asked.now.value or ""))
        if not bits(wanted) & ~has:
            nothing(f"{asked.knob.file} gives {', '.join(wanted)} already: start the agent anew")
        after = f"{','.join(names(has | bits(wanted)))}=ep"
        made = Change(
            knob=asked.knob,
            before=asked.now.value,
            after=after,
            before_text=str(asked.now.value or "no capabilities"),
            after_text=after,
            why=f"the agent lacks {', '.join(wanted)}, without which the kernel answers EPERM",
            where=asked.knob.file,
        )
        return plan(
            self.name,
            asked,
            (made,),
            f"give {', '.join(wanted)} to {asked.knob.file}, and start {asked.case.target.name} anew",
            load_proof.predictions(asked),
            risk="medium",
            warnings=(
                f"whoever may run {asked.knob.file} gets them too",
                "a new version of the file comes without them: put them into its package or unit",
                *load_proof.warnings(asked.knob.reload),
            ),
        )


class FileCapabilities(StartChange):
    """Remediation ``file-capabilities``."""

    planner = FileCapabilitiesPlanner()


def executable(target: Target) -> str:
    """Of the main process, or as the profile names it; empty when neither tells."""
    return (target.processes[0].exe if target.processes else "") or target.facts.get("executable", "")


def needed(case: Case, named: str) -> tuple[str, ...]:
    """Which capabilities are lacking: those named, else by kernel and by what failed to load."""
    held = (case.text("host.caps_effective") or "").split()
    wanted = tuple(word.strip().lower() for word in named.split(",") if word.strip())
    if not wanted:
        version = case.number("host.kernel_version")
        if version is None:
            nothing("host.kernel_version is unknown: which capabilities it takes depends on it")
        wanted = _by_programs(case.evidence.get("loads")) if version >= CAP_BPF_SINCE else ("cap_sys_admin",)
    try:
        bits(wanted)
    except ValueError as error:
        nothing(str(error))
    lacking = tuple(word for word in wanted if word not in held)
    if not lacking or "cap_sys_admin" in held:
        nothing(f"the process has {', '.join(wanted)}: a capability is not what it lacks")
    return lacking


def refuse_where_useless(case: Case, wanted: tuple[str, ...]) -> None:
    """End planning where a file's capabilities would not count for this process."""
    if case.text("host.no_new_privs") == "yes":
        nothing(
            "no_new_privs is set, so capabilities of files are ignored (unset it, or use AmbientCapabilities)"
        )
    if case.text("host.user_namespace") == "child":
        nothing("the agent runs in a user namespace: capabilities in there do not count for BPF")
    bounding = (case.text("host.caps_bounding") or "").split()
    outside = [word for word in wanted if bounding and word not in bounding]
    if outside:
        nothing(
            f"{', '.join(outside)} is out of the process's bounding set, so no file can give it"
            " (see CapabilityBoundingSet= of its unit, or capabilities of its container)"
        )


def _by_programs(loads: Evidence | None) -> tuple[str, ...]:
    """CAP_BPF, with what the types of the programs take that failed; tracing where none is known."""
    rows = loads.tables.get("failures", ()) if loads else ()
    kinds = {str(row.get("type")) for row in rows if row.get("command") == "PROG_LOAD"}
    network = any(kind.startswith(_NETWORK) for kind in kinds)
    tracing = not kinds or any(not kind.startswith(_NETWORK) for kind in kinds)
    return ("cap_bpf", *(("cap_perfmon",) * tracing), *(("cap_net_admin",) * network))
