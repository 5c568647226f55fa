"""The worker, real: alerts become runs of real children, whatever is killed on the way."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from engine.journal import Journal, locks
from engine.record import Alerted, Resumed, Told
from engine.server import messages
from engine.server.messages import No
from engine.server.wire import Line
from tests.engine.server.working import DEADLINE_S, Worker, firing, resolved, until, working


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with working(tmp_path, cooldown="0s") as started:
        yield started


def test_an_alert_becomes_a_run_that_names_it(worker: Worker) -> None:
    """From the offer to the end, with the alert in the run's journal and the decision on disk."""
    (taking,) = worker.offer(firing("Quick"))
    row = worker.run(taking.run, "ended")

    assert (taking.fate, row.outcome, row.by) == ("started", "healthy", "alert Quick (am)")
    until(lambda: any(isinstance(one, Alerted) for one in events(worker, taking.run)))
    (alert,) = worker.ask(messages.GetAlerts(run=taking.run)).rows
    assert [one.fits for one in alert.trace] == [True]
    until(lambda: worker.ask(messages.GetStats()).runs == {"quick/healthy": 1})


def test_no_sender_speaks_of_anothers_alerts(worker: Worker) -> None:
    """One whose fingerprints are another's ends no alert of theirs, and keeps none from starting its run."""
    other = messages.Offer(sender="other", alerts=(resolved("Whatever", "same", starts_at=9e9),))
    assert isinstance(worker.ask(other), messages.Taken)

    (taking,) = worker.offer(firing("Quick", "same"))

    assert taking.fate == "started"


def test_a_storm_becomes_one_run(worker: Worker) -> None:
    """What comes while it waits or goes on joins it; its journal tells of some, the queue of all."""
    takings = worker.offer(*(firing("Slow", f"f{n}") for n in range(100)))

    assert [one.fate for one in takings] == ["started"] + ["joined"] * 99
    worker.run(takings[0].run, "ended")
    told = [one.did for one in events(worker, takings[0].run) if isinstance(one, Alerted)]
    assert told[0] == "asked"
    assert 0 < told.count("joined") <= 20
    assert len(worker.runs()) == 1


def test_a_run_that_can_not_begin_stands_in_the_journal_with_the_reason(worker: Worker) -> None:
    """An unknown agent: the audit and the page must show that nothing was done, and why."""
    (taking,) = worker.offer(firing("Nobody"))
    row = worker.run(taking.run, "ended")

    assert row.outcome == "failed"
    assert "no-such-agent" in row.sentence


def test_a_question_waits_for_an_answer_from_the_page_and_goes_on(worker: Worker) -> None:
    """The same run, with the answer in its journal."""
    (taking,) = worker.offer(firing("Asks"))
    worker.run(taking.run, "waiting")
    done = worker.ask(messages.Reply(run=taking.run, step="1", values={"yes": "y"}))
    assert isinstance(done, messages.Done), done

    worker.run(taking.run, "ended")
    assert "went on" in [one.sentence for one in events(worker, taking.run) if isinstance(one, Told)]


def test_a_question_that_nobody_answers_expires_by_itself(worker: Worker) -> None:
    """Which is a no: the run ends."""
    (taking,) = worker.offer(firing("AsksSoon"))
    worker.run(taking.run, "ended")


def test_resolved_ends_a_run_that_waits(worker: Worker) -> None:
    """Its journal says so; nobody has to answer any more."""
    (taking,) = worker.offer(firing("Asks"))
    worker.run(taking.run, "waiting")
    assert worker.offer(resolved("Asks"))[0].run == taking.run

    worker.run(taking.run, "ended")
    assert "resolved" in [one.did for one in events(worker, taking.run) if isinstance(one, Alerted)]


def test_a_run_is_stopped_in_whatever_state_it_is(worker: Worker) -> None:
    """Going on, waiting, or queued behind another."""
    going = worker.offer(firing("Slow"))[0].run
    worker.run(going, "running")
    assert isinstance(worker.ask(messages.StopRun(run=going)), messages.Done)
    assert worker.run(going, "ended").outcome == "interrupted"

    waits = worker.offer(firing("Asks"))[0].run
    worker.run(waits, "waiting")
    assert isinstance(worker.ask(messages.StopRun(run=waits)), messages.Done)
    assert worker.run(waits, "ended").outcome == "interrupted"

    first = worker.ask(messages.StartRun(runbook="slow")).run
    second = worker.ask(messages.StartRun(runbook="slow")).run
    worker.run(first, "running")
    assert isinstance(worker.ask(messages.StopRun(run=second)), messages.Done)
    assert worker.run(second, "ended").sentence.endswith("before it began.")


def test_nobody_without_a_token_may_look_or_act_on_the_listeners_socket(worker: Worker) -> None:
    """Also not the worker's own user: the listener speaks for strangers."""
    for request in (messages.GetRuns(), messages.StartRun(runbook="quick"), messages.GetAlerts()):
        answer = worker.ask(request, socket="worker.sock")
        assert isinstance(answer, No), request
        assert answer.why == "login"
    assert isinstance(worker.ask(messages.GetStats(), socket="worker.sock"), messages.Stats)


def test_what_is_wrong_is_told_with_the_way_out(worker: Worker) -> None:
    """Unknown runs and runbooks, inputs that are none."""
    assert worker.ask(messages.GetRun(run="nothing")).why == "unknown"
    assert worker.ask(messages.StartRun(runbook="quik")).why == "unknown"
    assert worker.ask(messages.StartRun(runbook="quick", inputs={"x": "1"})).why == "wrong"


def test_a_second_worker_on_the_same_state_does_not_start(worker: Worker) -> None:
    """It says who keeps it."""
    other = subprocess.run(worker.command, capture_output=True, text=True, check=False)

    assert other.returncode == 3
    assert "a worker keeps" in other.stderr
    assert worker.ask(messages.GetStats()).running == 0


def test_a_run_goes_on_though_its_worker_was_killed_and_is_not_begun_twice(worker: Worker) -> None:
    """The child finishes; the next worker finds its end."""
    (taking,) = worker.offer(firing("Slow"))
    worker.run(taking.run, "running")
    worker.kill()
    worker.start()

    assert worker.run(taking.run, "ended").outcome == "healthy"
    told = [one.sentence for one in events(worker, taking.run) if isinstance(one, Told)]
    assert told.count("begun") == 1
    assert not [one for one in events(worker, taking.run) if isinstance(one, Resumed)]
    until(lambda: not worker.ask(messages.GetStats()).running)


def test_a_run_whose_child_was_killed_too_is_taken_up_again(worker: Worker) -> None:
    """Under the same id, from where it was."""
    (taking,) = worker.offer(firing("Slow"))
    worker.run(taking.run, "running")
    held = (worker.state / "locks" / f"run-{taking.run}").read_bytes()
    worker.kill()
    os.kill(msgspec.json.decode(held, type=locks.Holder).pid, signal.SIGKILL)
    worker.start()

    assert worker.run(taking.run, "ended").outcome == "healthy"
    assert [one for one in events(worker, taking.run) if isinstance(one, Resumed)]


def test_a_child_that_was_killed_alone_is_replaced(worker: Worker) -> None:
    """The worker notices, and has the run taken up."""
    (taking,) = worker.offer(firing("Slow"))
    worker.run(taking.run, "running")
    held = (worker.state / "locks" / f"run-{taking.run}").read_bytes()
    os.kill(msgspec.json.decode(held, type=locks.Holder).pid, signal.SIGKILL)

    assert worker.run(taking.run, "ended").outcome == "healthy"


def test_a_run_that_waits_can_be_answered_after_a_kill(worker: Worker) -> None:
    """Approvals outlive workers."""
    (taking,) = worker.offer(firing("Asks"))
    worker.run(taking.run, "waiting")
    worker.kill()
    worker.start()
    worker.ask(messages.Reply(run=taking.run, step="1", values={"yes": "y"}))

    worker.run(taking.run, "ended")


def test_what_is_queued_waits_on_disk_when_the_worker_stops_in_good_order(tmp_path: Path) -> None:
    """The one under way ends in good order and begins anew for its alert, the queued one begins."""
    with working(tmp_path, at_once=1) as worker:
        (going,) = worker.offer(firing("Slow"))
        (queued,) = worker.offer(firing("Quick"))
        worker.run(going.run, "running")
        assert worker.stop() == 0
        worker.start()

        assert worker.run(going.run, "ended").outcome == "interrupted"
        assert worker.run(queued.run, "ended").outcome == "healthy"
        (again,) = worker.ask(messages.GetAlerts(alert=going.alert)).rows
        assert again.run not in {going.run, ""}
        assert worker.run(again.run, "ended").outcome == "healthy"
        until(lambda: alerts(worker, again.run) == [going.alert])
        assert len(worker.runs()) == 3


def test_a_run_that_was_stopped_after_its_worker_was_killed_begins_anew(worker: Worker) -> None:
    """As when a host goes down: its alert fires still, and Alertmanager repeats only after hours."""
    (taking,) = worker.offer(firing("Slow"))
    worker.run(taking.run, "running")
    held = (worker.state / "locks" / f"run-{taking.run}").read_bytes()
    worker.kill()
    os.kill(msgspec.json.decode(held, type=locks.Holder).pid, signal.SIGTERM)
    until(lambda: not locks.run_is_held(worker.state, taking.run))
    worker.start()

    assert worker.run(taking.run, "ended").outcome == "interrupted"
    (row,) = worker.ask(messages.GetAlerts(alert=taking.alert)).rows
    assert row.run != taking.run
    assert worker.run(row.run, "ended").outcome == "healthy"


def test_what_a_person_stopped_or_started_does_not_begin_anew_when_the_worker_stops(worker: Worker) -> None:
    """Only an alert that fires still asks for it."""
    started = worker.ask(messages.StartRun(runbook="slow")).run
    worker.run(started, "running")
    worker.stop()
    worker.start()
    assert worker.run(started, "ended").outcome == "interrupted"

    (stopped,) = worker.offer(firing("Slow"))
    worker.run(stopped.run, "running")
    worker.ask(messages.StopRun(run=stopped.run))
    worker.stop()
    worker.start()
    worker.run(stopped.run, "ended")
    assert len(worker.runs()) == 2


def test_a_run_whose_alert_resolves_before_it_begins_does_not_begin(tmp_path: Path) -> None:
    """Unless another alert that fires has joined it."""
    with working(tmp_path, at_once=1) as worker:
        (going,) = worker.offer(firing("Slow"))
        (needless,) = worker.offer(firing("Quick"))
        (wanted,) = worker.offer(firing("Nobody"))
        worker.offer(firing("Nobody", "another"))
        worker.run(going.run, "running")
        worker.offer(resolved("Quick"), resolved("Nobody"))

        row = worker.run(needless.run, "ended")
        assert (row.outcome, row.sentence) == ("refused", "The alert resolved before the run began.")
        assert worker.run(going.run, "ended").outcome == "healthy"
        assert "no-such-agent" in worker.run(wanted.run, "ended").sentence
        assert worker.offer(firing("Quick", starts_at=99.0))[0].fate == "started"


def test_what_the_cooldown_held_runs_at_its_end_though_nobody_sends_it_again(tmp_path: Path) -> None:
    """The worker looks by itself."""
    with working(tmp_path, cooldown="5s") as worker:
        (first,) = worker.offer(firing("Quick"))
        worker.run(first.run, "ended")
        until(lambda: not worker.ask(messages.GetStats()).running)
        (held,) = worker.offer(firing("Quick", "another"))
        assert held.fate == "held"

        until(lambda: worker.ask(messages.GetAlerts(alert=held.alert)).rows[0].fate == "started")
        (row,) = worker.ask(messages.GetAlerts(alert=held.alert)).rows
        assert worker.run(row.run, "ended").outcome == "healthy"


def test_an_alert_does_not_join_a_dry_run_that_a_person_has_started(worker: Worker) -> None:
    """It wants a real one, which begins after it."""
    looks = worker.ask(messages.StartRun(runbook="slow", dry_run=True)).run
    worker.run(looks, "running")
    (taking,) = worker.offer(firing("Slow"))

    assert taking.fate == "started"
    assert not worker.run(taking.run, "ended").dry_run


def alerts(worker: Worker, run: str) -> list[str]:
    """Alerts that a run's journal knows."""
    return [one.alert for one in events(worker, run) if isinstance(one, Alerted)]


def events(worker: Worker, run: str) -> list[object]:
    """What a run's journal holds."""
    with Journal.open(worker.state, write=False) as journal:
        return list(journal.run(run).events)


def test_who_follows_a_run_is_told_every_event_once_and_in_order(worker: Worker) -> None:
    """What was missed and what comes, without a gap, until the end."""
    (taking,) = worker.offer(firing("Slow"))
    worker.run(taking.run, "running")
    followed = asyncio.run(follow(worker, taking.run))

    kept = [msgspec.json.decode(msgspec.json.encode(one)) for one in events(worker, taking.run)]
    assert followed == kept


def test_a_run_that_a_command_began_is_kept_once_it_waits(worker: Worker) -> None:
    """So that the page can answer it, and its question expires."""
    command = [sys.executable, "-m", "engine.cli", "run", "asks-soon", "--state", str(worker.state)]
    environment = {**os.environ, "RUNBOOK_PATH": str(worker.place / "books")}
    done = subprocess.run(
        command, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False
    )

    assert done.returncode == 3, done.stderr
    (row,) = worker.runs().values()
    worker.run(row.id, "ended")


def test_the_alerts_command_tells_what_was_decided(worker: Worker) -> None:
    """With every guard, without the worker's help."""
    (taking,) = worker.offer(firing("Quick", severity="critical"))
    worker.run(taking.run, "ended")
    command = [sys.executable, "-m", "engine.cli", "alerts", "--state", str(worker.state)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    told = subprocess.run([*command, taking.alert[:8]], capture_output=True, text=True, check=True).stdout

    assert "Quick" in listed
    assert taking.run in listed
    assert "cooldown: allow" in told
    assert "severity = critical" in told


async def follow(worker: Worker, run: str) -> list[object]:
    """The events of a run as a follower gets them, up to its end."""
    line, found = Line(worker.place / "control.sock"), []
    async with asyncio.timeout(DEADLINE_S):
        async for news in line.stream(messages.Follow(run=run)):
            if isinstance(news, messages.Happened):
                found.append(msgspec.json.decode(news.event))
                if found[-1]["kind"] == "ended":
                    break
    await line.close()
    return found
