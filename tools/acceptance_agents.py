"""Tracing tools of the distribution, run for real: found, their loss named, mended where a knob is there.

Each tool is slowed down: its reader stands still for ``STOPPED_S`` at a time, while a process of ours
makes the events it is meant to see. ``bpftrace`` and ``trace-bpfcc`` can be given a larger buffer, in the
file of settings they are started from; the others can't, and then the run must end ``unfixed`` with the
right cause, and change nothing.

Not here: the lab's faults (``tools/acceptance.py``), unit tests (``tests``).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bpf.bcc import headers
from bpf.objects.perfbuf import PerfWatch
from bpf.objects.ringbuf import RingWatch
from bpf.system.procfs import PERF_EVENT_ARRAY, RINGBUF, held_maps
from engine.errors import RunbookError

RUNBOOK = Path(sys.executable).with_name("runbook")
SEARCH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
STOPPED_S, RUNNING_S = 0.3, 0.2
#: The tools want tracefs and debugfs: they get a mount namespace of their own where a machine has none.
OWN_MOUNTS = """
[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug
exec "$@"
"""
#: Makes ARGV[2] events of the kind ARGV[1] a second, on the last CPU.
MAKER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
me, long = os.getpid(), (ctypes.c_char_p * 21)(*[b"x" * 120] * 20)
event = {"mount": lambda: libc.mount(b"a", b"/nowhere", b"b", 0, None),
         "kill": lambda: libc.kill(me, 0),
         "exec": lambda: libc.execv(b"/nowhere", long),
         "open": lambda: libc.open(b"/nowhere", 0)}[sys.argv[1]]
due = time.monotonic()
while True:
    for _ in range(int(sys.argv[2]) // 100):
        event()
    due = max(due + 0.01, time.monotonic() - 0.05)
    time.sleep(max(0, due - time.monotonic()))
"""


@dataclass(frozen=True)
class Tool:
    """A tool and the events that make it lose.

    Attributes:
        argv: Its command; ``{pid}`` is the maker of events, ``{pages}`` the setting.
        makes: Kind and rate of the events.
        setting: The variable of its buffer's pages; empty where it has no such setting.
        pages: What it begins with.
    """

    profile: str
    argv: tuple[str, ...]
    makes: tuple[str, int]
    setting: str = ""
    pages: int = 4

    @property
    def outcome(self) -> str:
        """How a run must end."""
        return "fixed" if self.setting else "unfixed"


_SCRIPT = (
    'tracepoint:syscalls:sys_enter_openat /pid == {pid}/ {{ printf("%s %s\\n", comm, str(args->filename)); }}'
)
TOOLS = {
    "bpftrace": Tool("bpftrace", ("bpftrace", "-e", _SCRIPT), ("open", 2000), "BPFTRACE_PERF_RB_PAGES"),
    "trace": Tool(
        "bcc-opensnoop",
        ("trace-bpfcc", "-p", "{pid}", "-b", "{pages}", 't:syscalls:sys_enter_openat "%s", args->filename'),
        ("open", 2000),
        "BUFFER_PAGES",
    ),
    "opensnoop": Tool("libbpf-tools", ("opensnoop", "-p", "{pid}"), ("open", 6000)),
    "execsnoop": Tool("libbpf-tools", ("execsnoop", "-x"), ("exec", 1000)),
    "sigsnoop": Tool("libbpf-tools", ("sigsnoop", "-k"), ("kill", 8000)),
    "mountsnoop": Tool("libbpf-tools", ("mountsnoop", "-p", "{pid}"), ("mount", 3000)),
}


class Stage:
    """One tool in a folder of its own: its settings, how it is started, its pid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = folder / "settings.env"
        self.restart = folder / "restart"
        self.log = folder / "log"
        self._pid = folder / "pid"
        self._plan = folder / "plan.json"

    def lay(self, tool: Tool, maker: int) -> None:
        """Write everything that a start needs."""
        comment = "# settings of a test\n"
        self.settings.write_text(f"{comment}{tool.setting}={tool.pages}\n" if tool.setting else comment)
        argv = [word.format(pid=maker, pages="{pages}") for word in tool.argv]
        self._plan.write_text(json.dumps({"argv": argv, "setting": tool.setting}))
        self.restart.write_text(
            f'#!/bin/sh\nexec {sys.executable} {Path(__file__).resolve()} --restart "$1"\n'
        )
        self.restart.chmod(0o755)

    def pid(self) -> int | None:
        """Of the tool, once it has seen its first event."""
        try:
            return int(self._pid.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def start(self) -> None:
        """Start it, or start it anew, and wait until it sees events.

        Raises:
            RuntimeError: It does not.
        """
        self.stop()
        plan = json.loads(self._plan.read_text())
        set_there = dict(
            line.split("=", 1)
            for line in self.settings.read_text().splitlines()
            if "=" in line and line[0] != "#"
        )
        argv = [word.replace("{pages}", set_there.get(plan["setting"], "64")) for word in plan["argv"]]
        known = {
            "PATH": SEARCH,
            "RUNBOOK_SETTINGS": str(self.settings),
            "RUNBOOK_RESTART": str(self.restart),
            "RUNBOOK_LOG": str(self.log),
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", OWN_MOUNTS, "sh", *argv],
                env={**os.environ, **self._headers(), **set_there, **known},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while not sees_events(process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise RuntimeError(f"{argv[0]} sees nothing: {self.log.read_text()[-300:]}")
            time.sleep(0.1)
        self._pid.write_text(str(process.pid))

    def stop(self) -> None:
        """End it, if it runs."""
        pid = self.pid()
        self._pid.unlink(missing_ok=True)
        if pid is None:
            return
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return

    def _headers(self) -> dict[str, str]:
        """What bcc compiles with where the running kernel's headers are not there."""
        if headers.runs_everything(os.uname().release) or not (halves := headers.any_halves()):
            return {}
        place = self.folder / "headers"
        return {"BCC_KERNEL_SOURCE": str(place if place.exists() else headers.merge(halves, place))}


def sees_events(pid: int) -> bool:
    """Whether something has gone into one of its buffers."""
    held = held_maps(pid)
    try:
        for map_id in (map_id for map_id, kind in held.items() if kind == RINGBUF):
            with RingWatch(map_id) as ring:
                if ring.positions()[1]:
                    return True
        if PERF_EVENT_ARRAY not in held.values():
            return False
        with PerfWatch(pid) as watch:
            return any(ring.head for ring in watch.read())
    except RunbookError:
        return False


@contextmanager
def making(tool: Tool) -> Iterator[int]:
    """A process that makes the tool's events."""
    process = subprocess.Popen([sys.executable, "-c", MAKER, tool.makes[0], str(tool.makes[1])])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@contextmanager
def slowed(stage: Stage) -> Iterator[None]:
    """Its reader stands still again and again, whichever process it is by then."""
    done = threading.Event()

    def slow() -> None:
        while not done.wait(RUNNING_S):
            pid = stage.pid()
            if pid is None:
                continue
            try:
                os.kill(pid, signal.SIGSTOP)
                done.wait(STOPPED_S)
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                continue

    thread = threading.Thread(target=slow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


@contextmanager
def losing(name: str, folder: Path) -> Iterator[Stage]:
    """The tool as it runs, losing events."""
    stage, tool = Stage(folder), TOOLS[name]
    folder.mkdir(parents=True, exist_ok=True)
    with making(tool) as maker:
        stage.lay(tool, maker)
        try:
            stage.start()
            with slowed(stage):
                yield stage
        finally:
            stage.stop()


def once(name: str, number: int, state: Path) -> dict[str, Any]:
    """One tool, one run, one undo."""
    tool = TOOLS[name]
    began = time.monotonic()
    with losing(name, state / "tools" / f"{name}-{number}") as stage:
        before = stage.settings.read_bytes()
        words = ["run", "events-dropped", "--pid", str(stage.pid()), "--yes", "--json"]
        inputs = ["--input", "window=2s", "--input", "hold=3s"]
        done = _runbook(state, *words, *inputs)
        run = json.loads(done.stdout)
        undone = _runbook(state, "undo", run["id"]).returncode in {0, 1} if tool.setting else True
        exact = stage.settings.read_bytes() == before
    events = run["events"]
    decided = [event["verdict"] for event in events if event["kind"] == "decided"]
    cause = (decided[0].get("causes") or [{}])[0] if decided else {}
    target: Any = next((event["target"] for event in events if "target" in event), {})
    goals = [event.get("values") for event in events if event["kind"] == "goal-measured"]
    changes = [event["change"] for event in events if event["kind"] == "intended"]
    return {
        "tool": name,
        "found": (target.get("profile") if isinstance(target, dict) else target) == tool.profile,
        "cause": cause.get("name", "-"),
        "right_cause": cause.get("name") == "reader-polls-too-slowly",
        "outcome": run["outcome"],
        "right_outcome": run["outcome"] == tool.outcome,
        "undone": undone and exact,
        "goal_before": goals[0] if goals else None,
        "goal_after": goals[-1] if goals else None,
        "changed": [f"{one.get('before_text')} → {one.get('after_text')}" for one in changes],
        "sentence": decided[0].get("sentence") if decided else "",
        "fix": cause.get("fix", ""),
        "seconds": round(time.monotonic() - began),
        "id": run["id"],
    }


def _runbook(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RUNBOOK_STATE": str(state)}
    return subprocess.run(
        [str(RUNBOOK), *words], capture_output=True, text=True, env=environment, timeout=300, check=False
    )


def tell(rows: list[dict[str, Any]]) -> int:
    """The table; gives how many of its counts are short."""
    short = 0
    print(f"\n{'tool':12} {'found':>10} {'cause':>10} {'outcome':>10} {'undone':>10}   seen")
    for name in dict.fromkeys(row["tool"] for row in rows):
        runs = [row for row in rows if row["tool"] == name]
        counts = [
            sum(bool(run[each]) for run in runs)
            for each in ("found", "right_cause", "right_outcome", "undone")
        ]
        short += sum(count < len(runs) for count in counts)
        told = " ".join(f"{count:>5} of {len(runs)}" for count in counts)
        seen = ", ".join(sorted({f"{run['outcome']} {'; '.join(run['changed'])}".strip() for run in runs}))
        print(f"{name:12} {told}   {seen}")
    return short


def main() -> int:
    """Run them; the exit code says whether all was as it should be."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--times", type=int, default=10)
    options.add_argument("--tools", nargs="+", default=list(TOOLS), choices=list(TOOLS))
    options.add_argument("--state", default="")
    options.add_argument("--restart", default="", help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.restart:
        Stage(Path(asked.restart).parent).start()
        return 0
    state = Path(asked.state or tempfile.mkdtemp(prefix="runbook-agents-"))
    rows = []
    for number in range(asked.times):
        for name in asked.tools:
            rows.append(once(name, number, state))
            print(json.dumps(rows[-1]), flush=True)
    short = tell(rows)
    print(f"journal: {state}")
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
