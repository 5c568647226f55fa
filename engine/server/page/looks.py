"""Templates: everything escaped, unknown names refused, numbers and moments as everywhere else.

One promise: a text that came from an alert, an agent or a runbook is printed as text, without control
characters; an address that such a text names is a link only when it is http or https.

Not here: what is shown (one file per page), the look (``static/page.css``).
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from engine import text, units
from engine.evidence import unknown
from engine.record import Answerable
from engine.reports import approvals, timeline
from engine.reports.html import TONES
from engine.server.page import assets
from engine.values import Setting

if TYPE_CHECKING:
    from jinja2 import Environment

#: Besides those of reports: states of runs, fates of alerts, health of targets.
_TONES = {
    **TONES,
    "queued": "calm",
    "waiting": "ask",
    "started": "info",
    "joined": "info",
    "resolved": "good",
    "duplicate": "calm",
    "unmatched": "calm",
    "held": "warn",
    "full": "bad",
    "well": "good",
    "troubled": "warn",
    "down": "bad",
    "firing": "bad",
    "approved": "good",
    "denied": "bad",
    "expired": "warn",
    "void": "warn",
    "withdrawn": "calm",
}


def render(template: str, **facts: object) -> str:
    """A page as text. Cost: 1 to 5 ms; with charts 50 ms more."""
    return environment().get_template(template).render(**facts)


def ago(at: float, now: float | None = None) -> str:
    """How long ago, in one word and a number: ``12 s``, ``4 min``, ``3 h``, ``2 d``."""
    seconds = max(0.0, (time.time() if now is None else now) - at)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def as_written(value: Setting) -> str:
    """An input's value as somebody would write it; nothing where there is none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(as_written(one) for one in value)
    return "" if isinstance(value, dict) else str(value)


def safe_link(address: str) -> str:
    """An address that may be clicked, or nothing."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    plain = address.lower().startswith(("http://", "https://"))
    return address if plain and parts.netloc else ""


@cache
def environment() -> Environment:
    """Made once; the templates are read again only by a new process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - not for static files

    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.globals |= {"static": assets.url, "now": time.time}
    made.filters |= {
        "ago": ago,
        "answers": lambda proposal: list(approvals.told(proposal)),
        "comparison": timeline.comparison,
        "headline": timeline.headline,
        "iso": text.moment,
        "measure": text.measure,
        "measured": timeline.measured,
        "moment": text.day_and_time,
        "part": lambda word: quote(str(word), safe=""),
        "safe_link": safe_link,
        "setting": text.setting,
        "several": text.several,
        "share_of": text.share,
        "since": text.since,
        "size": text.size,
        "span": text.span,
        "tone": lambda word: _TONES.get(word, "calm"),
        "drawing": _drawing,
        "unit_of": text.unit_of,
        "unknown": unknown,
        "sentence": _sentence,
        "code": _code,
        "typed": text.typed,
        "written": as_written,
        "default_of": _default,
    }
    return made


def _visible(value: object) -> object:
    """Everything a template prints: text without control characters."""
    from markupsafe import Markup  # noqa: PLC0415

    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _drawing(svg: str) -> object:
    """A chart, which was built as a tree and so is escaped already."""
    from markupsafe import Markup  # noqa: PLC0415

    return Markup(svg)  # noqa: S704 - written by ElementTree, which escapes


def _code(source: str) -> object:
    """Lines with their breaks, each made visible and escaped."""
    from markupsafe import Markup, escape  # noqa: PLC0415

    return Markup("\n").join(escape(text.plain(line)) for line in source.splitlines())


def _sentence(words: str) -> str:
    """Words with a large letter in front, unless they begin with a name, and a full stop behind."""
    words = words.strip()
    first = words.partition(" ")[0]
    if first.isalpha() and first.islower():
        words = words[:1].upper() + words[1:]
    return words + ("" if words.endswith((".", "!", "?", "…")) else ".")


def _default(spec: Answerable) -> str:
    """What stands in a field before somebody writes: the default, with its unit where it reads back."""
    said = text.typed(spec.default, spec.type)
    read = units.parse(said)
    same = read is not None and spec.type not in {"int", "number"} and read[0] == spec.default
    return said if same else as_written(spec.default)
