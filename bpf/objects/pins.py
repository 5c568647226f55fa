"""What is pinned in the BPF file systems that this process can see: paths by kind and id.

Objects without a holder live on through a pin, so an inventory needs both. Costs about 10 µs per
pin. Mounts of other mount namespaces (an agent's container) are not seen.

Not here: pinning or unpinning.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from bpf.libbpf import library
from bpf.syscall import Kind, LinkInfo, ask

_KINDS: dict[str, Kind] = {
    "anon_inode:bpf-map": "map",
    "anon_inode:bpf-prog": "prog",
    "anon_inode:bpf_link": "link",
    "anon_inode:bpf-link": "link",
}
Pins = dict[tuple[Kind, int], tuple[str, ...]]


def mounts(mountinfo: str) -> list[Path]:
    """The mount points of type ``bpf`` in the text of ``/proc/self/mountinfo``."""
    found = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("bpf "):
            place = before.split(" ")[4].encode().decode("unicode_escape")  # \040 is a space there
            found.append(Path(place))
    return sorted(set(found))


def read() -> Pins:
    """All pins, each with every path it has. Empty without root or without a BPF file system."""
    pins: defaultdict[tuple[Kind, int], list[str]] = defaultdict(list)
    for mount in mounts(Path("/proc/self/mountinfo").read_text("utf-8", "replace")):
        for path in _files(mount):
            held = _what(path)
            if held:
                pins[held].append(str(path))
    return {held: tuple(paths) for held, paths in pins.items()}


def _files(mount: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(mount):
        yield from (Path(folder, name) for name in sorted(names))


def _what(path: Path) -> tuple[Kind, int] | None:
    """Kind and id of one pin; None when it can't be opened or is no object (``maps.debug``)."""
    fd = library().bpf_obj_get(os.fsencode(path))
    if fd < 0:
        return None
    try:
        kind = _KINDS.get(str(Path(f"/proc/self/fd/{fd}").readlink()))
        # Type and id lead the information of all three kinds alike.
        return (kind, ask(fd, LinkInfo()).id) if kind else None
    finally:
        os.close(fd)
