"""Which kinds of BPF programs and which helps this kernel really allows: each is tried.

Its promise: nothing is guessed from the version. A program of each kind that does nothing is
attached for an instant, at functions that nothing calls. Costs 10 ms per kind.

Not here: settings and mounts (``bpf.probes.kernel_facts``).
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from bpf.libbpf import BpfError, BpfObject, library, statistics, usable
from bpf.objects import drops, maps
from bpf.objects.ringbuf import MAP_TYPE_RINGBUF
from bpf.syscall import MapInfo, ask
from engine.values import Support

_OBJECT = Path(__file__).with_name("kernel_kinds.bpf.o")
_KIND_FUNC = 12  # BTF
#: Program in the object → since when kernels have it, for the reader.
PROGRAMS = {
    "raw_tracepoint": "4.17",
    "tp_btf": "5.5",
    "fentry": "5.5",
    "fexit": "5.5",
    "kprobe": "4.1",
    "iterator": "5.8",
    "lsm": "5.7",
}


def try_all(names: tuple[str, ...] = ()) -> dict[str, Support]:
    """Every kind and help by name, or only those named. All ``unknown`` without root or libbpf."""
    here, wanted = usable(), names or NAMES
    if here.answer != "yes":
        return dict.fromkeys(wanted, Support(answer="unknown", why=here.why, fix=here.fix))
    return {name: _HELPS[name]() if name in _HELPS else _try_program(name) for name in wanted}


def _try_program(name: str) -> Support:
    try:
        with BpfObject.open(_OBJECT) as ours:
            for other in PROGRAMS:
                if other != name:
                    ours.skip(other)
            ours.load()
            if name == "iterator":
                ours.attach_iterator(name)
            else:
                ours.attach(name)
    except BpfError as error:
        return _refused(error)
    return Support(answer="yes", why="tried: attached and detached")


def _try_batch() -> Support:
    with BpfObject.open(_OBJECT) as ours:
        for program in PROGRAMS:
            ours.skip(program)
        ours.load()
        source = maps.count(ask(ours.map("small").fd, MapInfo()).id).source
    if source == "batched walk":
        return Support(answer="yes", why="tried on a map of our own")
    return Support(answer="no", why="the kernel has no batched map reads (5.6)")


def _try_statistics() -> Support:
    with statistics():
        return Support(answer="yes", why="tried: switched on and off")


def _try_ringbuf() -> Support:
    if library().libbpf_probe_bpf_map_type(MAP_TYPE_RINGBUF, None) == 1:
        return Support(answer="yes", why="tried: a ring buffer was made")
    return Support(answer="no", why="the kernel has no ring buffers (5.8)")


def _find_element_count() -> Support:
    lib = library()
    types = lib.btf__load_vmlinux_btf()
    if not types:
        return Support(answer="unknown", why="the kernel has no BTF to look it up in")
    found = lib.btf__find_by_name_kind(types, b"bpf_map_sum_elem_count", _KIND_FUNC)
    lib.btf__free(types)
    if found > 0:
        return Support(answer="yes", why="the kernel's BTF has bpf_map_sum_elem_count")
    return Support(answer="no", why="the kernel has no element count (6.6): maps are counted in batches")


def _safely(attempt: Callable[[], Support]) -> Callable[[], Support]:
    """An attempt whose failure is an answer."""

    def tried() -> Support:
        try:
            return attempt()
        except BpfError as error:
            return _refused(error)

    return tried


def _refused(error: BpfError) -> Support:
    """The kernel's refusal is a no. Without errno (object missing) or test function, nothing is known."""
    if error.number in (0, errno.ESRCH):
        return Support(answer="unknown", why=error.problem, fix=error.fix)
    return Support(answer="no", why=error.problem.splitlines()[0])


_HELPS: dict[str, Callable[[], Support]] = {
    "ring_buffer": _safely(_try_ringbuf),
    "run_statistics": _safely(_try_statistics),
    "map_batches": _safely(_try_batch),
    "element_count": _safely(_find_element_count),
    "failed_reserves": drops.supported,
}
#: Everything that ``try_all`` answers.
NAMES = (*PROGRAMS, *_HELPS)
