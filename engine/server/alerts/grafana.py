"""What Grafana's unified alerting posts to a webhook contact point.

Alertmanager's form with more to it: ``valueString`` (the measured values, in words), addresses of the
panel, the dashboard and a silence; its states are also called ``alerting`` and ``ok``.
Source: https://grafana.com/docs/grafana/latest/alerting/configure-notifications/manage-contact-points/integrations/webhook-notifier/

Not here: what all formats share (``engine.server.alerts.reading``).
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from engine.server.alerts import reading
from engine.server.alerts.alert import Alert, Status
from engine.server.alerts.reading import Reading

FORM = "a Grafana webhook notification"

State = Literal["firing", "resolved", "alerting", "ok"]
_STATUS: dict[State, Status] = {
    "firing": "firing",
    "alerting": "firing",
    "resolved": "resolved",
    "ok": "resolved",
}


class GrafanaAlert(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert instance of a notification."""

    status: State | None = None
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    fingerprint: str | None = None
    value_string: str | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    panel_url: str | None = msgspec.field(default=None, name="panelURL")
    dashboard_url: str | None = msgspec.field(default=None, name="dashboardURL")
    silence_url: str | None = msgspec.field(default=None, name="silenceURL")


class GrafanaBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A notification: alert instances of one group, firing and resolved ones mixed."""

    alerts: list[GrafanaAlert]
    status: State = "firing"
    truncated_alerts: Annotated[int, Meta(ge=0)] = 0


_decoder = msgspec.json.Decoder(GrafanaBody)


def read(body: bytes, *, now: float) -> Reading:
    """The alerts of a notification. ``now``: for those without a time. Raises ``Unreadable``."""
    posted = reading.decode(_decoder, body, FORM)
    return reading.collect(
        posted.alerts, lambda one: _alert(one, posted.status, now), left_out=posted.truncated_alerts
    )


def _alert(posted: GrafanaAlert, group: State, now: float) -> Alert:
    status = _STATUS[posted.status or group]
    labels = reading.texts(posted.labels, "labels")
    return Alert(
        name=labels.get("alertname", ""),
        status=status,
        fingerprint=reading.identity(posted.fingerprint or "", labels),
        starts_at=reading.moment(posted.starts_at, now),
        ends_at=reading.end(posted.ends_at, status, now),
        labels=labels,
        annotations=_annotations(posted),
        url=reading.url(posted.generator_url, posted.panel_url, posted.dashboard_url),
    )


def _annotations(posted: GrafanaAlert) -> dict[str, str]:
    """As sent, with what Grafana writes beside them."""
    beside = reading.named(
        [("valueString", posted.value_string), ("silenceURL", reading.url(posted.silence_url))]
    )
    return reading.texts({**beside, **(posted.annotations or {})}, "annotations")
