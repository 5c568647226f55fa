"""The rules, one a cause: when it fits a pod, how well, and what speaks for and against it.

One promise: confidence comes from what was seen alone: a lack in the specification 0.8, confirmed by
the process or the kernel up to 0.97; a mere suspicion stays below 0.5.

Not here: reading the evidence (``pod_facts``), ranking (``kubernetes_permission``).
Sources: beside each rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from bpf.diagnoses.pod_facts import PodFacts
from bpf.diagnoses.wording import kept
from bpf.rights.needs import V5_11
from engine.values import Cause

SURE, LACKS, LIKELY, SUSPECT, MAYBE = 0.97, 0.8, 0.6, 0.4, 0.25
_BPF = ("BPF", "PERFMON", "SYS_ADMIN")
#: Default seccomp profiles let CAP_BPF call bpf() from here on (moby 43987, containerd 7301).
_KNOWS_BPF = {"containerd": (1, 6, 9), "docker": (23, 0, 0)}


def missing_capability(facts: PodFacts) -> Cause | None:
    """Lacking by the specification; or given, and not reaching the process. Source: capabilities(7)."""
    lost = [name for name in facts.missing if facts.held is not None and name not in facts.held]
    bare = facts.lacking is None and not facts.privileged and not facts.given & {"BPF", "SYS_ADMIN", "ALL"}
    beyond = (facts.missing or _wants_rights(facts)) and not facts.privileged
    unreached = beyond and facts.non_root and not facts.escalation
    if not (facts.missing or bare or unreached or (beyond and not facts.host_users)):
        return None
    only_memlock = facts.missing == ("SYS_RESOURCE",) and facts.kernel is not None and facts.kernel < V5_11
    confidence = LACKS if facts.missing or unreached else LIKELY
    confidence = SURE if lost or (facts.refused and facts.missing) else confidence
    named = ", ".join(f"CAP_{name}" for name in facts.missing)
    if facts.missing:
        sentence = f"the container is not given {named}"
    elif unreached:
        sentence = (
            "it starts as another user than root, and allowPrivilegeEscalation: false keeps its rights off"
        )
    elif bare:
        sentence = "the container is given neither CAP_BPF nor CAP_SYS_ADMIN: no BPF program loads"
    else:
        sentence = (
            "it lives in a user namespace (hostUsers: false), where its capabilities do not count for BPF"
        )
    return Cause(
        name="missing_capability",
        sentence=sentence,
        confidence=MAYBE + 0.3 if only_memlock else confidence,
        speaks_for=kept(
            *(f"CAP_{name} is needed: {facts.reason(name)}" for name in facts.missing),
            f"its process has no {', '.join(lost)} in force" if lost else "",
            f"{facts.refused} loads were refused with EPERM" if facts.refused else "",
            "it does not start as root, so added capabilities do not survive exec" if facts.non_root else "",
            "hostUsers: false" if not facts.host_users else "",
            f"its bounding set is {' '.join(sorted(facts.given)) or 'empty'}" if bare else "",
        ),
        speaks_against=kept(
            "its process has all of them in force: the specification was changed since it started"
            if facts.held is not None and facts.missing and not lost
            else "",
        ),
        settles="grep Cap /proc/PID/status of its process on the node",
        fix="securityContext.capabilities.add: what is missing, as the remediation security-context does",
    )


def seccomp(facts: PodFacts) -> Cause | None:
    """RuntimeDefault lets bpf() through for CAP_SYS_ADMIN, and in newer runtimes for CAP_BPF."""
    if facts.privileged or facts.host_is("seccomp", "disabled"):
        return None
    named = facts.seccomp not in ("", "Unconfined")
    filtered = named or facts.host_is("seccomp", "filter")
    if not filtered and not facts.by_seccomp:
        return None
    default = facts.seccomp in ("RuntimeDefault", "")
    admin, rights = "SYS_ADMIN" in facts.given, bool(facts.given & {"BPF", "SYS_ADMIN", "ALL"})
    knows = _knows_cap_bpf(facts.runtime)
    confidence = SUSPECT if default else LIKELY
    if default and (admin or (rights and knows)):
        confidence = MAYBE - 0.1  # the profile lets these through
    elif default and rights and knows is False:
        confidence = LACKS
    if facts.by_seccomp:
        confidence = SURE
    profile = facts.seccomp or "the filter of its process"
    return Cause(
        name="seccomp_or_container_policy",
        sentence=f"seccomp ({profile}) refuses what its programs call",
        confidence=confidence,
        speaks_for=kept(
            f"the specification says seccompProfile {facts.seccomp}" if named else "",
            "its process has a seccomp filter" if facts.host_is("seccomp", "filter") else "",
            f"the kernel's tracepoints show {facts.by_seccomp} calls refused by a filter"
            if facts.by_seccomp
            else "",
            f"{facts.runtime}: its default profile knows nothing of CAP_BPF"
            if default and knows is False
            else "",
        ),
        speaks_against=kept(
            "the default profile lets bpf() through with CAP_SYS_ADMIN" if default and admin else "",
            f"{facts.runtime}: its default profile lets bpf() through with CAP_BPF"
            if default and rights and knows
            else "",
        ),
        settles="runbook look load-failures on the node: it tells what a filter refused",
        fix="a Localhost profile that lets bpf and perf_event_open through, or a runtime that knows CAP_BPF",
    )


def lsm(facts: PodFacts) -> Cause | None:
    """SELinux has a class bpf, which container_t may not use; AppArmor profiles may deny it; lockdown."""
    mode = facts.host.get("lockdown", "") if facts.here else ""
    selinux = facts.selinux not in ("", "spc_t") and not facts.privileged
    enforced = facts.here and "selinux" in facts.host.get("lsm", "") and not facts.privileged
    local = facts.apparmor.lower().startswith("localhost")
    locked = mode == "confidentiality"
    if not (selinux or local or locked or (enforced and facts.selinux != "spc_t")):
        return None
    what = (
        f"kernel lockdown is {mode}"
        if locked
        else f"SELinux type {facts.selinux or 'container_t'} may not use bpf"
        if selinux or enforced
        else f"AppArmor profile {facts.apparmor}"
    )
    return Cause(
        name="lockdown_or_lsm",
        sentence=f"{what}: a security module stands between it and the kernel",
        confidence=LACKS + 0.05 if locked else LIKELY if selinux else SUSPECT,
        speaks_for=kept(
            f"lockdown mode {mode}: tracing helpers that read kernel memory are refused" if locked else "",
            f"seLinuxOptions type {facts.selinux}" if selinux else "",
            "SELinux is active on the node, and the pod names no type" if enforced and not selinux else "",
            f"AppArmor profile {facts.apparmor}" if local else "",
        ),
        settles="ausearch -m avc -c COMM, or dmesg | grep -i -e denied -e lockdown on the node",
        fix="seLinuxOptions type spc_t, or a profile that allows bpf; lockdown ends with a reboot only",
    )


def unprivileged(facts: PodFacts) -> Cause | None:
    """Source: Linux Documentation/admin-guide/sysctl/kernel.rst."""
    value = facts.host.get("unprivileged_bpf_disabled") if facts.here else None
    if value not in ("1", "2") or facts.privileged or facts.given & {"BPF", "SYS_ADMIN", "ALL"}:
        return None
    return Cause(
        name="unprivileged_bpf_disabled",
        sentence=f"unprivileged_bpf_disabled is {value}, and the container has neither BPF nor SYS_ADMIN",
        confidence=SUSPECT,
        speaks_for=(f"sysctl kernel.unprivileged_bpf_disabled = {value}",),
        speaks_against=("with the capabilities that its programs need the sysctl does not matter",),
        settles="sysctl kernel.unprivileged_bpf_disabled on the node",
        fix="give the container CAP_BPF; leave the sysctl",
    )


def bpffs(facts: PodFacts) -> Cause | None:
    """Pins need the host's bpffs, writable."""
    return _mount(facts, "/sys/fs/bpf", "pin_path_or_bpffs", "bpffs", "the BPF file system")


def tracefs(facts: PodFacts) -> Cause | None:
    """Tracepoints need tracefs."""
    return _mount(facts, "/sys/kernel/tracing", "tracefs_debugfs_not_mounted", "tracefs", "tracefs")


def memlock(facts: PodFacts) -> Cause | None:
    """Source: Linux commits of 5.11 that move BPF memory to the memory cgroup."""
    if (
        facts.privileged
        or facts.kernel is None
        or facts.kernel >= V5_11
        or "SYS_RESOURCE" not in facts.missing
    ):
        return None
    limit = facts.host.get("memlock_bytes") if facts.here else None
    if limit == "-1":
        return None
    others = [name for name in facts.missing if name != "SYS_RESOURCE"]
    return Cause(
        name="memlock_rlimit",
        sentence=f"kernel {facts.kernel // 1000}.{facts.kernel % 1000} counts BPF memory as locked memory, "
        "and without CAP_SYS_RESOURCE the limit can't be raised",
        confidence=SUSPECT if others else LACKS + 0.05,
        speaks_for=kept(
            f"CAP_SYS_RESOURCE is needed: {facts.reason('SYS_RESOURCE')}",
            f"its limit is {limit} bytes" if limit else "",
        ),
        speaks_against=kept(f"{', '.join(others)} is missing besides" if others else ""),
        settles="grep 'locked memory' /proc/PID/limits on the node",
        fix="capabilities.add: SYS_RESOURCE, or a kernel from 5.11 on",
    )


def btf(facts: PodFacts) -> Cause | None:
    """The runtime's own /sys shows the kernel's BTF, so only the kernel can lack it."""
    if not facts.host_is("btf", "no"):
        return None
    return Cause(
        name="btf_missing",
        sentence="the kernel of its node has no BTF",
        confidence=LIKELY,
        speaks_for=("/sys/kernel/btf/vmlinux is not there",),
        settles="ls /sys/kernel/btf/vmlinux on the node",
        fix="a kernel with CONFIG_DEBUG_INFO_BTF, or a BTF file that the agent is given",
    )


def platform(facts: PodFacts) -> Cause | None:
    """Source: Kubernetes documentation, "Pod Security Admission"; events of the workload's controller."""
    if not facts.refusals and not facts.forbidden:
        return None
    nothing_runs = facts.pods_wanted is not None and facts.pods_wanted > 0 and not facts.pods_ready
    return Cause(
        name="platform-refusal",
        sentence=(
            f"the platform refuses its pods: {facts.refusal}"
            if facts.refusals
            else f"its namespace enforces {facts.level!r}, which forbids {facts.forbidden}"
        ),
        confidence=SURE + 0.01 if facts.refusals else LACKS + 0.1 if nothing_runs else LIKELY,
        speaks_for=kept(
            f"{facts.refusals} pods were refused within an hour: {facts.refusal}" if facts.refusals else "",
            f"Pod Security level {facts.level} forbids {facts.forbidden}" if facts.forbidden else "",
        ),
        speaks_against=kept(f"{facts.pods_ready:g} pods are ready" if facts.pods_ready else ""),
        settles="kubectl -n NAMESPACE get events --field-selector reason=FailedCreate",
        fix="a namespace with pod-security.kubernetes.io/enforce=privileged, or the platform's exception",
    )


def host_pid(facts: PodFacts) -> Cause | None:
    """A program tells pids of the initial namespace, whatever namespace its reader lives in."""
    if not facts.host_pid_missing:
        return None
    return Cause(
        name="host-pid-missing",
        sentence="it works with the host's process ids, and hostPID is not set",
        confidence=LIKELY + 0.1,
        speaks_for=(facts.reason("host-pid"),),
        settles="its log: processes that it can't find; readlink /proc/PID/ns/pid on the node",
        fix="hostPID: true",
    )


#: Each asked of every pod.
RULES: tuple[Callable[[PodFacts], Cause | None], ...] = (
    platform,
    missing_capability,
    seccomp,
    lsm,
    memlock,
    bpffs,
    tracefs,
    unprivileged,
    btf,
    host_pid,
)


def _mount(facts: PodFacts, path: str, name: str, reading: str, words: str) -> Cause | None:
    if path not in facts.mounts:
        return None
    absent = facts.host_is(reading, "no")
    return Cause(
        name=name,
        sentence=f"it needs {words}, and {path} is not mounted into the container",
        confidence=LACKS - 0.1,
        speaks_for=kept(
            f"needed: {facts.reason(path)}",
            f"{words} is not even mounted on the node" if absent else "",
            "its own root file system is read-only besides" if facts.read_only_root else "",
        ),
        settles=f"kubectl exec POD -- ls {path}",
        fix=f"a hostPath volume of {path}",
    )


def _wants_rights(facts: PodFacts) -> bool:
    return any(row.get("needs") in _BPF for row in facts.needs)


def _knows_cap_bpf(runtime: str) -> bool | None:
    """Whether a runtime's default seccomp profile knows CAP_BPF; None for one that we do not know."""
    match = re.match(r"([a-z-]+)://v?(\d+)\.(\d+)(?:\.(\d+))?", runtime)
    if match is None or match[1] not in _KNOWS_BPF:
        return None
    return tuple(int(part or 0) for part in match.groups()[1:]) >= _KNOWS_BPF[match[1]]
