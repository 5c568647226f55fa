"""What an agent does, read from its object files and from what it holds already.

Not here: what that needs (``bpf.rights.needs``).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from bpf.library import check_pointer, library
from bpf.objects import names
from bpf.rights.needs import Doing
from engine.errors import ProbeFailed
from engine.values import Inventory


def of_files(paths: Iterable[Path]) -> Doing:
    """Types of programs and maps of these objects, and whether a map is pinned. Nothing is loaded.

    Raises:
        ProbeFailed: One is not there, or no BPF object.
    """
    found = [_of_file(path) for path in paths]
    return Doing(
        programs=tuple(sorted({name for one in found for name in one.programs})),
        maps=tuple(sorted({name for one in found for name in one.maps})),
        mounts=("pins",) if any(one.mounts for one in found) else (),
        source=", ".join(one.source for one in found),
    )


def of_running(inventory: Inventory, pids: Iterable[int]) -> Doing:
    """What these processes hold in the kernel now."""
    mine = set(pids)
    programs = [one for one in inventory.programs if mine & set(one.owners)]
    maps = [one for one in inventory.maps if mine & set(one.owners)]
    return Doing(
        programs=tuple(sorted({one.type for one in programs})),
        maps=tuple(sorted({one.type for one in maps})),
        mounts=("pins",) if any(one.pinned for one in programs) or any(one.pinned for one in maps) else (),
        source="what it has loaded already",
    )


def _of_file(path: Path) -> Doing:
    if not path.is_file():
        raise ProbeFailed(f"the object file {path} is not there", fix="check the path")
    lib = library()
    opened = check_pointer(
        lib.bpf_object__open_file(os.fsencode(path), None), f"{path} can't be read as a BPF object"
    )
    try:
        programs = list(_walk(lib.bpf_object__next_program, opened))
        maps = list(_walk(lib.bpf_object__next_map, opened))
        return Doing(
            programs=tuple(names.named(names.PROGRAM_TYPES, lib.bpf_program__type(one)) for one in programs),
            maps=tuple(names.named(names.MAP_TYPES, lib.bpf_map__type(one)) for one in maps),
            mounts=("pins",) if any(lib.bpf_map__pin_path(one) for one in maps) else (),
            source=path.name,
        )
    finally:
        lib.bpf_object__close(opened)


def _walk(following: object, opened: int) -> Iterable[int]:
    step = following
    assert callable(step)  # noqa: S101 - a function of libbpf
    at = step(opened, None)
    while at:
        yield at
        at = step(opened, at)
