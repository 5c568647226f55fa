"""Leases that are due: each is told about for itself, and nothing waits for it."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from engine.server.log import Log
from engine.server.messages import LeaseEnd, LeaseRow, LeasesEnded
from engine.server.worker import upkeep
from engine.server.worker.upkeep import Upkeep


def test_of_several_leases_only_those_that_could_not_be_ended_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was undone, one is left, one belongs to a run that is being worked on: no false news."""
    told: list[str] = []

    async def child(*_: object) -> LeasesEnded:
        return LeasesEnded(
            rows=(
                LeaseEnd(lease=lease("done"), state="undone"),
                LeaseEnd(lease=lease("left"), state="left", because="somebody else has set it"),
                LeaseEnd(lease=lease("busy"), state="leased"),
            )
        )

    async def tell(drafts: Any) -> None:
        told.extend(one.sentence for one in drafts)

    async def books(_: object) -> list[int]:
        return [1]

    monkeypatch.setattr(upkeep, "ask_child", child)
    keeper: Any = SimpleNamespace(
        books=SimpleNamespace(do=books),
        herald=SimpleNamespace(tell=tell),
        directory=tmp_path,
        wake=lambda: None,
    )
    out = io.StringIO()
    nobody: Any = None
    looking = Upkeep(keeper, nobody, nobody, Log("worker", stream=out))
    asyncio.run(looking._leases())

    assert told == ["left of agent still holds 2: its lease has ended and somebody else has set it"]
    assert [line.split("run=")[1].split()[0] for line in out.getvalue().splitlines()] == ["done", "left"]


def lease(name: str) -> LeaseRow:
    return LeaseRow(
        run=name,
        attempt=1,
        target="agent",
        remediation="x",
        where=name,
        before="1",
        after="2",
        until=1.0,
        since=0.0,
    )
