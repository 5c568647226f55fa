"""Which queued runs begin now: a pure choice.

One promise: never more at once than the settings allow, never two on one target, and a target with many
alerts does not keep the others waiting: the next run is for the one that has gone without the longest.

Not here: starting them (``engine.server.worker.children``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from engine.server.worker.job import Job


def choose(
    queued: Sequence[Job], running: Iterable[Job], at_once: int, last_start: Mapping[str, float]
) -> list[Job]:
    """The runs that begin now, in order.

    Args:
        queued: Oldest first.
        running: Those that go on; each holds its target and a place.
        at_once: So many places.
        last_start: Target → when a run of it began last (epoch seconds); those that go on are behind all.
    """
    going = list(running)
    busy = {job.place for job in going}
    places, chosen = at_once - len(going), list[Job]()
    # What was begun already goes first: somebody has answered, or a change of it stands half-way.
    order = sorted(
        queued, key=lambda job: (job.doing == "start", last_start.get(job.target, 0.0), job.queued_at)
    )
    for job in order:
        if len(chosen) >= places:
            break
        if job.place not in busy:
            busy.add(job.place)
            chosen.append(job)
    return chosen
