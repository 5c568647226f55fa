"""Every guard is asked, the strictest answer counts, and each carries its numbers."""

from __future__ import annotations

import msgspec
import pytest

from engine.guarding import rules
from engine.guarding.guards import Foreign, Past, Rule, Situation, greatest_risk, strictest
from engine.testing import START
from engine.values import Change, Decision, Evidence, Host, Knob, Plan, Reading, Setting, Target

TARGET = Target(name="lab", ref="lab:/etc/lab.yaml", profile="lab")
RING = Knob(name="ring", backend="fake", unit="KiB", minimum=4, maximum=1024)
SITUATION = Situation(now=START, target=TARGET, available_bytes=100)


class Says(Rule):
    """A guard with a fixed answer."""

    def __init__(self, answer: str) -> None:
        self.name, self.answer = answer, answer

    def judge(self, plan: Plan, situation: Situation) -> Decision:
        return self.says(self.answer, "because")  # type: ignore[arg-type]


def plan(before: Setting = 256, after: Setting = 512, knob: Knob = RING, **further: object) -> Plan:
    change = Change(
        knob=knob, before=before, after=after, before_text=str(before), after_text=str(after), why="a test"
    )
    return msgspec.structs.replace(Plan(remediation="ring", changes=(change,)), **further)


def situation(**further: object) -> Situation:
    return msgspec.structs.replace(SITUATION, **further)


def judged(rule: Rule, a_plan: Plan | None = None, **further: object) -> str:
    return rule.judge(a_plan or plan(), situation(**further)).answer


@pytest.mark.parametrize(
    ("left", "right", "both", "either"),
    [
        ("allow", "allow", "allow", "allow"),
        ("allow", "ask", "ask", "allow"),
        ("ask", "deny", "deny", "ask"),
        ("deny", "allow", "deny", "allow"),
    ],
)
def test_joined_guards(left: str, right: str, both: str, either: str) -> None:
    """`&` takes the strictest, `|` the mildest answer."""
    assert judged(Says(left) & Says(right)) == both
    assert judged(Says(left) | Says(right)) == either


def test_every_guard_is_heard_even_after_a_denial() -> None:
    """The operator wants all reasons at once, not one per attempt."""
    rule = Says("deny") & Says("ask") & Says("allow")

    assert [one.answer for one in rule.decisions(plan(), SITUATION)] == ["deny", "ask", "allow"]


def test_no_guard_allows() -> None:
    """The sum of nothing."""
    assert strictest(()).answer == "allow"


def test_a_strangers_guard_that_breaks_denies() -> None:
    """Held back rather than let through."""
    assert judged(Foreign(object())) == "deny"


@pytest.mark.parametrize(("risk", "answer"), [("low", "allow"), ("medium", "ask"), ("high", "deny")])
def test_risk(risk: str, answer: str) -> None:
    """The policy's table."""
    rule = rules.ByRisk({"low": "allow", "medium": "ask", "high": "deny"})

    assert judged(rule, risk=risk) == answer


def test_the_greatest_risk_counts() -> None:
    """An author may raise a risk, never lower it."""
    assert greatest_risk("low", None, "high", "medium") == "high"


@pytest.mark.parametrize(("after", "answer"), [(512, "allow"), (2048, "deny"), (2, "deny"), ("text", "ask")])
def test_bounds_of_the_knob(after: Setting, answer: str) -> None:
    """What the agent can't take is not tried."""
    assert judged(rules.Bounds({}), plan(after=after)) == answer


def test_bounds_of_the_policy_are_in_base_units() -> None:
    """64MiB in the policy bounds a knob that is written in KiB."""
    assert judged(rules.Bounds({"ring": (None, 300 * 1024)}), plan(after=512)) == "deny"
    assert judged(rules.Bounds({"ring": (None, 600 * 1024)}), plan(after=512)) == "allow"


SIZED = Knob(name="ring", backend="fake", unit="bytes", minimum=4096, default="256KiB")
TIMED = Knob(name="poll", backend="fake", unit="ms", maximum=300)


@pytest.mark.parametrize(
    ("knob", "after", "answer"),
    [
        (SIZED, "1MiB", "allow"),
        (SIZED, "2MiB", "deny"),
        (SIZED, "2M", "deny"),
        (SIZED, "1KiB", "deny"),
        (SIZED, "65536", "allow"),
        (SIZED, "360ms", "ask"),
        (SIZED, "a lot", "ask"),
        (TIMED, "300ms", "allow"),
        (TIMED, "360ms", "deny"),
        (TIMED, "0.2s", "deny"),
        (TIMED, "360", "deny"),
        (Knob(name="ring", backend="fake", unit="text"), "a lot", "ask"),
        (Knob(name="other", backend="fake", unit="text"), "a lot", "allow"),
    ],
)
def test_bounds_of_a_value_written_with_its_unit(knob: Knob, after: Setting, answer: str) -> None:
    """Most agents write `2MiB`; what can't be read is asked for, never let through."""
    limits = {"ring": (None, 2.0**20), "poll": (0.25, None)}

    assert judged(rules.Bounds(limits), plan(after=after, knob=knob)) == answer


@pytest.mark.parametrize(
    ("before", "after", "answer"),
    [
        ("64KiB", "1MiB", "allow"),
        ("64KiB", "2MiB", "ask"),
        (None, "8MiB", "ask"),
        ("64KiB", "much", "ask"),
        ("much", "64KiB", "ask"),
    ],
)
def test_step_of_values_written_with_their_unit(before: Setting, after: Setting, answer: str) -> None:
    """A step is a step, however it is written."""
    assert judged(rules.StepFactor(16), plan(before, after, SIZED)) == answer


@pytest.mark.parametrize(("before", "after", "answer"), [(1, 16, "allow"), (1, 17, "ask"), (100, 1, "ask")])
def test_step(before: Setting, after: Setting, answer: str) -> None:
    """A typo of two zeros is seen, upwards and downwards."""
    assert judged(rules.StepFactor(16), plan(before, after)) == answer


def test_a_step_from_nothing_is_measured_from_the_agents_default() -> None:
    """Not set does not mean zero."""
    knob = msgspec.structs.replace(RING, default=8)

    assert judged(rules.StepFactor(16), plan(None, 512, knob)) == "ask"
    assert judged(rules.StepFactor(16), plan(None, 512)) == "allow"


@pytest.mark.parametrize(("ago", "answer"), [(599.0, "ask"), (600.0, "allow")])
def test_cooldown(ago: float, answer: str) -> None:
    """Two runs after each other must not pump a value up."""
    past = Past(at=START - ago, run="r", target_ref=TARGET.ref, remediation="ring")

    assert judged(rules.Cooldown(600), recent=(past,)) == answer


def test_cooldown_is_for_the_same_change_of_the_same_target() -> None:
    """Others are not held up."""
    others = (
        Past(at=START, run="r", target_ref="other", remediation="ring"),
        Past(at=START, run="r", target_ref=TARGET.ref, remediation="other"),
    )

    assert judged(rules.Cooldown(600), recent=others) == "allow"


@pytest.mark.parametrize(("number", "answer"), [(9, "allow"), (10, "deny")])
def test_budget_of_a_target(number: int, answer: str) -> None:
    """The change that is judged counts too."""
    recent = tuple(Past(at=START, run="r", target_ref=TARGET.ref, remediation=str(n)) for n in range(number))

    assert judged(rules.Budget(3600, 10, 99, "deny"), recent=recent) == answer


def test_budget_of_the_machine() -> None:
    """Many targets on one machine are one machine's load."""
    recent = tuple(Past(at=START, run="r", target_ref=str(n), remediation="x") for n in range(30))

    assert judged(rules.Budget(3600, 10, 30), recent=recent) == "ask"
    assert judged(rules.Budget(3600, 10, 30), recent=recent, now=START + 3601) == "allow"


# START is Monday, 09:00 UTC.
@pytest.mark.parametrize(
    ("days", "begins", "ends", "zone", "answer"),
    [
        ((), 0, 0, "UTC", "deny"),
        (("mon",), 540, 600, "UTC", "deny"),
        (("mon",), 480, 540, "UTC", "allow"),
        (("sun",), 1320, 541, "UTC", "deny"),
        (("mon",), 1320, 541, "UTC", "allow"),
        (("tue",), 540, 600, "UTC", "allow"),
        (("mon",), 600, 601, "Europe/Berlin", "deny"),
        (("mon",), 540, 541, "Europe/Berlin", "allow"),
    ],
)
def test_freeze(days: tuple[str, ...], begins: int, ends: int, zone: str, answer: str) -> None:
    """Windows over midnight belong to the day they begin on; time zones count."""
    assert judged(rules.Freeze(days, begins, ends, zone)) == answer


def evidence(ended_at: float, **readings: float) -> dict[str, Evidence]:
    seen = Evidence(
        probe="process",
        short="process",
        target="",
        started_at=ended_at - 1,
        ended_at=ended_at,
        readings={name: Reading(value=value) for name, value in readings.items()},
    )
    return {"process": seen}


def test_old_evidence_is_refused_and_none_asks() -> None:
    """A plan from a picture of five minutes ago is a guess."""
    assert judged(rules.Fresh(300), evidence=evidence(START - 299)) == "allow"
    assert judged(rules.Fresh(300), evidence=evidence(START - 301)) == "deny"
    assert judged(rules.Fresh(300)) == "ask"


@pytest.mark.parametrize("pattern", ["lab", "l*", "lab:/etc/*"])
def test_protected_targets(pattern: str) -> None:
    """By name, profile or ref."""
    assert judged(rules.Protected((pattern,))) == "deny"
    assert judged(rules.Protected(("other",))) == "allow"


def test_memory_must_leave_room() -> None:
    """Of the machine, and of the agent's own cgroup; unknown is not enough."""
    room = rules.MemoryRoom(0.5)

    assert judged(room, plan(memory_bytes=50)) == "allow"
    assert judged(room, plan(memory_bytes=51)) == "deny"
    assert judged(room, plan(memory_bytes=50), evidence=evidence(START, memory_left_bytes=60.0)) == "deny"
    assert judged(room, plan(memory_bytes=50), available_bytes=None) == "ask"
    assert judged(room, plan(memory_bytes=-50), available_bytes=0) == "allow"


def test_what_cannot_be_proven_asks() -> None:
    """No goal, an untested knob, a temporary change without an end."""
    untested = msgspec.structs.replace(RING, verified=False)
    proof = rules.Provable()

    assert judged(proof) == "allow"
    assert judged(proof, has_goal=False) == "ask"
    assert judged(proof, plan(knob=untested)) == "ask"
    assert judged(proof, plan(temporary=True)) == "ask"
    assert judged(proof, plan(temporary=True), lease_s=60.0) == "allow"


def test_decisions_carry_the_numbers_they_compared() -> None:
    """The decision trace of the report."""
    decision = rules.StepFactor(16).judge(plan(1, 32), situation(host=Host()))

    assert decision.values == {"factor": 32, "at_most": 16}
