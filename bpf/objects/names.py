"""What the kernel's numbers for kinds of programs, maps, links and attachments are called.

Lower-case forms of the enums of ``linux/bpf.h`` as of 6.18; numbers are never reused. A number
from the future is told as ``type-34``.
"""

from __future__ import annotations


def _numbered(words: str) -> dict[int, str]:
    return dict(enumerate(words.split()))


PROGRAM_TYPES = _numbered(
    """unspec socket_filter kprobe sched_cls sched_act tracepoint xdp perf_event cgroup_skb cgroup_sock
        lwt_in lwt_out lwt_xmit sock_ops sk_skb cgroup_device sk_msg raw_tracepoint cgroup_sock_addr
        lwt_seg6local lirc_mode2 sk_reuseport flow_dissector cgroup_sysctl raw_tracepoint_writable
        cgroup_sockopt tracing struct_ops ext lsm sk_lookup syscall netfilter"""
)
MAP_TYPES = _numbered(
    """unspec hash array prog_array perf_event_array percpu_hash percpu_array stack_trace cgroup_array
        lru_hash lru_percpu_hash lpm_trie array_of_maps hash_of_maps devmap sockmap cpumap xskmap sockhash
        cgroup_storage reuseport_sockarray percpu_cgroup_storage queue stack sk_storage devmap_hash
        struct_ops ringbuf inode_storage task_storage bloom_filter user_ringbuf cgrp_storage arena"""
)
LINK_TYPES = _numbered(
    """unspec raw_tracepoint tracing cgroup iter netns xdp perf_event kprobe_multi struct_ops netfilter
        tcx uprobe_multi netkit sockmap"""
)
RAW_TRACEPOINT, PERF_EVENT = 1, 7  # of LINK_TYPES
#: What a program of type ``tracing`` or ``lsm`` was loaded for.
TRACING_KINDS = {
    23: "tp_btf",
    24: "fentry",
    25: "fexit",
    26: "fmod_ret",
    27: "lsm",
    28: "iter",
    43: "lsm_cgroup",
}
#: ``linux/perf_event.h``: PERF_TYPE_HARDWARE and PERF_TYPE_SOFTWARE, by config.
_PERF_EVENTS = {
    0: _numbered("cycles instructions cache-references cache-misses branches branch-misses bus-cycles"),
    1: _numbered("cpu-clock task-clock page-faults context-switches migrations minor-faults major-faults"),
}
_PERF_TRACEPOINT = 2


def named(table: dict[int, str], number: int) -> str:
    """The name of a number, or ``type-N`` when this table is older than the kernel."""
    return table.get(number) or f"type-{number}"


def text(raw: bytes) -> str:
    """A kernel's fixed-length text without its padding."""
    return raw.partition(b"\0")[0].decode("utf-8", "replace")


def perf_place(kind: int, config: int, group: str, name: str) -> str:
    """Where a program on a perf event sits: ``tracepoint sched/sched_switch``, ``kprobe do_exit``.

    Args:
        kind: ``perf_event_attr.type``; kprobes and uprobes have numbers of their own.
        config: ``perf_event_attr.config``; its lowest bit tells return probes.
        group: Of the trace event; empty where there is none.
        name: Of the trace event.
    """
    if kind == _PERF_TRACEPOINT:
        return f"tracepoint {group}/{name}"
    if group in ("kprobes", "uprobes"):
        probe = group[0] + ("retprobe" if config & 1 else "probe")
        return f"{probe} {name}" if name and not name.startswith("DUMMY") else probe
    event = _PERF_EVENTS.get(kind, {}).get(config) or f"type {kind} config {config}"
    return f"perf_event {event}"
