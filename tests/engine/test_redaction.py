"""Secrets are taken out, and nothing else."""

from __future__ import annotations

import base64
import json
import urllib.parse
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.journal import rows
from engine.record import Ended, Event, Ran, Seen, TargetFound, Told
from engine.redaction import MASK, Redactor
from engine.secret_patterns import RULES
from engine.values import Evidence, Process, Target

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor()


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
#: Made up, in the forms that their makers document.
TOLD = {
    "AKIAIOSFODNN7EXAMPLE": "id {} used",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY": "aws_secret_access_key = {}",
    "AIzaSyA-1234567890abcdefghijklmnopqrstu": "key={}",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a": "remote: {}",
    "github_pat_11ABCDEFG0abcdefghijkl_mnop": "using {}.",
    "glpat-ABCDEFGHIJKLMNOPQRST": "clone with {}",
    "xoxb-17653672481-19874698323-pdFZKVeTuE8s": "posting with {}",
    "T000/B000/XXXXXXXXsecretXXXX": "https://hooks.slack.com/services/{}",
    JWT: "got {} from it",
    "hunter2": "password={} of x",
    "abc123xyz": "Authorization: Bearer {}",
    "dXNlcjpodW50ZXI": '"authorization": "Basic {}"',
    "p@ss!w0rd": "postgres://agent:{}@db.example.org:5432/events",
    "s3cr3t": "mysqld --password {} --port 3306",
    "s3cr3tvalue": "export DB_PASSWORD='{}'",
    "k3y-of-api": '{{"api_key": "{}", "n": 1}}',
    "k3y-in-text": 'body {{\\"client_secret\\":\\"{}\\"}}',
    "AccountK3y==": "DefaultEndpointsProtocol=https;AccountKey={};EndpointSuffix=x",
    "p;quoted": 'Server=db;Password="{}";Database=x',
    "qu\\\"oted": 'password: "{}"',
    "of several words": "password: {}",
    "$6$saltsalt$abcdefghijklmnopqrstuvwxyz0123456789": "root:{}:19000:0",
    "sessionid=4f5a6b": "Cookie: {}",
    "abcdefSignature": "https://x.blob.core.windows.net/c?sv=1&sig={}",
    "curlpw": "curl -u agent:{} https://db",
}  # fmt: skip


@pytest.mark.parametrize(("secret", "text"), list(TOLD.items()))
def test_every_known_form_is_masked_and_what_stands_around_it_stays(
    redactor: Redactor, secret: str, text: str
) -> None:
    """Tokens by their prefixes, values by their names, headers, URLs, command lines, hashes of passwords."""
    whole = text.format(secret)
    clean = redactor.text(f"before {whole}\nafter" if "several" not in secret else f"{whole}\nafter")
    assert secret not in clean
    assert MASK in clean
    assert clean.endswith("after")
    assert redactor.text(clean) == clean


def test_a_private_key_is_masked_in_a_text_and_line_by_line(redactor: Redactor) -> None:
    """Also where its end was cut off."""
    lines = [
        "-----BEGIN EC PRIVATE KEY-----",
        "MHcCAQEEIIr",
        "AwEHoUQDQgAE",
        "-----END EC PRIVATE KEY-----",
        "x",
    ]
    assert redactor.text("\n".join(lines)).endswith(f"{MASK}\nx")
    assert redactor.text("\n".join(lines[:3])) == f"-----BEGIN EC PRIVATE KEY-----{MASK}"
    assert redactor.value(lines)[1:] == [MASK, MASK, MASK, "x"]
    assert redactor.value(lines[:2])[1] == MASK


def test_shapes_of_data_tell_secrets_too(redactor: Redactor) -> None:
    """A key that names one, a pair of name and value, the word after a flag."""
    shown = redactor.value(
        {
            "env": [{"name": "DB_PASSWORD", "value": "hunter2"}, {"name": "PORT", "value": "80"}],
            "labels": {"api_token": "hunter2", "pod": "web-1"},
            "argv": ("agent", "--auth-token", "hunter2", "--port", "80"),
            "n": 3,
        }
    )
    assert "hunter2" not in str(shown)
    assert shown["env"][1] == {"name": "PORT", "value": "80"}
    assert shown["argv"] == ("agent", "--auth-token", MASK, "--port", "80")
    assert shown["n"] == 3


def test_a_declared_secret_is_found_however_it_is_written(redactor: Redactor) -> None:
    """As it is, in a URL, in JSON, in hex, in base64 at any place of a longer text."""
    secret = 'Tr0ub4dor&3 "é/+'
    redactor.declare([secret])
    raw = secret.encode()
    ways = [
        secret,
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote_plus(secret),
        json.dumps(secret),
        json.dumps({"x": secret}, ensure_ascii=False),
        raw.hex(),
        *(base64.b64encode(b"u" * n + raw + b"tail").decode()[:-6] for n in range(4)),
        *(base64.urlsafe_b64encode(b"u" * n + raw + b"tail").decode()[:-6] for n in range(4)),
    ]
    for way in ways:
        clean = redactor.text(f"<{way}>")
        assert MASK in clean, way
        assert way[4:-4] not in clean
    body = redactor.json(msgspec.json.encode({"a": [f"x{secret}y"]}))
    assert msgspec.json.decode(body) == {"a": [f"x{MASK}y"]}


def test_a_short_declared_secret_counts_as_a_whole_word_only(redactor: Redactor) -> None:
    """A PIN must not eat the digits of a hash."""
    redactor.declare(["4711", "x"])
    assert redactor.text("pin 4711, id 9647110, x") == f"pin {MASK}, id 9647110, x"


def test_a_declared_secret_is_forgotten_at_its_end(redactor: Redactor) -> None:
    """As often as it was declared."""
    with redactor.known(["correct horse"]):
        with redactor.known(["correct horse"]):
            pass
        assert redactor.text("correct horse") == MASK
    assert redactor.text("correct horse") == "correct horse"


def test_a_secret_that_is_a_word_of_the_record_leaves_the_record_readable(redactor: Redactor) -> None:
    """Whoever declares 'healthy' a secret loses it in sentences, not in the outcome."""
    redactor.declare(["healthy", "ended", "sentence"])
    event = Ended(at=1.0, outcome="healthy", sentence="it is healthy now")
    assert redactor.struct(event) == Ended(at=1.0, outcome="healthy", sentence=f"it is {MASK} now")


def test_rows_of_the_journal_hold_no_secret_of_an_agent() -> None:
    """Its command line, its log, its configuration, what a command said of it; and they can be read back."""
    agent = Process(pid=7, argv=("agent", "--auth-token", "hunter2", "--db=postgres://u:hunter2@db/x"))
    rows_ = ({"line": "level=error password=hunter2 rejected"}, {"setting": "api_token", "value": "hunter2"})
    log = Evidence(
        probe="agent-log", short="log", target="a", started_at=1, ended_at=2, tables={"last": rows_}
    )
    said = "api_key: 'hunter2'\n"
    events: list[Event] = [
        TargetFound(at=1.0, target=Target(name="agent", ref="agent:/etc/agent.yaml", processes=(agent,))),
        Seen(at=1.0, evidence=log),
        Ran(at=1.0, argv=("/bin/cat", "/etc/agent.yaml"), exit_code=0, seconds=0.1, stdout=said),
        Told(at=1.0, sentence="it was started with --password hunter2"),
    ]  # fmt: skip
    for event in events:
        body = rows.encode(event)
        assert b"hunter2" in msgspec.json.encode(event)
        assert b"hunter2" not in body
        assert type(rows.decode(body)) is type(event)


PLAIN = [
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "20261122-0301-events-dropped-k3f9e2",
    "map token_cache (id 42): 10240 of 10240 entries; key 16 bytes, value 64 bytes",
    "bpf_token_create bpf_key_put security_file_open key_task_permission",
    "libbpf: prog 'kprobe__tcp_v4_connect': BPF program load failed: Permission denied",
    "R1 type=ctx expected=fp; invalid token: expected 5, got 7",
    "open /etc/passwd: no such file",
    "/var/run/secrets/kubernetes.io/serviceaccount/token: permission denied",
    "token_file: /etc/runbook/alertmanager.token",
    "password_file=/run/credentials/x secretName: agent-config",
    "inputs.token is secret: {{ inputs.token }}",
    "PWD=/root OLDPWD=/tmp token=5 tokens: 500",
    "authorization: RBAC denied to list pods",
    "http://127.0.0.1:9437/v1/alerts/alertmanager?x=a@b",
    "user@example.org wrote to root@host: see https://example.org/a:b@c",
    "-p 8080 -u root --user=agent --key-file /x",
    "SessionKey rotation, private keys and passwords are documented elsewhere",
    "password: (secret), token: null, secret: ''",
    "basic authentication, bearer tokens and digests are known",
    "0000000000000000000000000000000000000000",
    "falco:/etc/falco/falco.yaml",
]


@pytest.mark.parametrize("text", PLAIN)
def test_what_reports_need_stays(redactor: Redactor, text: str) -> None:
    """Hashes, ids, maps, kernel texts, paths, templates."""
    assert redactor.text(text) == text
    assert redactor.value([text]) == [text]


def _recorded() -> list[Path]:
    places = [ROOT / "tests" / "samples", ROOT / "runbooks", ROOT / "tests" / "agents", SHARED]
    return [file for place in places if place.is_dir() for file in sorted(place.rglob("*")) if file.is_file()]


def test_what_real_runs_and_agents_said_stays(redactor: Redactor) -> None:
    """Cases, samples, recorded agents, runbooks, profiles: none of them holds a secret."""
    changed = []
    for file in _recorded():
        try:
            text = file.read_text()
        except UnicodeDecodeError:
            continue
        clean = redactor.text(text)
        changed += [
            f"{file.name}: {one!r} → {other!r}"
            for one, other in zip(text.splitlines(), clean.splitlines(), strict=False)
            if one != other
        ]
    assert not changed


PARTS = st.sampled_from(
    [
        *(word for rule in RULES for word in rule.words),
        *("=", ": ", ":", '"', "'", "\\", "\\\"", " ", "\n", "-----BEGIN ", "-----END "),
        *("@", "/", "PRIVATE KEY-----", MASK, "(", ")", "abc123def456", "--", "x", ";", "&", ",", "{", "["),
        *("|", ">", "$", "é", "İ", "\ud800"),
        *("Bearer ", "Authorization", "AKIAIOSFODNN7EXAMPLE", JWT, "hunter2hunter2"),
    ]
)  # fmt: skip
TEXTS = st.lists(PARTS | st.text(max_size=5), max_size=14).map("".join)


@settings(max_examples=1500, deadline=None)
@given(TEXTS)
def test_twice_is_once(text: str) -> None:
    """Whatever the text."""
    redactor = Redactor()
    redactor.declare(["hunter2hunter2"])
    once = redactor.text(text)
    assert redactor.text(once) == once
    assert "hunter2hunter2" not in once


VALUES = st.recursive(
    TEXTS | st.integers(-5, 5) | st.none() | st.booleans(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def _shape(value: Any) -> Any:
    if isinstance(value, dict):
        return [_shape(item) for item in value.values()]
    return [_shape(item) for item in value] if isinstance(value, list) else type(value)


@settings(max_examples=400, deadline=None)
@given(VALUES)
def test_a_value_keeps_its_shape_and_twice_is_once(value: Any) -> None:
    """Keys may come to be the same; nothing else goes."""
    redactor = Redactor()
    once = redactor.value(value)
    if _keys(once) == _keys(value):
        assert _shape(once) == _shape(value)
    assert redactor.value(once) == once


def _keys(value: Any) -> Any:
    if isinstance(value, dict):
        return sorted((key, _keys(item)) for key, item in value.items())
    return [_keys(item) for item in value] if isinstance(value, list) else None


HOSTILE = [
    *("password", "password=", 'password="', "password='", "token: ", "://", "://a:", "://a@", "-", "--a-"),
    *("-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "--a-password ", "eyJ", "eyJabcdefgh.", "bearer ", "$6$"),
    *("authorization: bearer ", "aaaaaaa", "sk-", "xoxb-", "-u a:", "pass: ", '\\"', "password=\\", "  \n"),
    *("_", "password: |\n ", "?sig=", "token_a", "secretsecret", "hooks.slack.com/services/"),
    *("password: a b\n", "AKIA", "İpassword", "-----BEGIN PRIVATE KEY-----\n-"),
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_repetition_costs_no_more_than_its_length(piece: str) -> None:
    """400 kB take a part of a second; a quadratic rule would take hours, and the suite's watchdog ends it."""
    text = piece * (400_000 // len(piece))
    redactor = Redactor()
    clean = redactor.text(text)
    assert redactor.json(msgspec.json.encode([text])) is not None
    assert len(clean) <= len(text) + text.count(piece) * (len(MASK) + 30)
