"""What Alertmanager posts to a webhook: payload version 4.

Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config, and bodies of a real one.
A notification may hold firing and resolved alerts at once, and fewer than its group has
(``truncatedAlerts``); the same alert comes again with every ``repeat_interval``.

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

FORM = "an Alertmanager notification of version 4"


class AlertmanagerAlert(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One alert of a notification. ``fingerprint`` is missing before Alertmanager 0.19."""

    status: Status | None = None
    labels: dict[str, str]
    annotations: dict[str, str] | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    generator_url: str | None = msgspec.field(default=None, name="generatorURL")
    fingerprint: str | None = None


class AlertmanagerBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A notification: alerts of one group; ``status`` is ``firing`` while any of them fires."""

    alerts: list[AlertmanagerAlert]
    version: Literal["4"] = "4"
    status: Status = "firing"
    truncated_alerts: Annotated[int, Meta(ge=0)] = 0


_decoder = msgspec.json.Decoder(AlertmanagerBody)


def read(body: bytes, *, now: float) -> Reading:
    """The alerts of a notification. ``now``: for those without a time. Raises ``Unreadable``."""
    posted = reading.decode(_decoder, body, FORM)
    return reading.collect(
        posted.alerts, lambda one: _alert(one, posted.status, now), left_out=posted.truncated_alerts
    )


def _alert(posted: AlertmanagerAlert, group: Status, now: float) -> Alert:
    status = posted.status or group
    labels = reading.texts(posted.labels, "labels")
    return Alert(
        name=labels.get("alertname", ""),
        status=status,
        fingerprint=reading.identity(posted.fingerprint or "", labels),
        starts_at=reading.moment(posted.starts_at, now),
        ends_at=reading.end(posted.ends_at, status, now),
        labels=labels,
        annotations=reading.texts(posted.annotations, "annotations"),
        url=reading.url(posted.generator_url),
    )
