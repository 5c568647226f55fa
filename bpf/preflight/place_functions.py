"""Places of programs that are functions of the kernel: kprobes, fentry, system calls.

Its promise: kallsyms and the kernel's list of calls to ftrace decide where they are known; BTF alone
proves that a function is there, and only its absence there is left open.

Not here: tracepoints and hooks (``place_events``), choosing among them (``attach``).
"""

from __future__ import annotations

import fnmatch

from bpf.preflight.kernel import Kernel
from bpf.preflight.renames import FUNCTIONS
from bpf.preflight.result import Answer
from bpf.preflight.sections import Wanted

_SYSCALL_PREFIXES = ("__x64_sys_", "__arm64_sys_", "__s390x_sys_", "__riscv_sys_", "__se_sys_", "sys_")
_VARIANTS = (".isra.", ".constprop.", ".part.", ".cold")
_UNTRACED = "{kernel} has {name}, but it can't be traced (inline or notrace in its source)"
MODULE_HINT = "if a module brings it, give the module's .ko as well: --btf KERNEL --btf MODULE.ko"


def kprobe(kernel: Kernel, wanted: Wanted) -> Answer:
    """A kprobe's function, with ``+offset``."""
    name = wanted.target.partition("+")[0].rpartition(":")[2]
    return _traced(kernel, name)


def _traced(kernel: Kernel, name: str) -> Answer:  # noqa: PLR0911 - from the surest list to none
    if kernel.symbols is not None:
        if name in kernel.symbols:
            if kernel.traceable is not None and name not in kernel.traceable:
                reason = _UNTRACED.format(kernel=kernel.spelled(), name=name)
                return Answer("fails", "attach", reason, _OTHER_PLACE)
            return Answer("works", "attach", f"{kernel.spelled()} has the function {name}")
        return Answer("fails", "attach", *_gone(kernel, name))
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


def _gone(kernel: Kernel, name: str) -> tuple[str, str]:
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
    return f"{reason}: it was renamed, removed, inlined, or a module brings it", _OTHER_PLACE


def kprobe_multi(kernel: Kernel, wanted: Wanted) -> Answer:
    """kprobe.multi: a pattern of functions."""
    names = kernel.traceable if kernel.traceable is not None else kernel.symbols
    if names is None:
        return Answer("unknown", "attach", f"which functions match {wanted.target} is not known")
    found = fnmatch.filter(names, wanted.target)
    if not found:
        return Answer("fails", "attach", f"{kernel.spelled()} has no function that matches {wanted.target}")
    others = set(fnmatch.filter(kernel.symbols or (), wanted.target)) - set(found)
    if others:
        return Answer(
            "unknown",
            "attach",
            f"{len(found)} functions match {wanted.target}; {len(others)} more match that can't be traced, "
            f"such as {min(others)}, and libbpf before 1.3 tries these too",
            "a narrower pattern, or an agent built with libbpf 1.3 or newer",
        )
    return Answer("works", "attach", f"{len(found)} functions match {wanted.target}")


def trampoline(kernel: Kernel, wanted: Wanted) -> Answer:
    """fentry, fexit, fmod_ret: the function must be in the BTF, and ftrace must know it."""
    name = wanted.target.rpartition(":")[2]
    there = kernel.function(name)
    if there is None:
        return Answer("unknown", "load", "without the kernel's BTF its functions are not known", "--btf FILE")
    if not there:
        reason = f"the BTF of {kernel.spelled()} has no function {name}"
        hint = FUNCTIONS.get(name) or _variant(kernel, name) or "it was renamed, removed or inlined"
        return Answer("fails", "load", f"{reason}: {hint}", f"{_OTHER_PLACE}; {MODULE_HINT}")
    if kernel.symbols is not None and name not in kernel.symbols:
        hint = _variant(kernel, name) or "the compiler inlined it everywhere"
        return Answer("fails", "load", f"{kernel.spelled()} has no function {name}: {hint}", _OTHER_PLACE)
    if kernel.traceable is not None and name not in kernel.traceable:
        return Answer(
            "fails", "attach", _UNTRACED.format(kernel=kernel.spelled(), name=name), "attach to its caller"
        )
    if wanted.kind.sleepable and not name.startswith(_SYSCALL_PREFIXES):
        return Answer("unknown", "load", f"whether {name} allows programs that sleep is not in its BTF")
    return Answer("works", "load", f"the BTF of {kernel.spelled()} has the function {name}")


def _variant(kernel: Kernel, name: str) -> str:
    variants = sorted(other for other in kernel.symbols or () if other.startswith(f"{name}."))
    return f"there is only {variants[0]}, changed by the compiler" if variants else ""


def modify_return(kernel: Kernel, wanted: Wanted) -> Answer:
    """fmod_ret: only security hooks and functions that allow error injection."""
    answer = trampoline(kernel, wanted)
    name = wanted.target.rpartition(":")[2]
    if answer.outcome == "works" and not name.startswith(("security_", *_SYSCALL_PREFIXES)):
        return Answer("unknown", "load", f"whether {name} may be changed (error injection) is not in its BTF")
    return answer


def ksyscall(kernel: Kernel, wanted: Wanted) -> Answer:
    """ksyscall: a kprobe on the function behind a system call."""
    return system_call(kernel, wanted.target)


def system_call(kernel: Kernel, call: str) -> Answer:
    """Whether a system call is there: its function, under the architecture's prefix."""
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
