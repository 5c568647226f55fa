"""Server-sent events: what was missed comes first, nobody holds too many, every stream ends."""

import http.client
import threading

import pytest

from engine import record
from engine.server.page import events
from tests.engine.server.canned import Canned, Served
from tests.engine.server.visitor import Visitor
from tests.samples import runs as samples

RUN = "20261122-0400-events-dropped-live"


@pytest.fixture
def served():
    worker = Canned().fill()
    head = samples.head(id=RUN, outcome=None, ended_at=None, sentence="")
    worker.add(record.Run(head=head, events=samples.burst_run().events[:5], state="running"), "running")
    with Served(worker) as one:
        yield one


@pytest.fixture
def anna(served):
    visitor = Visitor(served.port)
    visitor.log_in("anna")
    return visitor


class Stream:
    """A stream that is read line by line."""

    def __init__(self, visitor, path, **headers):
        self.line = http.client.HTTPConnection("127.0.0.1", visitor.port, timeout=20)
        cookie = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
        self.line.request("GET", path, headers={"Cookie": cookie, "Accept": "text/event-stream"} | headers)
        self.answer = self.line.getresponse()

    def next(self):
        """The next event: its fields."""
        found = {}
        while (raw := self.answer.readline()) not in {b"\n", b""}:
            name, _, value = raw.decode().rstrip("\n").partition(": ")
            found[name] = value
        return found

    def until(self, kind):
        while (event := self.next()).get("event") != kind:
            assert event, "the stream has ended"
        return event

    def close(self):
        self.answer.close()
        self.line.close()


def test_what_was_missed_comes_first_and_once(served, anna):
    """A phone that was in a lift goes on where it left off."""
    stream = Stream(anna, f"/events/runs/{RUN}", **{"Last-Event-ID": "3"})
    assert [stream.until("happened")["id"] for _ in range(2)] == ["4", "5"]
    served.call(lambda: served.worker.happen(RUN, samples.burst_run().events[5]))
    assert stream.until("happened")["id"] == "6"
    stream.close()


def test_the_list_hears_of_every_run(served, anna):
    """That one has ended, say."""
    stream = Stream(anna, "/events/runs")
    stream.next()
    deadline = threading.Event()
    while not served.worker.followers:
        deadline.wait(0.01)
    served.call(lambda: served.worker.happen(RUN, record.Ended(at=1.0, outcome="fixed", sentence="s")))
    assert RUN in stream.until("happened")["data"]
    stream.close()


def test_a_quiet_stream_is_kept_open_by_heartbeats(anna, monkeypatch):
    """Proxies close what is silent."""
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    stream = Stream(anna, "/events/runs")
    stream.next()
    assert stream.next() == {"": "still here"}
    stream.close()


def test_one_session_holds_some_streams_and_gives_them_back(served, anna):
    """A browser with forty tabs must not take the worker's attention from all others."""
    streams = [Stream(anna, "/events/runs") for _ in range(events.PER_SESSION)]
    for one in streams:
        one.next()
    assert Stream(anna, "/events/runs").answer.status == 429
    otto = Visitor(served.port)
    otto.log_in("otto")
    other = Stream(otto, "/events/runs")
    assert other.answer.status == 200
    for one in (*streams, other):
        one.close()
    pause = threading.Event()
    while events._open:  # pytest-timeout is the deadline
        pause.wait(0.01)
    fresh = Stream(anna, "/events/runs")
    assert fresh.answer.status == 200
    fresh.close()


def test_a_browser_that_left_is_forgotten_by_the_worker_too(served, anna):
    """Else it would be told things for ever."""
    stream = Stream(anna, f"/events/runs/{RUN}")
    stream.until("happened")
    assert served.worker.followers
    stream.close()
    pause = threading.Event()
    while served.worker.followers:
        pause.wait(0.01)


def test_a_stream_ends_by_itself_and_tells_when_nothing_more_comes(served, anna, monkeypatch):
    """After some time, so that who was logged out hears no more."""
    monkeypatch.setattr(events, "LONGEST_S", 0.1)
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    stream = Stream(anna, "/events/runs")
    while stream.next():
        pass
    assert stream.answer.read() == b""


def test_nobody_listens_without_a_login(served):
    """The stream tells as much as the page."""
    visitor = Visitor(served.port)
    assert visitor.get("/events/runs", X_Parts="live").status == 401
    assert visitor.get("/events/runs").status == 303
