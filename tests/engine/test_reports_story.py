"""A run's events, sorted into what people ask about."""

import msgspec
import pytest

from engine import record, reports
from engine.reports import story
from engine.values import Plan
from tests.samples import runs


def test_each_change_carries_its_guards_its_proof_and_its_end():
    """A reader must not have to match attempts with plans by hand."""
    poll, ring = story.tell(runs.burst_run()).proposals
    assert (poll.state, poll.because) == ("undone", "4,330 events/s are still lost: it did not help")
    assert (ring.state, [c.met for c in ring.compared]) == ("kept", [True, True])
    assert ring.by == "--yes"
    assert len(ring.decisions) == 4


def test_an_announced_change_without_an_end_is_unknown_and_still_to_undo():
    """After a kill nobody may read 'done' or 'not done' into silence."""
    told = story.tell(runs.killed_run())
    assert told.proposals[-1].state == "unknown"
    assert len(told.standing) == 1
    assert "may be in force" in told.sentence
    assert told.outcome == "interrupted"


def test_only_what_stands_is_offered_for_undo():
    """An undone change has nothing to take back; offering it would mislead."""
    poll, ring = story.tell(runs.burst_run()).proposals
    assert not poll.stands
    assert poll.undo_by_hand == ""
    assert ring.stands
    assert "ring.size: 256KiB" in ring.undo_by_hand


def test_a_rehearsed_change_is_never_told_as_made():
    """The change board must see 'would' for what a dry-run planned."""
    nothing, ring = story.tell(runs.rehearsal_run()).proposals
    assert nothing.state == "nothing to change"
    assert (ring.state, ring.attempts) == ("would", [])


def test_a_plan_that_guards_deny_is_held_back_with_their_reason():
    """A refusal must be told with the guard's own words, not as silence."""
    deny = runs.ALLOWED[0].__class__(answer="deny", guard="freeze", because="frozen until Monday")
    events = (
        record.Planned(at=1.0, plan=runs.RING_PLAN),
        record.Judged(at=1.0, remediation="ring-buffer-size", decisions=(deny,), answer="deny"),
    )
    (held,) = story.tell(record.Run(head=runs.head(), events=events)).proposals
    assert (held.state, held.because) == ("held back", "frozen until Monday")


def test_what_could_not_be_seen_is_listed_once():
    """Five windows with the same gap are one gap."""
    unseen = [(who, why) for who, why, _ in story.tell(runs.burst_run()).unseen]
    assert len(unseen) == len(set(unseen))
    assert ("process.throttled_share", "no CPU quota is set on its cgroup") in unseen


def test_an_intent_without_its_plan_still_shows():
    """A resumed run's record may begin in the middle; the change must not vanish."""
    cut = next(e for e in runs.burst_run().events if isinstance(e, record.Intended))
    (alone,) = story.tell(record.Run(head=runs.head(), events=(cut,))).proposals
    assert alone.plan == Plan(remediation="poll-interval", changes=(cut.change,))


def later(doing, by="root", *, numbers=(2,)):
    """The run, taken up again after its end."""
    run = runs.burst_run()
    at = run.events[-1].at + 3600
    more = [record.Settled(at=at + 1, attempt=number, state="undone", because="-") for number in numbers]
    taken_up = record.Resumed(at=at, by=by, doing=doing)
    return record.Run(head=run.head, events=(*run.events, taken_up, *more))


@pytest.mark.parametrize(
    ("doing", "words"),
    [
        ("undo", "Later undone by root: 2026-"),
        ("lease-end", "Later undone, since the lease had ended: 2026-"),
    ],
)
def test_a_run_whose_change_was_taken_back_afterwards_says_so_in_every_form(doing, words):
    """FIXED in large letters over a change that is gone sends people away from a live problem."""
    run = later(doing)
    assert story.tell(run).later.startswith(words)
    for form in ("text", "markdown", "html", "json"):
        assert words.partition(":")[0] in " ".join(reports.render(run, form).split())
    assert story.tell(runs.burst_run()).later == ""  # undone within the run: it tells that itself


def test_a_story_survives_the_journal():
    """Reports are told from what was stored, so storing must lose nothing they need."""
    run = runs.burst_run()
    stored = msgspec.json.decode(msgspec.json.encode(run), type=record.Run)
    assert story.tell(stored).proposals == story.tell(run).proposals
