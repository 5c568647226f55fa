"""What the host's facts add to what the text says, and what they rule out.

The facts are those of the probe ``host-facts``; None means unknown, and unknown says nothing. A
fact speaks only for a cause that the text allows: a host without BTF explains no lost event.

Not here: reading the facts (``bpf.probes``), the text's rules (``rules_*``).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from typing import NamedTuple

from engine.values import Scalar

Facts = Mapping[str, Scalar]


class Saying(NamedTuple):
    """What one fact says of one cause; negative points speak against."""

    cause: str
    points: float
    words: str


class HostRule(NamedTuple):
    """One row: when the facts meet ``holds`` and the text names one of ``with_causes``, it speaks."""

    holds: Callable[[Facts], bool]
    speaks: Mapping[str, float]
    words: str
    with_text: tuple[str, ...] = ()


REFUSED = ("operation not permitted", "eperm", "permission denied", "eacces", "not permitted", "memlock")


def _caps(facts: Facts) -> frozenset[str]:
    return frozenset(str(facts.get("caps_effective") or "").lower().split())


def _known(facts: Facts, name: str) -> bool:
    return facts.get(name) is not None


def _number(facts: Facts, name: str) -> float | None:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) else None


def _says(name: str, *words: str) -> Callable[[Facts], bool]:
    """Whether a fact is one of these words."""
    return lambda facts: str(facts.get(name)).lower() in words


def _lacks_rights(facts: Facts) -> bool:
    held = _caps(facts)
    return _known(facts, "caps_effective") and not held & {"cap_bpf", "cap_sys_admin"}


def _lacks_perfmon(facts: Facts) -> bool:
    held = _caps(facts)
    return "cap_bpf" in held and not held & {"cap_perfmon", "cap_net_admin", "cap_sys_admin"}


def _has_all_rights(facts: Facts) -> bool:
    held = _caps(facts)
    return "cap_sys_admin" in held and not _says("user_namespace", "child")(facts)


def _accounts_by_cgroup(facts: Facts) -> bool:
    version = _number(facts, "kernel_version")
    return _says("memcg_accounting", "yes", "true")(facts) or (version is not None and version >= 5011)


def _small_memlock(facts: Facts) -> bool:
    limit = _number(facts, "memlock_bytes")
    return (
        limit is not None
        and 0 <= limit < (64 << 20)
        and not _accounts_by_cgroup(facts)
        and _known(facts, "kernel_version")
    )


def _jit_full(facts: Facts) -> bool:
    used, limit = _number(facts, "bpf_jit_used_bytes"), _number(facts, "bpf_jit_limit_bytes")
    return used is not None and bool(limit) and used >= 0.9 * (limit or 1.0)


def _no_bpf_lsm(facts: Facts) -> bool:
    return _known(facts, "lsm") and "bpf" not in str(facts["lsm"]).replace(",", " ").split()


def _sysctl_on(facts: Facts) -> bool:
    return (_number(facts, "unprivileged_bpf_disabled") or 0) >= 1 and _lacks_rights(facts)


HOST_RULES: tuple[HostRule, ...] = (
    HostRule(
        _lacks_rights,
        {"missing_capability": 3, "memlock_rlimit": -2},  # rights are asked for before memory is charged
        "the process has neither CAP_BPF nor CAP_SYS_ADMIN",
        REFUSED,
    ),
    HostRule(
        _lacks_perfmon,
        {"missing_capability": 2},
        "the process has CAP_BPF but neither CAP_PERFMON nor CAP_NET_ADMIN",
        REFUSED,
    ),
    HostRule(
        _has_all_rights,
        {"missing_capability": -4, "unprivileged_bpf_disabled": -4},
        "the process has CAP_SYS_ADMIN in the first user namespace",
        REFUSED,
    ),
    HostRule(
        _has_all_rights,
        {"lockdown_or_lsm": 1.5, "other": 1.2},
        "with all rights in force, a refusal comes from a security module, a filter or the agent itself",
        ("operation not permitted", "eperm"),
    ),
    HostRule(
        _says("user_namespace", "child"),
        {"missing_capability": 2},
        "the process is in a child user namespace, where no capability counts for bpf()",
        REFUSED,
    ),
    HostRule(
        _says("seccomp", "filter", "strict"),
        {"seccomp_or_container_policy": 2},
        "a seccomp filter is on the process",
        REFUSED,
    ),
    HostRule(
        _says("seccomp", "disabled"),
        {"seccomp_or_container_policy": -3},
        "no seccomp filter is on the process",
        REFUSED,
    ),
    HostRule(
        _sysctl_on,
        {"unprivileged_bpf_disabled": 1.5},
        "kernel.unprivileged_bpf_disabled is set, and the process has no right beyond it",
        REFUSED,
    ),
    HostRule(
        _sysctl_on,
        {"unprivileged_bpf_disabled": 4},
        "a program of this type takes no capability where that sysctl is 0",
        ("(socket_filter)", "(cgroup_skb)"),
    ),
    HostRule(
        lambda f: _number(f, "unprivileged_bpf_disabled") == 0,
        {"unprivileged_bpf_disabled": -3},
        "kernel.unprivileged_bpf_disabled is 0",
        REFUSED,
    ),
    HostRule(
        _says("lockdown", "confidentiality"),
        {"lockdown_or_lsm": 3.5},
        "the kernel is locked down (confidentiality)",
        (*REFUSED, "helper", "probe_read"),
    ),
    HostRule(
        _says("lockdown", "integrity"),
        {"lockdown_or_lsm": 1.2},
        "the kernel is locked down (integrity)",
        (*REFUSED, "probe_write"),
    ),
    HostRule(
        _says("lockdown", "none"),
        {"lockdown_or_lsm": -1.5},
        "the kernel is not locked down",
        (*REFUSED, "helper", "lockdown"),
    ),
    HostRule(
        _small_memlock,
        {"memlock_rlimit": 3},
        "the limit of locked memory is small, and counts on this kernel",
        (*REFUSED, "cannot allocate", "rlimit"),
    ),
    HostRule(
        _accounts_by_cgroup,
        {"memlock_rlimit": -4},
        "from 5.11 on BPF memory is charged to the cgroup: the limit of locked memory isn't looked at",
        (*REFUSED, "cannot allocate", "rlimit"),
    ),
    HostRule(
        lambda f: _number(f, "memlock_bytes") == -1,
        {"memlock_rlimit": -4},
        "locked memory is unlimited",
        (*REFUSED, "cannot allocate", "rlimit"),
    ),
    HostRule(
        _says("btf", "no"),
        {"btf_missing": 3.5},
        "this kernel has no /sys/kernel/btf/vmlinux",
        ("btf", "co-re", "relo", "fentry", "vmlinux"),
    ),
    HostRule(
        _says("btf", "yes"),
        {"btf_missing": -3},
        "/sys/kernel/btf/vmlinux is there",
        ("btf", "co-re", "vmlinux"),
    ),
    HostRule(
        _says("bpffs", "no"),
        {"pin_path_or_bpffs": 3.5},
        "no BPF file system is mounted",
        ("pin", "/sys/fs/bpf", "bpffs", "obj_get"),
    ),
    HostRule(
        _says("tracefs", "no"),
        {"tracefs_debugfs_not_mounted": 3},
        "no trace file system is mounted",
        ("tracefs", "debugfs", "/tracing", "kprobe_events", "uprobe_events", "attach"),
    ),
    HostRule(
        _says("tracefs", "yes"),
        {"tracefs_debugfs_not_mounted": -1.5},
        "a trace file system is mounted",
        ("tracefs", "debugfs", "/tracing", "kprobe_events", "uprobe_events", "attach"),
    ),
    HostRule(
        _says("config_bpf_syscall", "no", "n"),
        {"missing_kernel_config": 4},
        "CONFIG_BPF_SYSCALL is off",
        ("bpf",),
    ),
    HostRule(
        _says("config_kprobes", "no", "n"), {"missing_kernel_config": 4}, "CONFIG_KPROBES is off", ("kprobe",)
    ),
    HostRule(
        _says("config_ftrace_syscalls", "no", "n"),
        {"missing_kernel_config": 4},
        "CONFIG_FTRACE_SYSCALLS is off",
        ("sys_enter", "sys_exit", "events/syscalls"),
    ),
    HostRule(
        _no_bpf_lsm, {"missing_kernel_config": 3}, "bpf isn't among the active security modules", ("lsm",)
    ),
    HostRule(
        _says("config_bpf_lsm", "no", "n"), {"missing_kernel_config": 3}, "CONFIG_BPF_LSM is off", ("lsm",)
    ),
    HostRule(
        _says("kprobes", "no"), {"missing_kernel_config": 3}, "kprobes don't work on this kernel", ("kprobe",)
    ),
    HostRule(
        _says("fentry", "no"),
        {"missing_kernel_config": 3},
        "fentry doesn't work on this kernel",
        ("trampoline", "524", "enotsupp"),  # a refusal (EPERM) is somebody's policy, no missing option
    ),
    HostRule(
        _says("ringbuf_map", "no"),
        {"kernel_too_old": 3},
        "this kernel has no ring buffer map",
        ("ringbuf", "ring buffer"),
    ),
    HostRule(
        _says("ringbuf_map", "yes"),
        {"kernel_too_old": -2, "map_create_failed": 1.5},
        "this kernel has the ring buffer map",
        ("ringbuf", "ring buffer"),
    ),
    HostRule(
        lambda f: (_number(f, "page_bytes") or 4096) > 4096,
        {"arch_mismatch": 2},
        "pages are larger than 4 KiB",
        ("invalid argument", "einval", "page"),
    ),
    HostRule(
        _jit_full,
        {"other": 4},
        "BPF's JIT memory is used up (net.core.bpf_jit_limit)",
        ("524", "enotsupp", "cannot allocate", "operation not permitted"),
    ),
)


def judge(facts: Facts, text: str, heard: Container[str]) -> tuple[Saying, ...]:
    """What the facts say, given the lower-case text and the causes that it speaks for."""
    said = []
    for rule in HOST_RULES:
        if rule.with_text and not any(word in text for word in rule.with_text):
            continue
        if not rule.holds(facts):
            continue
        said += [
            Saying(cause, points, rule.words)
            for cause, points in rule.speaks.items()
            if points > 0 or cause in heard
        ]
    return tuple(said)
