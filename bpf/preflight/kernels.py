"""Kernels out of files: the running one's, an installed release, an image, a BTF file.

Its promise: a file that is not what it should be is told (``BadFile``), never guessed at. The image of an
installed kernel answers for types and symbols; its configuration lies beside it.

Not here: what is known of a kernel (``bpf.preflight.kernel``).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from bpf.preflight import elf, image_symbols, image_trace, kernel_config, kernel_image
from bpf.preflight.btf import STRUCT, Btf
from bpf.preflight.kernel import FEW_FUNCTIONS, Kernel, version_of
from bpf.preflight.kernel_config import Config
from bpf.preflight.problems import BadFile
from engine.errors import UsageError
from engine.values import Support

_TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
_IMAGE_NAMES = ("vmlinuz", "vmlinux", "Image", "btf", "kernel")


def running(root: Path = Path("/"), *, tried: Callable[[str], Support | None] = lambda _: None) -> Kernel:
    """The running kernel, with the types of its loaded modules.

    Raises:
        UsageError: It has no BTF.
    """
    release = _line(root / "proc/sys/kernel/osrelease")
    path = root / "sys/kernel/btf/vmlinux"
    if not path.exists():
        raise UsageError(
            "the running kernel has no BTF (/sys/kernel/btf/vmlinux)",
            fix="give the types of the kernel you mean: --btf FILE, or --kernel 6.1 for its version alone",
        )
    btf = Btf(read_bytes(path), str(path))
    others = [other for other in sorted(path.parent.iterdir()) if other.name != path.name]
    return Kernel(
        label=f"the running kernel {release}".strip(),
        release=release,
        btf=btf,
        modules=tuple(Btf(read_bytes(other), str(other), btf) for other in others),
        config=config_of(release, root, here=True),
        symbols=lambda: _symbol_file(root / "proc/kallsyms"),
        traceable=lambda: _traceable(root),
        tried=tried,
        event=lambda name: _event(root, name),
    )


def _line(path: Path) -> str:
    """A small file's text; empty when it can't be read."""
    try:
        return path.read_text("ascii", "replace").strip()
    except OSError:
        return ""


def of_files(paths: list[Path], release: str = "", root: Path = Path("/")) -> Kernel:
    """A kernel from its image or BTF file, and the BTF of its modules after it.

    Args:
        paths: The kernel's first; then modules (``.ko``, or raw BTF).
        release: Overrides what the image says.
        root: Where /boot is.

    Raises:
        BadFile: One can't be read, or is not what it should be.
    """
    first = paths[0]
    data = read_bytes(first)
    unpacked: bytes | None = None
    if kernel_image.is_image(data):
        release = release or kernel_image.release(data)
        unpacked = kernel_image.unpack(data, str(first))
    elif data[:4] == b"\x7fELF":
        unpacked = data
    types = kernel_image.find_btf(unpacked) if unpacked is not None else data
    if types is None:
        raise BadFile(
            str(first),
            "holds no BTF",
            fix="a kernel has it when it was built with CONFIG_DEBUG_INFO_BTF=y",
        )
    btf = Btf(types, str(first))
    if not btf.first("task_struct", (STRUCT,)):
        raise BadFile(
            str(first),
            "is BTF, but not a kernel's (it has no struct task_struct)",
            fix="give /sys/kernel/btf/vmlinux of that kernel, or its vmlinuz",
        )
    image = _Image(first, release, unpacked)
    return Kernel(
        label=f"kernel {release}" if release else str(first),
        release=release,
        btf=btf,
        modules=tuple(_module(path, btf) for path in paths[1:]),
        config=_config_beside(first) or config_of(release, root),
        symbols=image.symbols,
        traceable=image.traceable,
    )


def of_release(release: str, root: Path = Path("/")) -> Kernel:
    """A kernel by its release: from /boot when it is installed there, else by its version alone.

    Raises:
        UsageError: It is no version.
    """
    if "/" in release:
        raise UsageError(f"{release!r} is no kernel version", fix="a file is given with --btf FILE")
    image = root / f"boot/vmlinuz-{release}"
    if image.is_file():
        return of_files([image], release, root)
    if version_of(release) is None:
        raise UsageError(
            f"{release!r} is no kernel version, and there is no /boot/vmlinuz-{release}",
            fix="give a version (--kernel 6.1), an installed release, or --btf FILE",
        )
    return Kernel(label=f"kernel {release}, by its version alone", release=release)


def newest_installed(root: Path = Path("/")) -> str:
    """The newest release in /boot: what the next boot starts, as distributions set it up; empty for none."""
    releases = [path.name.partition("-")[2] for path in (root / "boot").glob("vmlinuz-*")]
    return max(releases, key=_numbers, default="")


def _numbers(release: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", release)]


def config_of(release: str, root: Path = Path("/"), *, here: bool = False) -> Config | None:
    """The configuration of a release, where it usually lies; None when it is not there."""
    places = [f"boot/config-{release}", f"lib/modules/{release}/config"] if release else []
    if here:
        places.insert(0, "proc/config.gz")
    for place in places:
        if (root / place).is_file():
            return kernel_config.read(root / place)
    return None


def _config_beside(image: Path) -> Config | None:
    """/boot/config-X beside /boot/vmlinuz-X."""
    head, dash, release = image.name.partition("-")
    beside = image.with_name(f"config-{release}")
    return kernel_config.read(beside) if dash and head in _IMAGE_NAMES and beside.is_file() else None


def _module(path: Path, base: Btf) -> Btf:
    data = read_bytes(path)
    if data[:4] == b"\x7fELF":
        section = elf.Elf(data, str(path)).section(".BTF")
        if section is None or not section.data:
            raise BadFile(
                str(path), "holds no BTF", fix="unpack it first if it is packed: xz -d module.ko.xz"
            )
        data = section.data
    return Btf(data, str(path), base)


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        BadFile: It can't be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise BadFile(str(path), f"can't be read: {error.strerror}", fix="check the path; sudo?") from None


# ── symbols ─────────────────────────────────────────────────────────────────────


class _Image:
    """The symbols of an image, found once and when they are asked for."""

    def __init__(self, path: Path, release: str, unpacked: bytes | None) -> None:
        self._path = path
        self._beside = path.with_name(f"System.map-{release}") if release else None
        self._unpacked = unpacked

    @functools.cached_property
    def _found(self) -> image_symbols.Symbols | None:
        return image_symbols.find(self._unpacked) if self._unpacked is not None else None

    def symbols(self) -> frozenset[str] | None:
        """From the image itself, else from a System.map beside it."""
        if self._found is not None:
            return frozenset(self._found.names)
        return _symbol_file(self._beside) if self._beside is not None else None

    def traceable(self) -> frozenset[str] | None:
        """From the image's list of calls to ftrace."""
        if self._found is None or self._unpacked is None:
            return None
        return image_trace.traceable(self._unpacked, self._found, str(self._path))


def read_symbols(path: Path) -> frozenset[str]:
    """Names of a System.map or a copy of /proc/kallsyms that was asked for.

    Raises:
        BadFile: It can't be read, or lists next to nothing (as distributions ship it).
    """
    read_bytes(path)
    names = _symbol_file(path)
    if names is None:
        raise BadFile(
            str(path),
            "lists no symbols",
            fix="the kernel's image holds them too: --btf /boot/vmlinuz-RELEASE",
        )
    return names


def _symbol_file(path: Path) -> frozenset[str] | None:
    """Names of /proc/kallsyms or a System.map; None of the empty file that distributions ship."""
    try:
        lines = path.read_text("ascii", "replace").splitlines()
    except OSError:
        return None
    names = frozenset(parts[2] for line in lines if len(parts := line.split()) > 2)
    return names if len(names) > FEW_FUNCTIONS else None


def _event(root: Path, name: str) -> Support:
    """Whether the running kernel has ``group/event``, as loaders find out: in tracefs."""
    for place in _TRACEFS:
        if (root / place / "events").is_dir():
            if (root / place / "events" / name / "id").exists():
                return Support(answer="yes", why=f"/{place}/events/{name} is there")
            return Support(answer="no", why=f"there is no /{place}/events/{name}")
    return Support(
        answer="no",
        why="tracefs is not mounted, and loaders look the event's number up there",
        fix="mount -t tracefs nodev /sys/kernel/tracing",
    )


def _traceable(root: Path) -> frozenset[str] | None:
    for place in _TRACEFS:
        try:
            text = (root / place / "available_filter_functions").read_text("ascii", "replace")
        except OSError:
            continue
        return frozenset(line.split()[0] for line in text.splitlines() if line)
    return None


def kinds_of_running(names: Mapping[str, str]) -> Callable[[str], Support | None]:
    """Try what the running kernel really allows, kind by kind, each once; needs root.

    Args:
        names: Our word → the word of ``bpf.probes.kernel_kinds``.
    """

    @functools.cache
    def tried(place: str) -> Support | None:
        from bpf.probes import kernel_kinds  # noqa: PLC0415 - loads libbpf

        kind = names.get(place)
        return kernel_kinds.try_all((kind,))[kind] if kind else None

    return tried
