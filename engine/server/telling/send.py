"""Sends notices to one service, in a process of its own: ``python -m engine.server.telling.send``.

The order comes on stdin as JSON, so that the service's address with its secrets stands in no argument;
for each notice a line of JSON says on stdout what became of it.

One promise: Apprise, its 120 services and their 36 MiB live only as long as something is sent, and a
service that hangs is ended with this process. Cost: 0.3 s and what the service takes.

Not here: when to send, and what to do about a failure (``engine.server.telling.teller``).
"""

from __future__ import annotations

import logging
import re
import sys
import urllib.parse
from collections.abc import Callable
from typing import Any, Literal

import msgspec

#: Apprise's four kinds; services show them as colours or marks.
Kind = Literal["info", "success", "warning", "failure"]

MISSING = "apprise is not installed: pip install 'bpf-runbook[server]'"


class Letter(msgspec.Struct, frozen=True):
    """One notice in words."""

    id: int
    title: str
    body: str
    kind: Kind = "info"


class Order(msgspec.Struct, frozen=True):
    """Letters to one service, at ``url`` as Apprise writes it."""

    url: str
    letters: tuple[Letter, ...]


class Sent(msgspec.Struct, frozen=True):
    """What became of a letter; ``problem``: why it did not go out, without the address's secrets."""

    id: int
    problem: str = ""


class _Said(logging.Handler):
    """Keeps what Apprise warns of: its only word on why something was not sent."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.words.append(record.getMessage())


def main() -> int:
    """Read the order, send, say what became of each letter."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    send = _sender(order.url)
    failed = ""
    for letter in order.letters:
        failed = failed or send(letter)  # a service that failed is left alone: the rest is tried later
        sys.stdout.buffer.write(msgspec.json.encode(Sent(letter.id, failed)) + b"\n")
        sys.stdout.buffer.flush()
    return 0


def _sender(url: str) -> Callable[[Letter], str]:
    """Sends one letter; gives why it could not be sent, or nothing."""
    said = _Said()
    logger = logging.getLogger("apprise")
    logger.addHandler(said)
    logger.propagate = False
    try:
        import apprise  # noqa: PLC0415 - of the extra [server]
    except ImportError:
        return lambda _: MISSING
    asset = apprise.AppriseAsset(storage_mode="memory", secure_logging=True)
    asset.app_id = asset.app_desc = "runbook"
    service: Any = apprise.Apprise(asset=asset)
    if not service.add(url):
        return lambda _: "its url_file does not hold an address that Apprise understands"

    def send(letter: Letter) -> str:
        said.words.clear()
        try:
            went = service.notify(
                body=letter.body,
                title=letter.title,
                notify_type=letter.kind,
                body_format=apprise.NotifyFormat.TEXT,
            )
        except Exception as error:  # noqa: BLE001 - a plugin's mistake is a failure like others
            return without(url, f"{type(error).__name__}: {error}")
        return "" if went else without(url, "; ".join(said.words) or "the service did not take it")

    return send


def without(url: str, words: str) -> str:
    """Words without any part of an address: which of them is a secret, only the service knows."""
    parts = {part for part in re.split(r"[/:@?&=#,;+]+", url.partition("://")[2]) if len(part) >= 4}
    parts |= {urllib.parse.unquote(part) for part in parts}
    shown = words
    for part in sorted(parts, key=len, reverse=True):
        shown = re.sub(re.escape(part), "…", shown, flags=re.IGNORECASE)
    return shown[:500]


if __name__ == "__main__":
    sys.exit(main())
