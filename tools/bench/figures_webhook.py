"""Figures of ``runbook serve``: alerts in, beside ansible-rulebook's webhook source with a no-op action.

Both answer the same client (``poster.c``) with the same bodies over kept connections. Ours has each
alert on disk before it answers, with worker and queue as they are installed, while slow runs go on;
theirs takes it into memory.

Not here: the client (``poster.c``), how theirs is started (``rulebooks.py``).
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import rulebooks
from measure import Figure, NotYet
from peers import BUILD, our_server

from engine.server.messages import GetRun, GetRuns, RunFound, Runs
from tests.serving import Serving, alert, eventually, notification

_SOURCE = Path(__file__).with_name("poster.c")
#: So many causes share the alerts; each starts one slow run.
CAUSES = 40
#: Bodies are those of a real Alertmanager, with these labels.
_LABELS = {
    "cluster": "bench",
    "instance": "127.0.0.1:19100",
    "job": "bpf-agent",
    "map": "events",
    "node": "node-a",
}
_IDLE_S = 30.0
_PATH = "/v1/alerts/alertmanager"


@dataclass(frozen=True)
class Place:
    """Where to post: a port and a path, both with the same token."""

    port: int
    path: str
    token: str


# ── the client ──────────────────────────────────────────────────────────────────


def _poster() -> Path:
    made = BUILD / "poster"
    if not made.exists() or made.stat().st_mtime < _SOURCE.stat().st_mtime:
        BUILD.mkdir(parents=True, exist_ok=True)
        subprocess.run(["gcc", "-O2", "-o", made, _SOURCE], check=True)
    return made


def _body(alerts: int = 1) -> Path:
    """A notification with so many alerts; the client puts numbers in place of the marks."""
    one = alert("BenchSlow%%%%", labels={**_LABELS, "prog": "sched_switch"})
    one |= {"fingerprint": "@" * 16, "annotations": {"summary": "node-a drops 110.5 BPF events/s"}}
    one["annotations"]["description"] = (
        "Map events of sched_switch on node-a lost events at 110.5/s over the window."
    )
    file = BUILD / f"body-{alerts}.json"
    file.write_text(json.dumps(notification(*[one] * alerts), separators=(",", ":")))
    return file


def _post(place: Place, *, seconds: float, **options: object) -> dict[str, Any]:
    """One load, with the client's own words as options; gives what it tells."""
    words = {"connections": 32, "causes": CAUSES, "per-post": 1}
    words |= {name.replace("_", "-"): value for name, value in options.items()}
    command = [
        _poster(),
        "--port",
        place.port,
        "--path",
        place.path,
        "--token",
        place.token,
        "--seconds",
        seconds,
    ]
    command += ["--body", _body(int(str(words["per-post"])))]
    for name, value in words.items():
        command += [f"--{name}", value]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotYet(f"the client ended with {done.returncode}: {done.stderr[-300:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told


# ── the servers ─────────────────────────────────────────────────────────────────


def _slow_runbooks(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for cause in range(CAUSES):
        (folder / f"slow-{cause:04}.yaml").write_text(
            f"runbook: slow-{cause:04}\nsummary: For measuring.\ntriggers: [{{alert: BenchSlow{cause:04}}}]\n"
            "steps:\n  - wait: as a slow probe would\n    for: 8s\n"
        )


@contextmanager
def _ours(**settings: Any) -> Iterator[Serving]:
    """Both parts from the wheel, with a state on the file system that holds the checkout."""
    with tempfile.TemporaryDirectory(dir=BUILD, prefix="serve-") as home:
        place = Path(home)
        place.chmod(0o755)
        _slow_runbooks(place / "runbooks")
        environment = {"RUNBOOK_PATH": str(place / "runbooks")}
        with Serving(place, settings=settings, environment=environment, runbook=our_server()) as serving:
            yield serving


def _place(serving: Serving) -> Place:
    return Place(serving.port, _PATH, serving.token)


def _memory(pid: int) -> tuple[int, int]:
    """RSS and PSS of one process."""
    full = psutil.Process(pid).memory_full_info()
    return full.rss, full.pss


def _parts(serving: Serving) -> dict[str, int]:
    return {part: process.pid for part, process in serving.processes.items()}


def _idle(pids: list[int]) -> list[tuple[float, int, int]]:
    """Of each process over half a minute: share of a core, RSS, PSS."""
    time.sleep(8)
    processes = [psutil.Process(pid) for pid in pids]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    time.sleep(_IDLE_S)
    return [
        ((sum(process.cpu_times()[:2]) - was) / _IDLE_S, *_memory(process.pid))
        for process, was in zip(processes, before, strict=True)
    ]


# ── the figures ─────────────────────────────────────────────────────────────────


def webhook() -> list[Figure]:
    """All that is measured beside ansible-rulebook, in one go."""
    with rulebooks.webhook("bench-token") as (pid, port):
        theirs = Place(port, "/endpoint", "bench-token")
        with _ours() as serving:
            figures = _at_rest(serving, pid)
            figures += _rates(serving, theirs)
    return figures + _held_up()


def _at_rest(serving: Serving, their_pid: int) -> list[Figure]:
    worker, listener, them = _idle([*_parts(serving).values(), their_pid])
    cpu, rss, pss = (worker[at] + listener[at] for at in range(3))
    note = f"worker {worker[1] / 1e6:.1f} + listener {listener[1] / 1e6:.1f} MB"
    return [
        _beside("serve idle: RSS of both parts", (rss / 1e6, them[1] / 1e6, "MB"), "< 80", rss < 80e6, note),
        _beside("serve idle: PSS of both parts", (pss / 1e6, them[2] / 1e6, "MB"), "< 80", pss < 80e6),
        _beside("serve idle: share of a core", (100 * cpu, 100 * them[0], "%"), "< 0.5", cpu < 0.005),
    ]


def _beside(
    name: str, values: tuple[float, float, str], goal: str, met: bool | None, note: str = ""
) -> Figure:
    """Ours and theirs, in a unit."""
    ours, theirs, unit = values
    ratio = ours / theirs if theirs else None
    return Figure(name, ours, unit, goal, met, theirs, "ansible-rulebook", ratio, note)


def _rates(serving: Serving, theirs: Place) -> list[Figure]:
    """Greatest rate, and latencies at 500/s; slow runs go on here meanwhile."""
    ours, first = _place(serving), 1 << 40
    most: dict[str, dict[str, Any]] = {}
    for connections in (8, 32):
        for name, place in (("theirs", theirs), ("ours", ours)):
            told = _post(place, seconds=10, connections=connections, first=first)
            first += 1 << 32
            if told["ok"] / told["seconds"] > most.get(name, {}).get("rate", 0):
                most[name] = {**told, "rate": told["ok"] / told["seconds"], "connections": connections}
    mine, them = most["ours"], most["theirs"]
    note = f"theirs into memory; p99 {mine['p99_ms']:.1f} ms, theirs {them['p99_ms']:.1f} ms"
    figures = [
        _beside(
            "alerts accepted, each on disk, slow runs going on",
            (mine["rate"], them["rate"], "1/s"),
            "> 1×",
            mine["rate"] > them["rate"],
            note,
        )
    ]
    grouped = _post(ours, seconds=10, connections=8, first=first, per_post=10)
    figures.append(
        Figure(
            "the same, ten alerts to a notification",
            grouped["alerts"] / grouped["seconds"],
            "1/s",
            "stated",
            None,
        )
    )
    return figures + _steady(ours, theirs, first + (1 << 32))


def _steady(ours: Place, theirs: Place, first: int) -> list[Figure]:
    """Open load of 500/s, with latencies from when each post was due."""
    mine = _post(ours, seconds=30, rate=500, first=first)
    them = _post(theirs, seconds=30, rate=500, first=first)
    complete = mine["ok"] == mine["posted"]
    note = f"{mine['ok']} of {mine['posted']}; most {mine['max_ms']:.1f} ms, theirs {them['max_ms']:.1f} ms"
    return [
        _beside(
            f"webhook answered at 500/s, {name}",
            (mine[f"{name}_ms"], them[f"{name}_ms"], "ms"),
            f"< {goal}",
            complete and mine[f"{name}_ms"] < goal,
            note,
        )
        for name, goal in (("p50", 2), ("p99", 50))
    ]


def _held_up() -> list[Figure]:
    """The longest wait for an answer at one alert a second, while actions take 8 s."""
    with _ours() as serving:
        mine = _post(_place(serving), seconds=20, rate=1, first=1)
    with rulebooks.webhook("bench-token", slow=True) as (_, port):
        them = _post(Place(port, "/endpoint", "bench-token"), seconds=20, rate=1, first=1)
    held = them["max_ms"] if not them["unanswered"] else max(them["max_ms"], 60e3)
    note = "theirs sequential, as by default"
    if them["unanswered"]:
        note += f"; {them['unanswered']} of theirs were not answered within a minute"
    values = (mine["max_ms"], held, "ms")
    return [_beside("longest answer, one alert a second, actions of 8 s", values, "stated", None, note)]


def storm() -> list[Figure]:
    """A minute of 2,000 alerts/s in 1,000 posts/s: 100,000 distinct ones and 20,000 repeats."""
    with _ours() as serving, tempfile.TemporaryDirectory(dir=BUILD) as work:
        acked = Path(work) / "acked"
        sampling = _sample_memory(serving, 62)
        told = _post(_place(serving), seconds=60, rate=1000, per_post=2, repeat=6, acked=acked)
        grown = sampling()
        counts = acked.read_bytes()
        serving.__exit__()
        lost, doubled, jobs = _accounted(serving.state / "queue.db", counts)
    rate, distinct = told["alerts"] / told["seconds"], sum(count > 0 for count in counts)
    note = f"{told['ok']} of {told['posted']} posts 2xx, {told['failed']} 5xx; p99 {told['p99_ms']:.1f} ms"
    figures = [
        Figure("storm of a minute: alerts accepted", rate, "1/s", "≥ 1,000", rate >= 1000, note=note),
        Figure("storm: distinct alerts accepted", distinct, "alerts", "stated", None),
        Figure("storm: accepted alerts that are not on disk", lost, "alerts", "0", lost == 0),
        Figure(
            "storm: alerts on disk twice, causes with two jobs",
            doubled + jobs,
            "rows",
            "0",
            doubled + jobs == 0,
        ),
    ]
    for part, (early, late) in grown.items():
        flat = late < early * 1.05 + 2e6
        figures.append(
            Figure(
                f"storm: RSS of the {part}, end against 10 s",
                late / 1e6,
                "MB",
                "≤ 1.05× + 2",
                flat,
                early / 1e6,
                "at 10 s",
                late / early,
            )
        )
    return figures  # fmt: skip


def _sample_memory(serving: Serving, seconds: float) -> Any:
    """Watch both parts from a process of its own thread; gives how to get RSS at 10 s and the last one."""
    import threading  # noqa: PLC0415 - only here

    seen: dict[str, list[int]] = {part: [] for part in _parts(serving)}
    over = threading.Event()

    def watch() -> None:
        for _ in range(int(seconds)):
            for part, pid in _parts(serving).items():
                seen[part].append(_memory(pid)[0])
            if over.wait(1.0):
                return

    thread = threading.Thread(target=watch)
    thread.start()

    def stop() -> dict[str, tuple[int, int]]:
        over.set()
        thread.join()
        return {part: (rows[min(10, len(rows) - 1)], rows[-1]) for part, rows in seen.items()}

    return stop


def key_of(number: int) -> str:
    """The key of the client's n-th alert, as ``engine.server.alerts.alert`` makes it."""
    starts = datetime.fromisoformat("2026-01-01T00:00:00.123+00:00").timestamp()
    return hashlib.sha256(f"{number:016x}\0{starts:.3f}\0firing".encode()).hexdigest()[:32]


def _accounted(database: Path, counts: bytes) -> tuple[int, int, int]:
    """Accepted alerts that are not in the queue; rows too many; causes that have more than one job."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as rows:
        keys = [key for (key,) in rows.execute("SELECT id FROM alerts")]
        jobs = rows.execute("SELECT COUNT(*) FROM jobs GROUP BY runbook, target").fetchall()
    known = set(keys)
    lost = sum(count > 0 and key_of(number) not in known for number, count in enumerate(counts))
    return lost, len(keys) - len(known), sum(count > 1 for (count,) in jobs)


def first_sample() -> list[Figure]:
    """From the post to the first sample of the run that it starts, on the practice agent."""
    from figures_kernel import lab  # noqa: PLC0415 - needs root and BPF

    took = []
    with lab("burst") as agent, tempfile.TemporaryDirectory(dir=BUILD, prefix="serve-") as home:
        place = Path(home)
        place.chmod(0o755)
        folder, target = place / "runbooks", f"lab:{agent.config_file}"  # type: ignore[attr-defined]
        folder.mkdir()
        for number in range(10):
            (folder / f"sample-{number}.yaml").write_text(
                f"runbook: sample-{number}\nsummary: For measuring.\n"
                f'triggers: [{{alert: Sample{number}, target: "{target}"}}]\n'
                "steps:\n  - look: event-flow\n    with: {window: 1s}\n"
            )
        environment = {"RUNBOOK_PATH": str(folder)}
        with Serving(place, environment=environment, runbook=our_server()) as serving:
            for number in range(10):
                posted = time.time()
                serving.post(notification(alert(f"Sample{number}", number)))
                time.sleep(1.5)  # whoever asks meanwhile takes CPU that the run needs
                took.append(eventually(lambda number=number: _sampled(serving, number), within=30) - posted)
    took.sort()
    middle = statistics.median(took)
    note = f"of {len(took)}: least {took[0] * 1e3:.0f}, most {took[-1] * 1e3:.0f} ms"
    return [
        Figure("alert to first probe sample, median", middle * 1e3, "ms", "< 300", middle < 0.3, note=note)
    ]


def _sampled(serving: Serving, number: int) -> float | None:
    """Epoch seconds at which the run's first window began, once the run is over."""
    listed = serving.ask(GetRuns(runbook=f"sample-{number}"))
    assert isinstance(listed, Runs)
    ended = [row.id for row in listed.rows if row.state == "ended"]
    if not ended:
        return None
    found = serving.ask(GetRun(run=ended[0]))
    assert isinstance(found, RunFound)
    events = [json.loads(bytes(event)) for event in found.events]
    windows = [float(event["evidence"]["started_at"]) for event in events if event["kind"] == "seen"]
    if not windows:
        raise NotYet(f"the run saw nothing: {events[-1].get('sentence')}")
    return min(windows)


FIGURES = {"webhook": webhook, "storm": storm, "first-sample": first_sample}
