"""Which build options a kind of program or map needs, and how to see them without the configuration.

Its promise: the configuration decides where there is one. Without it, a function that only such a kernel
has proves the option; its absence proves nothing, for a compiler may have inlined it.
Source: the kernel's Kconfig files and Makefiles.

Not here: program and map types, which the BTF lists whatever the options (``bpf.preflight.features``).
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from bpf.preflight.kernel import Kernel
from bpf.preflight.result import Finding, Stage


class Need(msgspec.Struct, frozen=True):
    """An option, a function that only exists with it (empty for none), and where its absence shows."""

    option: str
    witness: str = ""
    stage: Stage = "load"


_EVENTS = Need("CONFIG_BPF_EVENTS", "perf_event_attach_bpf_prog")
_KPROBES = Need("CONFIG_KPROBES", "register_kprobe", "attach")
_KPROBE_EVENTS = Need("CONFIG_KPROBE_EVENTS", "perf_kprobe_init", "attach")
_UPROBES = Need("CONFIG_UPROBE_EVENTS", "perf_uprobe_init", "attach")
_DIRECT = Need("CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS", "register_ftrace_direct", "attach")
_JIT = Need("CONFIG_BPF_JIT", "bpf_trampoline_get", "attach")
_LSM = Need("CONFIG_BPF_LSM", "bpf_lsm_file_open")
_CGROUP = Need("CONFIG_CGROUP_BPF", "cgroup_bpf_prog_query")
#: By place of the section (``bpf.preflight.sections``).
PLACES: dict[str, tuple[Need, ...]] = {
    "function": (_EVENTS, _KPROBES, _KPROBE_EVENTS),
    "syscall": (_EVENTS, _KPROBES, _KPROBE_EVENTS),
    "functions": (_EVENTS, Need("CONFIG_FPROBE", "register_fprobe", "attach")),
    "user": (_EVENTS, _UPROBES),
    "tracepoint": (_EVENTS,),
    "raw": (_EVENTS,),
    "btf-tracepoint": (_EVENTS,),
    "trampoline": (_JIT, _DIRECT),
    "modify": (_JIT, _DIRECT),
    "lsm": (_LSM, _JIT),
}
#: By program type.
PROGRAMS: dict[str, tuple[Need, ...]] = {
    "perf_event": (_EVENTS,),
    "cgroup_skb": (_CGROUP,),
    "cgroup_sock": (_CGROUP,),
    "cgroup_sock_addr": (_CGROUP,),
    "cgroup_sysctl": (_CGROUP,),
    "cgroup_sockopt": (_CGROUP,),
    "cgroup_device": (_CGROUP,),
    "sock_ops": (_CGROUP,),
    "sched_cls": (Need("CONFIG_NET_CLS_BPF", "", "attach"),),
    "sched_act": (Need("CONFIG_NET_ACT_BPF", "", "attach"),),
    "lwt_in": (Need("CONFIG_LWTUNNEL_BPF"),),
    "lwt_out": (Need("CONFIG_LWTUNNEL_BPF"),),
    "lwt_xmit": (Need("CONFIG_LWTUNNEL_BPF"),),
    "lirc_mode2": (Need("CONFIG_BPF_LIRC_MODE2"),),
    "netfilter": (Need("CONFIG_NETFILTER_BPF_LINK"),),
    "struct_ops": (Need("CONFIG_BPF_JIT", "bpf_trampoline_get"),),
}
#: By map type.
MAPS: dict[str, tuple[Need, ...]] = {
    "cgroup_array": (Need("CONFIG_CGROUPS", "cgroup_get_from_fd"),),
    "cgroup_storage": (_CGROUP,),
    "percpu_cgroup_storage": (_CGROUP,),
    "cgrp_storage": (Need("CONFIG_CGROUPS", "cgroup_get_from_fd"),),
    "inode_storage": (Need("CONFIG_BPF_LSM", "bpf_inode_storage_free"),),
    "task_storage": (),
    "xskmap": (Need("CONFIG_XDP_SOCKETS", "xsk_bind"),),
    "sockmap": (Need("CONFIG_NET", "sock_map_get_from_fd"),),
    "sockhash": (Need("CONFIG_NET", "sock_map_get_from_fd"),),
    "stack_trace": (Need("CONFIG_PERF_EVENTS", "perf_event_create_kernel_counter"),),
    "struct_ops": (Need("CONFIG_BPF_JIT", "bpf_trampoline_get"),),
}
_REBUILD = "boot a kernel built with {option}, or leave out what needs it"


def check(kernel: Kernel, needs: tuple[Need, ...], *, of: str, program: str = "") -> Iterator[Finding]:
    """Findings for the options that ``of`` (a program or map, in words) needs."""
    for need in needs:
        if kernel.config is not None:
            on = kernel.config.on(need.option)
            yield Finding(
                about="config",
                item=need.option,
                outcome="works" if on else "fails",
                stage=need.stage,
                program=program,
                reason=f"{of} needs it; {kernel.config.where} says {kernel.config.value(need.option)}",
                advice="" if on else _REBUILD.format(option=need.option),
            )
        elif need.witness and kernel.whole:
            if kernel.function(need.witness) or need.witness in (kernel.symbols or ()):
                yield Finding(
                    about="config",
                    item=need.option,
                    outcome="works",
                    stage=need.stage,
                    program=program,
                    reason=f"{of} needs it; the kernel has {need.witness}, which only it brings",
                )
            else:
                yield Finding(
                    about="config",
                    item=need.option,
                    outcome="unknown",
                    stage=need.stage,
                    program=program,
                    reason=f"{of} needs it; the kernel's BTF does not list {need.witness}",
                    advice="give the kernel's configuration: --config /boot/config-RELEASE",
                )
