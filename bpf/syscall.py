"""Questions to the kernel about anybody's programs, maps and links: ids, descriptors, facts.

Plain ``bpf()`` commands through libbpf's thin wrappers; no program of ours is loaded. Costs
about 3 µs per object. The layouts are ``struct bpf_map_info`` and kin of ``linux/bpf.h``: an
older kernel fills less, the rest stays 0.

Not here: reading everything at once (``bpf.objects.inventory``), map contents (``bpf.objects.maps``).
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import byref, c_char, c_uint8, c_uint32, c_uint64
from typing import Literal, TypeVar

from bpf.libbpf import check, library

Kind = Literal["prog", "map", "link"]


class MapInfo(ctypes.Structure):
    """``struct bpf_map_info``, to kernel 6.1."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_id", c_uint32),
        ("map_extra", c_uint64),
    )


class ProgramInfo(ctypes.Structure):
    """``struct bpf_prog_info``, to kernel 6.0."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * 16),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
    )


class LinkInfo(ctypes.Structure):
    """The common head of ``struct bpf_link_info``, and room for its union."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("_padding", c_uint32),
        ("words", c_uint64 * 8),
    )


Info = TypeVar("Info", MapInfo, ProgramInfo, LinkInfo)


def ids(kind: Kind) -> Iterator[int]:
    """All ids of one kind, ascending. Kernel 4.13 (links 5.8).

    Raises:
        BpfError: Not root.
    """
    step = getattr(library(), f"bpf_{kind}_get_next_id")
    current = c_uint32(0)
    while (result := step(current.value, byref(current))) == 0:
        yield current.value
    if result != -2:  # ENOENT: the end
        check(result, f"{kind} ids could not be listed")


@contextmanager
def opened(kind: Kind, object_id: int) -> Iterator[int]:
    """A descriptor of an object of anybody, for the length of the block.

    Raises:
        BpfError: It is gone, or not root.
    """
    fd = getattr(library(), f"bpf_{kind}_get_fd_by_id")(object_id)
    check(fd, f"{kind} {object_id} could not be opened")
    try:
        yield fd
    finally:
        os.close(fd)


def ask(fd: int, info: Info) -> Info:
    """Fill ``info`` (which may hold pointers to room of ours) with the facts of an object."""
    size = c_uint32(ctypes.sizeof(info))
    check(library().bpf_obj_get_info_by_fd(fd, byref(info), byref(size)), "the object gave no information")
    return info


def map_info(map_id: int) -> MapInfo:
    """The facts of anybody's map."""
    with opened("map", map_id) as fd:
        return ask(fd, MapInfo())


def program_info(program_id: int) -> ProgramInfo:
    """The facts of anybody's program, run statistics included."""
    with opened("prog", program_id) as fd:
        return ask(fd, ProgramInfo())


def map_ids_of(program_id: int) -> tuple[int, ...]:
    """Ids of the maps that a program uses. Two calls, 5 µs."""
    with opened("prog", program_id) as fd:
        count = ask(fd, ProgramInfo()).nr_map_ids
        room = (c_uint32 * count)()
        ask(fd, ProgramInfo(nr_map_ids=count, map_ids=ctypes.addressof(room)))
        return tuple(room)


def tracepoint_of(link_id: int) -> str:
    """The name of the tracepoint that a raw tracepoint link sits at."""
    with opened("link", link_id) as fd:
        room = ctypes.create_string_buffer(128)
        info = LinkInfo()
        info.words[0], info.words[1] = ctypes.addressof(room), len(room)  # raw_tracepoint.tp_name, _len
        ask(fd, info)
        return room.value.decode(errors="replace")
