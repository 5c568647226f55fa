"""Eight questions, each answered from what was seen; unknown is never good."""

from __future__ import annotations

from typing import Any

import pytest

from bpf.diagnoses.quick_check import QUESTIONS, QuickCheck
from engine.values import Case, Evidence, Process, Reading, Target, Verdict

AGENT = Target(name="lab", ref="lab:x", processes=(Process(pid=9, comm="lab-agent"),), log_file="/a.log")

#: What a healthy agent shows, by evidence and reading.
WELL: dict[str, dict[str, Any]] = {
    "host": {"kernel_release": "6.1.0", "kernel_version": 6001, "lockdown": "none", "btf": "yes"},
    "objects": {"programs": 3, "attached": 3, "maps": 5},
    "maps": {"name": "cache", "fill_share": 0.4, "entries": 4, "max_entries": 10, "evicts": False},
    "klog": {"errors": 0, "kills": 0, "covers_s": 7200.0},
    "log": {"recent_errors": 0},
    "process": {"cpu_cores": 0.05, "rss_bytes": 3 << 20, "throttled_share": 0.0},
    "cost": {"cpu_cores": 0.02},
    "flow": {"dropped_per_s": 0.0, "out_per_s": 9_000.0, "fill_peak": 0.1},
}


def judged(target: Target = AGENT, **different: dict[str, Any]) -> Verdict:
    """The verdict on a healthy agent with some readings different."""
    seen = {short: WELL[short] | different.get(short, {}) for short in WELL}
    evidence = {
        short: Evidence(
            probe=short,
            short=short,
            target="lab",
            started_at=0,
            ended_at=1,
            readings={
                name: Reading(value=value, missing="" if value is not None else "not told")
                for name, value in readings.items()
            },
        )
        for short, readings in seen.items()
    }
    return QuickCheck().decide(Case(target=target, evidence=evidence))


def answers(verdict: Verdict) -> dict[str, str]:
    return {check.name: check.answer for check in verdict.checks}


def test_a_healthy_agent_gets_eight_good_answers():
    """Somebody who asks whether it is all right wants to hear of everything that was looked at."""
    verdict = judged()
    assert answers(verdict) == dict.fromkeys(QUESTIONS, "good")
    assert not verdict.causes


@pytest.mark.parametrize(
    ("question", "different", "way_on"),
    [
        ("kernel", {"host": {"kernel_version": 4019, "kernel_release": "4.19"}}, "least kernel"),
        ("kernel", {"host": {"lockdown": "confidentiality"}}, "lockdown"),
        ("BTF", {"host": {"btf": "no"}}, "load-failure"),
        ("programs", {"objects": {"programs": 0}}, "load-failure"),
        ("maps", {"maps": {"fill_share": 0.95}}, "map-near-full"),
        ("kernel log", {"klog": {"kills": 1, "last_kill": "Killed 9", "last_kill_age_s": 60}}, "memory-leak"),
        ("kernel log", {"klog": {"errors": 1, "last_error": "bpf: x", "last_error_age_s": 60}}, "load-fail"),
        ("agent log", {"log": {"recent_errors": 2, "recent_error": "failed"}}, "explain /a.log"),
        ("resources", {"process": {"cpu_cores": 0.9}}, "high-cpu"),
        ("resources", {"process": {"memory_limit_bytes": 100, "memory_left_bytes": 5}}, "memory-leak"),
        ("resources", {"process": {"throttled_share": 0.5}}, "high-cpu"),
        ("losses", {"flow": {"dropped_per_s": 12.0}}, "events-dropped"),
    ],
)
def test_a_bad_answer_names_the_way_on(question, different, way_on):
    """Whoever hears of trouble is told what to run next."""
    verdict = judged(**different)
    (check,) = (check for check in verdict.checks if check.answer == "bad")
    assert check.name == question
    assert way_on in check.fix
    assert [cause.name for cause in verdict.causes] == [question.replace(" ", "-").lower()]


@pytest.mark.parametrize(
    ("question", "different"),
    [
        ("kernel", {"host": {"kernel_version": None}}),
        ("BTF", {"host": {"btf": None}}),
        ("programs", {"objects": {"programs": None}}),
        ("kernel log", {"klog": {"errors": None}}),
        ("agent log", {"log": {"recent_errors": None}}),
        ("resources", {"process": {"cpu_cores": None}}),
        ("losses", {"flow": {"dropped_per_s": None}}),
    ],
)
def test_what_could_not_be_looked_at_is_unknown(question, different):
    """An absent number is no zero: it is neither good nor a cause."""
    verdict = judged(**different)
    assert answers(verdict) == dict.fromkeys(QUESTIONS, "good") | {question: "unknown"}
    assert not verdict.causes


def test_an_agent_that_does_not_run_is_bad_and_its_pinned_programs_are_told():
    """Programs that outlive their agent still cost, and nobody reads what they send."""
    verdict = judged(Target(name="lab", ref="lab:x"))
    (check,) = (check for check in verdict.checks if check.name == "programs")
    assert check.answer == "bad"
    assert "3 of its programs are still there" in check.sentence
    assert "agent-down" in check.fix


def test_a_full_lru_map_is_good():
    """It makes room by itself; full is its working state."""
    assert answers(judged(maps={"fill_share": 1.0, "evicts": True}))["maps"] == "good"


def test_an_old_error_of_the_kernel_is_history():
    """What happened last week does not wake anybody tonight."""
    old = {"errors": 1, "last_error": "bpf: x", "last_error_age_s": 3 * 86400.0}
    assert answers(judged(klog=old))["kernel log"] == "good"
