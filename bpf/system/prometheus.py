"""Prometheus' text format, as far as an agent's counters need it.

Its promise: a series that is not in the text is absent (None), never zero; a line that can't be
read is skipped, never guessed at.

Not here: rates (``bpf.probes.agent_metrics``), writing the format.
Source: Prometheus documentation, "Exposition formats", text format 0.0.4; OpenMetrics' additions
(``# EOF``, exemplars, ``_created``) do no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import msgspec

#: A scrape longer than this is cut off: an agent's page with its counters is far smaller.
MOST_BYTES = 8 << 20

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[\s,]*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"')
_CLOSE = re.compile(r"[\s,]*\}")
_ESCAPES = {r"\\": "\\", r"\"": '"', r"\n": "\n"}


class Sample(msgspec.Struct, frozen=True):
    """One line: a series and its value. Histograms and summaries come as their parts."""

    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> Iterator[Sample]:
    """Every sample of a page, in its order. 3 µs per line."""
    for line in text.splitlines():
        sample = _sample(line.strip())
        if sample:
            yield sample


def _sample(line: str) -> Sample | None:
    """``name{label="value",…} number [moment]``; None for a comment and for what can't be read."""
    named = _NAME.match(line)
    if not named:
        return None
    labels, rest = {}, line[named.end() :].lstrip()
    if rest.startswith("{"):
        at = 1
        while found := _LABEL.match(rest, at):
            labels[found[1]] = re.sub(r"\\.", _unescape, found[2])
            at = found.end()
        closed = _CLOSE.match(rest, at)
        if not closed:
            return None
        rest = rest[closed.end() :]
    words = rest.split()
    try:
        return Sample(named[0], labels, float(words[0])) if words else None
    except ValueError:
        return None


def total(samples: list[Sample], name: str, labels: Mapping[str, str] | None = None) -> float | None:
    """The sum of all series of ``name`` that carry these label values; None when there is none.

    A counter may be exposed with or without ``_total`` by the same client library, depending on
    the format it was asked for: both names are tried.
    """
    for tried in (name, name.removesuffix("_total") if name.endswith("_total") else f"{name}_total"):
        values = [
            sample.value
            for sample in samples
            if sample.name == tried
            and (labels or {}).items() <= sample.labels.items()
            and sample.value == sample.value
        ]
        if values:
            return sum(values)
    return None


def scrape(url: str, timeout_s: float = 0.5) -> list[Sample]:
    """Fetch a page and parse it.

    Raises:
        OSError: It can't be reached, is no HTTP, or answers with an error; ``urllib``'s errors are of it.
        ValueError: The address is no http address.
    """
    import urllib.request  # noqa: PLC0415 - 15 ms, and only when an agent has metrics

    if not url.startswith(("http://", "https://")):
        raise ValueError(f"not an http address: {url}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout_s) as answer:
        page: bytes = answer.read(MOST_BYTES)
    return list(parse(page.decode(errors="replace")))


def _unescape(found: re.Match[str]) -> str:
    return _ESCAPES.get(found[0], found[0])
