"""One call of preflight: find the kernels, read the objects, judge each.

Not here: parsing a command line (``bpf.preflight.cli``), printing (``bpf.preflight.telling``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bpf.preflight import bpf_object, kernel_config, kernels
from bpf.preflight.bpf_object import BpfFile
from bpf.preflight.comparing import changes
from bpf.preflight.judge import judge
from bpf.preflight.kernel import Kernel
from bpf.preflight.telling import Answer

#: Place of a section → the word under which the running kernel is tried (``bpf.probes.kernel_kinds``).
TRIED = {
    "function": "kprobe",
    "functions": "kprobe",
    "syscall": "kprobe",
    "trampoline": "fentry",
    "modify": "fentry",
    "btf-tracepoint": "tp_btf",
    "raw": "raw_tracepoint",
    "lsm": "lsm",
    "iterator": "iterator",
}


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to check against what.

    Attributes:
        btf: The kernel's image or BTF, then its modules'; empty for the running kernel.
        kernel: A release in /boot, or a version; with ``btf`` it tells the version of that.
        symbols: System.map or a copy of kallsyms.
        against: The image or BTF of the kernel to compare with.
        optional: Names or patterns of programs that the agent may leave out.
    """

    objects: tuple[Path, ...]
    btf: tuple[Path, ...] = ()
    config: Path | None = None
    kernel: str = ""
    symbols: Path | None = None
    against: Path | None = None
    optional: tuple[str, ...] = ()


def check(wanted: Wanted) -> Answer:
    """Judge all objects.

    Raises:
        BadFile: A file can't be read, or is not what it should be.
        UsageError: There is no such kernel.
    """
    kernel = find_kernel(wanted)
    objects = [one for path in wanted.objects for one in bpf_object.read_all(path)]
    old = kernels.of_files([wanted.against]) if wanted.against is not None else None
    return compare(objects, kernel, old, wanted.optional)


def compare(
    objects: Sequence[BpfFile], kernel: Kernel, old: Kernel | None, optional: Sequence[str] = ()
) -> Answer:
    """Judge all objects on a kernel; with what differs from another, where one is given."""
    verdicts = tuple(judge(one, kernel, optional) for one in objects)
    if old is None:
        return Answer(kernel=kernel.label, objects=verdicts)
    before = [judge(one, old, optional) for one in objects]
    differ: tuple[kernel_config.Difference, ...] = ()
    if old.config is not None and kernel.config is not None:
        differ = tuple(kernel_config.differences(old.config, kernel.config))
    return Answer(
        kernel=kernel.label,
        objects=verdicts,
        against=old.label,
        changed={new.path: tuple(changes(was, new)) for was, new in zip(before, verdicts, strict=True)},
        config=differ,
        config_known=old.config is not None and kernel.config is not None,
    )


def find_kernel(wanted: Wanted) -> Kernel:
    """The kernel that is meant; the running one when nothing says otherwise."""
    if wanted.btf:
        kernel = kernels.of_files(list(wanted.btf), wanted.kernel)
    elif wanted.kernel:
        kernel = kernels.of_release(wanted.kernel)
    else:
        kernel = kernels.running(tried=kernels.kinds_of_running(TRIED))
    if wanted.config is not None:
        kernel.config = kernel_config.read(wanted.config)
    if wanted.symbols is not None:
        kernel.symbols = kernels.read_symbols(wanted.symbols)
    return kernel
