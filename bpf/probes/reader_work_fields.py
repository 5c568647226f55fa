"""Every reading that ``reader-work`` gives, with its meaning and unit."""

from __future__ import annotations

from engine.values import Field

FIELDS: dict[str, Field] = {
    "syscalls_per_s": Field(help="system calls of the target", unit="1/s"),
    "top_syscall": Field(help="the system call it made most often", type="text"),
    "top_syscall_share": Field(help="its share of all system calls", unit="share"),
    "waits_per_s": Field(help="waits of it (poll, sleep, futex …) that ended", unit="1/s"),
    "empty_wakeups_per_s": Field(help="of these, ended with nothing to do", unit="1/s"),
    "empty_share": Field(help="share of its waits that ended with nothing to do", unit="share"),
    "wakeups_per_s": Field(help="times its threads slept and were woken", unit="1/s"),
    "events_per_s": Field(help="events it took out of its ring", unit="events/s"),
    "syscalls_per_event": Field(help="system calls for each event taken"),
    "cpu_us_per_event": Field(help="CPU of all its threads for each event taken, microseconds", unit="µs"),
    "spin_cores": Field(help="CPU spent on asking for events while its rings were empty", unit="cores"),
    "spin_share": Field(help="share of its CPU spent so", unit="share"),
    "spinning_thread": Field(help="the thread that asks without a pause", type="text"),
    "cpu_cores": Field(help="CPU of all its threads", unit="cores"),
    "syscalls": Field(help="one row per system call, the most frequent first", type="rows"),
    "threads": Field(help="one row per thread, the busiest first", type="rows"),
}
