"""CPU and memory go somewhere: what each fault sets, who makes its events, and what would mend it.

Those about memory get a memory cgroup of their own where the host has such, far above their needs, so
that what BPF maps take shows beside what the agent itself takes.
"""

from __future__ import annotations

from bpf.lab.fault import AMPLE, Fault, evenly

CPU: tuple[Fault, ...] = (
    Fault(
        name="busy-poll",
        summary="The reader asks the ring without a pause: a whole CPU for 1k events/s.",
        settings={"ring.wakeup": "none"},
        sources=evenly(1_000),
        runbook="high-cpu",
        cause="busy-polling",
        remedy="poll-interval",
    ),
    Fault(
        name="event-storm",
        summary="180k cheap events/s, all of them read: their number is the price.",
        settings={"practice.work_per_event": "300ns", "ring.size": "4MiB", "reader.batch_size": "1024"},
        sources=evenly(180_000),
        runbook="high-cpu",
        cause="too-many-events",
        remedy="sampling",
    ),
    Fault(
        name="hot-reader",
        summary="5k events/s of 70 µs work each, in one function of the agent; none is lost.",
        settings={"practice.work_per_event": "70us", "ring.size": "1MiB"},
        sources=evenly(5_000),
        runbook="high-cpu",
        cause="inefficient-processing",
        remedy="sampling",
    ),
    Fault(
        name="hot-program",
        summary="Its optional BPF program takes some 45 µs of each of 8k events/s; the reader is idle.",
        settings={
            "optional.program": "true",
            "practice.optional_rounds": "30",
            "practice.work_per_event": "1us",
            "reader.poll_interval": "20ms",
            "ring.wakeup": "none",
        },
        sources=evenly(8_000),
        runbook="high-cpu",
        cause="hot-program",
        remedy="detach-program",
    ),
)

MEMORY: tuple[Fault, ...] = (
    Fault(
        name="heap-leak",
        summary="64 bytes of heap are lost with each of 20k events/s: 1.5 MB/s, until 256 MiB.",
        settings={"practice.leak_per_event": "64B"},
        sources=evenly(20_000),
        memory_bytes=AMPLE,
        runbook="memory-leak",
        cause="heap-leak",
        remedy="restart",
    ),
    Fault(
        name="unbounded-map",
        summary="Each of 4k events/s adds an entry for a living process to a map that nobody cleans.",
        settings={"cache.size": "400000", "cache.kind": "hash", "cache.clean": "false"},
        sources=evenly(4_000),
        keys=1_000_000,
        memory_bytes=AMPLE,
        runbook="memory-leak",
        cause="unbounded-map",
        remedy="map-kind",
    ),
    Fault(
        name="stale-map",
        summary="A map keeps 3k entries/s of processes that are gone, 150 of them each second.",
        settings={"cache.size": "400000", "cache.kind": "hash", "cache.clean": "false"},
        sources=("lab-job:3000@20", *evenly(1_000)),
        memory_bytes=AMPLE,
        runbook="memory-leak",
        cause="stale-map-entries",
        remedy="map-cleanup",
    ),
    Fault(
        name="map-memory",
        summary="500 entries/s of 2 KB each: 1 MB/s of map memory, which no process shows as its own.",
        settings={"practice.payloads": "100000", "cache.size": "0"},
        sources=evenly(500),
        keys=1_000_000,
        memory_bytes=AMPLE,
        runbook="memory-leak",
        cause="map-memory-unseen",
    ),
    Fault(
        name="allocator",
        summary="64 MiB of heap were needed once and are free again; the heap can't shrink.",
        settings={"practice.spike": "64MiB"},
        sources=evenly(5_000),
        memory_bytes=AMPLE,
        runbook="memory-leak",
        cause="allocator-keeps-pages",
    ),
    Fault(
        name="cache-filling",
        summary="A cache in user space fills up to its 40 MiB within half a minute, and stays there.",
        settings={"practice.user_cache": "40MiB"},
        sources=evenly(8_000),
        memory_bytes=AMPLE,
        runbook="memory-leak",
        cause="cache-filling",
    ),
)

MAPS: tuple[Fault, ...] = (
    Fault(
        name="map-leak",
        summary="A map of 10,000 fills with entries of processes that are gone, 800 a second.",
        settings={"cache.size": "10000", "cache.kind": "hash", "cache.clean": "false"},
        sources=("lab-job:800@10", *evenly(1_000)),
        memory_bytes=AMPLE,
        runbook="map-near-full",
        cause="entries-leak",
        remedy="map-cleanup",
    ),
    Fault(
        name="map-small",
        summary="4,000 entries are in use all the time; the map holds 3,000.",
        settings={"cache.size": "3000", "cache.kind": "hash", "cache.clean": "false"},
        sources=evenly(8_000),
        keys=1_000,
        memory_bytes=AMPLE,
        runbook="map-near-full",
        cause="map-too-small",
        remedy="map-capacity",
    ),
    Fault(
        name="map-cardinality",
        summary="Living processes make ever new keys: 24,000 within their 15 s in a map of 20,000.",
        settings={"cache.size": "20000", "cache.kind": "hash", "cache.ttl": "15s"},
        sources=evenly(1_600),
        keys=1_000_000,
        memory_bytes=AMPLE,
        runbook="map-near-full",
        cause="key-cardinality",
        remedy="map-kind",
    ),
)

USE: tuple[Fault, ...] = (*CPU, *MEMORY, *MAPS)
