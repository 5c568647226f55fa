"""Whatever a sender posts: bounded alerts that can be stored and sent on, or one clean refusal."""

from __future__ import annotations

import json

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.server.alerts import alertmanager, generic, grafana, pagerduty, paths, reading
from engine.server.alerts.alert import MAX_LABELS, MAX_TEXT, Alert
from engine.server.alerts.reading import Reading, Unreadable
from engine.server.messages import Offer
from engine.server.settings import Mapping

NOW = 1_800_000_000.0
FORM = generic.Form(
    Mapping(
        alerts="alerts",
        name="labels.alertname",
        status="status",
        starts_at="startsAt",
        fingerprint="fingerprint",
        labels={"*": "labels"},
        annotations={"all": "$"},
        url="generatorURL",
    )
)
READERS = (alertmanager.read, grafana.read, pagerduty.read, FORM.read)

hostile = st.sampled_from(
    [
        *("{{ 7*7 }}", "$(id)", "`id`", "<script>alert(1)</script>", "'; drop table alerts; --", "\x00"),
        *("\x1b[31m", "../../etc/passwd", "%s%n", "\u202e", "𝕏", "\ud800", "\r\nX: y"),
        *("0001-01-01T00:00:00Z", "firing", "resolved"),
    ]
)
words = st.one_of(st.text(max_size=40), hostile)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), words)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
near_alerts = st.fixed_dictionaries(
    {"labels": st.one_of(st.dictionaries(words, words, max_size=80), values)},
    optional={
        "status": st.one_of(st.sampled_from(["firing", "resolved", "ok"]), values),
        "annotations": st.one_of(st.dictionaries(words, words, max_size=3), values),
        "startsAt": st.one_of(st.datetimes().map(str), words, scalars),
        "endsAt": st.one_of(st.datetimes().map(lambda at: at.isoformat() + "Z"), words),
        "generatorURL": st.one_of(words, st.just("https://x/")),
        "fingerprint": st.one_of(words, st.just("f" * 600)),
        "valueString": words,
    },
)
near_events = st.fixed_dictionaries(
    {
        "event_type": st.sampled_from(
            ["incident.triggered", "incident.resolved", "incident.reopened", "pagey.ping"]
        )
    },
    optional={
        "occurred_at": st.one_of(st.datetimes().map(str), words),
        "data": st.one_of(
            values,
            st.fixed_dictionaries(
                {"id": words, "title": words},
                optional={"created_at": words, "service": values, "html_url": words, "urgency": scalars},
            ),
        ),
    },
)
near_bodies = st.one_of(
    st.fixed_dictionaries(
        {"alerts": st.lists(near_alerts, max_size=4)},
        optional={"version": st.one_of(st.just("4"), values), "status": values, "truncatedAlerts": scalars},
    ),
    st.fixed_dictionaries({"event": near_events}),
    values,
)

many = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))


def read_all(raw: bytes) -> list[Reading]:
    found = []
    for read in READERS:
        try:
            found.append(read(raw, now=NOW))
        except Unreadable as error:
            refused(error)
    return found


def refused(error: reading.UsageError) -> None:
    """It tells what is wrong and the way out; a body's refusal has its status."""
    assert error.problem
    assert error.fix
    assert getattr(error, "status", 422) in (400, 422)


def sound(alert: Alert) -> None:
    """It is bounded, and passes the socket unchanged."""
    assert len(alert.labels) <= MAX_LABELS
    assert len(alert.annotations) <= MAX_LABELS
    for text in (alert.name, *alert.labels, *alert.labels.values(), *alert.annotations.values()):
        assert len(text) <= MAX_TEXT
    assert len(alert.fingerprint) <= reading.MAX_IDENTITY
    assert alert.fingerprint
    assert alert.url == "" or alert.url.lower().startswith(("http://", "https://"))
    assert (alert.ends_at is None) or alert.status == "resolved"
    assert len(alert.key) == 32
    offer = Offer(sender="x", alerts=(alert,))
    assert msgspec.json.decode(msgspec.json.encode(offer), type=Offer) == offer


@many
@given(near_bodies)
def test_bodies_that_are_nearly_right(value: object) -> None:
    """Every alert that is read is sound; everything else is refused with a way out."""
    for found in read_all(json.dumps(value).encode()):
        for alert in found.alerts:
            sound(alert)


@many
@given(st.binary(max_size=400))
def test_any_bytes(raw: bytes) -> None:
    """No bytes break a reader."""
    read_all(raw)


@many
@given(near_bodies, st.data())
def test_bodies_that_were_torn(value: object, data: st.DataObject) -> None:
    """A body that was cut, or in which some bytes are others, breaks nothing."""
    raw = bytearray(json.dumps(value).encode())
    for _ in range(data.draw(st.integers(0, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    read_all(bytes(raw[: data.draw(st.integers(0, len(raw)))]))


@many
@given(st.dictionaries(words, words, max_size=8), st.randoms())
def test_the_fingerprint_does_not_depend_on_order(labels: dict[str, str], random: object) -> None:
    """The same labels are the same alert, whatever their order."""
    pairs = list(labels.items())
    random.shuffle(pairs)  # type: ignore[attr-defined]
    assert reading.fingerprint(dict(pairs)) == reading.fingerprint(labels)


@many
@given(st.text(max_size=30), values)
def test_any_text_as_a_path(written: str, value: object) -> None:
    """It is a path that finds something or nothing, or it is refused when it is read."""
    try:
        path = paths.parse(written)
    except reading.UsageError as error:
        refused(error)
    else:
        path.find(value, value)
