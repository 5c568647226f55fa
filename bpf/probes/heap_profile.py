"""What lives on an agent's heap and what of it grew, by the agent's own heap profile.

Its promise: the profile at either end of the window, read by a decoder of our own within bounds; growth
within the profile's sampling error is none. The address is the profile's ``heap`` (Go:
``/debug/pprof/heap``), the format pprof's or its older text (Go, gperftools); addresses without names stay
addresses.

Go tells the heap as of its last garbage collection: when there was none in the window, nothing moved,
and that is said. No collection is forced.

Not here: agents without a profile (``allocations``), amounts and limits (``memory``).
Cost: two requests; Go halts its program for some 0.1 ms at each. 0.2 µs a byte of the profile.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit, urlunsplit

from bpf.memory import heap_growth, pprof
from bpf.memory.heap_growth import Grown
from bpf.memory.pprof import BadProfile, Profile
from bpf.memory.telling import Readings, known, missing
from bpf.probes.asked import named
from bpf.probes.heap_profile_fields import FIELDS
from bpf.system.procfs import must_live
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Series, Setting, Support, Target

_TIMEOUT_S = 10.0
_PER_S = "bytes/s"


class HeapProfile:
    """The probe ``heap-profile``."""

    name = "heap-profile"
    short = "heap"
    summary = "What lives on the heap and what grew, by function, from the agent's own heap profile"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {"url": "another address than the profile's `heap`"}
    needs_target = True
    cpu_ceiling = 0.5

    def supported(self, target: Target | None) -> Support:
        """Needs an address; whether it answers shows when it is asked."""
        if target is None or target.heap_url:
            return Support(answer="yes", why="pprof's formats can be read")
        return Support(
            answer="unknown",
            why=f"the profile of {target.name} names no heap profile",
            fix="write it as `heap:` in the agent's profile, or give the option url",
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Take the profile at either end of the window."""
        target = named(target, self.name)
        url = _url(target, window.options)
        clock = window.clock
        first = _taken(url)
        started_at = window.begin()
        began = clock.monotonic()
        window.wait()
        must_live(target)
        last = _taken(url)
        seconds = max(1e-3, clock.monotonic() - began)
        functions = heap_growth.by_function(first, last)
        moved = _amounts(first) != _amounts(last)
        sums = (float(sum(_amounts(first))), float(sum(_amounts(last))))
        ended_at = clock.now()
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=ended_at,
            readings={
                **_whole(last, sums, seconds, url, moved=moved),
                **_top(functions, seconds, url),
                **_go(url, last),
            },
            series={
                "inuse": Series(label="live heap", unit="bytes", times=(started_at, ended_at), values=sums)
            },
            tables={"sites": heap_growth.rows(heap_growth.by_stack(first, last), seconds)},
            notes=() if moved else (_NOT_MOVED,),
        )


_NOT_MOVED = "the heap profile did not change: Go's is as of its last garbage collection; look for longer"


def _url(target: Target, options: Mapping[str, Setting]) -> str:
    given = options.get("url") or target.heap_url
    if not isinstance(given, str) or not given.startswith(("http://", "https://")):
        raise ProbeFailed(
            f"{given!r} is no http address of a heap profile"
            if given
            else f"{target.name} tells no heap profile",
            fix="write it as `heap:` in the agent's profile, or give the option url",
        )
    return given


def _taken(url: str) -> Profile:
    """One profile.

    Raises:
        ProbeFailed: It can't be had, or is none.
    """
    import http.client  # noqa: PLC0415 - 15 ms, and only when an agent has a heap profile
    import urllib.request  # noqa: PLC0415 - as above

    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_TIMEOUT_S) as answer:
            raw: bytes = answer.read(pprof.MOST_BYTES + 1)
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ProbeFailed(
            f"the heap profile could not be fetched: {url}: {error}", fix=f"curl -o heap {url}"
        ) from None
    try:
        return pprof.read(raw)
    except BadProfile as bad:
        raise ProbeFailed(
            f"what {url} gives can't be read as a heap profile: {bad}", fix=f"curl -o heap {url}; file heap"
        ) from None


def _amounts(profile: Profile) -> list[int]:
    return sorted(sample.bytes for sample in profile.samples)  # an agent may give them in any order


def _whole(last: Profile, sums: tuple[float, float], seconds: float, url: str, *, moved: bool) -> Readings:
    return {
        "inuse_bytes": known(sums[1], "bytes", url),
        "inuse_objects": known(sum(sample.objects for sample in last.samples), "", url),
        "grown_bytes": known(sums[1] - sums[0], "bytes", url),
        "growth_bytes_per_s": known((sums[1] - sums[0]) / seconds, _PER_S, url),
        "refreshed": known(moved, "", url),
        "sample_bytes": known(last.sample_bytes, "bytes", url),
        "format": known(last.format, "", url),
    }


def _top(functions: list[Grown], seconds: float, url: str) -> Readings:
    """The function that grew most; when none grew, the one with the most live bytes."""
    if not functions:
        why = "the profile is empty: too little was allocated to be sampled"
        return {"growing": known(False, "", url)} | missing(
            why, "top_site", "top_site_bytes", "top_site_bytes_per_s", "top_site_share"
        )
    growing = [one for one in functions if one.grows]
    top = functions[0]
    share = (
        top.growth / sum(one.growth for one in growing)
        if growing
        else top.bytes / (sum(one.bytes for one in functions) or 1)
    )
    return {
        "growing": known(bool(growing), "", url),
        "top_site": known(top.site, "", url),
        "top_site_bytes": known(top.bytes, "bytes", url),
        "top_site_bytes_per_s": known(top.growth / seconds, _PER_S, url),
        "top_site_share": known(share, "share", url),
    }


def _go(url: str, last: Profile) -> Readings:
    """What Go's text form tells besides: memory that its runtime keeps. Nobody else has it."""
    statistics = last.statistics
    if last.format == "pprof":
        parts = urlsplit(url)
        asked = "&".join(part for part in (parts.query, "debug=1") if part)
        try:
            statistics = _taken(urlunsplit(parts._replace(query=asked))).statistics
        except ProbeFailed:
            statistics = {}
    if not {"HeapIdle", "HeapReleased", "NumGC"} <= statistics.keys():
        return missing("only Go's own page tells it (?debug=1)", "idle_bytes", "collections")
    return {
        "idle_bytes": known(statistics["HeapIdle"] - statistics["HeapReleased"], "bytes", "runtime.MemStats"),
        "collections": known(statistics["NumGC"], "", "runtime.MemStats"),
    }
