"""The worker lets the details of old runs go, as `runs_kept` says."""

from __future__ import annotations

from pathlib import Path

from engine.journal import Journal
from engine.record import Pruned
from tests.engine.chains import DAY, events, head
from tests.engine.server.working import until, working


def test_details_of_old_runs_go_by_themselves(tmp_path: Path) -> None:
    """What the audit tells of stays, and the journal is whole."""
    with Journal.open(tmp_path / "state") as journal:
        log = journal.begin(head("old", DAY))
        for event in events(DAY, undone=True):
            log.record(event)

    def dropped() -> list[Pruned]:
        with Journal.open(tmp_path / "state", write=False) as reader:
            return [event for event in reader.run("old").events if isinstance(event, Pruned)]

    with working(tmp_path, runs_kept="400d"):
        until(lambda: bool(dropped()))

    (event,) = dropped()
    assert (event.by, event.keep_s) == ("runbook serve", 400 * DAY)
    with Journal.open(tmp_path / "state", write=False) as reader:
        assert reader.verify() == []
