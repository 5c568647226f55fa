"""Objects and pretended kernels for the tests of preflight, compiled when a test asks for them.

A pretended kernel is a few lines of C, compiled for BPF with debug information: its BTF has the form of a
kernel's. Nothing of a real kernel is kept here.
"""

from __future__ import annotations

import functools
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from bpf.preflight import kernels
from bpf.preflight.bpf_object import BpfFile
from bpf.preflight.elf import Elf
from bpf.preflight.kernel import Kernel

HERE = Path(__file__).parent
_MACHINE = platform.machine()
_ARCH = {"x86_64": "x86", "aarch64": "arm64"}.get(_MACHINE, _MACHINE)
#: What every pretended kernel has.
COMMON = """
struct list_head { struct list_head *next, *prev; };
struct task_struct;
typedef void (*btf_trace_sched_switch)(void *, _Bool, struct task_struct *, struct task_struct *);
typedef void (*btf_trace_sys_enter)(void *, void *, long);
btf_trace_sched_switch keep_switch;
btf_trace_sys_enter keep_enter;
struct bpf_map { unsigned int id; } keep_map;
struct bpf_iter__bpf_map { struct list_head *meta; struct bpf_map *map; } keep_iterator;
struct list_head keep_list;
int vfs_read(struct list_head *file) { return file->next != 0; }
int bpf_iter_bpf_map(struct list_head *meta) { return meta->next != 0; }
int bpf_iter_task(struct list_head *meta) { return meta->next != 0; }
"""
OLD = COMMON + "struct task_struct { volatile long state; int pid; int prio; char comm[16]; } keep_task;"
NEW = (
    COMMON
    + """
struct slab { unsigned long inuse; } keep_slab;
struct task_struct {
    int pid; union { int prio; }; unsigned pad : 3; unsigned in_execve : 1;
    unsigned int __state; char comm[16];
} keep_task;
long long bpf_map_sum_elem_count(const struct bpf_map *map) { return map->id; }
int bpf_iter_bpf_link(struct list_head *meta) { return meta->next != 0; }
"""
)


@functools.cache
def _room() -> Path:
    return Path(tempfile.mkdtemp(prefix="preflight-"))


@functools.cache
def compiled(text: str, target: str = "bpf", cpu: str = "v2") -> bytes:
    """The object that clang makes of a C text. Skips the test where there is no clang."""
    if shutil.which("clang") is None:
        pytest.skip("clang is not installed")
    source = _room() / f"{abs(hash((text, target, cpu)))}.c"
    source.write_text(text)
    object_file = source.with_suffix(".o")
    argv = ["clang", "-O2", "-g", "-target", target, f"-mcpu={cpu}", f"-D__TARGET_ARCH_{_ARCH}"]
    argv += [
        "-I",
        str(HERE),
        f"-I/usr/include/{_MACHINE}-linux-gnu",
        "-c",
        str(source),
        "-o",
        str(object_file),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return object_file.read_bytes()


def small(name: str) -> bytes:
    """One of the objects of this directory."""
    cpu = "v3" if name == "fetch" else "v2"
    return compiled((HERE / f"{name}.bpf.c").read_text(), cpu=cpu)


def object_of(name: str) -> BpfFile:
    """The same, parsed."""
    return BpfFile(small(name), f"{name}.bpf.o")


def btf_bytes(text: str) -> bytes:
    """The BTF of a C text."""
    section = Elf(compiled(text), "kernel").section(".BTF")
    assert section is not None
    return section.data


def btf_file(directory: Path, text: str, name: str = "btf") -> Path:
    """A pretended kernel's BTF as a file."""
    path = directory / name
    path.write_bytes(btf_bytes(text))
    return path


def kernel(directory: Path, text: str, release: str, root: Path | None = None) -> Kernel:
    """A pretended kernel."""
    return kernels.of_files([btf_file(directory, text)], release, root or directory)
