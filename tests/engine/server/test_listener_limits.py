"""What one client, one address and all of them may take: real sockets, hostile on purpose."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.server.listener.crowd import Crowd
from engine.server.settings import Limits, Listen, Settings
from tests.engine.server.listening import TOKEN, Listening, ended, heard, notification, until

SHORT = Limits(
    body=50_000,
    headers=8192,
    head_time=0.4,
    body_time=0.6,
    idle_time=0.5,
    connections=20,
    per_address=12,
)
HEAD = (
    b"POST /v1/alerts/alertmanager HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer " + TOKEN.encode() + b"\r\n"
)


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Listening]:
    made = Listening(tmp_path, Settings(listen=Listen(port=0), limits=SHORT))
    yield made
    made.close()


def drip(connection: socket.socket, bits: bytes) -> None:
    """One byte after the other, until the other side has had enough."""

    def go() -> None:
        for bit in bits:
            try:
                connection.sendall(bytes([bit]))
            except OSError:
                return
            time.sleep(0.02)

    threading.Thread(target=go, daemon=True).start()


def still_serves(there: Listening) -> None:
    assert there.post(notification("A")).status == 202


def refusals(there: Listening) -> dict[str, int]:
    return dict(there.server._listener.counters.refusals)


# ── time ────────────────────────────────────────────────────────────────────────


def test_a_head_that_drips_is_ended(there: Listening) -> None:
    """A byte every now and then does not keep a connection."""
    with there.connect() as connection:
        drip(connection, HEAD * 20)
        answer = heard(connection)
    assert answer is None or answer.status == 408
    assert refusals(there)["slow-head"] == 1
    still_serves(there)


def test_blank_lines_are_no_way_to_stay(there: Listening) -> None:
    """Line ends before a request begin nothing, and keep nothing open."""
    with there.connect() as connection:
        drip(connection, b"\r\n" * 500)
        assert ended(connection)


def test_a_connection_that_says_nothing_is_ended(there: Listening) -> None:
    """Without a word of answer."""
    with there.connect() as connection:
        assert heard(connection) is None
    assert refusals(there)["unused"] == 1


def test_a_body_that_drips_is_ended(there: Listening) -> None:
    """408, and nothing of it reaches the worker."""
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 5000\r\n\r\n")
        drip(connection, b" " * 5000)
        answer = heard(connection)
    assert answer is None or answer.status == 408
    assert refusals(there)["slow-body"] == 1
    assert there.worker.offers == []
    still_serves(there)


def test_a_body_that_never_comes_is_ended(there: Listening) -> None:
    """408 with a way out, as JSON."""
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 5\r\n\r\n")
        answer = heard(connection)
    assert answer is not None
    assert answer.status == 408
    assert answer.json["fix"]


def test_an_unused_connection_is_ended_and_a_used_one_stays(there: Listening) -> None:
    """Several requests on one connection, then none."""
    with there.connect() as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = heard(connection)
            assert answer is not None
            assert answer.status == 200
        assert ended(connection)


def test_a_second_head_that_drips_is_ended_too(there: Listening) -> None:
    """What was right once does not have for ever the next time."""
    with there.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert heard(connection) is not None
        drip(connection, HEAD * 20)
        assert ended(connection)
    assert refusals(there)["slow-head"] == 1


# ── size ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "head",
    [
        b"X-Long: " + b"x" * 9000 + b"\r\n\r\n",
        b"".join(b"X-%d: y\r\n" % n for n in range(200)) + b"\r\n",
        b"X-Endless: " + b"x" * 300_000,
        b"\r\n ".join([b"X-Folded: " + b"x" * 80] * 300),
    ],
    ids=["long", "many", "endless", "folded"],
)
def test_a_head_that_is_too_long_is_refused(there: Listening, head: bytes) -> None:
    """431, however it is too long; its memory is bounded."""
    with there.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + head)
        answer = heard(connection)
    assert answer is None or answer.status in (431, 400)
    assert refusals(there).get("long-head", 0) + refusals(there).get("no-http", 0) == 1
    still_serves(there)


def test_a_path_that_is_too_long_is_refused(there: Listening) -> None:
    """431 as well."""
    assert there.ask("GET", "/" + "x" * 8200).status == 431


def test_a_head_within_the_bounds_is_taken(there: Listening) -> None:
    """Up to the limit all is well."""
    assert there.ask("GET", "/healthz", headers={"X-Long": "x" * 7900}).status == 200


def test_a_body_that_says_it_is_too_long(there: Listening) -> None:
    """413 before a byte of it; the fix says what to do."""
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 100000000\r\n\r\n")
        answer = heard(connection)
    assert answer is not None
    assert answer.status == 413
    assert "max_alerts" in answer.json["fix"]


def test_a_body_in_pieces_that_is_too_long(there: Listening) -> None:
    """413 as soon as it is; a length was never said."""
    piece = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
    with there.connect() as connection:
        connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + piece * 4)
        answer = heard(connection)
    assert answer is not None
    assert answer.status == 413


def test_a_hundred_megabytes_are_not_read(there: Listening) -> None:
    """The connection ends long before; others are served meanwhile."""
    piece, sent = b" " * (1 << 20), 0
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 104857600\r\n\r\n")
        try:
            for _ in range(100):
                connection.sendall(piece)
                sent += len(piece)
                if sent == 10 << 20:
                    still_serves(there)
        except OSError:
            pass
    assert sent < 100 << 20
    assert refusals(there)["late-body"] == 1
    still_serves(there)


def test_a_length_that_lies(there: Listening) -> None:
    """Longer than what comes: 408. Shorter: the rest is another request, and is none."""
    body = notification("A")
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % (len(body) + 10) + body)
        answer = heard(connection)
        assert answer is not None
        assert answer.status == 408
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: 10\r\n\r\n" + body)
        answer = heard(connection)
        assert answer is not None
        assert answer.status == 400
    assert there.worker.offers == []


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Broken\r\n",
        b"X: \x00\r\n",
    ],
)
def test_two_readings_of_one_request_are_none(there: Listening, head: bytes) -> None:
    """What a proxy could read otherwise than we do is refused whole."""
    with there.connect() as connection:
        connection.sendall(HEAD + head + b"\r\n5\r\nhello\r\n0\r\n\r\n")
        answer = heard(connection)
    assert answer is None or 400 <= answer.status < 500
    assert there.worker.offers == []
    still_serves(there)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x00" * 500,
    ],
)
def test_what_is_no_http_is_refused(there: Listening, raw: bytes) -> None:
    """It breaks nothing, and is answered as what it is."""
    with there.connect() as connection:
        connection.sendall(raw)
        answer = heard(connection)
    assert answer is None or 400 <= answer.status < 500
    assert refusals(there).get("broken", 0) == 0
    still_serves(there)


def test_requests_far_ahead_of_their_answers_are_refused(there: Listening) -> None:
    """Some may wait on a connection; thousands in one packet get the answers of the first, and the end."""
    with there.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        answers = 0
        while (answer := heard(connection)) is not None:
            assert answer.status == 200
            answers += 1
    assert 0 < answers < 100
    assert refusals(there)["hasty"] == 1


def test_an_upgrade_is_not_made(there: Listening) -> None:
    """The request is answered as any other."""
    answer = there.ask("GET", "/healthz", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert answer.status == 200


# ── connections ─────────────────────────────────────────────────────────────────


def test_one_address_has_so_many_connections(there: Listening) -> None:
    """One more is ended at once; when one has gone there is a place again."""
    held = [there.connect() for _ in range(SHORT.per_address)]
    crowd = there.server._listener.crowd
    assert until(lambda: crowd.number == SHORT.per_address)
    with there.connect() as more:
        assert heard(more) is None
    assert refusals(there)["crowd"] == 1
    for one in held:
        one.close()
    assert until(lambda: crowd.number == 0)
    still_serves(there)


def test_one_address_does_not_shut_out_another(there: Listening) -> None:
    """While one holds all that it may, another is served."""
    held = [there.connect() for _ in range(SHORT.per_address + 3)]
    other = socket.create_connection(("127.0.0.1", there.port), 20, ("127.0.0.2", 0))
    with other:
        other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = heard(other)
    for one in held:
        one.close()
    assert answer is not None
    assert answer.status == 200


def test_an_address_is_what_one_customer_has() -> None:
    """Of IPv6 a whole /64; IPv4 in disguise is itself."""
    crowd = Crowd(100, 1)
    assert crowd.enter("2001:db8::1") is not None
    assert crowd.enter("2001:db8::ffff:1") is None
    assert crowd.enter("2001:db8:0:1::1") is not None
    assert crowd.enter("::ffff:10.0.0.1") is not None
    assert crowd.enter("10.0.0.1") is None
    assert crowd.enter("::ffff:10.0.0.2") is not None


def test_all_together_have_so_many() -> None:
    """And a place that is given back twice is given back once."""
    crowd = Crowd(2, 5)
    first, _ = crowd.enter("a"), crowd.enter("b")
    assert crowd.enter("c") is None
    assert first is not None
    first.leave()
    first.leave()
    assert crowd.number == 1


def test_a_client_that_does_not_read_is_let_go(tmp_path: Path) -> None:
    """Its answers wait for it only so long."""
    limits = Limits(head_time=5.0, idle_time=0.5)
    there = Listening(tmp_path, Settings(listen=Listen(port=0), limits=limits))
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", there.port))

        def ask_and_never_read() -> None:
            try:
                while True:
                    connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 50)
            except OSError:
                pass

        thread = threading.Thread(target=ask_and_never_read, daemon=True)
        thread.start()
        gone = until(lambda: there.server._listener.crowd.number == 0, 20)
    there.close()
    assert gone


# ── the end ─────────────────────────────────────────────────────────────────────


def test_a_stop_answers_what_is_under_way(there: Listening) -> None:
    """A notification that has begun is taken and answered; then the listener is gone."""
    body = notification("A")
    with there.connect() as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body[:10])
        assert until(lambda: there.server._listener.crowd.number == 1)
        there.stop()
        connection.sendall(body[10:])
        answer = heard(connection)
    assert answer is not None
    assert answer.status == 202
    assert until(lambda: not there._thread.is_alive())
    with pytest.raises(ConnectionRefusedError):
        there.connect()
