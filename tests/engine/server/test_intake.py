"""Decisions on alerts: what each becomes, and why; whatever order they come in."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.server.alerts.alert import Alert, Status
from engine.server.messages import Busy, GetAlerts, Offer, Taken
from engine.server.settings import Runs
from engine.server.worker import triggers
from engine.server.worker.desk import Desk
from engine.server.worker.intake import NO_LOOP, Decided, decide
from engine.server.worker.job import Job
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Ready, Triggers

NOW = 1_800_000_000.0
RULES = Runs(cooldown=600.0)
RUNBOOK = """
runbook: {name}
triggers:
  - alert: Drops
    matchers: ['severity=~"warning|critical"', 'team!="none"']
    target: "{{{{ alert.labels.target | default(alert.labels.job) }}}}"
    inputs: {{map: "{{{{ alert.labels.map }}}}"}}
inputs:
  map: {{type: text, default: ""}}
steps:
  - tell: "{{{{ inputs.map }}}}"
"""


@pytest.fixture
def ready(tmp_path: Path) -> dict[str, tuple[Ready, ...]]:
    path = tmp_path / "drops.yaml"
    path.write_text(RUNBOOK.format(name="drops"))
    return {"Drops": triggers.read(path)}


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue.open(tmp_path / "state")


def firing(starts_at: float = 1.0, status: Status = "firing", fingerprint: str = "f", **labels: str) -> Alert:
    whole = {"severity": "critical", "job": "falco"} | labels
    kept = {name: value for name, value in whole.items() if value}
    return Alert(name="Drops", status=status, fingerprint=fingerprint, starts_at=starts_at, labels=kept)


def job(alert: Alert, /, **changed: object) -> Job:
    made = Job(id="run-1", runbook="drops", target="falco", alert=alert.key, queued_at=NOW)
    return msgspec.structs.replace(made, **changed)


def take(
    queue: Queue,
    ready: dict[str, tuple[Ready, ...]],
    alert: Alert,
    now: float = NOW,
    n: str = "run-1",
    rules: Runs = RULES,
) -> Decided:
    """Decide, and write it down as the desk does."""
    decided = decide(alert, ready, queue, now, rules)
    if decided.wanted:
        decided = decided._replace(run=n)
        queue.add_job(job(alert, id=n, target=decided.wanted.target, queued_at=now, dry_run=rules.dry_run))
    if decided.fate == "duplicate" or decided.again:
        queue.see_again(alert.key, now)
        if decided.again or decided.still:
            queue.change_alert(alert.key, decided)
    else:
        queue.add_alert(alert, "am", decided, now, told=False)
    return decided


def end(queue: Queue, outcome: str, at: float = NOW, n: str = "run-1", **changed: object) -> None:
    before = queue.job(n)
    assert before is not None
    queue.change_job(msgspec.structs.replace(before, state="ended", outcome=outcome, ended_at=at, **changed))


def test_the_first_alert_starts_a_run_on_what_its_labels_name(queue, ready) -> None:
    """Target and inputs come from labels, through the runbook's own templates."""
    decided = decide(firing(map="events"), ready, queue, NOW, RULES)

    assert (decided.fate, decided.wanted.target, decided.wanted.inputs) == (
        "started",
        "falco",
        {"map": "events"},
    )


def test_a_label_that_is_not_there_leaves_the_default(queue, ready) -> None:
    """An input that the alert does not tell is the runbook's to default."""
    assert decide(firing(), ready, queue, NOW, RULES).wanted.inputs == {}


def test_what_an_alert_holds_is_never_a_template(queue, ready) -> None:
    """Template syntax in a label is a text, and no fit target."""
    decided = decide(firing(map="{{ 7 * 7 }}"), ready, queue, NOW, RULES)
    assert decided.wanted.inputs == {"map": "{{ 7 * 7 }}"}

    odd = decide(firing(target="{{ host.name }}"), ready, queue, NOW, RULES)
    assert odd.fate == "unmatched"
    assert "the target" in odd.trace[0].because


@pytest.mark.parametrize("target", ["../x", "a b", "$(reboot)", "x" * 201, "-rf", "a\nb", "<b>"])
def test_a_target_is_a_bounded_plain_name(queue, ready, target: str) -> None:
    """Whatever is no name starts nothing."""
    assert decide(firing(target=target), ready, queue, NOW, RULES).fate == "unmatched"


def test_the_trace_names_each_matcher_with_the_label_it_met(queue, ready) -> None:
    """Whoever wonders why nothing ran reads it there."""
    decided = decide(firing(severity="info"), ready, queue, NOW, RULES)

    assert decided.fate == "unmatched"
    assert """severity is 'info', severity=~"warning|critical" does not""" in decided.trace[0].because


def test_an_unknown_alert_is_kept_and_starts_nothing(queue, ready) -> None:
    """No trigger names it."""
    other = Alert(name="Other", status="firing", fingerprint="o", starts_at=1.0)
    decided = decide(other, ready, queue, NOW, RULES)
    assert (decided.fate, decided.trace) == ("unmatched", ())


def test_the_runbook_that_the_alert_names_goes_first_then_most_matchers(queue, tmp_path: Path) -> None:
    """All are in the trace; one gets the run."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(RUNBOOK.format(name=name))
    both = {"Drops": triggers.read(tmp_path / "a.yaml") + triggers.read(tmp_path / "b.yaml")}

    assert decide(firing(), both, queue, NOW, RULES).wanted.runbook == "a"
    named = decide(firing(runbook="b"), both, queue, NOW, RULES)
    assert named.wanted.runbook == "b"
    assert [one.runbook for one in named.trace] == ["b", "a"]


def test_another_alert_for_the_same_cause_joins(queue, ready) -> None:
    """A storm becomes one run."""
    take(queue, ready, firing())
    joined = take(queue, ready, firing(fingerprint="g"))

    assert (joined.fate, joined.run) == ("joined", "run-1")


def test_the_same_news_is_a_duplicate(queue, ready) -> None:
    """It names the run that it had."""
    take(queue, ready, firing())
    again = take(queue, ready, firing())

    assert (again.fate, again.run) == ("duplicate", "run-1")


def test_the_cooldown_holds_and_tells_the_times(queue, ready) -> None:
    """After a run's end the same runbook waits on that target."""
    take(queue, ready, firing())
    end(queue, "fixed")
    held = take(queue, ready, firing(starts_at=2.0), NOW + 60)

    assert held.fate == "held"
    guard = next(one for one in held.trace[0].guards if one.guard == "cooldown")
    assert guard.values == {"run": "run-1", "since_s": 60.0, "cooldown_s": 600.0}


def test_what_the_cooldown_held_starts_when_it_is_sent_again_after_it(queue, ready) -> None:
    """Alertmanager repeats what fires still: it must not be lost as a duplicate."""
    take(queue, ready, firing())
    end(queue, "fixed")
    late = firing(starts_at=2.0)
    take(queue, ready, late, NOW + 60)
    assert take(queue, ready, late, NOW + 120).fate == "duplicate"

    again = take(queue, ready, late, NOW + 700, n="run-2")
    assert (again.fate, again.again) == ("started", True)
    assert queue.known(late.key)[:2] == ("started", "run-2")


@pytest.mark.parametrize("outcome", ["unfixed", "rehearsed", "refused"])
def test_what_could_not_be_mended_is_not_tried_again_while_it_fires(queue, ready, outcome: str) -> None:
    """No loop, also when the sender gives it a new beginning; over once it has resolved."""
    take(queue, ready, firing())
    end(queue, outcome)
    assert take(queue, ready, firing(starts_at=2.0), NOW + 7000).fate == "held"

    take(queue, ready, firing(starts_at=2.0, status="resolved"), NOW + 7100)
    assert take(queue, ready, firing(starts_at=3.0), NOW + 7200, n="run-2").fate == "started"


def test_a_dry_run_does_not_loop_whatever_came_of_it(queue, ready) -> None:
    """A dry-run changes nothing, so looking again tells nothing new."""
    looks = Runs(cooldown=600.0, dry_run=True)
    take(queue, ready, firing(), rules=looks)
    end(queue, "healthy")
    assert take(queue, ready, firing(starts_at=2.0), NOW + 7000, rules=looks).fate == "held"


def test_news_that_came_late_starts_nothing(queue, ready) -> None:
    """Resolved first, firing after it with the same beginning: it is over."""
    resolved = take(queue, ready, firing(status="resolved"))
    late = take(queue, ready, firing())

    assert resolved.fate == "resolved"
    assert (late.fate, late.trace[0].guards[0].guard) == ("held", "already-resolved")


def test_resolved_finds_the_run_that_its_alert_joined(queue, ready) -> None:
    """So that the run's journal can be told."""
    take(queue, ready, firing())
    take(queue, ready, firing(fingerprint="g"))
    resolved = take(queue, ready, firing(fingerprint="g", status="resolved"))

    assert (resolved.fate, resolved.run) == ("resolved", "run-1")
    assert queue.is_still_firing("run-1")
    take(queue, ready, firing(status="resolved"))
    assert not queue.is_still_firing("run-1")


@pytest.mark.parametrize("outcome", ["interrupted", "failed"])
def test_a_run_that_broke_off_is_no_answer(queue, ready, outcome: str) -> None:
    """The alert fires still and comes again: it waits for the cooldown by itself, then has another run."""
    take(queue, ready, firing())
    end(queue, outcome)
    held = take(queue, ready, firing(), NOW + 60)
    assert (held.fate, held.run, held.due) == ("held", "run-1", NOW + 600)

    again = take(queue, ready, firing(), NOW + 600, n="run-2")
    assert (again.fate, queue.known(firing().key)) == ("started", ("started", "run-2", "queued", ""))


@pytest.mark.parametrize("outcome", ["fixed", "mitigated", "healthy"])
def test_what_fires_still_after_it_was_mended_is_looked_at_again_after_the_cooldown(
    queue, ready, outcome: str
) -> None:
    """Within it the sender has not seen yet that it is mended; after it the trouble is back."""
    take(queue, ready, firing())
    end(queue, outcome)
    assert take(queue, ready, firing(), NOW + 599).fate == "duplicate"
    assert queue.due(NOW + 7000, 10, has_room=True) == []

    assert take(queue, ready, firing(), NOW + 600, n="run-2").fate == "started"


@pytest.mark.parametrize("outcome", ["unfixed", "rehearsed", "refused"])
def test_the_same_news_never_loops(queue, ready, outcome: str) -> None:
    """However often and however late it comes."""
    take(queue, ready, firing())
    end(queue, outcome)
    again = take(queue, ready, firing(), NOW + 90_000)

    assert (again.fate, again.run) == ("duplicate", "run-1")
    assert "has fired ever since" in again.because


def test_a_dry_run_of_a_person_neither_takes_an_alert_nor_cools_it_down(queue, ready) -> None:
    """An alert that wants a real run gets it."""
    queue.add_job(job(firing(), id="looks", alert="", dry_run=True))
    started = take(queue, ready, firing())
    assert started.fate == "started"

    end(queue, "rehearsed", n="looks")
    end(queue, "fixed", NOW - 600)
    assert take(queue, ready, firing(fingerprint="g"), n="run-2").fate == "started"


def test_what_is_held_still_gets_the_trace_of_why_now(queue, ready) -> None:
    """Whoever wonders reads the last reason, not the first."""
    take(queue, ready, firing())
    end(queue, "fixed")
    late = firing(fingerprint="g")
    take(queue, ready, late, NOW + 60)
    take(queue, ready, late, NOW + 120)

    (row,) = queue.alerts(GetAlerts(alert=late.key))
    assert (row.fate, row.seen) == ("held", 2)
    assert "2 min ago" in row.because
    assert row.trace[0].guards[1].values["since_s"] == 120.0


OUTCOMES = ["fixed", "mitigated", "healthy", "unfixed", "refused", "rehearsed", "interrupted", "failed"]
EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("fg"), st.sampled_from(["firing", "resolved"]), st.sampled_from([1.0, 2.0, 3.0])
        ),
        st.sampled_from([*OUTCOMES, "dry-run"]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS, st.sampled_from([100.0, 400.0, 1000.0]))
def test_no_order_and_no_repetition_starts_two_runs_for_one_cause(tmp_path_factory, events, pace) -> None:
    """One run at once for a cause, a further one only where the last was no answer; nothing forgotten."""
    place = tmp_path_factory.mktemp("intake")
    (place / "drops.yaml").write_text(RUNBOOK.format(name="drops"))
    ready = {"Drops": triggers.read(place / "drops.yaml")}
    queue, number, now = Queue.open(place), count(), NOW
    queue.db.execute("PRAGMA synchronous = OFF")
    came: dict[str, Alert] = {}

    def offer(alert: Alert) -> Decided:
        before = queue.known(alert.key)
        decided = take(queue, ready, alert, now, n=f"run-{next(number)}")
        if decided.fate == "started" and before is not None and before.run:
            last = queue.job(before.run)
            assert last is not None
            assert last.outcome not in NO_LOOP
            assert now - last.ended_at >= 600.0
        return decided

    for event in events:
        now += pace
        if event == "dry-run":
            queue.add_job(job(firing(), id=f"looks-{next(number)}", alert="", dry_run=True, queued_at=now))
        elif isinstance(event, str):
            for one in queue.open_jobs():
                end(queue, "rehearsed" if one.dry_run else event, now, one.id)
        else:
            fingerprint, status, starts_at = event
            alert = firing(starts_at, status, fingerprint)
            came[alert.key] = alert
            offer(alert)
        assert sum(not one.dry_run for one in queue.open_jobs()) <= 1
    for one in queue.open_jobs():
        end(queue, "failed", now, one.id)
    now += 600.0
    for alert in came.values():
        over = alert.status == "resolved" or queue.has_resolved(alert.fingerprint, alert.starts_at)
        last = queue.last_of(alert.fingerprint)
        answered = queue.known(alert.key).outcome in NO_LOOP or (last and last[0].outcome in NO_LOOP)
        if not over and not answered:
            offer(alert)
            assert queue.known(alert.key).state == "queued"
    assert {row[0] for row in queue.rows("SELECT id FROM alerts")} == set(came)
    queue.close()


async def _offers(queue: Queue, found: Triggers, offers: list[Offer], runs: Runs) -> list[Taken | Busy]:
    desk = Desk(queue, found, runs)
    answers = await asyncio.gather(*(desk.take(one) for one in offers))
    await desk.close()
    return list(answers)


def test_a_full_queue_takes_nothing_of_an_offer_that_asks_for_a_run(queue, tmp_path: Path) -> None:
    """Senders keep what was not taken, and send it again; what needs no run is taken all the same."""
    path = tmp_path / "drops.yaml"
    path.write_text(RUNBOOK.format(name="drops"))
    offers = [Offer(sender="am", alerts=(firing(fingerprint=str(n), job=f"t{n}"),)) for n in range(5)]
    offers.append(Offer(sender="am", alerts=(firing(severity="info"),)))
    answers = asyncio.run(_offers(queue, Triggers(lambda: {"drops": path}), offers, Runs(queue=3)))

    assert [type(one).__name__ for one in answers] == ["Taken"] * 3 + ["Busy"] * 2 + ["Taken"]
    reader = Queue.open(tmp_path / "state", write=False)
    assert reader.rows("SELECT count(*) FROM alerts") == [(4,)]
    assert reader.counted()["alerts"] == {"started": 3.0, "full": 2.0, "unmatched": 1.0}


def drops(place: Path) -> Triggers:
    """The triggers of one runbook."""
    path = place / "drops.yaml"
    path.write_text(RUNBOOK.format(name="drops"))
    return Triggers(lambda: {"drops": path})


def storm(number: int, target: str = "t") -> Offer:
    """Alerts on as many targets."""
    alerts = (firing(fingerprint=f"{target}{n}", job=f"{target}{n}") for n in range(number))
    return Offer(sender="am", alerts=tuple(alerts))


def test_the_queue_never_holds_more_runs_than_it_may_though_one_offer_asks_for_more(
    queue, tmp_path: Path
) -> None:
    """What finds no room is kept, and gets its run before anything that comes later."""

    async def play() -> list[int]:
        desk, queued = Desk(queue, drops(tmp_path), Runs(queue=5, cooldown=0.0)), []
        taken = await desk.take(storm(12))
        assert [one.fate for one in taken.takings] == ["started"] * 5 + ["full"] * 7
        while jobs := queue.open_jobs():
            queued.append(queue.queued())
            if queue.queued() == 5:
                assert isinstance(await desk.take(storm(1, "later")), Busy)
            again = await desk.take(storm(12))
            assert {one.fate for one in again.takings} <= {"duplicate", "full"}
            for one in jobs:
                end(queue, "unfixed", n=one.id)
            await desk.judge_again()
        assert isinstance(await desk.take(storm(1, "later")), Taken)
        await desk.close()
        return queued

    assert asyncio.run(play()) == [5, 5, 2]


def test_what_the_cooldown_held_gets_its_run_when_it_ends_though_nobody_sends_it_again(
    queue, ready, tmp_path: Path
) -> None:
    """Alertmanager repeats only after hours."""
    now = time.time()
    take(queue, ready, firing(), now - 700)
    end(queue, "fixed", now - 590)
    held = firing(fingerprint="g")
    take(queue, ready, held, now - 30)

    async def play(cooldown: float) -> bool:
        desk, began = Desk(queue, drops(tmp_path), Runs(cooldown=cooldown)), list[Job]()
        desk.taken = began.extend
        changed = await desk.judge_again()
        assert changed == bool(began)
        return changed

    assert not asyncio.run(play(600.0))
    queue.db.execute("UPDATE alerts SET due = ? WHERE id = ?", (now - 1, held.key))
    assert not asyncio.run(play(600.0))
    assert queue.known(held.key).fate == "held"
    queue.db.execute("UPDATE alerts SET due = ? WHERE id = ?", (now - 1, held.key))
    assert asyncio.run(play(500.0))
    (row,) = queue.alerts(GetAlerts(alert=held.key))
    assert (row.fate, row.seen) == ("started", 1)


@pytest.mark.parametrize("why", ["resolved", "stale"])
def test_what_is_over_or_long_not_heard_of_is_not_judged_again(
    queue, ready, tmp_path: Path, why: str
) -> None:
    """The time that it was held for has passed meanwhile."""
    now = time.time() - (100_000 if why == "stale" else 700)
    take(queue, ready, firing(), now - 10)
    end(queue, "fixed", now - 10)
    take(queue, ready, firing(fingerprint="g"), now)
    if why == "resolved":
        take(queue, ready, firing(fingerprint="g", status="resolved"), now + 1)

    assert not asyncio.run(Desk(queue, drops(tmp_path), RULES).judge_again())
    assert queue.due(time.time(), 10, has_room=True) == []


def test_a_queue_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    """Its alerts are judged again like all others."""
    queue = Queue.open(tmp_path)
    queue.db.executescript(
        "DROP INDEX alerts_due; ALTER TABLE alerts DROP COLUMN due; PRAGMA user_version = 1"
    )
    queue.close()

    assert Queue.open(tmp_path).due(NOW, 10, has_room=True) == []


def test_a_runbook_that_is_wrong_is_told_and_keeps_no_other_from_starting(tmp_path: Path) -> None:
    """And one that changes is read again."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(RUNBOOK.format(name="good"))
    bad.write_text("runbook: [\n")
    found = Triggers(lambda: {"good": good, "bad": bad})

    assert [one.runbook for one in found.now()["Drops"]] == ["good"]
    assert list(found.problems) == [str(bad)]
