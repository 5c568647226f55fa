"""The small machine that kernels are tested with: one uncompressed archive, made in a second.

It holds busybox, this Python with its standard library, libbpf, bpftool, our rooms with their BPF objects
and the practice agent, the tests of ``tests/vm``, and the libraries that all of these need. Nothing is
taken over the network. Format: ``newc`` of the kernel's ``initramfs/buffer-format.rst``.

Not here: booting it (``machine.py``).
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("engine", "bpf", "remediations", "runbooks")
DISTRIBUTIONS = ("msgspec", "psutil", "PyYAML", "typing_extensions")
#: Of the standard library, what no test of ours imports.
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "ensurepip", "pydoc_data"}
_LEFT_OUT |= {"distutils", "__pycache__", "site-packages", "dist-packages"}
_TOOLS = ("bpftool",)
_APPLETS = ("sh", "mount", "poweroff", "cat", "ls", "ln", "sleep", "kill", "ps", "setpriv", "dmesg", "ip")
INIT = """#!/bin/sh
export PATH=/bin:/sbin:/usr/bin:/usr/sbin HOME=/ PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/job:/job/packages
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
mount -t tracefs tracefs /sys/kernel/tracing; mount -t bpf bpf /sys/fs/bpf; mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run; mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup; ip link set lo up
cd /job && python3 -u tests/vm/run.py
poweroff -f
"""


class Archive:
    """A ``newc`` archive in memory; each path once."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._have: set[str] = set()

    def _entry(self, path: str, mode: int, data: bytes = b"") -> None:
        number = len(self._have) + 1
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(path) + 1, 0)
        head = b"070701" + b"".join(b"%08X" % field for field in fields) + path.encode() + b"\0"
        self._parts += [head, bytes(-len(head) % 4), data, bytes(-len(data) % 4)]
        self._have.add(path)

    def directory(self, path: str) -> None:
        """A directory and those above it."""
        parts = path.strip("/").split("/")
        for end in range(1, len(parts) + 1):
            above = "/".join(parts[:end])
            if above and above not in self._have:
                self._entry(above, stat.S_IFDIR | 0o755)

    def file(self, path: str, data: bytes, mode: int = 0o644) -> None:
        """A file; the first one of a path stays."""
        path = path.strip("/")
        if path not in self._have:
            self.directory(os.path.dirname(path))  # noqa: PTH120 - a path of the archive
            self._entry(path, stat.S_IFREG | mode, data)

    def link(self, path: str, to: str) -> None:
        """A symbolic link."""
        path = path.strip("/")
        if path not in self._have:
            self.directory(os.path.dirname(path))  # noqa: PTH120
            self._entry(path, stat.S_IFLNK | 0o777, to.encode())

    def copy(self, source: Path, path: str = "") -> None:
        """A file of this machine, at the same place unless told otherwise."""
        self.file(path or str(source), source.read_bytes(), stat.S_IMODE(source.stat().st_mode))

    def bytes(self) -> bytes:
        """The whole archive."""
        self._entry("TRAILER!!!", 0)
        return b"".join(self._parts)


def build(extra: Iterable[tuple[Path, str]] = ()) -> bytes:
    """The archive; ``extra`` are files of this machine and where they go (below ``job``)."""
    made = Archive()
    made.file("init", INIT.encode(), 0o755)
    for place in ("proc", "sys", "dev", "tmp", "run", "var/lib/runbook"):
        made.directory(place)
    _busybox(made)
    _python(made)
    programs = [path for tool in _TOOLS if (path := _which(tool))]
    for room in ROOMS:
        _tree(made, ROOT / room, f"job/{room}")
    _tree(made, ROOT / "tests/vm", "job/tests/vm")
    for helper in ("failing.py", "refused.py"):
        made.copy(ROOT / "tests/kernel" / helper, f"job/tests/vm/{helper}")
    for source, path in extra:
        made.copy(source, f"job/{path}")
    for program in programs:
        made.copy(program)
    agents = [ROOT / "bpf/lab" / name for name in ("lab-agent", "lab-generator")]
    opened = list(_opened_by_name())
    for library in opened:
        made.copy(library)
    _libraries(made, (Path(sys.executable).resolve(), *programs, *agents, *_extensions(), *opened))
    return made.bytes()


def _which(tool: str) -> Path | None:
    found = shutil.which(tool, path=os.environ.get("PATH", "") + ":/usr/sbin")
    return Path(found).resolve() if found else None


def _busybox(made: Archive) -> None:
    source = _which("busybox")
    if source is None:
        raise FileNotFoundError("busybox is missing")
    made.file("bin/busybox", source.read_bytes(), 0o755)
    for applet in _APPLETS:
        made.link(f"bin/{applet}", "busybox")


def _python(made: Archive) -> None:
    """This interpreter, its library without what is never imported, and the packages we need."""
    interpreter = Path(sys.executable).resolve()
    made.copy(interpreter)
    made.link("bin/python3", str(interpreter))
    for source in _files(Path(sysconfig.get_path("stdlib"))):
        made.copy(source)
    for name in DISTRIBUTIONS:
        for file in metadata.files(name) or ():
            source = Path(str(file.locate()))
            if source.suffix in (".py", ".so"):
                made.copy(source, f"job/packages/{file}")
    ours = metadata.distribution("bpf-runbook")
    for file in ours.files or ():
        if ".dist-info" in str(file):
            made.copy(Path(str(file.locate())), f"job/packages/{file}")


def _files(directory: Path) -> Iterator[Path]:
    for held, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if name not in _LEFT_OUT]
        for name in names:
            if not name.endswith((".pyc", ".a", ".c", ".h")):
                yield Path(held) / name


def _tree(made: Archive, directory: Path, path: str) -> None:
    for source in _files(directory):
        made.copy(source, f"{path}/{source.relative_to(directory)}")


def _extensions() -> Iterator[Path]:
    yield from Path(sysconfig.get_path("stdlib")).glob("lib-dynload/*.so")
    for name in DISTRIBUTIONS:
        for file in metadata.files(name) or ():
            if file.suffix == ".so":
                yield Path(str(file.locate()))


def _opened_by_name() -> Iterator[Path]:
    """Libraries that are opened by name at run time."""
    cached = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    for name in ("libbpf.so.1",):
        found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", cached, re.MULTILINE)
        if found is None:
            raise FileNotFoundError(f"{name} is missing")
        yield Path(found[1])


def _libraries(made: Archive, programs: Iterable[Path]) -> None:
    """What the dynamic linker would open for these, at the same places."""
    for program in programs:
        told = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False).stdout
        for place in re.findall(r"(?:=> )?(/\S+) \(0x", told):
            made.copy(Path(place))
