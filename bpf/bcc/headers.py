"""Which kernel headers a BCC program may be compiled with.

Headers of another kernel compile without complaint and then read garbage: the offsets of
kernel structures differ. So only headers of the running kernel serve every program; others
serve a program that declares to read no kernel structure, and whose text does not belie it.

Not here: compiling (``bpf.bcc.bcc_child``).
"""

from __future__ import annotations

import platform
import re
from collections.abc import Sequence
from pathlib import Path

from engine.errors import ProbeFailed

_RELEASE = re.compile(r'UTS_RELEASE "([^"]+)"')
#: What shows that a program reads kernel memory by the headers' layout.
_READS = re.compile(
    r"bpf_get_current_task\w*|bpf_probe_read_kernel\w*|struct\s+(?:task_struct|sock|file|inode|sk_buff)\b"
    r"|#\s*include\s*<(?!uapi/|linux/types\.h|bcc/)[^>]+>"
)
#: Headers that the running kernel carries itself (CONFIG_IKHEADERS, kernel 5.2+).
_CARRIED = Path("/sys/kernel/kheaders.tar.xz")
_ARCHITECTURE = {"x86_64": "x86", "aarch64": "arm64"}


def release_of(directory: Path) -> str:
    """The kernel release a header directory was made for; empty when it does not say."""
    try:
        text = (directory / "include/generated/utsrelease.h").read_text()
    except OSError:
        return ""
    found = _RELEASE.search(text)
    return found.group(1) if found else ""


def matching(release: str, modules: Path = Path("/lib/modules")) -> Path | None:
    """The headers of the kernel ``release``, or None."""
    build = modules / release / "build"
    return build if release_of(build) == release else None


def runs_everything(release: str) -> bool:
    """Whether bcc can find headers of the running kernel itself."""
    return matching(release) is not None or _CARRIED.exists()


def betrayal(text: str) -> str:
    """The words by which a program that declares to read no kernel structure does so; or empty."""
    found = _READS.search(text)
    return found.group(0) if found else ""


def any_halves(sources: Path = Path("/usr/src")) -> tuple[Path, ...]:
    """The newest header package here: one directory, or the two halves that Debian makes of it."""
    packages = sorted(sources.glob("linux-headers-*"), key=_by_number, reverse=True)
    for package in packages:
        if not release_of(package):
            continue
        if (package / "include/linux/kconfig.h").exists():
            return (package,)
        for other in packages:
            same = _by_number(other) == _by_number(package)
            if same and other != package and (other / "include/linux/kconfig.h").exists():
                return (other, package)
    return ()


def merge(halves: Sequence[Path], into: Path) -> Path:
    """One directory of links over both halves, as bcc wants it: about 35 links, 3 ms."""
    architecture = _ARCHITECTURE.get(platform.machine(), platform.machine())
    for part in ("include", f"arch/{architecture}/include"):
        (into / part).mkdir(parents=True)
        for half in halves:
            for entry in (half / part).iterdir():
                link = into / part / entry.name
                if not link.is_symlink():
                    link.symlink_to(entry)
    return into


def choose(text: str, *, reads_kernel: bool, release: str, given: str, scratch: Path) -> Path | None:
    """The headers that are safe for this program; None leaves bcc to find the running kernel's.

    Args:
        text: The program.
        reads_kernel: What its author declares.
        release: The running kernel's.
        given: A header directory named by the operator (``BCC_KERNEL_SOURCE``), or empty.
        scratch: Where a directory of links may be made.

    Raises:
        ProbeFailed: There are none, or they are of another kernel and the program needs its own.
    """
    if given and release_of(Path(given)) == release:
        return Path(given)
    if runs_everything(release):
        return None
    if reads_kernel:
        raise ProbeFailed(
            f"there are no headers of the running kernel {release}, and others would make the program "
            "read wrong offsets",
            fix=f"apt-get install linux-headers-{release}; or, when the program reads no kernel structure, "
            "declare it: `reads_kernel: false`",
        )
    if word := betrayal(text):
        raise ProbeFailed(
            f"the program declares `reads_kernel: false`, and says {word!r}",
            fix=f"take that out, or install the headers of {release} and declare `reads_kernel: true`",
        )
    if given:
        return Path(given)
    if not (halves := any_halves()):
        raise ProbeFailed(
            "bcc compiles nothing without kernel headers, and there are none of any version",
            fix="apt-get install linux-headers-generic (Ubuntu) or linux-headers-amd64 (Debian)",
        )
    return merge(halves, scratch / "headers")


def _by_number(package: Path) -> tuple[int, ...]:
    """``linux-headers-6.1.0-50-amd64`` → (6, 1, 0, 50): sorts by version."""
    return tuple(int(part) for part in re.findall(r"\d+", package.name)[:4])
