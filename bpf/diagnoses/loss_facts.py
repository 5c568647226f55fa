"""The numbers that ``event-loss`` decides from, taken from the case, and what follows from them.

Its promise: a number that was not measured is None here, so a rule has to say what it does
without it. Letters as in ``docs/event-loss.md``: λ arrivals, μ what the reader takes while it is
behind, S the ring, r a record, P the time between two polls.

Not here: the rules (``loss_rhythm``, ``loss_limits``).
"""

from __future__ import annotations

import msgspec

from engine.values import Case

#: A reader takes this share of its limit at most when bursts are to be caught up as well.
EASY = 0.7
#: From this share of a core on a thread counts as busy all the time.
WHOLE_CORE = 0.85
#: Below this share of throttled periods a quota does no harm.
LITTLE = 0.1
#: Up to this many times the arrivals may pass where the agent is attached for shares there to hold.
HARDLY_FILTERED = 1.5
#: A process that makes more than this many times the arrivals can't be their source.
AT_MOST = 1.2
#: Below this share of a core a process did no work at all.
NO_WORK = 0.001
#: Share of the time ready but without a CPU from which a thread is starved.
STARVED = 0.2


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured; rates in events per second, sizes in bytes, shares 0 to 1."""

    window_s: float
    arriving: float | None
    taken: float | None
    service: float | None
    service_is_limit: bool
    dropped: float | None
    dropped_ring: float | None
    dropped_behind: float | None
    dropped_queue: float | None
    dropped_exporter: float | None
    ring: float | None
    record: float | None
    peak: float | None
    full: float | None
    pattern: str
    burst: float | None
    burst_s: float | None
    spacing: float | None
    needed: float | None
    poll: float | None
    asleep: float
    held_up: float
    to_zero: float | None
    moved: bool | None
    flat: float | None
    thread: float | None
    thread_name: str
    cpu: float | None
    waiting: float | None
    quota: float | None
    throttled: float | None
    throttled_s: float | None
    idle: float | None
    top: str
    top_made: float | None
    passing: float | None

    @property
    def rest(self) -> float | None:
        """What would arrive without the loudest source."""
        if self.arriving is None or self.top_made is None:
            return None
        return self.arriving - self.top_made

    @property
    def filtered(self) -> bool:
        """The agent takes only a part of what passes its attach point."""
        return self.passing is not None and self.passing > HARDLY_FILTERED * (self.arriving or 0.0)

    @property
    def losing(self) -> bool:
        """Events are lost, by a count or because the ring stood full."""
        return bool(self.dropped) or bool(self.dropped_behind) or (self.dropped is None and self.ring_full)

    @property
    def ring_full(self) -> bool:
        """The ring ran full at least once."""
        return bool(self.full)

    @property
    def ring_share(self) -> float:
        """Share of the losses that the ring itself refused; 1 when only it is known to lose."""
        if self.dropped and self.dropped_ring is not None:
            return self.dropped_ring / self.dropped
        return 0.0 if self.dropped_ring == 0 and not self.ring_full else 1.0

    @property
    def ring_loses(self) -> bool:
        """The ring refuses events, by a count or by standing full uncounted."""
        return bool(self.dropped_ring) or (self.dropped_ring is None and self.ring_full)

    @property
    def idle_in_loss(self) -> bool:
        """Positions can't be seen (a perf buffer), and nobody worked while it lost: nothing was read."""
        still = self.cpu is not None and self.cpu < NO_WORK and (self.waiting or 0.0) < LITTLE
        return (
            self.moved is None and self.ring is None and not self.taken and still and bool(self.dropped_ring)
        )

    @property
    def overloaded(self) -> bool:
        """More arrives than the reader takes while it works: it never catches up."""
        return self.pattern == "sustained"

    @property
    def full_core_service(self) -> float | None:
        """What the reader would take with a CPU of its own, at its present price per event."""
        if not self.service or not self.thread:
            return None
        return self.service / min(1.0, self.thread)

    @property
    def squeezed(self) -> bool:
        """A quota holds the target back."""
        return (self.throttled or 0.0) >= LITTLE and (self.throttled_s or 0.0) >= 0.02


def facts_of(case: Case) -> Facts:
    """Take the numbers from the evidence; what no probe saw is None."""
    flow = case.evidence["flow"]
    arriving = case.number("flow.in_per_s")
    top, made = _loudest(case, arriving)
    moved = case.number("flow.consumer_moved")
    return Facts(
        window_s=flow.ended_at - flow.started_at,
        arriving=arriving,
        taken=case.number("flow.out_per_s"),
        service=case.number("flow.service_per_s"),
        service_is_limit=bool(case.number("flow.service_is_limit")),
        dropped=case.number("flow.dropped_per_s"),
        dropped_ring=case.number("flow.dropped_ring_per_s"),
        dropped_behind=case.number("flow.dropped_behind_per_s"),
        dropped_queue=case.number("flow.dropped_queue_per_s"),
        dropped_exporter=case.number("flow.dropped_exporter_per_s"),
        ring=case.number("flow.ring_bytes"),
        record=case.number("flow.record_bytes"),
        peak=case.number("flow.fill_peak"),
        full=case.number("flow.full_share"),
        pattern=case.text("flow.pattern") or "",
        burst=case.number("flow.burst_in_per_s"),
        burst_s=case.number("flow.burst_s"),
        spacing=case.number("flow.burst_spacing_s"),
        needed=case.number("flow.burst_bytes"),
        poll=case.number("flow.poll_interval_s"),
        asleep=case.number("flow.asleep_share") or 0.0,
        held_up=case.number("flow.held_up_share") or 0.0,
        to_zero=case.number("flow.drains_to_zero_share"),
        moved=None if moved is None else bool(moved),
        flat=case.number("flow.consumer_flat_longest_s"),
        thread=case.number("process.busiest_thread_cores"),
        cpu=case.number("process.cpu_cores"),
        thread_name=case.text("process.busiest_thread") or "",
        waiting=case.number("process.runq_wait_share"),
        quota=case.number("process.cpu_quota_cores"),
        throttled=case.number("process.throttled_share"),
        throttled_s=case.number("process.throttled_s_per_s"),
        idle=case.number("process.host_idle_cores"),
        top=top,
        top_made=made,
        passing=None if case.number("sources.ring_share") is not None else case.number("sources.total_per_s"),
    )


def _loudest(case: Case, arriving: float | None) -> tuple[str, float | None]:
    """The process that makes most of the arriving events, and how many a second.

    Records in the ring tell it best. Else sources are counted where the agent is attached, before its
    own filters. When about as many
    pass there as arrive, shares hold. When far more pass, the agent filters: then only a process
    that makes no more than what arrives can be among them with all of its events.
    """
    in_ring = case.number("sources.ring_share")
    if in_ring is not None and arriving:
        return case.text("sources.ring_comm") or "", in_ring * arriving
    sources, passing = case.evidence.get("sources"), case.number("sources.total_per_s")
    if sources is None or not arriving or not passing:
        return "", None
    told = [(str(row["comm"]), row["per_s"]) for row in sources.tables.get("processes", ())]
    made = [(comm, float(rate)) for comm, rate in told if isinstance(rate, int | float)]
    if not made:
        made = [(case.text("sources.top_comm") or "", case.number("sources.top_per_s") or 0.0)]
    if passing > HARDLY_FILTERED * arriving:
        made = [(comm, rate) for comm, rate in made if rate <= AT_MOST * arriving] or [("", 0.0)]
        passing = arriving
    comm, rate = max(made, key=lambda one: one[1])
    return comm, min(arriving, rate * arriving / passing)
