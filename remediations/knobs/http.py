"""Ask an agent's own HTTP endpoints: healthy, reload, and a number from its metrics.

Plain HTTP or HTTPS straight to the agent, never through a proxy; a short timeout.

Not here: waiting and deciding (``reload``).
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

_TIMEOUT_S = 2.0
_MOST_BYTES = 4 << 20


def status(method: str, url: str) -> int:
    """The status of the answer; 0 when there is none."""
    return _ask(method, url)[0]


def metric(url: str, series: str) -> float | None:
    """The value of ``name`` or ``name{label="x"}`` on a Prometheus page; None when absent."""
    code, page = _ask("GET", url)
    if code != 200:
        return None
    for line in page.splitlines():
        name, _, rest = line.rpartition(" ")
        if name == series or (name.partition("{")[0] == series and "{" not in series):
            try:
                value = float(rest)
            except ValueError:
                return None
            return value if math.isfinite(value) else None
    return None


def _ask(method: str, url: str) -> tuple[int, str]:
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415 - late: slow

    parts = urlsplit(url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return 0, ""
    try:
        connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            answer = connection.getresponse()
            return answer.status, answer.read(_MOST_BYTES).decode(errors="replace")
        finally:
            connection.close()
    except (OSError, HTTPException, ValueError):
        return 0, ""
