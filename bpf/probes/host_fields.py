"""Every reading that ``host-facts`` gives, with its meaning and unit."""

from __future__ import annotations

from engine.values import Field

#: Reading → sysctl by its path below /proc/sys.
SYSCTLS = {
    "unprivileged_bpf_disabled": "kernel/unprivileged_bpf_disabled",
    "perf_event_paranoid": "kernel/perf_event_paranoid",
    "kptr_restrict": "kernel/kptr_restrict",
    "bpf_jit_enable": "net/core/bpf_jit_enable",
    "bpf_jit_harden": "net/core/bpf_jit_harden",
    "bpf_jit_limit_bytes": "net/core/bpf_jit_limit",
}
#: Reading → option of the kernel's configuration.
OPTIONS = {
    "config_bpf": "BPF",
    "config_bpf_syscall": "BPF_SYSCALL",
    "config_bpf_jit": "BPF_JIT",
    "config_debug_info_btf": "DEBUG_INFO_BTF",
    "config_bpf_lsm": "BPF_LSM",
    "config_kprobes": "KPROBES",
    "config_ftrace_syscalls": "FTRACE_SYSCALLS",
    "config_bpf_events": "BPF_EVENTS",
}
#: Reading → type of the file system.
FILE_SYSTEMS = {"bpffs": "bpf", "tracefs": "tracefs", "debugfs": "debugfs"}
#: Reading → what ``bpf.probes.kernel_kinds`` calls it. Tried, not read.
TRIED = {"kprobes": "kprobe", "fentry": "fentry", "ringbuf_map": "ring_buffer"}


def _text(help_text: str) -> Field:
    return Field(help=help_text, type="text")


FIELDS: dict[str, Field] = {
    "kernel_release": _text("the running kernel"),
    "kernel_version": Field(help="its version: major · 1000 + minor"),
    "arch": _text("architecture"),
    "page_bytes": Field(help="page size", unit="bytes"),
    "running": _text("whether a process of the target runs: yes or no"),
    "programs": Field(help="BPF programs that the target's processes hold, themselves or by a link"),
    "executable": _text("the target's executable"),
    "uid": Field(help="effective user of the process"),
    "caps_effective": _text("capabilities in force"),
    "caps_permitted": _text("capabilities it may put in force"),
    "caps_bounding": _text("capabilities it can ever gain"),
    "caps_ambient": _text("capabilities that programs without any inherit"),
    "file_caps": _text("capabilities that its executable gives, as setcap writes them; none"),
    "user_namespace": _text("initial, or child: capabilities then do not count for BPF"),
    "no_new_privs": _text("yes: its executable's capabilities are ignored"),
    "seccomp": _text("disabled, strict or filter"),
    "apparmor": _text("label of AppArmor or SELinux"),
    "container": _text("whether it runs in a container"),
    "memlock_bytes": Field(help="its locked-memory limit; -1: unlimited", unit="bytes"),
    "lsm": _text("active security modules"),
    "lockdown": _text("none, integrity or confidentiality"),
    "memcg_accounting": _text("yes: BPF memory counts for the cgroup, the memlock limit for nothing (5.11)"),
    **{name: Field(help=f"sysctl {path.replace('/', '.')}") for name, path in SYSCTLS.items()},
    "bpf_jit_limit_bytes": Field(help="sysctl net.core.bpf_jit_limit", unit="bytes"),
    "bpf_jit_used_bytes": Field(help="memory that holds compiled programs", unit="bytes"),
    "btf": _text("whether the kernel tells its types (needed by CO-RE)"),
    **{name: _text(f"whether a {kind} file system is mounted") for name, kind in FILE_SYSTEMS.items()},
    "config_source": _text("where the kernel's build configuration was read"),
    **{name: _text(f"whether the kernel was built with CONFIG_{option}") for name, option in OPTIONS.items()},
    **{name: _text(f"whether this kernel lets us use a {kind}: tried") for name, kind in TRIED.items()},
    "attach_missing": _text("those of the option attach_to that this kernel lacks"),
    "attach": Field(
        help="one row per place of the option attach_to, and whether the kernel has it", type="rows"
    ),
}
