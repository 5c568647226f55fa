"""An alert as every sender's notification comes down to, and when two of them are the same.

Not here: the senders' formats (one file each in this room), what is done with it
(``engine.server.worker.intake``).
"""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

Status = Literal["firing", "resolved"]

#: What one alert may hold at most; more is cut (texts) or refused (numbers of things) where it is read.
MAX_LABELS = 64
MAX_TEXT = 4096
#: Alerts of one body that are taken; a sender's groups are smaller.
MAX_ALERTS = 2000


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One alert, firing or resolved, as data: nothing of it is ever a template or code.

    Attributes:
        name: ``eBPFHighEventDropRate``: what triggers of runbooks name.
        fingerprint: The sender's identity of the alert, the same while it fires and when it resolves; the
            worker puts the sender's name before it.
        starts_at, ends_at: Epoch seconds; ``ends_at`` None while it fires.
        labels, annotations: As sent, at most ``MAX_LABELS`` of ``MAX_TEXT`` characters.
        url: Where its sender shows it; empty where it says nothing. Only http and https.
    """

    name: str
    status: Status
    fingerprint: str
    starts_at: float
    ends_at: float | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    url: str = ""

    @property
    def key(self) -> str:
        """Equal for the same news, however often it is sent: fingerprint, start, status."""
        whole = f"{self.fingerprint}\0{self.starts_at:.3f}\0{self.status}"
        return hashlib.sha256(whole.encode("utf-8", "backslashreplace")).hexdigest()[:32]

    @property
    def summary(self) -> str:
        """The alert in a line, as its sender words it."""
        return self.annotations.get("summary") or self.annotations.get("description") or self.name
