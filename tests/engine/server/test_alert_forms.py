"""What senders post becomes alerts: real bodies, and every way in which they may be odd."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from engine.errors import UsageError
from engine.server.alerts import alertmanager, generic, grafana, pagerduty, paths, reading
from engine.server.alerts.alert import MAX_ALERTS, MAX_LABELS, MAX_TEXT, Alert
from engine.server.alerts.reading import Reading, Unreadable
from engine.server.settings import Mapping

NOW = 1_800_000_000.0
REAL = Path(__file__).parents[4] / "shared" / "data" / "alertmanager"

real = pytest.mark.skipif(not REAL.is_dir(), reason="the recorded notifications are not on this machine")


def body(*alerts: object, **more: object) -> bytes:
    return json.dumps({"version": "4", "status": "firing", "alerts": list(alerts), **more}).encode()


def one(**more: object) -> dict[str, object]:
    return {"status": "firing", "labels": {"alertname": "A"}, "startsAt": "2026-11-22T15:47:53Z", **more}


def only(found: Reading) -> Alert:
    assert found.refused == ()
    (alert,) = found.alerts
    return alert


# ── Alertmanager ────────────────────────────────────────────────────────────────


@real
@pytest.mark.parametrize("name", sorted(p.name for p in REAL.glob("*.json")) if REAL.is_dir() else [])
def test_real_notifications_are_read(name: str) -> None:
    """Every alert of a real notification arrives with its name, status, times, labels and address."""
    raw = (REAL / name).read_bytes()
    sent = json.loads(raw)
    found = alertmanager.read(raw, now=NOW)
    assert found.refused == ()
    assert found.left_out == sent["truncatedAlerts"]
    for alert, written in zip(found.alerts, sent["alerts"], strict=True):
        assert (alert.status, alert.labels, alert.annotations) == (
            written["status"],
            written["labels"],
            written["annotations"],
        )
        assert (alert.fingerprint, alert.url) == (written["fingerprint"], written["generatorURL"])
        assert alert.name == "BpfEventsDropped"
        assert (alert.ends_at is None) == (alert.status == "firing")


@real
def test_the_fingerprint_is_alertmanagers() -> None:
    """A fingerprint that is missing is made as Alertmanager itself makes it."""
    for place in REAL.glob("*.json"):
        for written in json.loads(place.read_bytes())["alerts"]:
            assert reading.fingerprint(written["labels"]) == written["fingerprint"]


@real
def test_firing_and_resolved_are_one_alert_with_two_keys() -> None:
    """The same alert has one fingerprint and start while it fires and when it is over, and two keys."""
    raw = (REAL / "mixed-grouped.raw.json").read_bytes()
    alerts = alertmanager.read(raw, now=NOW).alerts
    assert {alert.status for alert in alerts} == {"firing", "resolved"}
    over = next(alert for alert in alerts if alert.status == "resolved")
    fired = msgspec.structs.replace(over, status="firing", ends_at=None)
    assert fired.key != over.key
    assert len({alert.key for alert in alerts}) == len(alerts)


def test_a_missing_fingerprint_is_made_of_the_labels() -> None:
    """Before 0.19 Alertmanager sent none: equal labels are one alert, other labels another."""
    alerts = alertmanager.read(
        body(one(), one(), one(labels={"alertname": "A", "node": "b"})), now=NOW
    ).alerts
    assert alerts[0].fingerprint == alerts[1].fingerprint != alerts[2].fingerprint


def test_no_end_is_none() -> None:
    """Go's zero time is no end, and a firing alert's end in the future is none either."""
    for ends in ("0001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"):
        assert only(alertmanager.read(body(one(endsAt=ends)), now=NOW)).ends_at is None


def test_an_alert_without_a_start_starts_now() -> None:
    """No start, or Go's zero time, is the moment of receipt; a time without zone is UTC."""
    for starts in ("0001-01-01T00:00:00Z", None):
        assert only(alertmanager.read(body(one(startsAt=starts)), now=NOW)).starts_at == NOW
    assert only(alertmanager.read(body(one(startsAt="2001-09-09T01:46:40")), now=NOW)).starts_at == 1e9


def test_another_version_is_refused() -> None:
    """Only version 4 is known; another one is said to be another one."""
    with pytest.raises(Unreadable) as error:
        alertmanager.read(body(version="3"), now=NOW)
    assert error.value.status == 422
    assert "version" in str(error.value)


def test_a_label_that_is_no_text_is_refused_with_its_place() -> None:
    """The complaint names the place and quotes nothing of the body."""
    with pytest.raises(Unreadable, match="labels") as error:
        alertmanager.read(body(one(labels={"alertname": "A", "secret": 12345})), now=NOW)
    assert "12345" not in str(error.value)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"{",
        b'{"alerts": NaN}',
        b'{"alerts": [], "truncatedAlerts": Infinity}',
        b'{"x": ' + b"[" * 100_000,
        b'{"x": ' + b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_is_refused_as_such(raw: bytes) -> None:
    """400, with a way out, whatever the bytes are."""
    for read in (alertmanager.read, grafana.read, pagerduty.read, generic.Form(Mapping(name="x")).read):
        with pytest.raises(Unreadable) as error:
            read(raw, now=NOW)
        assert error.value.status == 400
        assert error.value.fix


@pytest.mark.parametrize(
    "raw", [b"[]", b"1", b"null", b'"x"', b"1e999", b'{"alerts": {}}', b'{"alerts": [1]}']
)
def test_json_of_another_form_is_unprocessable(raw: bytes) -> None:
    """422: it is JSON, and never a notification."""
    for read in (alertmanager.read, grafana.read, pagerduty.read):
        with pytest.raises(Unreadable) as error:
            read(raw, now=NOW)
        assert error.value.status == 422


def test_one_alert_with_too_many_labels_does_not_lose_the_others() -> None:
    """The one is refused by its number; its group is taken."""
    many = {f"l{n}": "x" for n in range(MAX_LABELS + 1)}
    found = alertmanager.read(body(one(), one(labels=many), one()), now=NOW)
    assert len(found.alerts) == 2
    assert len(found.refused) == 1
    assert "alert 2" in found.refused[0]


def test_no_more_alerts_than_the_bound() -> None:
    """A larger group is taken up to the bound, and the rest is said to be left."""
    found = alertmanager.read(body(*[one()] * (MAX_ALERTS + 7)), now=NOW)
    assert len(found.alerts) == MAX_ALERTS
    assert "7 alerts" in found.refused[0]


def test_long_texts_are_cut_and_control_characters_stay() -> None:
    """A text is at most so long; what stands in it is data."""
    alert = only(
        alertmanager.read(body(one(labels={"alertname": "\x00{{7*7}}<b>", "l": "x" * 9999})), now=NOW)
    )
    assert alert.name == "\x00{{7*7}}<b>"
    assert len(alert.labels["l"]) == MAX_TEXT


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "ftp://x", "//x", "http://x/\n", "https://" + "x" * 4096, "", None]
)
def test_only_addresses_of_the_web_are_kept(address: str | None) -> None:
    """Everything else that stands where an address should is dropped."""
    assert only(alertmanager.read(body(one(generatorURL=address)), now=NOW)).url == ""


# ── Grafana ─────────────────────────────────────────────────────────────────────


def test_grafanas_form_is_read() -> None:
    """Its states, its values in words and its addresses come through."""
    posted = one(
        status="ok",
        endsAt="2026-11-22T16:00:00+01:00",
        values={"B": 1.5, "C": None},
        valueString="[ var='B' value=1.5 ]",
        silenceURL="https://g/silence",
        generatorURL="",
        panelURL="https://g/panel",
        orgId=1,
    )
    alert = only(grafana.read(body(posted, version="1", orgId=1, state="ok", title="x"), now=NOW))
    assert alert.status == "resolved"
    assert alert.ends_at == 1795359600.0
    assert alert.annotations == {"valueString": "[ var='B' value=1.5 ]", "silenceURL": "https://g/silence"}
    assert alert.url == "https://g/panel"


# ── PagerDuty ───────────────────────────────────────────────────────────────────


def event(kind: str, at: str = "2026-11-22T15:00:00Z", **data: object) -> bytes:
    incident = {
        "id": "PGR0VU2",
        "type": "incident",
        "title": "events are dropped",
        "html_url": "https://acme.pagerduty.com/incidents/PGR0VU2",
        "incident_key": "d3640fbd",
        "created_at": "2026-11-22T14:00:00Z",
        "urgency": "high",
        "service": {"id": "PF9", "type": "service_reference", "summary": "agents"},
        "priority": None,
        **data,
    }
    return json.dumps(
        {"event": {"id": "5ac", "event_type": kind, "occurred_at": at, "data": incident}}
    ).encode()


def test_an_incident_is_an_alert() -> None:
    """Title, service and urgency arrive; acknowledged or handed on, it is the same news."""
    fired = only(pagerduty.read(event("incident.triggered"), now=NOW))
    assert (fired.name, fired.status, fired.ends_at) == ("events are dropped", "firing", None)
    assert fired.labels == {
        "alertname": "events are dropped",
        "service": "agents",
        "urgency": "high",
        "incident_key": "d3640fbd",
    }
    seen = only(pagerduty.read(event("incident.acknowledged", "2026-11-22T15:05:00Z"), now=NOW))
    assert seen.key == fired.key


def test_a_resolved_incident_is_over_and_a_reopened_one_starts_anew() -> None:
    """Resolved has the same identity and an end; reopened is news."""
    fired = only(pagerduty.read(event("incident.triggered"), now=NOW))
    over = only(pagerduty.read(event("incident.resolved"), now=NOW))
    assert (over.fingerprint, over.status) == (fired.fingerprint, "resolved")
    assert over.ends_at is not None
    assert only(pagerduty.read(event("incident.reopened"), now=NOW)).key != fired.key


@pytest.mark.parametrize("kind", ["pagey.ping", "incident.annotated", "service.updated", "of.tomorrow"])
def test_events_about_something_else_hold_no_alert(kind: str) -> None:
    """They are right, and there is nothing in them to take."""
    raw = json.dumps({"event": {"event_type": kind, "data": {"message": "Hello", "type": "ping"}}}).encode()
    assert pagerduty.read(raw, now=NOW) == Reading()


def test_an_event_without_its_incident_is_refused() -> None:
    """422, with what to subscribe to."""
    with pytest.raises(Unreadable, match="subscribe"):
        pagerduty.read(b'{"event": {"event_type": "incident.triggered", "data": {}}}', now=NOW)


# ── generic ─────────────────────────────────────────────────────────────────────


def test_a_mapped_body_is_read() -> None:
    """Paths into the alert, into the whole body and a text in quotes."""
    form = generic.Form(
        Mapping(
            alerts="incidents",
            name='"high-cpu"',
            status="state.now",
            fingerprint="ids[0]",
            starts_at="began",
            labels={"node": "$.common.node", "*": "tags", "n": "count"},
            annotations={"summary": '["odd name"]'},
            url="link",
        )
    )
    incident = {
        "state": {"now": "OPEN"},
        "ids": ["x1"],
        "began": 1_700_000_000_500,
        "tags": {"a": True, "b": None, "c": {"d": [1]}},
        "count": 3,
        "odd name": "it burns",
        "link": "https://s/1",
    }
    raw = json.dumps({"incidents": [incident], "common": {"node": "n7"}}).encode()
    assert only(form.read(raw, now=NOW)) == Alert(
        name="high-cpu",
        status="firing",
        fingerprint="x1",
        starts_at=1_700_000_000.5,
        labels={"node": "n7", "a": "true", "c": '{"d":[1]}', "n": "3"},
        annotations={"summary": "it burns"},
        url="https://s/1",
    )


def test_an_unknown_status_is_refused_and_none_fires() -> None:
    """What is neither firing nor over is nobody's guess; a sender without states only sends what fires."""
    form = generic.Form(Mapping(name="n", status="s"))
    assert "neither" in form.read(b'{"n": "x", "s": "acknowledged"}', now=NOW).refused[0]
    assert only(form.read(b'{"n": "x", "s": "Closed"}', now=NOW)).status == "resolved"
    assert only(generic.Form(Mapping(name="n")).read(b'{"n": "x"}', now=NOW)).status == "firing"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [(1_700_000_000, 1.7e9), ("1700000000.5", 1_700_000_000.5), ("2001-09-09T01:46:40Z", 1e9), (None, NOW)],
)
def test_times_are_read_in_either_form(written: object, wanted: float) -> None:
    """Epoch seconds, also as a text, and RFC 3339."""
    form = generic.Form(Mapping(name="n", starts_at="t"))
    assert only(form.read(json.dumps({"n": "x", "t": written}).encode(), now=NOW)).starts_at == wanted


@pytest.mark.parametrize("written", ["soon", [1], {"a": 1}, 1e30, "9" * 400, "-1e300"])
def test_what_is_no_time_is_said_to_be_none(written: object) -> None:
    """The alert is refused with the way out, and nothing breaks."""
    form = generic.Form(Mapping(name="n", starts_at="t"))
    assert "no time" in form.read(json.dumps({"n": "x", "t": written}).encode(), now=NOW).refused[0]


@pytest.mark.parametrize("written", ["", "a..b", ".a", "a[", "a[x]", 'a"b"', "a b", "a[-1]", "$x y", "a[0]b"])
def test_a_path_that_is_none_is_refused(written: str) -> None:
    """When the listener starts, not when an alert comes."""
    with pytest.raises(UsageError, match="no path"):
        paths.parse(written)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("a.b[1].c", 7),
        ('a["b"][1].c', 7),
        ("$.a.b[1].c", 7),
        ("a.x", None),
        ("a.b[9]", None),
        ('"a"', "a"),
        ("a[0]", None),
    ],
)
def test_a_path_finds_what_stands_there(written: str, wanted: object) -> None:
    """Or nothing; never an error for what a sender left out."""
    whole = {"a": {"b": [0, {"c": 7}]}}
    assert paths.parse(written).find(whole, whole) == wanted
