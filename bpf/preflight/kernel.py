"""One kernel, running or not, as far as it can be known from files.

Its promise: everything is looked for at the first question and not before; what can't be known is None.
The image of an installed kernel answers for types and symbols, its configuration lies beside it.

Not here: what an object wants of it (``bpf.preflight.judge``).
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from bpf.preflight import elf, features, image_symbols, kernel_config, kernel_image
from bpf.preflight.btf import FUNC, STRUCT, Btf
from bpf.preflight.features import Known, Version
from bpf.preflight.kernel_config import Config
from bpf.preflight.problems import BadFile
from engine.errors import UsageError
from engine.values import Support

_FEW_FUNCTIONS = 1000  # a kernel has tens of thousands


class Kernel:
    """A kernel.

    Attributes:
        label: For people: its release, or the file.
        release: ``uname -r``; empty when not known.
        version: (6, 12), or None.
        btf: Its types, or None.
        modules: Types of modules, which build upon them.
        config: Its build configuration, or None.
        tried: For the running kernel: which kinds of programs it really allows.
    """

    def __init__(  # noqa: PLR0913 - all that can be known
        self,
        *,
        label: str,
        release: str = "",
        btf: Btf | None = None,
        modules: tuple[Btf, ...] = (),
        config: Config | None = None,
        symbols: Callable[[], frozenset[str] | None] = lambda: None,
        traceable: Callable[[], frozenset[str] | None] = lambda: None,
        tried: Callable[[str], Support | None] = lambda _: None,
    ) -> None:
        self.label = label
        self.release = release
        self.version: Version | None = version_of(release)
        self.btf = btf
        self.modules = modules
        self.config = config
        self.tried = tried
        self._symbols = symbols
        self._traceable = traceable

    @functools.cached_property
    def features(self) -> Known:
        """Program types, map types and helpers it has."""
        return features.known(self.btf, self.version)

    @functools.cached_property
    def symbols(self) -> frozenset[str] | None:
        """Names of functions and variables as in /proc/kallsyms; None when not known."""
        return self._symbols()

    @functools.cached_property
    def traceable(self) -> frozenset[str] | None:
        """Functions that fentry can go to (ftrace's own list); None when not known."""
        return self._traceable()

    @functools.cached_property
    def whole(self) -> bool:
        """Whether its BTF lists functions as a real kernel's does, so that an absent one says something."""
        if self.btf is None:
            return False
        return (
            sum(1 for _, _ in zip(range(_FEW_FUNCTIONS), self.btf.functions(), strict=False))
            == _FEW_FUNCTIONS
        )

    def function(self, name: str) -> bool | None:
        """Whether its BTF, or a module's, lists a function; None without BTF."""
        if self.btf is None:
            return None
        return any(types.first(name, (FUNC,)) for types in (self.btf, *self.modules))

    def spelled(self) -> str:
        """``kernel 6.12.107``, for sentences."""
        return f"kernel {self.release}" if self.release else self.label


def version_of(release: str) -> Version | None:
    """(6, 12) of ``6.12.107+deb13``; None of anything else."""
    try:
        return features.version(release)
    except ValueError:
        return None


# ── where kernels come from ─────────────────────────────────────────────────────


def running(root: Path = Path("/"), *, tried: Callable[[str], Support | None] = lambda _: None) -> Kernel:
    """The running kernel, with the types of its loaded modules.

    Raises:
        UsageError: It has no BTF.
    """
    release = platform.release() if root == Path("/") else ""
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
    )


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
    return Kernel(
        label=f"kernel {release}" if release else str(first),
        release=release,
        btf=btf,
        modules=tuple(_module(path, btf) for path in paths[1:]),
        config=_config_beside(first) or config_of(release, root),
        symbols=functools.partial(_symbols_of, first, release, unpacked),
    )


def of_release(release: str, root: Path = Path("/")) -> Kernel:
    """A kernel by its release: from /boot when it is installed there, else by its version alone.

    Raises:
        UsageError: It is no version.
    """
    image = root / f"boot/vmlinuz-{release}"
    if image.is_file():
        return of_files([image], release, root)
    if version_of(release) is None:
        raise UsageError(
            f"{release!r} is no kernel version, and there is no /boot/vmlinuz-{release}",
            fix="give a version (--kernel 6.1), an installed release, or --btf FILE",
        )
    return Kernel(label=f"kernel {release}, by its version alone", release=release)


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


_IMAGE_NAMES = ("vmlinuz", "vmlinux", "Image", "btf", "kernel")


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


def _symbols_of(image: Path, release: str, unpacked: bytes | None) -> frozenset[str] | None:
    """From the image itself, else from a System.map beside it."""
    found = image_symbols.find(unpacked) if unpacked is not None else None
    beside = image.with_name(f"System.map-{release}")
    return found or (_symbol_file(beside) if release and beside.is_file() else None)


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
    return names if len(names) > _FEW_FUNCTIONS else None


def _traceable(root: Path) -> frozenset[str] | None:
    for place in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
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
