"""``serve.yaml``: where to listen, who may send, how many runs at once, whom to tell.

One promise: a file that is wrong is refused with file, line and column; without a file everything
listens on loopback only, and secrets are made on first use. Secrets themselves never stand in it, only
the files that hold them.

Searched in this order: ``--settings``, ``$RUNBOOK_SERVE``, ``/etc/runbook/serve.yaml``, built-in values.

Not here: what may be changed (``engine.guarding.policy``), who the users are
(``engine.server.worker.people``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine import trust
from engine.errors import DocumentError, UsageError
from engine.language import documents
from engine.language.model import Seconds
from engine.record import Outcome
from engine.server import wrong
from engine.server.messages import Role
from engine.values import Setting

STANDARD_PLACE = Path("/etc/runbook/serve.yaml")

Kind = Literal["alertmanager", "grafana", "pagerduty", "generic"]
Count = Annotated[int, Meta(ge=1)]


class _Part(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of all parts of the document."""


class Listen(_Part, frozen=True, kw_only=True):
    """Where the listener answers.

    Attributes:
        address: An address of this host; loopback unless said otherwise.
        port: The TCP port.
        certificate: PEM file of the TLS certificate with its chain; without one it speaks plain HTTP.
        key: PEM file of the certificate's key.
        public_url: How people reach the page, for links in notifications; `https://runbook.example.org`.
        user: The user that the listener runs as, when it is started by root.
    """

    address: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 9437
    certificate: str = ""
    key: str = ""
    public_url: str = ""
    user: str = "runbook"


class Signature(_Part, frozen=True, kw_only=True):
    """How a sender signs what it posts: HMAC-SHA256 over time and body.

    Attributes:
        secret_file: Holds the shared secret.
        header: Carries the signature in hex, alone or as `v1=…` or `sha256=…`.
        timestamp_header: Carries the time in seconds since the epoch; the signature is over `TIME.BODY`.
            Empty where the time stands in the signature's header as `t=…`, or the body alone is signed.
        tolerance: How far that time may be from ours; a signature seen before within it is refused.
    """

    secret_file: str
    header: str = "X-Runbook-Signature"
    timestamp_header: str = "X-Runbook-Timestamp"
    tolerance: Seconds = 300.0


class Mapping(_Part, frozen=True, kw_only=True):
    """Where a generic body holds what; each a path such as `incident.title` or `items[0].id`.

    Attributes:
        alerts: The list of alerts; empty where the body is one alert.
        name: The alert's name. A text in quotes inside the path (`"high-cpu"`) stands for itself.
        status: Its status.
        firing: The values of status that mean that it fires.
        resolved: The values of status that mean that it is over.
        fingerprint: Its identity while it lasts; made from name and labels when empty.
        starts_at: When it began: RFC 3339, or seconds since the epoch.
        labels: Label names and their paths, or a path to an object of labels under `*`.
        annotations: As labels.
        url: Where the sender shows it.
    """

    alerts: str = ""
    name: str
    status: str = ""
    firing: tuple[str, ...] = ("firing", "alerting", "triggered", "open")
    resolved: tuple[str, ...] = ("resolved", "ok", "normal", "closed")
    fingerprint: str = ""
    starts_at: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    url: str = ""


class Sender(_Part, frozen=True, kw_only=True):
    """Somebody who may post alerts, to `/v1/alerts/NAME`.

    Attributes:
        name: The last part of the path.
        kind: The form of its bodies.
        token_file: Holds the bearer token that it sends.
        signature: How it signs, in place of a token.
        mapping: Where a generic body holds what.
        at_most: So many requests a second; more are told to come later.
    """

    name: str
    kind: Kind
    token_file: str = ""
    signature: Signature | None = None
    mapping: Mapping | None = None
    at_most: Count = 2000


class Limits(_Part, frozen=True, kw_only=True):
    """What one request, one address and all connections may take.

    Attributes:
        body: The longest body, in bytes.
        headers: The longest head of a request, in bytes.
        head_time: How long the head of a request may take to arrive.
        body_time: How long its body may take.
        idle_time: How long a connection may stay open unused.
        connections: How many connections at once.
        per_address: How many of them from one address.
        logins: Failed logins from one address, or of one user, in five minutes.
    """

    body: Count = 4 << 20
    headers: Count = 16384
    head_time: Seconds = 5.0
    body_time: Seconds = 10.0
    idle_time: Seconds = 30.0
    connections: Count = 512
    per_address: Count = 256
    logins: Count = 10


class Runs(_Part, frozen=True, kw_only=True):
    """How alerts become runs.

    Attributes:
        at_once: So many at the same time; one per target in any case.
        queue: So many may wait for their turn; more alerts are told to come later.
        cooldown: After a run of a runbook on a target has ended, further alerts start none for so long.
        dry_run: Only look and plan, whatever the policy says.
        alerts_kept: How long alerts are kept.
        runs_kept: How long whole runs are kept; their rows of the audit stay. `0` keeps them for ever.
    """

    at_once: Count = 2
    queue: Count = 200
    cooldown: Seconds = 600.0
    dry_run: bool = False
    alerts_kept: Seconds = 30 * 86400.0
    runs_kept: Seconds = 0.0


class Notify(_Part, frozen=True, kw_only=True):
    """Somebody who is told.

    Attributes:
        name: For the log.
        url_file: Holds the service's address, with its secrets, as Apprise writes it (`slack://…`, `mailto://…`).
        about: What they are told.
        outcomes: Of runs that ended, only these; empty for all but `healthy`.
        at_most: So many in ten minutes; what is more is told as a number.
        person: The user who can approve by the link alone; empty for links that need a login.
        link_for: For how long such a link counts.
    """

    name: str
    url_file: str
    about: tuple[Literal["waiting", "ended", "lease", "trouble"], ...] = (
        "waiting",
        "ended",
        "lease",
        "trouble",
    )
    outcomes: tuple[Outcome, ...] = ()
    at_most: Count = 20
    person: str = ""
    link_for: Seconds = 3600.0


class People(_Part, frozen=True, kw_only=True):
    """Who may log in.

    Attributes:
        users_file: Users with their roles and hashed passwords (`runbook user add`).
        anonymous: What may be seen without a login: nothing, or what this role sees.
        session: How long a login lasts.
        idle: How long it lasts without use.
    """

    users_file: str = "/etc/runbook/users.yaml"
    anonymous: Literal["", "viewer"] = ""
    session: Seconds = 12 * 3600.0
    idle: Seconds = 3600.0


class Tracing(_Part, frozen=True, kw_only=True):
    """OpenTelemetry: a run is a trace, a step a span.

    Attributes:
        endpoint: Where OTLP over HTTP is taken, such as `http://127.0.0.1:4318`; empty for none.
    """

    endpoint: str = ""


class Settings(_Part, frozen=True, kw_only=True):
    """How `runbook serve` serves.

    Attributes:
        serve: Version of this language; 1.
        listen: Where.
        senders: Who may post alerts. Without any, an Alertmanager may, with a token made on first use.
        limits: What a request may take.
        runs: How alerts become runs.
        people: Who may log in.
        notify: Whom to tell.
        log: Form of the log lines.
        tracing: OpenTelemetry.
    """

    serve: Annotated[int, Meta(ge=1, le=1)] = 1
    listen: Listen = Listen()
    senders: tuple[Sender, ...] = ()
    limits: Limits = Limits()
    runs: Runs = Runs()
    people: People = People()
    notify: tuple[Notify, ...] = ()
    log: Literal["text", "json"] = "text"
    tracing: Tracing = Tracing()


#: What each role may do besides: a higher one may all that a lower one may.
RANK: dict[Role, int] = {"viewer": 0, "operator": 1, "approver": 2}


#: What is wrong beside what the settings themselves say: path of the part, and the words.
Look = Callable[["Settings"], Iterable[tuple[str, str]]]


def load(path: Path | None = None, look: Look = lambda _: ()) -> Settings:
    """The settings that rule here.

    Args:
        path: A file the operator named; it must be there.
        look: What else must be right, where the caller can tell.

    Raises:
        NotTrusted: It would be obeyed as root, and others could have written it.
        UsageError: A named file can't be read.
        DocumentError: The file is wrong; every complaint with its place.
    """
    named = path or from_environment()
    place = named or STANDARD_PLACE
    try:
        raw = trust.read(place)
    except FileNotFoundError as error:
        if named is None:
            return Settings()
        raise UsageError(
            f"the settings {place} are not there", fix="name a file that is, or leave --settings out"
        ) from error
    except OSError as error:
        raise UsageError(
            f"the settings {place} can't be read: {error.strerror}", fix=f"make them readable: {place}"
        ) from error
    settings, document = documents.read(Settings, raw, str(place))
    complaints = [
        f"{document.where(where)}: {what}" for where, what in (*wrong.complaints(settings), *look(settings))
    ]
    if complaints:
        raise DocumentError(complaints, fix=f"correct {place}; nothing was started")
    return settings


def from_environment() -> Path | None:
    """The file that ``$RUNBOOK_SERVE`` names."""
    chosen = os.environ.get("RUNBOOK_SERVE")
    return Path(chosen) if chosen else None


def seconds(value: Setting) -> float:
    """A duration of the settings as a number; they hold no templates."""
    return float(value) if isinstance(value, int | float) else 0.0
