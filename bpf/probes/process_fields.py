"""Every reading that ``process`` gives, with its meaning and unit."""

from __future__ import annotations

from engine.values import Field

FIELDS: dict[str, Field] = {
    "cpu_cores": Field(help="CPU of all threads", unit="cores"),
    "cpu_user_cores": Field(help="of it, in its own code", unit="cores"),
    "cpu_system_cores": Field(help="of it, in the kernel", unit="cores"),
    "threads": Field(help="threads at the window's end"),
    "busiest_thread": Field(help="name and id of the thread with the most CPU", type="text"),
    "busiest_thread_cores": Field(help="CPU of the busiest thread", unit="cores"),
    "runq_wait_share": Field(
        help="share of the time in which the busiest thread was ready but had no CPU", unit="share"
    ),
    "context_switches_per_s": Field(help="context switches of all threads", unit="1/s"),
    "cpu_quota_cores": Field(help="the tightest CPU quota up the cgroup tree", unit="cores"),
    "cpu_quota_left": Field(help="CPU that the target could still get", unit="cores"),
    "throttled_share": Field(
        help="share of the quota's periods in which the target was held back", unit="share"
    ),
    "throttled_s_per_s": Field(help="time held back, over all its CPUs", unit="s/s"),
    "host_idle_cores": Field(help="CPU of the host that nobody used", unit="cores"),
    "host_cpus": Field(help="CPUs of the host that are online"),
    "rss_bytes": Field(help="resident memory at the window's end", unit="bytes"),
    "memory_limit_bytes": Field(help="the tightest memory limit up the cgroup tree", unit="bytes"),
    "memory_left_bytes": Field(help="memory until the first limit up the tree", unit="bytes"),
    "oom_kills": Field(help="processes of its cgroup killed for want of memory in the window"),
    "memlock_limit_bytes": Field(help="RLIMIT_MEMLOCK of the main process", unit="bytes"),
    "open_files_limit": Field(help="RLIMIT_NOFILE of the main process"),
}
