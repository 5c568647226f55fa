"""Who may post: tokens and signatures, over real HTTP; nobody else learns or starts anything."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.server.listener import secret_file, signatures
from engine.server.listener.rate import Bucket
from engine.server.listener.secret_file import SecretFile
from engine.server.listener.senders import Door
from engine.server.listener.signatures import Seen
from engine.server.messages import Busy, Offer
from engine.server.settings import Limits, Listen, Mapping, Sender, Settings, Signature
from tests.engine.server.listening import Listening, notification, until

SECRET = b"s" * 32
BODY = notification("A")


def signed(body: bytes, *, at: float | None = None, secret: bytes = SECRET) -> dict[str, str]:
    moment = f"{time.time() if at is None else at:.3f}"
    digest = hmac.new(secret, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Runbook-Timestamp": moment, "X-Runbook-Signature": f"sha256={digest}"}


def body_signed(body: bytes, secret: bytes = SECRET) -> str:
    return "v1=" + hmac.new(secret, body, hashlib.sha256).hexdigest()


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Listening]:
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"token-of-{name}\n")
    (tmp_path / "secret").write_bytes(SECRET + b"\n")
    secret = str(tmp_path / "secret")
    senders = (
        Sender(name="one", kind="alertmanager", token_file=str(tmp_path / "one")),
        Sender(name="two", kind="grafana", token_file=str(tmp_path / "two")),
        Sender(name="signs", kind="alertmanager", signature=Signature(secret_file=secret)),
        Sender(name="duty", kind="pagerduty", signature=Signature(secret_file=secret)),
        Sender(
            name="stripe",
            kind="generic",
            mapping=Mapping(name="n"),
            signature=Signature(secret_file=secret, header="X-Sig", timestamp_header=""),
        ),
    )
    made = Listening(tmp_path, Settings(listen=Listen(port=0), senders=senders))
    yield made
    made.close()


def refused(there: Listening, **asked: object) -> bytes:
    """It is 401, and nothing reached the worker."""
    answer = there.post(BODY, **asked)  # type: ignore[arg-type]
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert there.worker.offers == []
    return answer.body


# ── tokens ──────────────────────────────────────────────────────────────────────


def test_the_senders_own_token_opens(there: Listening) -> None:
    """Each sender by its own."""
    assert there.post(BODY, "one", token="token-of-one").status == 202
    assert there.post(BODY, "two", token="token-of-two").status == 202


@pytest.mark.parametrize(
    "token", [None, "", "wrong", "token-of-two", "token-of-one ", "token-of-on", "TOKEN-OF-ONE", "a" * 9000]
)
def test_any_other_token_does_not(there: Listening, token: str | None) -> None:
    """Absent, empty, wrong, another sender's, nearly right."""
    if token != "token-of-one ":  # blanks around it are the header's
        refused(there, sender="one", token=token)


def test_an_unknown_name_is_answered_like_a_wrong_token(there: Listening) -> None:
    """Not a byte of the answer tells which names there are; not even with somebody's right token."""
    known = refused(there, sender="one", token="wrong")
    assert refused(there, sender="nobody", token="wrong") == known
    assert refused(there, sender="nobody", token="token-of-one") == known
    assert refused(there, sender="signs", token="wrong") == known


def test_an_unknown_name_is_answered_like_a_wrong_signature(there: Listening) -> None:
    """Also where the body is read before the answer."""
    wrong = signed(BODY, secret=b"other")
    answers = {
        refused(there, sender=name, token=None, **wrong) for name in ("signs", "one", "nobody", "stripe")
    }
    assert len(answers) == 1


def test_a_refusal_does_not_wait_for_the_body(there: Listening) -> None:
    """401 comes though not a byte of the promised body was sent."""
    with there.connect() as connection:
        connection.sendall(
            b"POST /v1/alerts/one HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer no\r\n"
            b"Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n"
        )
        assert connection.recv(20) == b"HTTP/1.1 401 Unautho"


def test_a_rotated_token_counts_at_once(there: Listening) -> None:
    """The file is read again when it has changed: the new one opens, the old one does not."""
    (there.directory / "one").write_text("a-new-token\n")
    assert there.post(BODY, "one", token="a-new-token").status == 202
    assert there.post(BODY, "one", token="token-of-one").status == 401


def test_old_and_new_token_count_side_by_side(there: Listening) -> None:
    """Two lines, two tokens, while senders change over."""
    (there.directory / "one").write_text("a-new-token\ntoken-of-one\n")
    assert there.post(BODY, "one", token="a-new-token").status == 202
    assert there.post(BODY, "one", token="token-of-one").status == 202


def test_without_its_file_nobody_gets_in_until_it_is_back(there: Listening) -> None:
    """A file that is gone or empty is nobody's token, not everybody's."""
    (there.directory / "one").unlink()
    refused(there, sender="one", token="token-of-one")
    (there.directory / "one").write_text("\n")
    refused(there, sender="one", token="")
    (there.directory / "one").write_text("token-of-one")
    assert there.post(BODY, "one", token="token-of-one").status == 202


# ── signatures ──────────────────────────────────────────────────────────────────


def test_a_signature_opens_once(there: Listening) -> None:
    """The same bytes again are refused: whoever recorded them can't start anything."""
    headers = signed(BODY)
    assert there.post(BODY, "signs", token=None, **headers).status == 202
    assert there.post(BODY, "signs", token=None, **headers).status == 401
    assert len(there.worker.offers) == 1


@pytest.mark.parametrize("off", [-301.0, 301.0, -1e9])
def test_an_old_signature_does_not(there: Listening, off: float) -> None:
    """Nor one from the future, beyond the tolerance."""
    refused(there, sender="signs", token=None, **signed(BODY, at=max(0.0, time.time() + off)))


def test_a_signature_of_other_bytes_does_not(there: Listening) -> None:
    """One byte more, another time, another secret: each is no signature."""
    right = signed(BODY)
    refused(there, sender="signs", token=None, **signed(BODY + b" "))
    refused(there, sender="signs", token=None, **{**right, "X-Runbook-Timestamp": "1"})
    refused(there, sender="signs", token=None, **signed(BODY, secret=b"x"))
    assert there.post(BODY, "signs", token=None, **right).status == 202


@pytest.mark.parametrize("moment", ["", "now", "1e9", "-5", "١٢٣", "9" * 40, "1,2", "nan", "inf"])
def test_a_time_that_is_none_does_not(there: Listening, moment: str) -> None:
    """Whatever stands where the time should."""
    headers = {**signed(BODY), "X-Runbook-Timestamp": moment.encode().decode("latin-1")}
    refused(there, sender="signs", token=None, **headers)


def test_what_was_not_taken_may_be_sent_again_as_it_is(there: Listening) -> None:
    """After 503 the sender repeats the very same bytes, and they count."""
    headers = signed(BODY)
    there.worker.answer = lambda do: Busy(because="full") if isinstance(do, Offer) else None
    assert there.post(BODY, "signs", token=None, **headers).status == 503
    there.worker.answer = lambda _: None
    assert there.post(BODY, "signs", token=None, **headers).status == 202


def test_the_time_may_stand_beside_the_signature(there: Listening) -> None:
    """``t=…,v1=…`` in one header, several signatures among them."""
    body = b'{"n": "x"}'
    moment = str(int(time.time()))
    digest = hmac.new(SECRET, f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    header = f"t={moment},v1={'0' * 64},v1={digest}"
    assert there.post(body, "stripe", token=None, X_Sig=header).status == 202
    assert there.post(body, "stripe", token=None, X_Sig=header).status == 401


def test_pagerduty_signs_the_body_alone(there: Listening) -> None:
    """Its own header, several signatures while the secret changes over; the same event may come again."""
    body = json.dumps(
        {"event": {"event_type": "incident.triggered", "data": {"id": "P1", "title": "drops"}}}
    ).encode()
    header = f"{body_signed(body, b'old')},{body_signed(body)}"
    for _ in range(2):
        assert there.post(body, "duty", token=None, X_PagerDuty_Signature=header).status == 202
    assert there.worker.offers[0].alerts[0].name == "drops"
    assert there.post(body, "duty", token=None, X_PagerDuty_Signature=body_signed(body, b"old")).status == 401


def test_long_bodies_of_people_who_may_be_nobody_are_bounded_together(tmp_path: Path) -> None:
    """Beyond some, the next long one is told to come later; a short signed one is still taken."""
    (tmp_path / "secret").write_bytes(SECRET)
    sender = Sender(
        name="signs", kind="alertmanager", signature=Signature(secret_file=str(tmp_path / "secret"))
    )
    limits = Limits(body=200_000, connections=100, per_address=100)
    there = Listening(tmp_path, Settings(listen=Listen(port=0), senders=(sender,), limits=limits))
    with ExitStack() as stack:
        head = b"POST /v1/alerts/signs HTTP/1.1\r\nX-Runbook-Signature: no\r\nContent-Length: 199999\r\n\r\n"
        held = [stack.enter_context(there.connect()) for _ in range(17)]
        for one in held:
            one.sendall(head + b" " * 199_998)
        assert until(lambda: there.server._listener.counters.refusals["crowded"] == 1)
        assert there.post(BODY, "signs", token=None, **signed(BODY)).status == 202
    there.close()


def test_a_signer_has_no_token(there: Listening) -> None:
    """Its secret sent as a token opens nothing."""
    refused(there, sender="signs", token=SECRET.decode())


# ── parts ───────────────────────────────────────────────────────────────────────


def test_what_is_remembered_is_bounded_and_still_no_repetition_counts() -> None:
    """When too many are remembered the oldest second goes, and nothing of it or before counts again."""
    seen = Seen(limit=10)
    for n in range(100):
        assert seen.add("x", b"%d" % n, 1000.0 + n, oldest=0)
    assert len(seen) <= 10
    assert not any(seen.add("x", b"%d" % n, 1000.0 + n, oldest=0) for n in range(100))


def test_what_is_too_old_is_forgotten() -> None:
    """It is refused for its age, so nobody needs to remember it."""
    seen = Seen()
    seen.add("x", b"1", 1000.0, oldest=700)
    seen.add("x", b"2", 2000.0, oldest=1700)
    assert len(seen) == 1


def test_two_senders_do_not_share_their_signatures() -> None:
    """The same digest of another sender is another one."""
    seen = Seen()
    assert seen.add("x", b"1", 1000.0, oldest=0)
    assert seen.add("y", b"1", 1000.0, oldest=0)


def test_one_may_come_so_often() -> None:
    """Two seconds' worth at once, then the rate; the wait is told."""
    bucket = Bucket(10)
    assert [bucket.wait_s(100.0) for _ in range(20)] == [0.0] * 20
    assert bucket.wait_s(100.0) == pytest.approx(0.1)
    assert bucket.wait_s(100.2) == 0.0


@pytest.mark.parametrize(
    "header", ["", "v1=", "v1=zz", "sha256", "=" * 20, "," * 5000, "v1=" + "0" * 63, "x=" + "0" * 64]
)
def test_a_header_that_holds_no_signature(header: str) -> None:
    """None is found in it, and nothing breaks."""
    rule = Signature(secret_file="x", header="S", timestamp_header="")
    assert signatures.given(rule, {b"s": header.encode()}) is None


def test_a_token_is_made_once(tmp_path: Path) -> None:
    """On first use, for its owner only; the one that is there is kept."""
    place = tmp_path / "state" / "token"
    secret_file.make(place)
    assert place.stat().st_mode & 0o777 == 0o600
    (first,) = SecretFile(place).values()
    secret_file.make(place)
    assert SecretFile(place).values() == (first,)
    assert len(first) == 64
    assert [entry.name for entry in place.parent.iterdir()] == ["token"]


def test_a_token_for_a_group(tmp_path: Path) -> None:
    """Where the listener is another user, its group may read it."""
    secret_file.make(tmp_path / "token", group=os.getgid())
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o640


def test_a_sender_that_could_never_get_in_stops_the_start(tmp_path: Path) -> None:
    """A missing or empty secret, or a path that is none: said before anything listens."""
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "token").write_text("x" * 32)
    wrong = [
        Sender(name="a", kind="alertmanager", token_file=str(tmp_path / "missing")),
        Sender(name="a", kind="alertmanager", token_file=str(tmp_path / "empty")),
        Sender(name="a", kind="generic", token_file=str(tmp_path / "token"), mapping=Mapping(name="a[")),
    ]
    for sender in wrong:
        with pytest.raises(UsageError) as error:
            Door(Settings(senders=(sender,)))
        assert error.value.fix


def test_a_senders_secret_in_an_alert_of_any_sender_goes_no_further(there: Listening) -> None:
    """Only the listener knows those secrets, so it masks them before anything is offered."""
    sent = json.loads(BODY)
    sent["alerts"][0]["annotations"] = {"note": f"sent with token-of-two and {SECRET.decode()}"}
    assert there.post(json.dumps(sent).encode(), "one", token="token-of-one").status == 202

    (alert,) = there.worker.offers[0].alerts
    assert "token-of-two" not in str(alert)
    assert SECRET.decode() not in str(alert)
    assert alert.annotations["note"].startswith("sent with ")
