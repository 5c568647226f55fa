"""What each cause means, how it is mended, and which check settles it.

The names are those of the project's collection of failures; runbooks and ``--json`` use them.

Not here: how a cause is recognised (``rules_*``).
"""

from __future__ import annotations

from typing import NamedTuple


class About(NamedTuple):
    """One cause.

    Attributes:
        means: In a sentence.
        fix: The usual one.
        settles: The check that settles it.
        beside: Causes that the same words have turned out to mean, the likelier first. They are
            named behind those that the text speaks for, with little confidence.
    """

    means: str
    fix: str
    settles: str
    beside: tuple[str, ...] = ()


CAUSES: dict[str, About] = {
    "verifier_null_check": About(
        "a pointer that may be NULL is used before it was compared with NULL",
        "in the program: if (!p) return 0; between the lookup and the first use, on every path",
        "the instruction that the log names: the register is …_or_null there",
        beside=("verifier_uninit_or_type", "verifier_bounds"),
    ),
    "verifier_bounds": About(
        "an access that may reach beyond the memory it is allowed",
        "in the program: compare index and length with constants right before the access, or mask them "
        "(i &= SIZE - 1); keep the checked variable in one register",
        "the register's range in the state before the instruction: smin, umax, off, against the size named",
        beside=("verifier_uninit_or_type", "kernel_too_old"),
    ),
    "verifier_uninit_or_type": About(
        "a register or stack bytes that were not set, or a value of the wrong type, are used",
        "in the program: initialise on every path (struct x = {}; or memset for padding); read kernel "
        "memory with bpf_probe_read_kernel or BPF_CORE_READ; release what was acquired",
        "the register's type in the state before the instruction",
        beside=("verifier_bounds", "kernel_too_old"),
    ),
    "verifier_stack_limit": About(
        "more than 512 bytes of stack, with all nested functions",
        "in the program: move big variables into a per-CPU array map of one element, or into a reserved "
        "ring buffer record",
        "the offset from R10 (fp) in the failing instruction, or llvm-objdump -d: the lowest r10 offset",
        beside=("verifier_uninit_or_type", "verifier_bounds"),
    ),
    "verifier_loop_or_complexity": About(
        "a loop whose end is not proven, or more paths than the verifier's budget",
        "in the program: bound the loop by a constant, use bpf_loop (5.17+) or bpf_for (6.4+), split with "
        "tail calls or global functions; a kernel of 5.3 or later knows bounded loops",
        "the last line of the log: 'processed N insns (limit 1000000)'",
        beside=("kernel_too_old", "missing_capability"),
    ),
    "verifier_helper_not_allowed": About(
        "this kernel doesn't offer that helper or kernel function to this type of program",
        "use a helper that this type has, or attach with another program type; look for the kernel "
        "version that introduced it",
        "bpftool feature probe kernel | grep -A200 'program_type TYPE', on this host",
        beside=("kernel_too_old", "lockdown_or_lsm"),
    ),
    "license_gpl": About(
        "the program's licence is not GPL-compatible, and it calls something that is GPL-only",
        'char _license[] SEC("license") = "GPL"; (or "Dual MIT/GPL" and the like) in the object',
        "llvm-objdump -s -j license OBJECT",
        beside=("verifier_helper_not_allowed", "missing_capability"),
    ),
    "core_relocation_failed": About(
        "a field, type or value that the program wants isn't in this kernel's BTF",
        "update the agent; in the program: bpf_core_field_exists with a variant for each kernel (___suffix)",
        "bpftool btf dump file /sys/kernel/btf/vmlinux format c | grep -A60 'struct NAME {'",
        beside=("btf_missing", "arch_mismatch"),
    ),
    "btf_missing": About(
        "the kernel's type information (BTF) is missing or can't be read",
        "a kernel with CONFIG_DEBUG_INFO_BTF=y; in a container mount /sys/kernel/btf; else a BTF file of "
        "this kernel (BTFHub) if the agent takes one",
        "ls -l /sys/kernel/btf/vmlinux, in the agent's mount namespace too",
        beside=("missing_kernel_config", "kernel_too_old"),
    ),
    "missing_kernel_config": About(
        "the kernel was built without an option that the agent needs",
        "a kernel with the option (see the text), its headers for bcc; or switch the agent's feature off",
        "zgrep CONFIG_NAME /proc/config.gz || grep CONFIG_NAME /boot/config-$(uname -r)",
        beside=("kernel_too_old", "attach_target_missing"),
    ),
    "kernel_too_old": About(
        "the kernel is older than a feature that the agent uses",
        "a newer kernel (5.8 or later for ring buffers and CAP_BPF), or an agent version with a fallback",
        "uname -r, against the agent's requirements and bcc's docs/kernel-versions.md",
        beside=("missing_kernel_config", "map_create_failed"),
    ),
    "arch_mismatch": About(
        "built for another architecture, byte order or page size",
        "the agent's build for this architecture; buffer sizes that are multiples of this page size",
        "uname -m; getconf PAGE_SIZE; file OBJECT",
        beside=("missing_kernel_config", "map_create_failed"),
    ),
    "attach_target_missing": About(
        "the function, tracepoint or symbol to attach to isn't there",
        "an agent version that knows this kernel; a stable tracepoint, or another name for the function",
        "grep -w NAME /proc/kallsyms /sys/kernel/tracing/available_filter_functions; ls "
        "/sys/kernel/tracing/events",
        beside=("missing_kernel_config", "tracefs_debugfs_not_mounted"),
    ),
    "tracefs_debugfs_not_mounted": About(
        "the trace file system isn't mounted, or not where the agent runs",
        "mount -t tracefs nodev /sys/kernel/tracing; mount -t debugfs nodev /sys/kernel/debug; "
        "into the container as a hostPath or -v",
        "findmnt -t tracefs,debugfs, in the agent's mount namespace",
        beside=("missing_kernel_config", "attach_target_missing"),
    ),
    "pin_path_or_bpffs": About(
        "a pin in the BPF file system can't be made, found or reused",
        "mount -t bpf bpf /sys/fs/bpf (Bidirectional into the container); remove an old pin whose layout "
        "doesn't fit, once nobody uses it",
        "findmnt -t bpf; bpftool map show pinned PATH against the agent's definition",
        beside=("missing_capability", "other"),
    ),
    "map_create_failed": About(
        "a map could not be created: its type, size or flags",
        "max_entries within bounds (for a ring a power of two and a multiple of the page size); less memory",
        "the call itself: runbook look load-failures, or strace -e bpf; bpftool feature probe "
        "| grep map_type",
        beside=("kernel_too_old", "arch_mismatch"),
    ),
    "map_full": About(
        "a map holds as many elements as it may",
        "more max_entries in the agent's configuration, minding memory; look first whether elements "
        "are removed",
        "bpftool map show; count against max_entries, twice, some minutes apart",
        beside=("map_unbounded_growth", "map_create_failed"),
    ),
    "map_unbounded_growth": About(
        "elements are put into a map and never taken out",
        "update the agent; an LRU map, or removal of what no longer lives; a bigger map only delays it",
        "the count of elements over time, against the living pids or connections they stand for",
        beside=("map_full", "memory_leak_userspace"),
    ),
    "missing_capability": About(
        "the process lacks a capability",
        "CAP_BPF with CAP_PERFMON (tracing) or CAP_NET_ADMIN (network), CAP_SYS_ADMIN before 5.8: setcap on "
        "the file, AmbientCapabilities= in the unit, securityContext.capabilities in the pod",
        "grep Cap /proc/PID/status | capsh --decode=…; in a user namespace no capability counts",
        beside=("seccomp_or_container_policy", "unprivileged_bpf_disabled"),
    ),
    "seccomp_or_container_policy": About(
        "the container platform refuses: a seccomp filter, or an admission policy",
        "a seccomp profile that allows bpf and perf_event_open, an exemption for the namespace; "
        "privileged only as the last resort",
        "grep Seccomp /proc/PID/status (2 is a filter); kubectl get events; docker run "
        "--security-opt seccomp=unconfined",
        beside=("missing_capability", "lockdown_or_lsm"),
    ),
    "lockdown_or_lsm": About(
        "kernel lockdown or a security module refuses, or the BPF LSM isn't active",
        "Secure Boot or lockdown=none after weighing it; a rule for SELinux or AppArmor; lsm=…,bpf "
        "on the kernel's command line",
        "cat /sys/kernel/security/lockdown /sys/kernel/security/lsm; dmesg "
        "| grep -iE 'lockdown|avc|apparmor'",
        beside=("missing_capability", "missing_kernel_config"),
    ),
    "unprivileged_bpf_disabled": About(
        "kernel.unprivileged_bpf_disabled refuses a process without CAP_BPF",
        "give the process CAP_BPF; leave the sysctl as it is",
        "sysctl kernel.unprivileged_bpf_disabled",
        beside=("missing_capability", "seccomp_or_container_policy"),
    ),
    "memlock_rlimit": About(
        "the limit of locked memory is too low (counts before kernel 5.11)",
        "LimitMEMLOCK=infinity in the unit, ulimit -l unlimited, or CAP_SYS_RESOURCE",
        "grep 'locked memory' /proc/PID/limits; uname -r: from 5.11 on it is something else",
        beside=("missing_capability", "seccomp_or_container_policy"),
    ),
    "kprobe_attach_limit": About(
        "more attachments than a limit allows",
        "fewer probes (a narrower pattern), a higher limit of open files, or kprobe.multi (5.18+)",
        "ls /proc/PID/fd | wc -l against its limits; wc -l /sys/kernel/tracing/kprobe_events",
        beside=("attach_target_missing", "other"),
    ),
    "ringbuf_or_perfbuf_drops": About(
        "events come faster than the agent takes them out of the buffer, or in bursts",
        "runbook run events-dropped: it names the stage before anything is made bigger",
        "runbook look event-flow --for 30s",
        beside=("high_cpu_userspace", "other"),
    ),
    "high_cpu_userspace": About(
        "the agent's own code takes the CPU",
        "fewer events to user space (filter, sample in the kernel); update when it is a busy loop",
        "perf record -g -p PID, or top -H -p PID; runbook look process",
        beside=("high_cpu_bpf_prog", "ringbuf_or_perfbuf_drops"),
    ),
    "high_cpu_bpf_prog": About(
        "a BPF program takes the CPU: it runs often, or long",
        "attach to a rarer event, filter first in the program, switch the feature off",
        "runbook look program-cost: run time and count per program",
        beside=("high_cpu_userspace", "kprobe_attach_limit"),
    ),
    "memory_leak_userspace": About(
        "the memory of the agent's process grows without end",
        "update the agent; bound its caches; a restart gains time",
        "heap profiles some hours apart; RSS against the cgroup's memory (BPF maps are not in RSS)",
        beside=("oom_kill", "map_unbounded_growth"),
    ),
    "oom_kill": About(
        "the kernel killed it for memory",
        "a limit that holds the agent's need (its maps count too), smaller maps or caches",
        "kubectl describe pod (OOMKilled), dmesg | grep -i oom, memory.events of the cgroup",
        beside=("memory_leak_userspace", "map_unbounded_growth"),
    ),
    "other": About(
        "none of the known causes: a conflict, a crash or a fault of the agent",
        "look at the lines around the first error; search the agent's issues for them",
        "the first error in the agent's log, at its highest log level",
    ),
}
