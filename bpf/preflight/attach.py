"""Whether the place that a program's section names is there on a kernel.

Its promise: *works* and *fails* come from the kernel's own lists (BTF, kallsyms, ftrace's list, a trial
on the running kernel); where none of them can tell it is *unknown*, with what would tell.
Source: libbpf's rules for each kind of section; Documentation/bpf/btf.rst.

Not here: what a section's name means (``bpf.preflight.sections``), build options (``bpf.preflight.needs``).
"""

from __future__ import annotations

from bpf.preflight import place_events, place_functions
from bpf.preflight.btf import COMPOSITES, FUNC, FUNC_PROTO, PTR, TYPEDEF, Btf
from bpf.preflight.kernel import Kernel
from bpf.preflight.result import Answer, Stage
from bpf.preflight.sections import Wanted


def check(kernel: Kernel, wanted: Wanted) -> Answer:
    """The answer for one program's section."""
    tried = kernel.tried(wanted.kind.place)
    if tried is not None and tried.answer == "no":
        stage: Stage = "load" if "could not be loaded" in tried.why else "attach"
        return Answer("fails", stage, f"tried here: {tried.why}", tried.fix)
    look = _LOOKS.get(wanted.kind.place)
    if look is None:
        return Answer("works", "attach", _ELSEWHERE.get(wanted.kind.place, "the agent attaches it itself"))
    if not wanted.target:
        return Answer("unknown", "attach", "the agent chooses the place while it runs", "look at its own log")
    return look(kernel, wanted)


def arguments(kernel: Kernel, wanted: Wanted) -> int | None:
    """How many 8-byte arguments a program at this place may read; None where that is not known."""
    types = kernel.btf
    if types is None or not wanted.target:
        return None
    if wanted.kind.place in ("raw", "btf-tracepoint"):
        return _traced_arguments(types, wanted.target)
    if wanted.kind.place in ("trampoline", "lsm", "modify"):
        prefix = "bpf_lsm_" if wanted.kind.place == "lsm" else ""
        function = types.first(prefix + wanted.target.rpartition(":")[2], (FUNC,))
        parameters = types.parameters(types.refers(function)) if function else []
        by_value = any(types.kind(types.plain(one)) in COMPOSITES for one in parameters)  # may take two
        return len(parameters) + (wanted.prefix != "fentry") if function and not by_value else None
    return None


def _traced_arguments(types: Btf, name: str) -> int | None:
    """Of a tracepoint: the parameters of its probes, but for the first, which is the probe's own."""
    found = types.first(f"btf_trace_{name}", (TYPEDEF,))
    pointer = types.plain(found) if found else 0
    prototype = types.plain(types.refers(pointer)) if types.kind(pointer) == PTR else 0
    return types.length(prototype) - 1 if types.kind(prototype) == FUNC_PROTO else None


_ELSEWHERE = {
    "user": "it goes into a program or library, not into the kernel",
    "program": "it replaces a function of another BPF program",
    "elsewhere": "the agent attaches it to a device, socket or cgroup",
}


_LOOKS = {
    "function": place_functions.kprobe,
    "functions": place_functions.kprobe_multi,
    "trampoline": place_functions.trampoline,
    "modify": place_functions.modify_return,
    "tracepoint": place_events.tracepoint,
    "raw": place_events.raw_tracepoint,
    "btf-tracepoint": place_events.btf_tracepoint,
    "lsm": place_events.security_hook,
    "iterator": place_events.iterator,
    "syscall": place_functions.ksyscall,
    "struct-ops": place_events.struct_ops,
}
