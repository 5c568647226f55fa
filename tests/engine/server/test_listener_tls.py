"""TLS with a certificate made here, and a listener as a process of its own, until SIGTERM."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.server.listener import main
from engine.server.settings import Limits, Listen, Settings
from tests.engine.server.listening import TOKEN, Listening, Worker, ended, heard, notification

openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate with")
LIMITS = Limits(head_time=0.5, idle_time=0.5, per_address=4)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    key, made = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", made, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return str(made), str(key)


@pytest.fixture
def there(tmp_path: Path, certificate: tuple[str, str]) -> Iterator[Listening]:
    listen = Listen(port=0, certificate=certificate[0], key=certificate[1])
    made = Listening(tmp_path, Settings(listen=listen, limits=LIMITS))
    yield made
    made.close()


@openssl
def test_a_notification_over_tls(there: Listening, certificate: tuple[str, str]) -> None:
    """Taken as over plain HTTP, by a client that checks the certificate."""
    trusted = ssl.create_default_context(cafile=certificate[0])
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    answer = there.ask("POST", "/v1/alerts/alertmanager", notification("A"), headers, tls=trusted)
    assert answer.status == 202


@openssl
def test_nothing_is_told_without_tls(there: Listening) -> None:
    """Plain HTTP on that port gets no answer, and a token sent so reaches nobody."""
    with there.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = heard(connection)
    assert answer is None


@openssl
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_old_versions_are_not_spoken(there: Listening, certificate: tuple[str, str]) -> None:
    """Nothing below TLS 1.2."""
    old = ssl.create_default_context(cafile=certificate[0])
    old.minimum_version = ssl.TLSVersion.TLSv1
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(OSError):  # noqa: PT011 - an alert or a reset
        there.ask("GET", "/healthz", tls=old)


@openssl
def test_who_never_begins_the_handshake_is_counted_and_ended(there: Listening) -> None:
    """Its place counts from the first moment, and comes back when the handshake's time is up."""
    held = [there.connect() for _ in range(4)]
    with there.connect() as more:
        assert heard(more) is None
    for one in held:
        assert ended(one)
        one.close()
    trusted = ssl.create_default_context(cafile=there.settings.listen.certificate)
    assert there.ask("GET", "/healthz", tls=trusted).status == 200


@openssl
def test_a_certificate_of_another_key_stops_the_start(tmp_path: Path, certificate: tuple[str, str]) -> None:
    """Said at once, with what to name."""
    other = tmp_path / "other.pem"
    subprocess.run(
        ["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", other],
        check=True, capture_output=True,
    )  # fmt: skip
    for key in (str(other), str(tmp_path / "missing")):
        with pytest.raises(UsageError, match="certificate"):
            main.open_doors(Settings(listen=Listen(port=0, certificate=certificate[0], key=key)))


def test_an_address_that_is_taken_is_told() -> None:
    """With what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(UsageError, match="listens there already") as error:
            main.open_doors(Settings(listen=Listen(port=taken.getsockname()[1])))
        assert "listen.port" in error.value.fix
    with pytest.raises(UsageError):
        main.open_doors(Settings(listen=Listen(address="192.0.2.1")))


_PROCESS = """
import sys
from pathlib import Path
from engine.server.listener import main
from engine.server.settings import Listen, Settings
state, fd = Path(sys.argv[1]), int(sys.argv[2])
settings = Settings(listen=Listen(port=0), log="json")
opening = main.open_doors(settings, [fd])
ready = lambda: print("ready", flush=True)
main.serve(settings, state / "worker.sock", opening, token_file=state / "token", ready=ready)
"""


def test_a_process_listens_on_a_socket_that_was_handed_over_until_sigterm(tmp_path: Path) -> None:
    """It ends with 0, having logged neither body nor token."""
    (tmp_path / "token").write_text(TOKEN)
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-c", _PROCESS, tmp_path, str(door.fileno())],
            pass_fds=[door.fileno()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[3], env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    worker = Worker(tmp_path / "worker.sock")
    body = notification("planted-in-the-body")

    async def post() -> bytes:
        await worker.begin()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"Authorization: Bearer {TOKEN}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(b"POST /v1/alerts/alertmanager HTTP/1.1\r\nHost: x\r\n" + head.encode() + body)
        answer = await reader.read()
        wrong = await asyncio.open_connection("127.0.0.1", port)
        wrong[1].write(b"POST /v1/alerts/x HTTP/1.1\r\nAuthorization: Bearer planted-token\r\n\r\n")
        await wrong[0].readuntil(b"\r\n")
        writer.close()
        wrong[1].close()
        await worker.end()
        return answer

    assert asyncio.run(post()).startswith(b"HTTP/1.1 202")
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"event":"refused"' in told
    for secret in (TOKEN, "planted"):
        assert secret not in told
