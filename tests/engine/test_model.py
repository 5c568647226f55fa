"""The document's own values."""

import msgspec
import pytest

from engine.language.model import VERBS, Change, Look, Runbook, Step, Stop, Tell, Try, Wait


@pytest.mark.parametrize(
    ("step", "title"),
    [
        (Look(probes=("event-flow", "process")), "look: event-flow, process"),
        (Look(probes=("event-flow",), name="The flow"), "The flow"),
        (Try(rungs=(Change(remediation="a"), Change(remediation="b"), Change(remediation="a"))), "try: a, b"),
        (Wait(what="the agent to settle", seconds=10.0), "wait: the agent to settle"),
        (Stop(outcome="unfixed", because="x"), "stop: unfixed"),
    ],
)
def test_every_step_has_a_title(step, title):
    """The live display and the report name each step, whether its author did or not."""
    assert step.title == title


def test_every_verb_is_a_step_and_each_step_has_its_verb():
    """A verb in the list that the loader can't read would be a promise not kept."""
    tags = [one.__struct_config__.tag for one in Step.__args__]
    assert tuple(tags) == VERBS


def test_a_document_survives_json():
    """`runbook show --json` and the journal hold documents as JSON, with the kind of each step."""
    runbook = Runbook(runbook="x", steps=(Look(probes=("a",)), Tell(sentence="b")))
    assert msgspec.json.decode(msgspec.json.encode(runbook), type=Runbook) == runbook
