"""What a yes is bound to: its digest, and what makes it void. Pure."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.running.bound import Bound, Found, digest, drift
from engine.values import Change, Decision, Evidence, Knob, KnobValue, Plan, Reading

KNOB = Knob(name="ring", backend="yaml-file", file="/etc/agent.yaml", path="ring.size")
CHANGE = Change(knob=KNOB, before=100, after=200, before_text="100", after_text="200", why="too small")
PLAN = Plan(remediation="ring", changes=(CHANGE,), reason="larger")
SEEN = Evidence(
    probe="event-flow",
    short="flow",
    target="fake:fake",
    started_at=1.0,
    ended_at=2.0,
    readings={"in_per_s": Reading(value=10.0), "dropped_per_s": Reading(value=3)},
    tables={"rings": ({"id": 1, "fill": 0.5},)},
)
BOUND = Bound(
    run="r1", step="3.rungs.2", plan=PLAN, evidence={"flow": SEEN}, runbook="ab", cause="burst",
    processes=((10, 99),), lease_s=60.0,
)  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the plain values of a JSON document stand."""
    if isinstance(value, dict):
        return [found for key, one in value.items() for found in leaves(one, (*path, key))]
    if isinstance(value, list):
        return [found for at, one in enumerate(value) for found in leaves(one, (*path, at))]
    return [path]


def altered(document: Any, path: tuple[Any, ...]) -> Any:
    """The document with another value of the same type in one place."""
    if not path:
        return document + 1 if isinstance(document, int | float) else f"{document}x"
    key, *rest = path
    changed = document.copy()
    changed[key] = altered(document[key], tuple(rest))
    return changed


def shuffled(value: Any, chance: random.Random) -> Any:
    """The same document, the keys of each mapping in another order."""
    if isinstance(value, list):
        return [shuffled(one, chance) for one in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    chance.shuffle(keys)
    return {key: shuffled(value[key], chance) for key in keys}


PLACES = leaves(json.loads(msgspec.json.encode(BOUND)))


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_any_other_value_anywhere_is_another_digest(path: tuple[Any, ...]) -> None:
    """Of the plan, the evidence, the runbook, the processes, the lease, and whose change it is."""
    document = json.loads(msgspec.json.encode(BOUND))
    other = msgspec.convert(altered(document, path), Bound, strict=False)

    assert digest(other) != digest(BOUND)


@given(st.randoms(use_true_random=False))
def test_the_order_of_keys_is_no_difference(chance: random.Random) -> None:
    """What was written and read back has the same digest."""
    document = shuffled(json.loads(msgspec.json.encode(BOUND)), chance)

    assert digest(msgspec.json.decode(json.dumps(document), type=Bound)) == digest(BOUND)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_different_measurements_are_different_digests(one: float, other: float) -> None:
    """However near they are."""
    digests = {
        digest(
            msgspec.structs.replace(
                BOUND, evidence={"flow": msgspec.structs.replace(SEEN, readings={"x": Reading(value=value)})}
            )
        )
        for value in (one, other)
    }
    assert len(digests) == len({repr(one), repr(other)})


# ── drift ───────────────────────────────────────────────────────────────────────

ASKS = Decision(answer="ask", guard="risk", because="a change of low risk needs a yes")
THEN = Found(PLAN, {"ring": KnobValue(value=100)}, (ASKS,), "burst", ((10, 99),))


def now(**different: Any) -> Found:
    return THEN._replace(**different)


def planned(**different: Any) -> Plan:
    return msgspec.structs.replace(PLAN, changes=(msgspec.structs.replace(CHANGE, **different),))


def test_nothing_has_changed() -> None:
    """So nothing makes it void."""
    assert drift(THEN, THEN) == ()


@pytest.mark.parametrize(
    ("different", "why"),
    [
        ({"processes": ((11, 99),)}, "restarted since: process 10 then, 11 now"),
        ({"processes": ((10, 100),)}, "restarted since"),
        ({"processes": ()}, "process 10 then, none now"),
        ({"cause": "slow"}, "the first cause is slow now, and was burst"),
        ({"cause": ""}, "the first cause is unknown now"),
        ({"knobs": {"ring": KnobValue(value=150)}}, "ring is 150 now, and was 100"),
        ({"knobs": {"ring": KnobValue(missing="no such file")}}, "can't be read (no such file) now"),
        ({"plan": Plan(remediation="ring")}, "a fresh plan does not change ring"),
        ({"plan": planned(before=150, before_text="150")}, "ring is 150 now, and was 100"),
        ({"plan": planned(after=260, after_text="260")}, "would be set to 260 now, not 200"),
        ({"plan": planned(after="200")}, "would be set to 200 now"),
        ({"plan": planned(final="it was started")}, "ring is 100 now"),
        ({"plan": planned(knob=Knob(name="poll", backend="fake"))}, "a fresh plan changes poll too"),
        ({"plan": msgspec.structs.replace(PLAN, risk="high")}, "the risk is high now, and was low"),
        (
            {"decisions": (Decision(answer="deny", guard="freeze", because="it is night"),)},
            "freeze forbids it",
        ),
        ({"decisions": (ASKS, Decision(answer="ask", guard="budget", because="10 of 10"))}, "budget asks"),
    ],
)
def test_what_makes_a_yes_void(different: dict[str, Any], why: str) -> None:
    """Each with its values."""
    assert why in "; ".join(drift(THEN, now(**different)))


def test_a_knob_that_reads_otherwise_is_told_once() -> None:
    """Though the fresh plan begins there too."""
    fresh = planned(before=150, before_text="150", after=300, after_text="300")
    assert drift(THEN, now(knobs={"ring": KnobValue(value=150)}, plan=fresh)) == (
        "ring is 150 now, and was 100",
    )


@pytest.mark.parametrize(
    "different",
    [
        {"processes": ((10, 99), (12, 120))},
        {"plan": planned(why="measured anew", detail="@@", after_text="0.2k")},
        {"plan": planned(after=224)},
        {"plan": msgspec.structs.replace(PLAN, reason="in other words", warnings=("it costs",))},
        {"decisions": (Decision(answer="allow", guard="risk", because="let pass by now"),)},
        {"decisions": (Decision(answer="ask", guard="risk", because="in other words"),)},
    ],
)
def test_what_does_not(different: dict[str, Any]) -> None:
    """A helper process, other words, a value measured anew, a guard that lets it pass by now."""
    assert drift(THEN, now(**different)) == ()


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.floats(-1, 3))
def test_near_is_a_quarter_of_the_step(before: int, step: int, share: float) -> None:
    """Whatever the value stands at, and in which direction it goes."""
    after, fresh = before + step, before + step + share * step
    approved = now(plan=planned(before=before, after=after), knobs={})
    found = drift(approved, now(plan=planned(before=before, after=fresh), knobs={}))

    if abs(share) < 0.249:
        assert found == ()
    elif abs(share) > 0.251:
        assert len(found) == 1
