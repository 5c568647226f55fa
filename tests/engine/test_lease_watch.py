"""A lease that nobody waits for ends by itself: a real command's change, real processes, some seconds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from engine.journal import Journal, locks
from engine.record import Resumed, Settled
from engine.running import leases, watch
from engine.running.scene import Tools
from tests.engine.rehearsed import of_type
from tests.engine.test_leases import leased
from tests.engine.test_resume import tools

#: On a machine that does much else.
DEADLINE_S = 60.0
LEASE_S = 6

RUNBOOK = """\
runbook: short
steps:
  - run: [/usr/bin/touch, {home}/made]
    undo: [/usr/bin/rm, {home}/made]
    in_force: [/usr/bin/test, -e, {home}/made]
    keep: always
    risk: medium
    lease: {lease}s
"""
POLICY = """\
policy: 1
risk: {{medium: ask}}
commands:
  - {{run: /usr/bin/touch, arguments: ["{home}/made"], owner: tests}}
  - {{run: /usr/bin/rm, arguments: ["{home}/made"], owner: tests}}
  - {{run: /usr/bin/test, arguments: [-e, "{home}/made"], reads: true, owner: tests}}
"""


class Host:
    """Commands of ours, an agent that sleeps, and a policy that lets a file be made."""

    def __init__(self, home: Path) -> None:
        self.home, self.made, self.state = home, home / "made", home / "state"
        for name in ("books", "profiles"):
            (home / name).mkdir()
        (home / "profiles/sleeper.yaml").write_text(
            "profile: sleeper\nsummary: It sleeps.\nmatch: {comm: lease-sleeper}\n"
        )
        (home / "policy.yaml").write_text(POLICY.format(home=home))
        (home / "books/short.yaml").write_text(RUNBOOK.format(home=home, lease=LEASE_S))
        (home / "books/calls.yaml").write_text("runbook: calls\nsteps: [{call: short}]\n")
        shutil.copy("/usr/bin/sleep", home / "lease-sleeper")
        self.agent = subprocess.Popen([home / "lease-sleeper", "3600"])

    def command(self, *words: str) -> dict[str, Any]:
        """A run's document, as the command gives it."""
        environment = {
            **os.environ,
            "RUNBOOK_PATH": str(self.home / "books"),
            "RUNBOOK_PROFILES": str(self.home / "profiles"),
            "RUNBOOK_POLICY": str(self.home / "policy.yaml"),
            "RUNBOOK_STATE": str(self.state),
        }
        done = subprocess.run(
            [sys.executable, "-m", "engine.cli", *words, "--json"],
            env=environment, capture_output=True, text=True, timeout=DEADLINE_S, check=False,
        )  # fmt: skip
        assert done.stdout, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def watchers(self) -> list[psutil.Process]:
        """Processes that wait for leases of ours."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "--wait" in words and str(self.state) in words:
                found.append(process)
        return found

    def run(self, wanted: str) -> Any:
        """A run as the journal tells it."""
        with Journal.open(self.state, write=False) as journal:
            return journal.run(wanted)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """Ended with the test, and so is who watches."""
    place = Host(tmp_path)
    yield place
    for process in [*place.watchers(), place.agent]:
        process.kill()
    place.agent.wait()


def until(what: Callable[[], object]) -> None:
    ends = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < ends, "it took too long"
        time.sleep(0.05)


@pytest.mark.parametrize("how", ["run", "approve", "resume", "call"])
def test_a_lease_ends_by_itself_wherever_it_was_given(host: Host, how: str) -> None:
    """By a run, by one that was approved or resumed, by one that was called: no worker is there."""
    target = f"sleeper:{host.agent.pid}"
    at_once = [] if how in {"approve", "resume"} else ["--yes"]
    book = "calls" if how == "call" else "short"
    run = host.command("run", book, "--target", target, *at_once)["id"]
    if not at_once:
        assert not host.watchers()
        words = ["approve", run] if how == "approve" else ["resume", run, "--yes"]
        assert host.command(*words)["outcome"] != "waiting"
    until(host.watchers)
    until(lambda: not host.made.exists())
    until(lambda: not host.watchers())
    found = host.run(f"{run}.1" if how == "call" else run)
    assert [one.state for one in of_type(found, Settled)] == ["leased", "undone"]
    assert of_type(found, Resumed)[-1].doing == "lease-end"


def test_nobody_is_started_where_somebody_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker, or an earlier one; nor where no lease is in force."""
    started: list[object] = []
    monkeypatch.setattr(watch.subprocess, "Popen", lambda *words, **_: started.append(words))
    watch.start(Journal.open(tmp_path / "empty"))
    everything = tools(tmp_path, leased(tmp_path))
    with locks.hold_run(tmp_path, watch.LOCK, now=0.0):
        watch.start(everything.journal)
    assert not started
    watch.start(everything.journal)
    assert len(started) == 1


def test_whoever_stops_watching_looks_once_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease given right then saw the watch at work, and started none."""
    everything = tools(tmp_path, leased(tmp_path))
    looked: list[bool] = []

    def wait(one: Tools, _: object) -> None:
        looked.append(locks.run_is_held(tmp_path, watch.LOCK))
        if len(looked) > 1:
            leases.end_now("last", one)

    monkeypatch.setattr(leases, "_wait_for_all", wait)
    leases.keep_leases(everything)
    assert looked == [True, True]
