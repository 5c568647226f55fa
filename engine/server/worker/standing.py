"""How a job stands, by what the journal and the locks tell of its run: a pure choice.

One promise: the journal decides. A run that has ended is over; one that broke off goes on; one that never
began begins; and whatever is worked on by a living process is left alone.

Not here: asking the journal (``engine.server.worker.keeper``).
"""

from __future__ import annotations

import msgspec

from engine.server.worker.job import Job

#: After so many children that did not bring it to an end, the next one writes down why; then no more.
TRIES = 12
#: How long to wait where a run that is not ours works on the target, in seconds.
BUSY_S = 15.0


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the journal and the locks tell.

    Attributes:
        begun: It is in the journal.
        held: A living process works on it.
        outcome: Empty while it has none.
        ended_at: Epoch seconds; of its end, or of when it began to wait.
        due: When what it waits for expires.
        answered: What it waits for was answered or withdrawn.
    """

    begun: bool = False
    held: bool = False
    outcome: str = ""
    ended_at: float | None = None
    due: float | None = None
    answered: bool = False


def after(job: Job, stands: Standing, now: float, *, busy: bool = False) -> Job:
    """The job as it stands now, once nobody of ours carries it.

    ``busy``: its child found another run at work on the target, which is nobody's failure.
    """
    if stands.held:
        return msgspec.structs.replace(job, state="running")
    if stands.outcome and stands.outcome != "waiting":
        ended = stands.ended_at or now
        return msgspec.structs.replace(job, state="ended", outcome=stands.outcome, ended_at=ended, due=None)
    if stands.outcome == "waiting":
        if stands.answered or (stands.due is not None and stands.due <= now):
            return msgspec.structs.replace(job, state="queued", doing="resume", due=None)
        return msgspec.structs.replace(job, state="waiting", outcome="waiting", due=stands.due, tries=0)
    if job.tries > TRIES:
        return msgspec.structs.replace(job, state="ended", outcome="failed", ended_at=now)
    return msgspec.structs.replace(
        job,
        state="queued",
        doing="resume" if stands.begun else "start",
        tries=job.tries if busy else job.tries + 1,
        started_at=job.started_at if stands.begun else None,
    )


def is_free(ahead: Job | None) -> bool:
    """Whether a target can be worked on, as far as we know; ``ahead``: the job found at work on it."""
    return ahead is None or ahead.state != "running"


def busy_s(ahead: Job | None) -> float:
    """How long to wait where a target is worked on: of a run that is not ours nobody tells the end."""
    return BUSY_S if is_free(ahead) else 0.0


def pause_s(tries: int) -> float:
    """How long to wait before it is handed to a further child."""
    return min(2.0**tries, 60.0) if tries > 1 else float(tries)
