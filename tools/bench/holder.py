"""A process that holds BPF objects for the figures: ``holder.py objects N`` or ``holder.py hash N``.

Says ``ready`` and the id of its last map, then waits until its input ends; everything goes with it.
"""

from __future__ import annotations

import ctypes
import resource
import sys

_HASH, _ARRAY, _SOCKET_FILTER = 1, 2, 1
#: r0 = 0; exit
_DO_NOTHING = bytes([0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
_BATCH = 1 << 16


def created(result: int, what: str) -> int:
    if result < 0:
        sys.exit(f"{what}: errno {-result}")
    return result


def map_id(fd: int) -> int:
    with open(f"/proc/self/fdinfo/{fd}") as lines:  # noqa: PTH123
        return next(int(line.split()[1]) for line in lines if line.startswith("map_id"))


def objects(libbpf: ctypes.CDLL, count: int) -> int:
    """``count`` small maps and as many programs; returns the last map."""
    fd = -1
    for number in range(count):
        fd = created(libbpf.bpf_map_create(_ARRAY, f"held_{number}".encode(), 4, 8, 1, None), "map")
        created(
            libbpf.bpf_prog_load(_SOCKET_FILTER, f"held_{number}".encode(), b"GPL", _DO_NOTHING, 2, None),
            "program",
        )
    return fd


def filled_hash(libbpf: ctypes.CDLL, entries: int) -> int:
    """A hash with ``entries`` keys of 8 bytes and values of 16."""
    fd = created(libbpf.bpf_map_create(_HASH, b"counted", 8, 16, entries, None), "map")
    values = (ctypes.c_uint64 * (2 * _BATCH))()
    for start in range(0, entries, _BATCH):
        count = min(_BATCH, entries - start)
        keys = (ctypes.c_uint64 * count)(*range(start, start + count))
        done = ctypes.c_uint32(count)
        created(libbpf.bpf_map_update_batch(fd, keys, values, ctypes.byref(done), None), "update")
    return fd


def main() -> None:
    kind, count = sys.argv[1], int(sys.argv[2])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    libbpf = ctypes.CDLL("libbpf.so.1")
    fd = (objects if kind == "objects" else filled_hash)(libbpf, count)
    print("ready", map_id(fd), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
