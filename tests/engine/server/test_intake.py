"""Decisions on alerts: what each becomes, and why; whatever order they come in."""

from __future__ import annotations

import asyncio
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.server.alerts.alert import Alert, Status
from engine.server.messages import Busy, Offer, Taken, Taking
from engine.server.settings import Runs
from engine.server.worker import triggers
from engine.server.worker.desk import Desk
from engine.server.worker.intake import decide
from engine.server.worker.job import Job
from engine.server.worker.queue import Queue
from engine.server.worker.triggers import Ready, Triggers

NOW = 1_800_000_000.0
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


def job(alert: Alert, **changed: object) -> Job:
    made = Job(id="run-1", runbook="drops", target="falco", alert=alert.key, queued_at=NOW)
    return msgspec.structs.replace(made, **changed)


def take(queue: Queue, ready: dict[str, tuple[Ready, ...]], alert: Alert, now: float = NOW, n: str = "run-1"):
    """Decide, and write it down as the desk does."""
    decided = decide(alert, ready, queue, now, 600.0)
    run = decided.run
    if decided.wanted:
        run = n
        queue.add_job(job(alert, id=n, target=decided.wanted.target, queued_at=now))
    taking = Taking(alert=alert.key, fate=decided.fate, run=run, because=decided.because)
    if decided.fate == "duplicate":
        queue.see_again(alert.key, now)
    elif decided.again:
        queue.change_alert(taking, decided.trace, now)
    else:
        queue.add_alert(alert, "am", (taking, decided.trace), now, told=False)
    return decided


def end(queue: Queue, outcome: str, at: float = NOW, n: str = "run-1", **changed: object) -> None:
    before = queue.job(n)
    assert before is not None
    queue.change_job(msgspec.structs.replace(before, state="ended", outcome=outcome, ended_at=at, **changed))


def test_the_first_alert_starts_a_run_on_what_its_labels_name(queue, ready) -> None:
    """Target and inputs come from labels, through the runbook's own templates."""
    decided = decide(firing(map="events"), ready, queue, NOW, 600.0)

    assert (decided.fate, decided.wanted.target, decided.wanted.inputs) == (
        "started",
        "falco",
        {"map": "events"},
    )


def test_a_label_that_is_not_there_leaves_the_default(queue, ready) -> None:
    """An input that the alert does not tell is the runbook's to default."""
    assert decide(firing(), ready, queue, NOW, 600.0).wanted.inputs == {}


def test_what_an_alert_holds_is_never_a_template(queue, ready) -> None:
    """Template syntax in a label is a text, and no fit target."""
    decided = decide(firing(map="{{ 7 * 7 }}"), ready, queue, NOW, 600.0)
    assert decided.wanted.inputs == {"map": "{{ 7 * 7 }}"}

    odd = decide(firing(target="{{ host.name }}"), ready, queue, NOW, 600.0)
    assert odd.fate == "unmatched"
    assert "the target" in odd.trace[0].because


@pytest.mark.parametrize("target", ["../x", "a b", "$(reboot)", "x" * 201, "-rf", "a\nb", "<b>"])
def test_a_target_is_a_bounded_plain_name(queue, ready, target: str) -> None:
    """Whatever is no name starts nothing."""
    assert decide(firing(target=target), ready, queue, NOW, 600.0).fate == "unmatched"


def test_the_trace_names_each_matcher_with_the_label_it_met(queue, ready) -> None:
    """Whoever wonders why nothing ran reads it there."""
    decided = decide(firing(severity="info"), ready, queue, NOW, 600.0)

    assert decided.fate == "unmatched"
    assert """severity is 'info', severity=~"warning|critical" does not""" in decided.trace[0].because


def test_an_unknown_alert_is_kept_and_starts_nothing(queue, ready) -> None:
    """No trigger names it."""
    other = Alert(name="Other", status="firing", fingerprint="o", starts_at=1.0)
    decided = decide(other, ready, queue, NOW, 600.0)
    assert (decided.fate, decided.trace) == ("unmatched", ())


def test_the_runbook_that_the_alert_names_goes_first_then_most_matchers(queue, tmp_path: Path) -> None:
    """All are in the trace; one gets the run."""
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(RUNBOOK.format(name=name))
    both = {"Drops": triggers.read(tmp_path / "a.yaml") + triggers.read(tmp_path / "b.yaml")}

    assert decide(firing(), both, queue, NOW, 600.0).wanted.runbook == "a"
    named = decide(firing(runbook="b"), both, queue, NOW, 600.0)
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
    assert queue.known(late.key) == ("started", "run-2")


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
    take(queue, ready, firing())
    queue.db.execute("UPDATE jobs SET dry_run = 1")
    end(queue, "healthy")
    assert take(queue, ready, firing(starts_at=2.0), NOW + 7000).fate == "held"


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


EVENTS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from("fg"), st.sampled_from(["firing", "resolved"]), st.sampled_from([1.0, 2.0, 3.0])
        ),
        st.sampled_from(["fixed", "unfixed", "healthy"]),
    ),
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(EVENTS)
def test_no_order_and_no_repetition_starts_two_runs_for_one_alert(tmp_path_factory, events) -> None:
    """Never two runs at once for one cause; never two for one (fingerprint, start); nothing forgotten."""
    place = tmp_path_factory.mktemp("intake")
    (place / "drops.yaml").write_text(RUNBOOK.format(name="drops"))
    ready = {"Drops": triggers.read(place / "drops.yaml")}
    queue, number, now = Queue.open(place), count(), NOW
    queue.db.execute("PRAGMA synchronous = OFF")
    asked: list[tuple[str, float]] = []
    came = set()
    for event in events:
        now += 400.0
        if isinstance(event, str):
            for one in queue.open_jobs():
                end(queue, event, now, one.id)
            continue
        fingerprint, status, starts_at = event
        alert = firing(starts_at, status, fingerprint)
        came.add(alert.key)
        decided = take(queue, ready, alert, now, n=f"run-{next(number)}")
        if decided.fate == "started":
            asked.append((fingerprint, starts_at))
        assert len(queue.open_jobs()) <= 1
    assert len(asked) == len(set(asked))
    assert {row[0] for row in queue.rows("SELECT id FROM alerts")} == came
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


def test_a_runbook_that_is_wrong_is_told_and_keeps_no_other_from_starting(tmp_path: Path) -> None:
    """And one that changes is read again."""
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(RUNBOOK.format(name="good"))
    bad.write_text("runbook: [\n")
    found = Triggers(lambda: {"good": good, "bad": bad})

    assert [one.runbook for one in found.now()["Drops"]] == ["good"]
    assert list(found.problems) == [str(bad)]
