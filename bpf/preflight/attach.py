"""Whether the place that a program's section names is there on a kernel.

Its promise: *works* and *fails* come from the kernel's own lists (BTF, kallsyms, ftrace's list, a trial
on the running kernel); where none of them can tell it is *unknown*, with what would tell.
Source: libbpf's rules for each kind of section; Documentation/bpf/btf.rst.

Not here: what a section's name means (``bpf.preflight.sections``), build options (``bpf.preflight.needs``).
"""

from __future__ import annotations

import msgspec

from bpf.preflight.btf import TYPEDEF
from bpf.preflight.kernel import Kernel
from bpf.preflight.renames import FUNCTIONS, TRACEPOINTS
from bpf.preflight.result import Outcome, Stage
from bpf.preflight.sections import Wanted

_SYSCALL_PREFIXES = ("__x64_sys_", "__arm64_sys_", "__s390x_sys_", "__riscv_sys_", "__se_sys_", "sys_")
_VARIANTS = (".isra.", ".constprop.", ".part.", ".cold")
_MODULE_HINT = "if a module brings it, give the module's .ko as well: --btf KERNEL --btf MODULE.ko"


class Answer(msgspec.Struct, frozen=True):
    """Whether a place is there; ``stage`` says whether the program loads all the same."""

    outcome: Outcome
    stage: Stage
    reason: str
    advice: str = ""


def check(kernel: Kernel, wanted: Wanted) -> Answer:
    """The answer for one program's section."""
    tried = kernel.tried(wanted.kind.place)
    if tried is not None and tried.answer == "no":
        return Answer(
            "fails", _STAGES.get(wanted.kind.place, "attach"), f"tried here: {tried.why}", tried.fix
        )
    look = _LOOKS.get(wanted.kind.place)
    if look is None:
        return Answer("works", "attach", _ELSEWHERE.get(wanted.kind.place, "the agent attaches it itself"))
    if not wanted.target:
        return Answer("unknown", "attach", "the agent chooses the place while it runs", "look at its own log")
    return look(kernel, wanted)


_ELSEWHERE = {
    "user": "it goes into a program or library, not into the kernel",
    "program": "it replaces a function of another BPF program",
    "elsewhere": "the agent attaches it to a device, socket or cgroup",
}
_STAGES: dict[str, Stage] = {"btf-tracepoint": "load", "iterator": "load"}


def _function(kernel: Kernel, wanted: Wanted) -> Answer:
    """A kprobe's function, with ``+offset``."""
    name = wanted.target.partition("+")[0].rpartition(":")[2]
    return _traced(kernel, name, "kprobes")


def _traced(kernel: Kernel, name: str, what: str) -> Answer:
    if kernel.symbols is not None:
        if name in kernel.symbols:
            return Answer("works", "attach", f"{kernel.spelled()} has the function {name}")
        return Answer("fails", "attach", *_gone(kernel, name, what))
    if kernel.function(name):
        return Answer("works", "attach", f"the BTF of {kernel.spelled()} lists the function {name}")
    if kernel.btf is None:
        return Answer("unknown", "attach", "nothing tells which functions this kernel has", "give --btf FILE")
    hint = FUNCTIONS.get(name)
    reason = f"the BTF of {kernel.spelled()} does not list the function {name}"
    if hint:
        return Answer("fails", "attach", f"{reason}: {hint}", _OTHER_PLACE)
    return Answer(
        "unknown",
        "attach",
        f"{reason}; that leaves out functions in assembly, in modules, and those the compiler changed",
        "give the kernel's image (--btf /boot/vmlinuz-RELEASE), which holds all its symbols",
    )


_OTHER_PLACE = "attach to the new name where the old one is missing, or pin the kernel until the agent does"


def _gone(kernel: Kernel, name: str, what: str) -> tuple[str, str]:
    """Reason and advice for a function that is certainly not there."""
    assert kernel.symbols is not None  # noqa: S101 - asked by the callers
    reason = f"{kernel.spelled()} has no function {name}"
    if name in FUNCTIONS:
        return f"{reason}: {FUNCTIONS[name]}", _OTHER_PLACE
    variants = sorted(
        other
        for other in kernel.symbols
        if other.startswith(name) and other[len(name) :].startswith(_VARIANTS)
    )
    if variants:
        return f"{reason}, only {variants[0]}: the compiler changed or split it", _OTHER_PLACE
    return f"{reason}: it was renamed, removed, inlined, or a module brings it; {what} need it", _OTHER_PLACE


def _functions(kernel: Kernel, wanted: Wanted) -> Answer:
    """kprobe.multi: a pattern of functions."""
    import fnmatch  # noqa: PLC0415 - rare

    names = kernel.traceable or kernel.symbols
    if names is None:
        return Answer("unknown", "attach", f"which functions match {wanted.target} is not known")
    if any(fnmatch.fnmatchcase(name, wanted.target) for name in names):
        return Answer("works", "attach", f"functions match {wanted.target}")
    return Answer("fails", "attach", f"{kernel.spelled()} has no function that matches {wanted.target}")


def _trampoline(kernel: Kernel, wanted: Wanted) -> Answer:
    """fentry, fexit, fmod_ret: the function must be in the BTF, and ftrace must know it."""
    name = wanted.target.rpartition(":")[2]
    there = kernel.function(name)
    if there is None:
        return Answer("unknown", "load", "without the kernel's BTF its functions are not known", "--btf FILE")
    if not there:
        reason = f"the BTF of {kernel.spelled()} has no function {name}"
        hint = FUNCTIONS.get(name) or _variant(kernel, name) or "it was renamed, removed or inlined"
        return Answer("fails", "load", f"{reason}: {hint}", f"{_OTHER_PLACE}; {_MODULE_HINT}")
    if kernel.traceable is not None and name not in kernel.traceable:
        return Answer(
            "fails", "attach", f"ftrace of {kernel.spelled()} does not list {name}: it can't be traced",
            "attach to a function that calls it",
        )  # fmt: skip
    if wanted.kind.sleepable and not name.startswith(_SYSCALL_PREFIXES):
        return Answer("unknown", "load", f"whether {name} allows programs that sleep is not in its BTF")
    return Answer("works", "load", f"the BTF of {kernel.spelled()} has the function {name}")


def _variant(kernel: Kernel, name: str) -> str:
    variants = sorted(other for other in kernel.symbols or () if other.startswith(f"{name}."))
    return f"there is only {variants[0]}, changed by the compiler" if variants else ""


def _modify(kernel: Kernel, wanted: Wanted) -> Answer:
    """fmod_ret: only security hooks and functions that allow error injection."""
    answer = _trampoline(kernel, wanted)
    name = wanted.target.rpartition(":")[2]
    if answer.outcome == "works" and not name.startswith(("security_", *_SYSCALL_PREFIXES)):
        return Answer("unknown", "load", f"whether {name} may be changed (error injection) is not in its BTF")
    return answer


def _tracepoint(kernel: Kernel, wanted: Wanted) -> Answer:
    """``group/event``."""
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
        _MODULE_HINT,
    )


def _syscall_event(kernel: Kernel, call: str) -> Answer:
    """A tracepoint of one system call: the call must be there, and the option for such events."""
    if kernel.config is not None and not kernel.config.on("CONFIG_FTRACE_SYSCALLS"):
        return Answer(
            "fails", "attach", f"{kernel.config.where} lacks CONFIG_FTRACE_SYSCALLS",
            "attach to raw_syscalls/sys_enter instead",
        )  # fmt: skip
    return _system_call(kernel, call)


def _syscall(kernel: Kernel, wanted: Wanted) -> Answer:
    """ksyscall: a kprobe on the function behind a system call."""
    return _system_call(kernel, wanted.target)


def _system_call(kernel: Kernel, call: str) -> Answer:
    names = [prefix + call for prefix in _SYSCALL_PREFIXES]
    if kernel.symbols is not None:
        found = next((name for name in names if name in kernel.symbols), "")
    elif kernel.whole:
        found = next((name for name in names if kernel.function(name)), "")
    else:
        return Answer(
            "unknown", "attach", "nothing tells which system calls this kernel has", "give --btf FILE"
        )
    if found:
        return Answer("works", "attach", f"{kernel.spelled()} has the system call {call} ({found})")
    return Answer("fails", "attach", f"{kernel.spelled()} has no system call {call} (no {names[0]})")


def _raw(kernel: Kernel, wanted: Wanted) -> Answer:
    return _event(kernel, wanted.target, "attach")


def _btf_tracepoint(kernel: Kernel, wanted: Wanted) -> Answer:
    return _event(kernel, wanted.target, "load")


def _lsm(kernel: Kernel, wanted: Wanted) -> Answer:
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


def _iterator(kernel: Kernel, wanted: Wanted) -> Answer:
    there = kernel.function(f"bpf_iter_{wanted.target}")
    if there is None:
        return Answer("unknown", "load", "without the kernel's BTF its iterators are not known", "--btf FILE")
    if there:
        return Answer("works", "load", f"{kernel.spelled()} has the iterator {wanted.target}")
    return Answer("fails", "load", f"{kernel.spelled()} has no iterator {wanted.target}")


def _struct_ops(kernel: Kernel, wanted: Wanted) -> Answer:
    del kernel, wanted
    return Answer("unknown", "load", "which of the kernel's operations it implements is not looked at")


_LOOKS = {
    "function": _function,
    "functions": _functions,
    "trampoline": _trampoline,
    "modify": _modify,
    "tracepoint": _tracepoint,
    "raw": _raw,
    "btf-tracepoint": _btf_tracepoint,
    "lsm": _lsm,
    "iterator": _iterator,
    "syscall": _syscall,
    "struct-ops": _struct_ops,
}
