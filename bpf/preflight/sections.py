"""What the name of a program's section says: program type, attach type, and where it goes.

Source: libbpf's table of sections (docs.kernel.org/bpf/libbpf/program_types.html); cilium/ebpf and
Aya read the same names.

Not here: whether the place is there (``bpf.preflight.attach``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

#: Where programs go: how the place is looked up.
Place = Literal[
    "function", "functions", "trampoline", "modify", "tracepoint", "raw", "btf-tracepoint",
    "lsm", "iterator", "syscall", "user", "struct-ops", "program", "elsewhere",
]  # fmt: skip


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of section.

    Attributes:
        program, attach: Names as in ``features.txt``; attach is empty for none.
        place: How the place is looked up.
        checked: The kernel looks at the attach type while loading, so that an unknown one fails there.
        sleepable: The program may sleep (``.s``).
    """

    program: str
    attach: str = ""
    place: Place = "elsewhere"
    checked: bool = False
    sleepable: bool = False


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """A section's kind, and the place it names; empty when the agent chooses it while running."""

    kind: Kind
    target: str
    prefix: str


def _tracing(attach: str, place: Place) -> Kind:
    return Kind(program="tracing", attach=attach, place=place, checked=True)


def _cgroup(program: str, attach: str) -> Kind:
    return Kind(program=program, attach=f"cgroup_{attach}", checked=True)


_KPROBE = Kind(program="kprobe", place="function")
_MULTI = Kind(program="kprobe", attach="trace_kprobe_multi", place="functions")
_USER = Kind(program="kprobe", place="user")
_USER_MULTI = Kind(program="kprobe", attach="trace_uprobe_multi", place="user")
_SYSCALL = Kind(program="kprobe", place="syscall")
_TRACEPOINT = Kind(program="tracepoint", place="tracepoint")
_RAW = Kind(program="raw_tracepoint", place="raw")
_ENTRY = _tracing("trace_fentry", "trampoline")
_EXIT = _tracing("trace_fexit", "trampoline")
_MODIFY = _tracing("modify_return", "modify")
_LSM = Kind(program="lsm", attach="lsm_mac", place="lsm", checked=True)
_XDP = Kind(program="xdp")
_TC = Kind(program="sched_cls")

_KINDS: dict[str, Kind] = {
    "socket": Kind(program="socket_filter"),
    "sk_reuseport/migrate": Kind(
        program="sk_reuseport", attach="sk_reuseport_select_or_migrate", checked=True
    ),
    "sk_reuseport": Kind(program="sk_reuseport"),
    "kprobe": _KPROBE,
    "kretprobe": _KPROBE,
    "kprobe.multi": _MULTI,
    "kretprobe.multi": _MULTI,
    "kprobe.session": Kind(program="kprobe", attach="trace_kprobe_session", place="functions"),
    "uprobe": _USER,
    "uretprobe": _USER,
    "uprobe.multi": _USER_MULTI,
    "uretprobe.multi": _USER_MULTI,
    "uprobe.session": Kind(program="kprobe", attach="trace_uprobe_session", place="user"),
    "usdt": _USER,
    "ksyscall": _SYSCALL,
    "kretsyscall": _SYSCALL,
    "tc/ingress": _TC,
    "tc/egress": _TC,
    "tcx/ingress": Kind(program="sched_cls", attach="tcx_ingress"),
    "tcx/egress": Kind(program="sched_cls", attach="tcx_egress"),
    "tc": _TC,
    "classifier": _TC,
    "action": Kind(program="sched_act"),
    "netkit/primary": Kind(program="sched_cls", attach="netkit_primary"),
    "netkit/peer": Kind(program="sched_cls", attach="netkit_peer"),
    "tracepoint": _TRACEPOINT,
    "tp": _TRACEPOINT,
    "raw_tracepoint": _RAW,
    "raw_tp": _RAW,
    "raw_tracepoint.w": Kind(program="raw_tracepoint_writable", place="raw"),
    "raw_tp.w": Kind(program="raw_tracepoint_writable", place="raw"),
    "tp_btf": _tracing("trace_raw_tp", "btf-tracepoint"),
    "fentry": _ENTRY,
    "fexit": _EXIT,
    "fmod_ret": _MODIFY,
    "fsession": _tracing("trace_fsession", "trampoline"),
    "freplace": Kind(program="ext", place="program"),
    "lsm": _LSM,
    "lsm_cgroup": Kind(program="lsm", attach="lsm_cgroup", place="lsm", checked=True),
    "iter": _tracing("trace_iter", "iterator"),
    "syscall": Kind(program="syscall", sleepable=True),
    "xdp.frags": _XDP,
    "xdp/devmap": Kind(program="xdp", attach="xdp_devmap"),
    "xdp/cpumap": Kind(program="xdp", attach="xdp_cpumap"),
    "xdp": _XDP,
    "perf_event": Kind(program="perf_event"),
    "lwt_in": Kind(program="lwt_in"),
    "lwt_out": Kind(program="lwt_out"),
    "lwt_xmit": Kind(program="lwt_xmit"),
    "lwt_seg6local": Kind(program="lwt_seg6local"),
    "sockops": Kind(program="sock_ops", attach="cgroup_sock_ops"),
    "sk_skb/stream_parser": Kind(program="sk_skb", attach="sk_skb_stream_parser"),
    "sk_skb/stream_verdict": Kind(program="sk_skb", attach="sk_skb_stream_verdict"),
    "sk_skb/verdict": Kind(program="sk_skb", attach="sk_skb_verdict"),
    "sk_skb": Kind(program="sk_skb"),
    "sk_msg": Kind(program="sk_msg", attach="sk_msg_verdict"),
    "lirc_mode2": Kind(program="lirc_mode2", attach="lirc_mode2"),
    "flow_dissector": Kind(program="flow_dissector", attach="flow_dissector"),
    "cgroup_skb/ingress": Kind(program="cgroup_skb", attach="cgroup_inet_ingress"),
    "cgroup_skb/egress": Kind(program="cgroup_skb", attach="cgroup_inet_egress"),
    "cgroup/skb": Kind(program="cgroup_skb"),
    "cgroup/sock_create": _cgroup("cgroup_sock", "inet_sock_create"),
    "cgroup/sock_release": _cgroup("cgroup_sock", "inet_sock_release"),
    "cgroup/sock": _cgroup("cgroup_sock", "inet_sock_create"),
    "cgroup/post_bind4": _cgroup("cgroup_sock", "inet4_post_bind"),
    "cgroup/post_bind6": _cgroup("cgroup_sock", "inet6_post_bind"),
    "cgroup/sysctl": _cgroup("cgroup_sysctl", "sysctl"),
    "cgroup/getsockopt": _cgroup("cgroup_sockopt", "getsockopt"),
    "cgroup/setsockopt": _cgroup("cgroup_sockopt", "setsockopt"),
    "cgroup/dev": _cgroup("cgroup_device", "device"),
    "struct_ops": Kind(program="struct_ops", place="struct-ops"),
    "sk_lookup": Kind(program="sk_lookup", attach="sk_lookup", checked=True),
    "netfilter": Kind(program="netfilter", attach="netfilter"),
}
_ADDRESSES = ("bind", "connect", "getpeername", "getsockname", "sendmsg", "recvmsg")
_FAMILIES = {"4": "inet4", "6": "inet6", "_unix": "unix"}
for _call in _ADDRESSES:
    for _end, _family in _FAMILIES.items():
        if (_call, _end) == ("bind", "_unix"):
            continue  # the one that there is not
        _prefix = "udp" + _end if _call in ("sendmsg", "recvmsg") and _end != "_unix" else _family
        _KINDS[f"cgroup/{_call}{_end}"] = _cgroup("cgroup_sock_addr", f"{_prefix}_{_call}")
#: Names that keep what follows the slash as a place; the others are whole names.
_WITH_TARGET = frozenset(
    name for name, kind in _KINDS.items() if kind.place != "elsewhere" or name in ("syscall", "struct_ops")
)


def read(section: str) -> Wanted | None:
    """What a section's name says; None for a name that is nobody's (the agent's own loader decides).

    A leading ``?`` only means that the program is not loaded by itself.
    """
    name = section.removeprefix("?")
    prefix, _, target = name.partition("/")
    if name in _KINDS:
        return Wanted(kind=_KINDS[name], target="", prefix=name)
    if prefix in _WITH_TARGET:
        return Wanted(kind=_KINDS[prefix], target=target, prefix=prefix)
    plain, dot, _ = prefix.rpartition(".s")
    if dot and plain in _KINDS:
        kind = msgspec.structs.replace(_KINDS[plain], sleepable=True)
        return Wanted(kind=kind, target=target, prefix=plain)
    parts = name.split("/")
    for length in range(len(parts) - 1, 0, -1):  # tc/anything, cgroup/connect4/my_name
        if (shorter := "/".join(parts[:length])) in _KINDS:
            return Wanted(kind=_KINDS[shorter], target="", prefix=shorter)
    return None
