"""Why a pod may not load its BPF programs: from what it is allowed to ranked causes.

Its promise: one errno never decides: the specification, the needs by kernel version, the platform's
own refusals, and, where a pod runs on this host, what its process really has, each speak for or
against. What only looks suspicious is ranked below what is lacking.

Not here: the rules for each cause (``pod_rules``), the patch (``remediations.security_context``).
"""

from __future__ import annotations

from collections.abc import Mapping

from bpf.diagnoses import pod_rules
from bpf.diagnoses.pod_facts import PodFacts, facts_of
from engine.values import Case, Verdict

NAME = "kubernetes-permission"
#: A cause below this confidence is not worth a line.
WORTH_NAMING = 0.2


class KubernetesPermission:
    """The diagnosis ``kubernetes-permission``."""

    name = NAME
    summary = "why a Kubernetes pod may not load its BPF programs"
    causes: Mapping[str, str] = {
        "missing_capability": "The container lacks a capability that its programs need.",
        "seccomp_or_container_policy": "A seccomp profile refuses bpf() or perf_event_open().",
        "lockdown_or_lsm": "AppArmor, SELinux or kernel lockdown forbids it.",
        "unprivileged_bpf_disabled": "Without CAP_BPF only unprivileged BPF is left, and it is switched off.",
        "pin_path_or_bpffs": "It pins maps or programs, and does not see the BPF file system.",
        "tracefs_debugfs_not_mounted": "It attaches tracepoints, and does not see tracefs.",
        "memlock_rlimit": "Before kernel 5.11 BPF memory is locked memory, and it may not raise the limit.",
        "btf_missing": "The kernel does not tell its types, which its programs need.",
        "platform-refusal": "The platform refuses such pods before the kernel is asked.",
        "host-pid-missing": "It works with the host's process ids and does not see the host's processes.",
    }
    wants = ("kubernetes", "host-facts", "load-failures")

    def decide(self, case: Case) -> Verdict:
        """Rank the causes that fit."""
        if "kube" not in case.evidence:
            return Verdict(
                diagnosis=NAME,
                sentence="Nothing can be said: the workload was not looked at.",
                notes=("look at kubernetes first",),
            )
        facts = facts_of(case)
        found = [cause for rule in pod_rules.RULES if (cause := rule(facts)) is not None]
        found = [cause for cause in found if cause.confidence >= WORTH_NAMING]
        found.sort(key=lambda cause: cause.confidence, reverse=True)
        return Verdict(
            diagnosis=NAME,
            sentence=found[0].sentence if found else _nothing(facts),
            causes=tuple(found),
            notes=_notes(facts),
        )


def _nothing(facts: PodFacts) -> str:
    if facts.lacking is None:
        return "What its programs need is unknown, and what it is allowed shows no obstacle."
    return "It is allowed everything that its programs are known to need."


def _notes(facts: PodFacts) -> tuple[str, ...]:
    notes = []
    if not facts.here:
        notes.append("no pod of it runs on this host: what its process really has was not compared")
    if facts.lacking is None:
        notes.append("what its programs need is unknown: give programs, objects or capabilities to the look")
    if not facts.loads_seen:
        notes.append("load-failures was not looked at on its node: what the kernel refused is unknown")
    return tuple(notes)
