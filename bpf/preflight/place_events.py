"""Places of programs that are tracepoints, security hooks, iterators: the kernel's BTF lists them.

Not here: functions (``place_functions``), choosing among them (``attach``).
"""

from __future__ import annotations

from bpf.preflight.btf import TYPEDEF
from bpf.preflight.kernel import Kernel
from bpf.preflight.place_functions import MODULE_HINT, system_call
from bpf.preflight.renames import TRACEPOINTS
from bpf.preflight.result import Answer, Stage
from bpf.preflight.sections import Wanted


def tracepoint(kernel: Kernel, wanted: Wanted) -> Answer:
    """``group/event``."""
    here = kernel.event(wanted.target)
    if here is not None:
        return Answer("works" if here.answer == "yes" else "fails", "attach", here.why, here.fix)
    group, _, event = wanted.target.partition("/")
    for side in ("sys_enter_", "sys_exit_"):
        if group == "syscalls" and event.startswith(side):
            return _syscall_event(kernel, event.removeprefix(side))
    return _event(kernel, event, "attach")


def _event(kernel: Kernel, event: str, stage: Stage) -> Answer:
    if kernel.btf is None:
        return Answer(
            "unknown", stage, "without the kernel's BTF its tracepoints are not known", "--btf FILE"
        )
    if any(types.first(f"btf_trace_{event}", (TYPEDEF,)) for types in (kernel.btf, *kernel.modules)):
        return Answer("works", stage, f"{kernel.spelled()} has the tracepoint {event}")
    hint = TRACEPOINTS.get(event, "")
    return Answer(
        "fails",
        stage,
        f"{kernel.spelled()} has no tracepoint {event}" + (f": {hint}" if hint else ""),
        MODULE_HINT,
    )


def _syscall_event(kernel: Kernel, call: str) -> Answer:
    """A tracepoint of one system call: the call must be there, and the option for such events."""
    if kernel.config is not None and not kernel.config.on("CONFIG_FTRACE_SYSCALLS"):
        return Answer(
            "fails", "attach", f"{kernel.config.where} lacks CONFIG_FTRACE_SYSCALLS",
            "attach to raw_syscalls/sys_enter instead",
        )  # fmt: skip
    return system_call(kernel, call)


def raw_tracepoint(kernel: Kernel, wanted: Wanted) -> Answer:
    """A tracepoint by its own name: looked up while attaching."""
    return _event(kernel, wanted.target, "attach")


def btf_tracepoint(kernel: Kernel, wanted: Wanted) -> Answer:
    """A tracepoint with its types: looked up while loading."""
    return _event(kernel, wanted.target, "load")


def security_hook(kernel: Kernel, wanted: Wanted) -> Answer:
    """A hook of the security modules; it only fires when BPF is one of them."""
    name = f"bpf_lsm_{wanted.target}"
    there = kernel.function(name)
    if there is None:
        return Answer(
            "unknown", "load", "without the kernel's BTF its security hooks are not known", "--btf FILE"
        )
    if not there:
        return Answer(
            "fails", "load", f"{kernel.spelled()} has no security hook {wanted.target} for BPF",
            "a kernel with CONFIG_BPF_LSM=y that has this hook",
        )  # fmt: skip
    if kernel.config is not None and "bpf" in kernel.config.value("CONFIG_LSM").split(","):
        return Answer("works", "load", f"{kernel.spelled()} has the hook, and starts BPF's security module")
    return Answer(
        "unknown",
        "attach",
        "the hook is there; whether it ever fires depends on lsm= at boot: BPF must be in its list",
        "cat /sys/kernel/security/lsm; boot with lsm=…,bpf",
    )


def iterator(kernel: Kernel, wanted: Wanted) -> Answer:
    """A kind of object that the kernel can walk over."""
    there = kernel.function(f"bpf_iter_{wanted.target}")
    if there is None:
        return Answer("unknown", "load", "without the kernel's BTF its iterators are not known", "--btf FILE")
    if there:
        return Answer("works", "load", f"{kernel.spelled()} has the iterator {wanted.target}")
    return Answer("fails", "load", f"{kernel.spelled()} has no iterator {wanted.target}")


def struct_ops(kernel: Kernel, wanted: Wanted) -> Answer:
    """A table of the kernel's operations, some of them in BPF."""
    del kernel, wanted
    return Answer("unknown", "load", "which of the kernel's operations it implements is not looked at")
