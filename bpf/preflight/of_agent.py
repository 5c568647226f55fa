"""The BPF objects of a running agent: named in its profile, inside its executable, or beside it.

Its promise: files are found as the agent sees them, in its own mount namespace too; nothing is guessed
from what is loaded, for that is no longer what the file says.

Not here: judging them (``bpf.preflight.check``).
"""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from bpf.preflight.bpf_object import BpfFile, read_all
from bpf.preflight.problems import BadFile
from engine.errors import ProbeFailed
from engine.values import Target

_GIVE = "name its objects: objects=/path/x.bpf.o, or objects: under facts in the agent's profile"


def objects_of(target: Target, named: Iterable[str], proc: Path = Path("/proc")) -> tuple[BpfFile, ...]:
    """Objects of a target; ``named`` paths (or patterns) come before the profile's.

    Raises:
        ProbeFailed: There are none to be found.
        BadFile: A named one can't be read.
    """
    patterns = [*named] or target.facts.get("objects", "").replace(",", " ").split()
    if patterns:
        root = proc / str(target.pid) / "root" if target.pid else Path("/")
        paths = [path for pattern in patterns for path in _matching(pattern, root)]
        return tuple(one for path in paths for one in read_all(path))
    if not target.pid:
        raise ProbeFailed(f"{target.name} does not run, so its BPF objects can't be found", fix=_GIVE)
    exe = proc / str(target.pid) / "exe"
    try:
        return read_all(exe)  # C skeletons, cilium/ebpf and Aya carry them within
    except BadFile:
        beside = _beside(target, proc)
        if not beside:
            raise ProbeFailed(
                f"no BPF object is in or beside the executable of {target.name}", fix=_GIVE
            ) from None
        return tuple(one for path in beside for one in read_all(path))


def _matching(pattern: str, root: Path) -> list[Path]:
    """Files of a pattern, as the agent sees them; else as we do."""
    for place in (f"{root}{pattern}", pattern):
        found = sorted(glob.glob(place))  # noqa: PTH207 - the pattern is absolute
        if found:
            return [Path(path) for path in found]
    raise BadFile(pattern, "is not there", fix=_GIVE)


def _beside(target: Target, proc: Path) -> list[Path]:
    """``x.bpf.o`` in the executable's directory."""
    exe = target.processes[0].exe
    if not exe:
        return []
    for root in (str(proc / str(target.pid) / "root"), ""):
        found = sorted(Path(f"{root}{exe}").parent.glob("*.bpf.o"))
        if found:
            return found
    return []
