"""Events are lost: what each fault sets, who makes its events, and what would mend it."""

from __future__ import annotations

from bpf.lab.fault import Fault, evenly

LOSS: tuple[Fault, ...] = (
    Fault(
        name="burst",
        summary="10,000 events at once, twice a second, into a ring for 3,640.",
        sources=tuple(f"{comm}:2500/0.5" for comm in ("lab-web", "lab-db", "lab-queue", "lab-cron")),
        runbook="events-dropped",
        cause="burst-exceeds-buffer",
        remedy="ring-buffer-size",
    ),
    Fault(
        name="flood",
        summary="150k events/s of 14 µs work each: more than two CPUs can serve.",
        settings={"practice.work_per_event": "14us", "ring.size": "1MiB"},
        sources=evenly(150_000),
        runbook="events-dropped",
        cause="reader-cpu-bound",
        remedy="sampling",
    ),
    Fault(
        name="slow-poll",
        summary="The reader sleeps 1 s at a time; at 20k events/s its ring is full after 0.7 s.",
        settings={"reader.poll_interval": "1s", "ring.wakeup": "none", "ring.size": "1MiB"},
        sources=evenly(20_000),
        runbook="events-dropped",
        cause="reader-polls-too-slowly",
        remedy="poll-interval",
    ),
    Fault(
        name="cpu-bound",
        summary="20k events/s of 60 µs work each in a single reader: one CPU serves 16k.",
        settings={"practice.work_per_event": "60us", "ring.size": "512KiB"},
        sources=evenly(20_000),
        runbook="events-dropped",
        cause="reader-cpu-bound",
        remedy="workers",
    ),
    Fault(
        name="throttled",
        summary="A cgroup gives the agent 0.2 CPU where its work takes 0.4.",
        settings={"practice.work_per_event": "15us", "ring.size": "1MiB"},
        sources=evenly(20_000),
        quota_cores=0.2,
        runbook="events-dropped",
        cause="reader-throttled",
        remedy="cpu-quota",
    ),
    Fault(
        name="one-source",
        summary="One process makes 30k of 36k events/s; the reader serves 25k.",
        settings={"practice.work_per_event": "40us", "ring.size": "1MiB"},
        sources=("lab-noisy:30000", *evenly(6_000)),
        runbook="events-dropped",
        cause="flood-from-one-source",
        remedy="event-filter",
    ),
    Fault(
        name="stalled-exporter",
        summary="Nobody takes what the exporter writes: its queue fills, and it drops behind the ring.",
        sources=evenly(20_000),
        stalled_exporter=True,
        runbook="events-dropped",
        cause="loss-behind-the-ring",
    ),
    Fault(
        name="stuck",
        summary="After 5,000 events the reader waits for something that never comes.",
        settings={"practice.stuck_after_events": "5000"},
        sources=evenly(10_000),
        runbook="events-dropped",
        cause="reader-stuck",
    ),
)
