"""Whether a profile makes sense: what the types of its fields can't say.

One promise: every complaint at once, each with its place; an error is what can't work, a warning what
looks wrong or is not as told. Nothing of this machine is read but which parts are installed.

Not here: its knobs one by one (``engine.agents.knob_check``), reading it (``engine.agents.profiles``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from engine.agents import knob_check, profiles
from engine.agents.judge import Judge
from engine.agents.knob_check import reload_sense
from engine.agents.profile import Profile
from engine.catalog import Catalog
from engine.values import Counter

#: Linux capabilities as of 6.18 (include/uapi/linux/capability.h).
_NAMES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE
    NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT
    SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE
    AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
    PERFMON BPF CHECKPOINT_RESTORE
"""
CAPABILITIES = tuple(f"CAP_{name}" for name in _NAMES.split())
#: Where counts can be read from inside the kernel: it sees neither the agent's queue nor its exporter.
_OF_THE_KERNEL = ("bpf-variable", "bpf-map")


def check(path: Path, catalog: Catalog) -> list[str]:
    """All complaints about a profile, by their places.

    Raises:
        DocumentError: It can't be read as a profile.
    """
    profile, source = profiles.read(path)
    judge = Judge(source)
    _match(profile, judge)
    _addresses(profile, judge)
    for place, counter in enumerate(profile.counters):
        _counter(counter, f"counters[{place}]", profile, judge)
    for name, known in profile.maps.items():
        judge.cut(f"maps.{name}", [name])
        if known.refused is not None:
            _counter(known.refused, f"maps.{name}.refused", profile, judge)
    for part in ("reload", "start"):
        reload_sense(getattr(profile, part), part, profile, judge)
    _promises(profile, judge)
    knob_check.check(profile, judge, catalog)
    return [str(one) for one in sorted(set(judge.findings))]


def _match(profile: Profile, judge: Judge) -> None:
    match = profile.match
    for part in ("comm", "map", "program"):
        judge.cut(f"match.{part}", getattr(match, part))
    for pattern in match.exe:
        if not pattern.startswith(("/", "*")):
            judge.error(
                "match.exe", f"{pattern!r} never fits: it is compared with the whole path (write */{pattern})"
            )
    judge.cut("events.rings", profile.events.rings)


def _addresses(profile: Profile, judge: Judge) -> None:
    for part in ("metrics", "health", "heap", "log"):
        judge.filled(part, getattr(profile, part))
    for part in ("metrics", "health", "heap"):
        text = getattr(profile, part)
        if text and not text.startswith(("http://", "https://", "{")):
            judge.error(part, f"{text!r} is no http address")
    config = profile.config
    for text in (config,) if isinstance(config, str) else (config.otherwise, *config.installed):
        judge.filled("config", text)
    for name, text in profile.facts.items():
        judge.filled(f"facts.{name}", text, fatal=False)


def _counter(counter: Counter, path: str, profile: Profile, judge: Judge) -> None:
    if counter.source == "metric" and not profile.metrics:
        judge.error(path, "the profile names no metrics page ('metrics') to find it on")
    if counter.source == "log":
        _log_counter(counter, path, profile, judge)
    if counter.source == "bpf-map":
        judge.cut(f"{path}.name", (counter.name, *counter.also))
    if counter.cumulative and counter.source != "log":
        judge.warn(
            f"{path}.cumulative", "only a log's numbers can be one or the other: all others are totals"
        )
    if counter.labels and counter.source not in ("metric", "bpf-map"):
        judge.error(f"{path}.labels", f"a {counter.source} has no labels")
    if counter.adds and counter.source != "metric":
        judge.error(
            f"{path}.adds", f"further names are added of a metric only, and this is a {counter.source}"
        )
    if counter.source == "bpf-map" and not all(value.isdigit() for value in counter.labels.values()):
        judge.error(
            f"{path}.labels", "of a bpf-map they are numbers: key (index), offset (bytes into the value)"
        )
    if counter.counts == "refused" and path.startswith("counters"):
        judge.error(f"{path}.counts", "what a map refused belongs to that map: maps.NAME.refused")
    if counter.source in _OF_THE_KERNEL and counter.stage in ("queue", "exporter"):
        judge.warn(
            f"{path}.stage",
            f"a {counter.source} lies in the kernel, which does not see the agent's {counter.stage}",
        )
    if counter.counts == "received" and counter.stage in ("queue", "exporter"):
        judge.warn(f"{path}.stage", "received is what comes in: at the ring or the reader")


def _log_counter(counter: Counter, path: str, profile: Profile, judge: Judge) -> None:
    for text in (counter.name, *counter.also):
        pattern = judge.pattern(f"{path}.name", text)
        if pattern is None:
            continue
        if pattern.groups > 1:
            judge.error(
                f"{path}.name", f"{pattern.groups} groups: one is the number (write the others as (?:…))"
            )
        if pattern.groups == 0:
            what = (
                "a total needs a group for its number"
                if counter.cumulative
                else "no group for the number: each line counts as one event"
            )
            (judge.error if counter.cumulative else judge.warn)(f"{path}.name", what)
    if not profile.log:
        judge.warn(path, "the profile names no log file ('log'): it is read only where one is given")


def _promises(profile: Profile, judge: Judge) -> None:
    lost = [counter for counter in profile.counters if counter.counts == "dropped"]
    if profile.drop_visibility == "full" and not lost:
        judge.error("drop_visibility", "full, and no counter of dropped events says where")
    if profile.drop_visibility == "none" and lost:
        judge.warn(
            "counters", "drop_visibility is none (or left out), yet dropped events are counted: partial?"
        )
    for name in profile.needs.capabilities:
        if name not in (*CAPABILITIES, "privileged"):
            judge.unknown("needs.capabilities", "capability", name, (*CAPABILITIES, "privileged"))
    if profile.needs.kernel and not re.fullmatch(r"\d+\.\d+(\.\d+)?", profile.needs.kernel):
        judge.error("needs.kernel", f"{profile.needs.kernel!r} is no version (write it as 5.8)")
    if profile.verified == "sources":
        for path in _without_source(profile):
            judge.warn(path, "where was it read? ('source' here, or 'sources' of the profile)")


def _without_source(profile: Profile) -> Iterator[str]:
    """Facts that were not tried and do not say where they were read."""
    if profile.sources:
        return
    if profile.counters:
        yield "counters"
    if profile.needs.kernel and not profile.needs.source:
        yield "needs"
    for name, knob in profile.knobs.items():
        if not knob.source:
            yield f"knobs.{name}"
