"""What PagerDuty posts to a webhook subscription, version 3: one event of one incident.

An incident is one alert, whose name is the incident's title and whose labels say where it belongs
(``service``, ``urgency``, ``priority``, ``incident_key``). It fires until it is resolved: that somebody
acknowledged it, or that it went to somebody else, is the same news again. Reopened, it starts anew; what
resolves it ends all that began before, since PagerDuty does not say when it was reopened.
Events about something else (``pagey.ping``, services, responders) hold no alert.
Source: https://developer.pagerduty.com/docs/webhooks-overview

Not here: its signature (``engine.server.listener.signatures``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from engine.server.alerts import reading
from engine.server.alerts.alert import Alert
from engine.server.alerts.reading import Reading, Unreadable

FORM = "a PagerDuty webhook of version 3"

#: Events after which the incident fires; any other one but ``incident.resolved`` tells nothing new.
FIRES: Final = frozenset(
    {
        "incident.triggered",
        "incident.acknowledged",
        "incident.unacknowledged",
        "incident.reopened",
        "incident.escalated",
        "incident.delegated",
        "incident.reassigned",
        "incident.priority_updated",
    }
)


class PagerDutyReference(msgspec.Struct, frozen=True, kw_only=True):
    """Something of PagerDuty's, by name."""

    summary: str | None = None


class PagerDutyIncident(msgspec.Struct, frozen=True, kw_only=True):
    """The incident as it stands after the event."""

    id: str | None = None
    title: str | None = None
    html_url: str | None = None
    incident_key: str | None = None
    created_at: datetime | None = None
    urgency: str | None = None
    service: PagerDutyReference | None = None
    priority: PagerDutyReference | None = None


class PagerDutyEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. ``data`` is an incident only in some events, and is read in those."""

    event_type: str
    occurred_at: datetime | None = None
    data: msgspec.Raw


class PagerDutyBody(msgspec.Struct, frozen=True, kw_only=True):
    """One delivery."""

    event: PagerDutyEvent


_decoder = msgspec.json.Decoder(PagerDutyBody)
_incident = msgspec.json.Decoder(PagerDutyIncident)


def read(body: bytes, *, now: float) -> Reading:
    """The alert that an event is about, or none. Raises ``Unreadable``."""
    event = reading.decode(_decoder, body, FORM).event
    if event.event_type != "incident.resolved" and event.event_type not in FIRES:
        return Reading()
    incident = reading.decode(_incident, bytes(event.data), FORM)
    if not incident.id or not incident.title:
        raise Unreadable(
            "the event's data is no incident with id and title",
            fix="subscribe the webhook to incident events",
        )
    return reading.collect([incident], lambda one: _alert(one, event, now))


def _alert(incident: PagerDutyIncident, event: PagerDutyEvent, now: float) -> Alert:
    resolved = event.event_type == "incident.resolved"
    occurred = reading.moment(event.occurred_at, now)
    began = (
        occurred if event.event_type == "incident.reopened" else reading.moment(incident.created_at, occurred)
    )
    labels = reading.named(
        [
            ("alertname", incident.title),
            ("service", incident.service and incident.service.summary),
            ("urgency", incident.urgency),
            ("priority", incident.priority and incident.priority.summary),
            ("incident_key", incident.incident_key),
        ]
    )
    return Alert(
        name=reading.cut(incident.title or ""),
        status="resolved" if resolved else "firing",
        fingerprint=reading.identity(f"pagerduty:{incident.id}", {}),
        starts_at=began,
        ends_at=occurred if resolved else None,
        labels=reading.texts(labels, "labels"),
        annotations={"summary": reading.cut(incident.title or "")},
        url=reading.url(incident.html_url),
    )
