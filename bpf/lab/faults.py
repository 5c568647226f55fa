"""The faults of the practice agent: what each sets, who makes its events, and what would mend it.

Each is a real shortage or mistake, tuned so that its symptom is clear on two CPUs that are not
idle. ``cause`` and ``remedy`` are what a diagnosis should find and a runbook should do; both are
empty where the trouble is not one of event loss.

Not here: starting anything (``lab``). The agent's own defaults are in ``lab-agent.yaml``.
"""

from __future__ import annotations

import msgspec

from engine.errors import UnknownName

KIB = 1024


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One way for the agent to fail.

    Attributes:
        settings: Config path → value, where it differs from the shipped file.
        sources: The generator's sources: ``COMM:CALLS_PER_S`` or ``COMM:CALLS/EVERY_S``.
        keys: Values that the calls' first argument runs through: entries in the cache per source.
        quota_cores: CPU quota of a cgroup of its own, or None.
        without_capabilities: The agent has lost the right to load BPF programs for good.
        as_nobody: The agent runs as an unprivileged user, from an executable of its own.
        stalled_exporter: The exporter writes to a FIFO that nobody reads.
        unmounted: It pins in a directory of the instance, where no BPF file system is mounted.
        fails: Its programs don't load; it tries again every second, as a supervisor would make it.
        cause: The name that the diagnosis should give it: ``event-loss``, or ``load-failure`` if it fails.
        remedy: The knob or change that mends it.
    """

    name: str
    summary: str
    settings: dict[str, str] = {}
    sources: tuple[str, ...] = ()
    keys: int = 256
    quota_cores: float | None = None
    without_capabilities: bool = False
    as_nobody: bool = False
    stalled_exporter: bool = False
    unmounted: bool = False
    fails: bool = False
    cause: str = ""
    remedy: str = ""


def evenly(per_s: int) -> tuple[str, ...]:
    """``per_s`` calls a second from four processes, so that none of them stands out."""
    return tuple(f"{comm}:{per_s // 4}" for comm in ("lab-web", "lab-db", "lab-queue", "lab-cron"))


HEALTHY = Fault(
    name="healthy", summary="Nothing is wrong: 10k events/s, all of them read.", sources=evenly(10_000)
)

#: Fault without ``bad-``, file in ``bad/``, cause, what the verifier says.
BAD_PROGRAMS = (
    ("program", "null-check", "verifier_null_check", "The verifier misses a check: may there be no entry?"),
    ("bounds", "bounds", "verifier_bounds", "The verifier misses a bound on an index."),
    ("stack", "stack", "verifier_stack_limit", "A program takes more than 512 bytes of stack."),
    ("loop", "loop", "verifier_loop_or_complexity", "A program has a loop that nothing bounds."),
    ("uninitialised", "uninitialised", "verifier_uninit_or_type", "A program reads what nothing has set."),
    ("helper", "helper", "verifier_helper_not_allowed", "A program calls a helper of other program types."),
    ("licence", "licence", "license_gpl", "A program under another licence calls a helper for the GPL."),
    ("relocation", "relocation", "core_relocation_failed", "A program reads a field that no kernel has."),
)


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            name="burst",
            summary="10,000 events at once, twice a second, into a ring for 3,640.",
            sources=tuple(f"{comm}:2500/0.5" for comm in ("lab-web", "lab-db", "lab-queue", "lab-cron")),
            cause="burst-exceeds-buffer",
            remedy="ring-buffer-size",
        ),
        Fault(
            name="flood",
            summary="150k events/s of 14 µs work each: more than two CPUs can serve.",
            settings={"practice.work_per_event": "14us", "ring.size": "1MiB"},
            sources=evenly(150_000),
            cause="reader-cpu-bound",
            remedy="sampling",
        ),
        Fault(
            name="slow-poll",
            summary="The reader sleeps 1 s at a time; at 20k events/s its ring is full after 0.7 s.",
            settings={"reader.poll_interval": "1s", "ring.wakeup": "none", "ring.size": "1MiB"},
            sources=evenly(20_000),
            cause="reader-polls-too-slowly",
            remedy="poll-interval",
        ),
        Fault(
            name="cpu-bound",
            summary="20k events/s of 60 µs work each in a single reader: one CPU serves 16k.",
            settings={"practice.work_per_event": "60us", "ring.size": "512KiB"},
            sources=evenly(20_000),
            cause="reader-cpu-bound",
            remedy="workers",
        ),
        Fault(
            name="throttled",
            summary="A cgroup gives the agent 0.2 CPU where its work takes 0.4.",
            settings={"practice.work_per_event": "15us", "ring.size": "1MiB"},
            sources=evenly(20_000),
            quota_cores=0.2,
            cause="reader-throttled",
            remedy="cpu-quota",
        ),
        Fault(
            name="one-source",
            summary="One process makes 30k of 36k events/s; the reader serves 25k.",
            settings={"practice.work_per_event": "40us", "ring.size": "1MiB"},
            sources=("lab-noisy:30000", *evenly(6_000)),
            cause="flood-from-one-source",
            remedy="event-filter",
        ),
        Fault(
            name="stalled-exporter",
            summary="Nobody takes what the exporter writes: its queue fills, and it drops behind the ring.",
            sources=evenly(20_000),
            stalled_exporter=True,
            cause="loss-behind-the-ring",
        ),
        Fault(
            name="stuck",
            summary="After 5,000 events the reader waits for something that never comes.",
            settings={"practice.stuck_after_events": "5000"},
            sources=evenly(10_000),
            cause="reader-stuck",
        ),
        Fault(
            name="busy-poll",
            summary="The reader asks the ring without a pause: a whole CPU for 1k events/s.",
            settings={"ring.wakeup": "none"},
            sources=evenly(1_000),
            remedy="poll-interval",
        ),
        Fault(
            name="heap-leak",
            summary="64 bytes of heap are lost with each of 20k events/s: 1.5 MB/s, until 256 MiB.",
            settings={"practice.leak_per_event": "64B"},
            sources=evenly(20_000),
        ),
        Fault(
            name="unbounded-map",
            summary="Every event adds an entry to a hash map that nobody cleans.",
            settings={"cache.size": "50000", "cache.kind": "hash", "cache.clean": "false"},
            sources=evenly(4_000),
            keys=1_000_000,
        ),
        Fault(
            name="missing-capability",
            summary="The agent runs as nobody, and nothing gives it CAP_BPF and CAP_PERFMON.",
            sources=evenly(1_000),
            as_nobody=True,
            fails=True,
            cause="missing_capability",
            remedy="file-capabilities",
        ),
        Fault(
            name="dropped-capability",
            summary="CAP_BPF, CAP_PERFMON and CAP_SYS_ADMIN are gone from its bounding set for good.",
            sources=evenly(1_000),
            without_capabilities=True,
            fails=True,
            cause="missing_capability",
        ),
        Fault(
            name="seccomp",
            summary="A seccomp filter refuses bpf(), as that of a container does.",
            settings={"practice.forbid_bpf": "true"},
            sources=evenly(1_000),
            fails=True,
            cause="seccomp_or_container_policy",
        ),
        Fault(
            name="memlock",
            summary="The agent may lock 64 KiB of memory; that counts before kernel 5.11 only.",
            settings={"practice.memlock_limit": "64KiB"},
            sources=evenly(1_000),
            fails=True,
            cause="memlock_rlimit",
        ),
        Fault(
            name="missing-mount",
            summary="The agent pins a map in a directory where no BPF file system is mounted.",
            sources=evenly(1_000),
            unmounted=True,
            fails=True,
            cause="pin_path_or_bpffs",
            remedy="mount-bpffs",
        ),
        *(
            Fault(
                name=f"bad-{name}",
                summary=summary,
                settings={"practice.bad_program": program},
                sources=evenly(1_000),
                fails=True,
                cause=cause,
            )
            for name, program, cause, summary in BAD_PROGRAMS
        ),
    )
}


def fault_named(name: str) -> Fault:
    """The fault of that name; empty is the healthy agent.

    Raises:
        UnknownName: With the nearest right name.
    """
    if not name:
        return HEALTHY
    if name not in FAULTS:
        raise UnknownName("fault", name, FAULTS)
    return FAULTS[name]
