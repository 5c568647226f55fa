"""Telling why a process is an agent or not, and what an agent answers now: ``runbook targets --explain``.

Not here: finding it out (``engine.agents.explaining``, ``engine.agents.answers``).
"""

from __future__ import annotations

from collections.abc import Iterable

import typer

from engine import text
from engine.agents.answers import Answers, CounterNow, KnobNow, MapNow
from engine.agents.explaining import Candidate, Condition, Explained
from engine.values import Setting, Target

_MARKS = {True: "yes", False: "no", None: "?"}
_SIZES, _TIMES = ("bytes", "KiB", "MiB", "GiB", "pages"), ("s", "ms", "us", "ns")


def tell_profiles(explained: Iterable[Explained], *, all_of_them: bool) -> None:
    """Each profile with its candidates; those without any in one line, unless they were asked for."""
    without = []
    for one in explained:
        if one.candidates or all_of_them:
            _tell_profile(one)
        else:
            without.append(one.profile)
    if without:
        _say(f"\nno process comes near: {', '.join(without)}")


def _tell_profile(one: Explained) -> None:
    untried = "; read in its sources, not tried" if one.verified == "sources" else ""
    _say(f"\nprofile {one.profile}  ({one.file}{untried})")
    for path in one.overrides:
        _say(f"  overrides {path}")
    for what in one.unseen:
        _say(f"  not seen: {what}")
    for candidate in one.candidates:
        _say(f"  {candidate.pid} {candidate.comm}: {_verdict(candidate)}")
        for condition in candidate.conditions:
            _say(_condition(condition))
    if not one.candidates:
        _say("  no process meets any of its conditions")


def _verdict(candidate: Candidate) -> str:
    if candidate.matches:
        return f"matches, but is {candidate.taken_by}'s already" if candidate.taken_by else "matches"
    if any(one.met is False for one in candidate.conditions):
        return "does not match"
    return "may match: not all of it could be seen"


def _condition(one: Condition) -> str:
    return f"    {_MARKS[one.met]:<4}{one.key:<8} wants {one.wanted}; has {one.found}"


def tell_target(target: Target, answers: Answers) -> None:
    """One target's addresses, health, buffers, counters and settings."""
    _say(f"\n{target.name}  ({target.ref})")
    places = {"settings": target.config_file, "metrics": target.metrics_url, "log": target.log_file}
    for name, place in places.items():
        _say(f"  {name:<10} {place or '-'}")
    _say(f"  {'health':<10} {answers.health}")
    _say(f"  {'own loss':<10} it can show {target.drop_visibility} of it")
    for ring in answers.rings:
        _say(f"  {'buffer':<10} {_ring(ring)}")
    for counter in answers.counters:
        _say(f"  {'counter':<10} {_counter(counter)}")
    for knob in answers.knobs:
        _say(f"  {knob.name:<18} {_knob(knob)}")


def _ring(ring: MapNow) -> str:
    if not ring.id:
        return f"{ring.name}: {ring.missing}"
    size = f", {text.size(ring.size_bytes)}" if ring.size_bytes else ""
    fill = f", {text.share(ring.fill_share)} full" if ring.fill_share is not None else ""
    return f"{ring.name} (map {ring.id}, {ring.type}{size}{fill})"


def _counter(one: CounterNow) -> str:
    what = f"{one.counts:<9}{one.stage:<9}"
    return (
        f"{what}{one.name}: {text.count(one.value) if one.value is not None else f'unknown: {one.missing}'}"
    )


def _knob(one: KnobNow) -> str:
    """What stands there now; what rules when nothing does; why it can't be read."""
    now = _value(one)
    if one.live is not None:
        now += f", live: {_value(one.live)}"
    if now.startswith("unknown"):
        return now
    doubts = [
        f"can't be changed: {one.missing}" if one.missing else "",
        f"place {one.place + 1} of {one.places}" if one.places > 1 else "",
        "" if one.verified else "not tried: a change asks",
    ]
    told = "; ".join(doubt for doubt in doubts if doubt)
    return f"{now:<16} {one.where}{f'  ({told})' if told else ''}".rstrip()


def _value(one: KnobNow) -> str:
    if one.missing and one.value is None:
        return f"unknown: {one.missing}"
    if one.value is None:
        return f"not set ({text.setting(one.default)})" if one.default is not None else "not set"
    shown = text.setting(one.value)
    amount = _amount(one)
    return f"{shown} = {amount}" if amount and amount.replace(" ", "") != shown.replace(" ", "") else shown


def _amount(one: KnobNow) -> str:
    """What it amounts to, where that is not plain from what is written."""
    number: Setting = one.effective
    if isinstance(number, bool) or not isinstance(number, int | float):
        return ""
    if number == float("inf"):
        return "no limit"
    if one.unit in _SIZES or one.name in ("ring-buffer-size", "memory-limit"):
        return text.size(number)
    if one.unit in _TIMES or one.name == "poll-interval":
        return text.span(number)
    return text.count(number) if one.unit in ("preset", "doublings") else ""


def _say(line: str) -> None:
    typer.echo(text.plain(line) if not line.startswith("\n") else "\n" + text.plain(line[1:]))
