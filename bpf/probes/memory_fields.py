"""What the probe ``memory`` can tell, name by name.

Not here: measuring it (``bpf.probes.memory``).
"""

from __future__ import annotations

from engine.values import Field

_ANON = "private anonymous memory (heap, stacks, other private mappings that no file backs)"

FIELDS: dict[str, Field] = {
    # ── the processes ──
    "rss_bytes": Field(help="resident memory of all its processes at the window's end", unit="bytes"),
    "pss_bytes": Field(
        help="the same with shared pages counted by share; unknown where reading it would be dear",
        unit="bytes",
    ),
    "anon_bytes": Field(help=f"{_ANON}, resident", unit="bytes"),
    "file_bytes": Field(help="resident pages of files: programs, libraries, mapped data", unit="bytes"),
    "shmem_bytes": Field(help="resident shared memory and tmpfs pages", unit="bytes"),
    "heap_bytes": Field(
        help="heap: the brk heap and private anonymous mappings, resident; without stacks", unit="bytes"
    ),
    "heap_free_bytes": Field(
        help="resident heap that its allocator holds but the program has freed (glibc, read from its chunks)",
        unit="bytes",
    ),
    "heap_free_share": Field(help="that as a share of the heap that was read", unit="share"),
    "heap_read_share": Field(help="share of the heap whose chunks could be read for it", unit="share"),
    "swap_bytes": Field(help="swapped out", unit="bytes"),
    "peak_bytes": Field(help="the most that was ever resident (VmHWM), its processes summed", unit="bytes"),
    "processes": Field(help="processes of the target that lived through the window"),
    # ── growth told from noise ──
    "slope_bytes_per_s": Field(help=f"growth of {_ANON}, robust against single steps", unit="bytes/s"),
    "slope_low": Field(help="low end of its 95 % range", unit="bytes/s"),
    "slope_high": Field(help="high end of its 95 % range", unit="bytes/s"),
    "growing": Field(
        help="it grows: the whole range is above zero, and the growth is no single step", type="bool"
    ),
    "grown_bytes": Field(help=f"{_ANON}: window's end minus its beginning", unit="bytes"),
    "early_slope_bytes_per_s": Field(help="growth in the first half of the window", unit="bytes/s"),
    "late_slope_bytes_per_s": Field(help="growth in the second half of the window", unit="bytes/s"),
    "slowing": Field(
        help="growth in the second half over growth in the first: 1 is a straight line, 0 has stopped;"
        " unknown while nothing grows",
    ),
    "plateau": Field(
        help="flat at the window's end: the last third did not grow, whatever it did before", type="bool"
    ),
    "flat_s": Field(help="how long it has been flat at the window's end", unit="s"),
    "reserved_grown_bytes": Field(
        help="private memory that it asked the kernel for in the window, touched or not", unit="bytes"
    ),
    "touching": Field(
        help="what grows is no leak: buffers that it took before are used for the first time, without asking"
        " for more (told of glibc's heaps only); `growing` is then false",
        type="bool",
    ),
    "steps": Field(help="looks in which it grew: an allocator grows in chunks, few of them mean few facts"),
    # ── BPF maps of the target ──
    "map_bytes": Field(help="memory of its BPF maps, as the kernel accounts it", unit="bytes"),
    "map_bytes_real": Field(
        help="that is real use (kernel 6.4); else a figure made from the maps' sizes, which never grows",
        type="bool",
    ),
    "map_slope_bytes_per_s": Field(help="its growth", unit="bytes/s"),
    "map_slope_low": Field(help="low end of its 95 % range", unit="bytes/s"),
    "map_slope_high": Field(help="high end of its 95 % range", unit="bytes/s"),
    "map_growing": Field(help="its whole range is above zero", type="bool"),
    "map_grown_bytes": Field(help="window's end minus its beginning", unit="bytes"),
    "top_map": Field(
        help="name and id of the map that grew most, of the largest when none grew", type="text"
    ),
    "top_map_id": Field(help="its id"),
    "top_map_bytes": Field(help="its memory", unit="bytes"),
    "top_map_slope_bytes_per_s": Field(help="its growth", unit="bytes/s"),
    # ── its control group ──
    "cgroup_bytes": Field(help="charged to its memory cgroup, droppable cache not counted", unit="bytes"),
    "cgroup_kernel_bytes": Field(
        help="of that, kernel memory: BPF maps, slab, stacks, page tables", unit="bytes"
    ),
    "cgroup_kernel_slope_bytes_per_s": Field(help="growth of the kernel part", unit="bytes/s"),
    "cgroup_slope_bytes_per_s": Field(help="growth of the whole", unit="bytes/s"),
    "cgroup_growing": Field(help="its whole 95 % range is above zero", type="bool"),
    "cgroup_others": Field(help="processes in that cgroup that are not of the target"),
    "limit_bytes": Field(
        help="the limit that is reached first, wherever it stands up the tree", unit="bytes"
    ),
    "limit_group": Field(help="the group that has it", type="text"),
    "left_bytes": Field(help="memory until then", unit="bytes"),
    "limit_in_s": Field(help="time until then at the present growth of that group", unit="s"),
    "lasts_s": Field(
        help="time until that limit or, without one, the host's memory is used up, at growth that is certain;"
        " ten years when nothing grows for certain",
        unit="s",
    ),
    "host_available_bytes": Field(help="memory that the host has left (MemAvailable)", unit="bytes"),
    # ── kills ──
    "oom_kills": Field(help="processes of its cgroup killed for want of memory, ever"),
    "oom_kills_in_window": Field(help="of those, in the window"),
    "oom_last": Field(help="the last such kill in the kernel log that concerns it: the line", type="text"),
    "oom_last_comm": Field(help="name of the process that was killed then", type="text"),
    "oom_last_pid": Field(help="its pid"),
    "oom_last_rss_bytes": Field(help="its anonymous memory when it was killed", unit="bytes"),
    "oom_last_ago_s": Field(help="how long ago that was", unit="s"),
    "maps": Field(help="one row per BPF map of the target, with its memory", type="rows"),
}
