"""A notice in the words that people get: a title, a body, and how bad it is.

One promise: what came from an alert or an agent can't call a whole channel, and stands on lines of its
own; it is plain text, which Apprise escapes for services that take Markdown or HTML.

Not here: sending (``engine.server.telling.send``).
"""

from __future__ import annotations

import re

from engine import text
from engine.server.messages import Notice
from engine.server.settings import Listen
from engine.server.telling.send import Kind

#: What services read as a call to many people, or to one.
_CALLS = re.compile(r"@(?=everyone|here|channel|all|room)|<(?=[!@#|])", re.IGNORECASE)
_UNSEEN = "\N{ZERO WIDTH SPACE}"

_GOOD = frozenset({"healthy", "fixed", "mitigated", "rehearsed"})


def title(notice: Notice, host: str) -> str:
    """``waiting: events-dropped on lab (node-7)``."""
    what = notice.outcome or notice.about
    about = " on ".join(filter(None, (notice.runbook, notice.target))) or "runbook"
    return harmless(f"{what}: {about} ({host})")


def body(notice: Notice, host: str, address: str) -> str:
    """Sentence, evidence, where to look or answer, and what tells a double."""
    lines = [harmless(notice.sentence), *(f"- {harmless(line)}" for line in notice.evidence)]
    if notice.link:
        lines.append(f"Answer without a login: {address}{notice.link}")
    if notice.path:
        lines.append(
            f"{'Look' if notice.link or notice.about != 'waiting' else 'Answer'}: {address}{notice.path}"
        )
    mark = ", ".join(filter(None, (f"notice {notice.id}", notice.run and f"run {notice.run}", host)))
    return "\n".join([*lines, f"({mark}, {text.day_and_time(notice.at)})"])


def kind(notice: Notice) -> Kind:
    """How it is marked."""
    if notice.about == "ended":
        return "success" if notice.outcome in _GOOD else "failure"
    return "failure" if notice.about == "trouble" else "warning"


def harmless(words: str) -> str:
    """Text from outside on one line, without control characters and without calls to a channel."""
    return _CALLS.sub(lambda found: found[0] + _UNSEEN, text.plain(words))


def address(listen: Listen) -> str:
    """What goes before a path of the page."""
    if listen.public_url:
        return listen.public_url.rstrip("/")
    host = f"[{listen.address}]" if ":" in listen.address else listen.address
    return f"{'https' if listen.certificate else 'http'}://{host}:{listen.port}"
