"""Notices through Apprise to real HTTP receivers on loopback: slow, dead, wrong and hostile ones."""

from __future__ import annotations

import asyncio
import io
import json
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from engine.server import wire
from engine.server.log import Log
from engine.server.messages import Answer, Done, GetNotices, Notice, Notices, NoticeTold, Request
from engine.server.settings import Listen, Notify, Settings
from engine.server.telling import send, teller, words
from engine.server.worker import outbox
from engine.server.worker.notices import Draft

apprise = pytest.importorskip("apprise")

DEADLINE_S = 60.0


class Receiver:
    """Takes what Apprise's ``json://`` posts. ``hold``: while cleared, nobody is answered."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self.hold = threading.Event()
        self.hold.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.hold.wait(60)
                if receiver.status == 200:
                    receiver.got.append(body)
                self.send_response(receiver.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"json://user:hunter2secret@127.0.0.1:{self.server.server_address[1]}/t0ps3cr3tpath"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()


class Worker:
    """A worker's socket with a real outbox behind it, and nothing else."""

    def __init__(self, path: Path, notify: tuple[Notify, ...]) -> None:
        self.path = path
        self.notify = notify
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.executescript(outbox.SCHEMA)
        self.became: dict[int, str] = {}
        self.server: asyncio.Server | None = None

    def add(self, *sentences: str, **further: Any) -> None:
        now = time.time()
        drafts = [
            Draft(
                key=one,
                at=now,
                about="ended",
                outcome="unfixed",
                run="run-1",
                path="/runs/run-1",
                sentence=one,
                **further,
            )
            for one in sentences
        ]
        outbox.add(self.db, drafts, self.notify)

    async def start(self) -> None:
        self.server = await wire.serve(self.path, self._answer)

    async def _answer(self, request: Request, token: str, caller: wire.Caller) -> AsyncIterator[Answer]:
        if isinstance(request, GetNotices):
            rows: tuple[Notice, ...] = ()
            for _ in range(20):
                if rows := outbox.hand_out(self.db, self.notify, None, time.time(), request.limit):
                    break
                await asyncio.sleep(0.05)
            yield Notices(rows=rows)
        elif isinstance(request, NoticeTold):
            self.became[request.notice] = request.problem
            outbox.settle(self.db, request, time.time())
            yield Done(sentence="noted")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture
def other() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


def target(tmp_path: Path, name: str, url: str, **further: Any) -> Notify:
    path = tmp_path / f"{name}.url"
    path.write_text(f"# whom to tell\n{url}\n")
    return Notify(name=name, url_file=str(path), **further)


def told(worker: Worker, until: Callable[[], bool], said: io.StringIO | None = None) -> None:
    """Let the listener's side tell until something holds."""

    async def tell() -> None:
        if worker.server is None:
            await worker.start()
        settings = Settings(notify=worker.notify, listen=Listen(public_url="https://runbook.example.org/"))
        line = wire.Line(worker.path)
        task = asyncio.create_task(
            teller.tell_forever(settings, line, Log("telling", "text", said or io.StringIO()))
        )
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not until():
                    await asyncio.sleep(0.02)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await line.close()
            assert worker.server is not None
            worker.server.close()
            worker.server = None

    asyncio.run(tell())


def test_a_notice_reaches_its_service_once(tmp_path: Path, receiver: Receiver) -> None:
    """Sentence, evidence, where to look, and the number that tells a double."""
    worker = Worker(tmp_path / "s", (target(tmp_path, "room", receiver.url),))
    worker.add("The drops went on.", evidence=("bursts of 60,000/s",), runbook="events-dropped", target="lab")
    told(worker, lambda: bool(worker.became))
    (got,) = receiver.got
    assert got["title"].startswith("unfixed: events-dropped on lab")
    lines = got["message"].splitlines()
    assert lines[:3] == [
        "The drops went on.",
        "- bursts of 60,000/s",
        "Look: https://runbook.example.org/runs/run-1",
    ]
    assert "notice 1, run run-1" in lines[3]
    assert got["type"] == "failure"
    assert worker.became == {1: ""}
    assert outbox.waiting(worker.db) == 0


@pytest.mark.parametrize("trouble", ["dead", "hanging", "refusing", "nonsense", "absent"])
def test_a_service_in_trouble_holds_up_no_other(
    tmp_path: Path, receiver: Receiver, other: Receiver, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other one is told; what did not go out stays in the outbox, and no secret is logged."""
    monkeypatch.setattr(teller, "START_S", 1.0)
    monkeypatch.setattr(teller, "LETTER_S", 1.0)
    url, path = receiver.url, tmp_path / "bad.url"
    if trouble == "dead":
        url = "json://user:hunter2secret@127.0.0.1:9/t0ps3cr3tpath"
    elif trouble == "hanging":
        receiver.hold.clear()
    elif trouble == "refusing":
        receiver.status = 500
    elif trouble == "nonsense":
        url = "hunter2secret, they said"
    bad = target(tmp_path, "bad", url)
    if trouble == "absent":
        path.unlink()
    worker = Worker(tmp_path / "s", (bad, target(tmp_path, "good", other.url)))
    worker.add("one", "two")
    said = io.StringIO()
    told(worker, lambda: len(worker.became) == 4, said)
    assert {one["message"].splitlines()[0] for one in other.got} == {"one", "two"}
    assert sorted(worker.became.values())[:2] == ["", ""]
    assert all(sorted(worker.became.values())[2:])
    assert outbox.waiting(worker.db) == 2
    shown = said.getvalue() + "".join(worker.became.values())
    assert "notice not sent" in shown
    assert "hunter2secret" not in shown
    assert "t0ps3cr3tpath" not in shown


def test_a_slow_service_holds_up_no_other(tmp_path: Path, receiver: Receiver, other: Receiver) -> None:
    """While one still thinks, the other has all of its notices."""
    receiver.hold.clear()
    worker = Worker(
        tmp_path / "s", (target(tmp_path, "slow", receiver.url), target(tmp_path, "quick", other.url))
    )
    worker.add(*(f"sentence {number}" for number in range(6)))
    told(worker, lambda: len(other.got) == 6)
    assert receiver.got == []


def test_a_storm_becomes_a_number(tmp_path: Path, receiver: Receiver) -> None:
    """Twenty notices ring twice, and a third one tells how many more there are."""
    worker = Worker(tmp_path / "s", (target(tmp_path, "room", receiver.url, at_most=2),))
    worker.add(*(f"sentence {number}" for number in range(20)))
    told(worker, lambda: outbox.waiting(worker.db) == 0)
    assert len(receiver.got) == 3
    assert "18 more notices" in receiver.got[2]["message"]


def test_a_listener_that_was_killed_tells_the_rest(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was handed out and not spoken of is handed out again under its number; nothing is lost."""
    monkeypatch.setattr(outbox, "HANDED_S", 0.5)
    worker = Worker(tmp_path / "s", (target(tmp_path, "room", receiver.url),))
    worker.add("one", "two")
    lost = outbox.hand_out(worker.db, worker.notify, None, time.time())  # to a listener that died with them
    told(worker, lambda: len(worker.became) == 2)
    assert sorted(worker.became) == sorted(one.id for one in lost)
    assert {one["message"].splitlines()[0] for one in receiver.got} >= {"one", "two"}


def test_a_worker_that_comes_later_is_waited_for(tmp_path: Path, receiver: Receiver) -> None:
    """The listener may be first, and the worker may go and come again."""
    worker = Worker(tmp_path / "s", (target(tmp_path, "room", receiver.url),))
    worker.add("one")

    async def tell() -> None:
        line, said = wire.Line(worker.path), io.StringIO()
        task = asyncio.create_task(
            teller.tell_forever(Settings(notify=worker.notify), line, Log("t", "text", said))
        )
        async with asyncio.timeout(DEADLINE_S):
            while "no notices can be had" not in said.getvalue():
                await asyncio.sleep(0.02)
            await worker.start()
            while not worker.became:
                await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await line.close()
        assert worker.server is not None
        worker.server.close()

    asyncio.run(tell())
    assert len(receiver.got) == 1


def test_a_notice_for_somebody_unknown_is_said_back(tmp_path: Path, receiver: Receiver) -> None:
    """Worker and listener read the settings at other times."""
    room = target(tmp_path, "room", receiver.url)
    worker = Worker(tmp_path / "s", (room, Notify(name="gone", url_file="/nowhere")))
    worker.add("one")

    async def spread() -> None:
        await worker.start()
        line = wire.Line(worker.path)
        rows = outbox.hand_out(worker.db, worker.notify, None, time.time())
        await teller._spread([one for one in rows if one.to == "gone"], {}, line)
        await line.close()
        assert worker.server is not None
        worker.server.close()

    asyncio.run(spread())
    assert "nobody named 'gone'" in next(iter(worker.became.values()))


# ── words ───────────────────────────────────────────────────────────────────────

HOSTILE = (
    'x @everyone @here <!channel> <@U1> *b* _c_ `d` [l](http://e) <b onclick="x()">hi</b> & \x1b[31m\nnext'
)


def notice(**further: Any) -> Notice:
    whole = {
        "id": 7,
        "at": 0.0,
        "about": "waiting",
        "run": "run-1",
        "sentence": HOSTILE,
        "evidence": (HOSTILE,),
    }
    return Notice(**{**whole, **further})


def test_text_from_outside_calls_no_channel_and_stays_on_its_line() -> None:
    """An alert's label rings nobody's telephone but that of whom it was for."""
    body = words.body(notice(path="/runs/run-1", link="/links/abc"), "node-7", "https://r.example.org")
    assert len(body.splitlines()) == 5
    assert "\x1b" not in body
    for call in ("@everyone", "@here", "<!channel", "<@U1"):
        assert call not in body
    assert "Answer without a login: https://r.example.org/links/abc" in body
    assert "Look: https://r.example.org/runs/run-1" in body


@pytest.mark.parametrize("form", ["html", "markdown"])
def test_markup_from_outside_is_escaped_for_services_that_render_it(receiver: Receiver, form: str) -> None:
    """A service that takes HTML or Markdown shows the letters, and renders none of them."""
    letter = send.Letter(7, "title <i>", words.harmless(HOSTILE), "warning")
    assert send._sender(f"{receiver.url}?format={form}")(letter) == ""
    message = receiver.got[0]["message"]
    if form == "html":
        assert "<b" not in message
        assert "&lt;b" in message
    else:
        assert r"\*b\*" in message
        assert r"\[l\]" in message


def test_an_address_is_made_of_the_public_url_or_of_where_it_listens() -> None:
    """Links lead to the page as people reach it."""
    assert words.address(Listen(public_url="https://r.example.org/")) == "https://r.example.org"
    assert words.address(Listen(address="::1", port=9437)) == "http://[::1]:9437"


def test_no_part_of_an_address_stands_in_an_error() -> None:
    """User, password, path, query, also where they are written in percent."""
    url = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/?token=pass%40word1"
    shown = send.without(
        url, "404 at hooks/t1jj3t3l2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ pass@word1 pass%40word1"
    )
    for part in ("t1jj3t3l2", "A1BRTD4JD", "TIiajkdnlazkcOXrIdevi7FQ", "pass@word1", "pass%40word1"):
        assert part not in shown


def test_the_address_stands_in_no_process_s_arguments(tmp_path: Path, receiver: Receiver) -> None:
    """Every process of the host could read it there."""
    receiver.hold.clear()
    worker = Worker(tmp_path / "s", (target(tmp_path, "room", receiver.url),))
    worker.add("one")
    seen: list[bytes] = []

    def looked() -> bool:
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = place.read_bytes()
            except OSError:
                continue
            if b"engine.server.telling.send" in line:
                seen.append(line)
        return bool(seen)

    told(worker, looked)
    assert not any(b"hunter2secret" in line for line in seen)


def test_apprise_is_loaded_only_to_send(tmp_path: Path) -> None:
    """The listener's own process stays without its 36 MiB."""
    code = "import sys, engine.server.telling.teller; sys.exit('apprise' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_nothing_is_left_behind_when_it_is_cancelled(tmp_path: Path, receiver: Receiver) -> None:
    """The process that was sending ends with the listener's task."""
    receiver.hold.clear()
    worker = Worker(tmp_path / "s", (target(tmp_path, "room", receiver.url),))
    worker.add("one")

    def sending() -> list[int]:
        return [pid for pid in children() if b"telling.send" in cmdline(pid)]

    told(worker, lambda: bool(sending()))
    until = time.monotonic() + DEADLINE_S
    while sending() and time.monotonic() < until:
        time.sleep(0.02)
    assert not sending()


def children() -> list[int]:
    found: list[int] = []
    for task in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # a thread that has ended meanwhile
            found += [int(pid) for pid in (task / "children").read_text().split()]
    return found


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
