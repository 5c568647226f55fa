"""An agent on the page of targets: which run was its last."""

from __future__ import annotations

from engine.server.messages import TargetRow
from engine.server.worker import reads


def test_a_last_run_is_that_of_the_agent_and_not_of_its_name() -> None:
    """Of two agents of one name each has its own; the name counts only for a run that found none."""
    ends = {"falco@a": ("r-1", "unfixed")}
    first, second = (
        reads.health(TargetRow(name="falco", ref=ref, profile="falco"), (), ends)
        for ref in ("falco@a", "falco@b")
    )

    assert (first.health, first.last_run) == ("troubled", "r-1")
    assert (second.health, second.last_run) == ("well", "")
