"""A campaign of kill -9 against ``runbook serve``: a sender that keeps on, runs that change files, a person.

Every change is a line in a log, so that one that was made twice can't hide. Kills come at random moments, and
right before and after commits of queue and journal (``mortal_python``). Afterwards everything is counted.

Not here: how many kills (``test_kill_serve.py``, ``tools/kill_serve.py``).
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from engine.errors import RunbookError
from engine.journal import Journal
from engine.record import Applied, Ruled, Run, Settled
from engine.server.alerts.alert import Alert
from tests.serving import Serving, alert, eventually, notification

MORTAL = Path(__file__).with_name("mortal_python")
TARGETS = 4
KINDS = ("auto", "ask", "lease")
LEASE_S = 4
#: Of five alerts one is noise that fits no runbook, and each is sent until it is taken.
NOISE = 2

_TOOL = """#!/bin/sh
echo "$1 $2" >> "$(dirname "$0")/log"
case $1 in
make) : > "$(dirname "$0")/made/$2" ;;
remove) rm "$(dirname "$0")/made/$2" ;;
esac
"""
_RUNBOOK = """
runbook: kill-{kind}
summary: Makes one file.
triggers:
  - alert: Kill-{kind}
    target: "{{{{ alert.labels.target }}}}"
    inputs: {{name: "{{{{ alert.labels.cause }}}}"}}
inputs:
  name: {{type: text, help: What to make.}}
goal:
  look: process
  with: {{window: 200ms}}
  until: process.cpu_cores > 99
steps:
  - look: process
    with: {{window: 200ms}}
  - wait: a little
    for: 200ms
  - run: [{home}/tool, make, "{{{{ inputs.name }}}}"]
    undo: [{home}/tool, remove, "{{{{ inputs.name }}}}"]
    in_force: [/usr/bin/test, -e, "{home}/made/{{{{ inputs.name }}}}"]
    keep: always
    risk: {risk}
{lease}  - wait: a little more
    for: 100ms
  - tell: "{{{{ outcome.sentence }}}}"
"""


class Campaign:
    """Serve, agents, a sender and a person, in a directory of their own."""

    def __init__(self, home: Path, seed: int = 1) -> None:
        self.home, self.chance = home, random.Random(seed)
        self.mortal = home / "mortal"
        self.mortal.mkdir(parents=True)
        self._lay_out()
        environment = {
            "RUNBOOK_PATH": str(home / "runbooks"),
            "RUNBOOK_PROFILES": str(home / "profiles"),
            "RUNBOOK_POLICY": str(home / "policy.yaml"),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(MORTAL), os.environ.get("PYTHONPATH")))),
            "MORTAL": str(self.mortal),
        }
        settings = {"runs": {"cooldown": "0s", "at_once": 3}, "limits": {"connections": 64}}
        self.serving = Serving(home / "serve", settings=settings, environment=environment)
        self.taken: dict[str, str] = {}
        self.answered: dict[str, str] = {}
        self.kills: Counter[str] = Counter()
        self._number = 0
        self._over = threading.Event()
        self._agents: list[subprocess.Popen[bytes]] = []

    def _lay_out(self) -> None:
        for name in ("runbooks", "profiles", "made"):
            (self.home / name).mkdir()
        tool = self.home / "tool"
        tool.write_text(_TOOL)
        tool.chmod(0o755)
        lease = f"    lease: {LEASE_S}s\n"
        for kind in KINDS:
            risk = "medium" if kind == "ask" else "low"
            text = _RUNBOOK.format(kind=kind, home=self.home, risk=risk, lease=lease * (kind == "lease"))
            (self.home / f"runbooks/kill-{kind}.yaml").write_text(text)
        (self.home / "profiles/kill.yaml").write_text(
            "profile: kill\nsummary: A process that does nothing.\nmatch: {comm: kill-agent}\n"
        )
        tool_entries = [
            {"run": str(tool), "arguments": [verb, "*"], "owner": "tests"} for verb in ("make", "remove")
        ]
        test = {
            "run": "/usr/bin/test",
            "arguments": ["-e", f"{self.home}/made/*"],
            "reads": True,
            "owner": "tests",
        }
        policy: dict[str, Any] = {"policy": 1, "risk": {"low": "auto", "medium": "ask"}}
        policy |= {"cooldown": {"for": "0s"}, "budget": {"per": "1s", "target": 10000, "host": 10000}}
        policy["commands"] = [*tool_entries, test]
        (self.home / "policy.yaml").write_text(yaml.safe_dump(policy))

    def __enter__(self) -> Campaign:
        try:
            self._start_agents()
            self.serving.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.serving.__exit__()
        for child in self._carrying():
            with suppress(psutil.NoSuchProcess):
                child.kill()
        for agent in self._agents:
            agent.kill()
            agent.wait()

    def _start_agents(self) -> None:
        """Processes of the profile's name; each is a target."""
        program = self.home / "kill-agent"
        shutil.copy("/usr/bin/sleep", program)
        for _ in range(TARGETS):
            self._agents.append(subprocess.Popen([program, "3600"]))

    # ── who sends, and who answers ──────────────────────────────────────────────

    def send(self, kind: str) -> None:
        """One alert, sent until it is taken, as Alertmanager does."""
        self._number += 1
        target = f"kill:{self._agents[self._number % TARGETS].pid}"
        labels = {"target": target, "cause": f"{kind}-{self._number}"}
        told = alert(f"Kill-{kind}", self._number, labels=labels)
        while not self._over.is_set():
            with suppress(OSError, ConnectionError, Exception):
                status, _ = self.serving.post(notification(told))
                assert status // 100 != 4, f"{status} for a good alert"
                if status // 100 == 2:
                    self.taken[_key(told)] = labels["cause"]
                    return
            time.sleep(0.05)

    def _storm(self, pause: float) -> None:
        while not self._over.wait(pause):
            self.send(KINDS[self._number % len(KINDS)] if self._number % 5 > NOISE - 1 else "noise")

    def _answer(self) -> None:
        """A person who approves two of three, and denies the third."""
        while not self._over.wait(0.3):
            for run in self.waiting():
                self.answer(run, "deny" if len(self.answered) % 3 == 2 else "approve")
                if self._over.is_set():
                    return

    def answer(self, run: str, verb: str) -> None:
        """Answer one run, once."""
        if run not in self.answered:
            done = self.serving.command(verb, run, "--comment", "kill campaign")
            if done.returncode in {0, 1, 3}:
                self.answered.setdefault(run, verb)

    def waiting(self) -> list[str]:
        """Runs that wait for an answer."""
        return [run for (run,) in self._rows("SELECT id FROM jobs WHERE state = 'waiting'")]

    def runs(self) -> list[Run]:
        """All runs of the journal."""
        try:
            with Journal.open(self.serving.state, write=False) as journal:
                return [journal.run(run.head.id) for run in journal.runs(limit=100_000)]
        except RunbookError:
            return []

    # ── kills ───────────────────────────────────────────────────────────────────

    @contextmanager
    def load(self, pause: float = 0.25) -> Iterator[None]:
        """A storm and a person, meanwhile."""
        threads = [threading.Thread(target=self._storm, args=(pause,)), threading.Thread(target=self._answer)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(timeout=60)

    def kill_once(self) -> None:
        """Kill something somewhere, and start again what is gone."""
        ways = [self._kill_worker, self._kill_all, self._kill_listener, self._kill_child]
        ways += [self._kill_at_commit] * 4
        time.sleep(self.chance.uniform(0, 0.8))
        self.chance.choice(ways)()
        self._revive()

    def _revive(self) -> None:
        """Start what is gone; what was told to die may do so only now."""
        for patience in (True, True, False):
            gone = [part for part, process in self.serving.processes.items() if process.poll() is not None]
            try:
                self.serving.start(*gone) if gone else None
            except AssertionError:
                if not patience:
                    raise

    def _kill_worker(self) -> None:
        """The worker alone: what it started goes on without it."""
        self._kill(self.serving.processes["worker"].pid, "worker")
        self.serving.processes["worker"].wait()

    def _kill_all(self) -> None:
        self.serving.kill("worker")
        self.kills["worker and children"] += 1

    def _kill_listener(self) -> None:
        self.serving.kill("listener")
        self.kills["listener"] += 1

    def _kill_child(self) -> None:
        """A process that carries a run; the worker itself where there is none."""
        children = self._carrying()
        if not children:
            return self._kill_worker()
        self._kill(self.chance.choice(children).pid, "carrier")
        return None

    def _kill_at_commit(self) -> None:
        """At the next commit of a kind that was seen; what has not come in two seconds is let go."""
        kind, _, by = self.chance.choice(self.seen() or ["queue "]).partition(" ")
        when = self.chance.choice(("before", "after"))
        order = self.mortal / f"{kind}.{when}"
        order.write_text(by)
        deadline = time.monotonic() + 2
        while order.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        with suppress(FileNotFoundError):
            order.unlink()
            return
        self.kills[f"at a commit of the {kind}"] += 1
        time.sleep(0.1)  # until the system has ended it

    def seen(self) -> list[str]:
        """Kinds of commits that there were so far."""
        file = self.mortal / "seen"
        return sorted(set(file.read_text().splitlines())) if file.exists() else []

    def died(self) -> Counter[str]:
        """At which commits something died, and how often."""
        file = self.mortal / "died"
        return Counter(file.read_text().splitlines() if file.exists() else ())

    def _carrying(self) -> list[psutil.Process]:
        mine, found = str(self.serving.home), []
        for process in psutil.process_iter(["cmdline", "environ"]):
            words = process.info["cmdline"] or []
            environ = process.info["environ"] or {}
            if "engine.server.worker.carry" in words and environ.get("RUNBOOK_STATE", "").startswith(mine):
                found.append(process)
        return found

    def _kill(self, pid: int, what: str) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            self.kills[what] += 1

    # ── what came of it ─────────────────────────────────────────────────────────

    def settle(self, within: float = 180) -> None:
        """Until nothing is under way: the person answers what waits, leases end."""
        self._over.clear()
        with suppress(FileNotFoundError):
            (self.mortal / "seen").rename(self.mortal / "all-seen")

        def quiet() -> bool:
            for run in self.waiting():
                self.answer(run, "approve")
            time.sleep(0.2)
            return not self.open_jobs() and not self.open_leases()

        self._revive()
        eventually(quiet, within=within, why=f"jobs {self.open_jobs()} or leases did not end")

    def open_jobs(self) -> list[Any]:
        """Jobs of the queue that have not ended."""
        return self._rows("SELECT id, runbook, state FROM jobs WHERE state != 'ended'")

    def open_leases(self) -> list[str]:
        """Files of leases that are still there."""
        return [file.name for file in (self.home / "made").glob("lease-*")]

    def _rows(self, statement: str) -> list[Any]:
        with sqlite3.connect(f"file:{self.serving.state}/queue.db?mode=ro", uri=True, timeout=10) as rows:
            return rows.execute(statement).fetchall()

    def problems(self) -> list[str]:
        """Whatever is not as it must be; empty when all is well."""
        log = Counter((self.home / "log").read_text().splitlines() if (self.home / "log").exists() else ())
        runs = {run.head.id: run for run in self.runs()}
        return [
            *self._lost(runs),
            *self._twice(log),
            *self._answers(runs, log),
            *self._leases(runs, log),
            *self._chain(),
        ]

    def _lost(self, runs: dict[str, Run]) -> Iterator[str]:
        rows = {key: (fate, run) for key, fate, run in self._rows("SELECT id, fate, run FROM alerts")}
        for key, cause in self.taken.items():
            if key not in rows:
                yield f"the accepted alert {cause} is lost"
            elif rows[key][0] == "started" and rows[key][1] not in runs:
                yield f"the alert {cause} started run {rows[key][1]}, which is not in the journal"
        for run, state, count in self._rows(
            "SELECT runbook || target, state, COUNT(*) FROM jobs GROUP BY id"
        ):
            if count != 1:
                yield f"{count} jobs of one id: {run} {state}"

    def _twice(self, log: Counter[str]) -> Iterator[str]:
        for line, times in log.items():
            if times > 1:
                yield f"{line!r} was done {times} times"

    def _answers(self, runs: dict[str, Run], log: Counter[str]) -> Iterator[str]:
        for run in runs.values():
            name = str(dict(run.head.inputs).get("name", ""))
            made = log.get(f"make {name}", 0)
            rulings = [event.answer for event in run.events if isinstance(event, Ruled)]
            if run.head.ended_at is None or run.head.outcome == "waiting":
                yield f"run {run.head.id} ({name}) is not at its end: {run.head.outcome}"
            if any(isinstance(event, Applied) for event in run.events) and not made:
                yield f"run {run.head.id} says that it made {name}, and it was not made"
            if "denied" in rulings and made:
                yield f"{name} was denied and made all the same"
            if "approved" in rulings and rulings[-1] == "approved" and not made:
                yield f"{name} was approved and not made: {run.head.outcome} {run.head.sentence}"
            if name.startswith("ask") and made and "approved" not in rulings:
                yield f"{name} was made without an approval"
            if run.head.outcome == "failed":
                yield f"run {run.head.id} ({name}) failed: {run.head.sentence}"

    def _leases(self, runs: dict[str, Run], log: Counter[str]) -> Iterator[str]:
        # Killed between change and proof, a run takes the change back when it is taken up, and says so.
        told = {
            str(dict(run.head.inputs).get("name", ""))
            for run in runs.values()
            if any(isinstance(event, Settled) and event.state == "undone" for event in run.events)
        }
        for line in log:
            verb, _, name = line.partition(" ")
            if name.startswith("lease") and verb == "make" and not log.get(f"remove {name}"):
                yield f"the lease of {name} was never ended"
            if not name.startswith("lease") and verb == "remove" and name not in told:
                yield f"{name} was undone, and its run does not say so"

    def _chain(self) -> Iterator[str]:
        verified = self.serving.command("audit", "--verify")
        if verified.returncode:
            yield f"the journal's chain: {verified.stdout} {verified.stderr}"
        for name in ("queue.db", "journal.db"):
            with sqlite3.connect(self.serving.state / name) as rows:
                (found,) = rows.execute("PRAGMA integrity_check").fetchone()
            if found != "ok":
                yield f"{name}: {found}"


def _key(told: dict[str, Any]) -> str:
    from datetime import datetime  # noqa: PLC0415

    starts = datetime.fromisoformat(told["startsAt"]).timestamp()
    name, status, fingerprint = told["labels"]["alertname"], told["status"], told["fingerprint"]
    told_by = f"alertmanager/{fingerprint}"
    return Alert(name=name, status=status, fingerprint=told_by, starts_at=starts).key
