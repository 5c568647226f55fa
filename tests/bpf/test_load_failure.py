"""The diagnosis load-failure: from failing calls, host facts and the log to ranked causes."""

from __future__ import annotations

from bpf.diagnoses.load_failure import LoadFailure
from bpf.explain.causes import CAUSES
from engine.values import Case, Evidence, Reading, Target

TARGET = Target(name="agent", ref="agent")
ROOT = {
    "caps_effective": "cap_bpf cap_perfmon cap_sys_admin",
    "seccomp": "disabled",
    "user_namespace": "initial",
}


def call(**changes):
    """A failing call as the probe tells it."""
    row = {
        "comm": "agent",
        "pid": 7,
        "command": "PROG_LOAD",
        "name": "trace_exec",
        "type": "kprobe",
        "insns": 90,
    }
    return row | {"errno": "EPERM", "log_tail": ""} | changes


def evidence(probe, short, *, readings=None, rows=()):
    return Evidence(
        probe=probe,
        short=short,
        target="agent",
        started_at=0.0,
        ended_at=1.0,
        readings={name: Reading(value=value) for name, value in (readings or {}).items()},
        tables={"failures": tuple(rows)} if rows else {},
    )


def decide(rows=(), facts=None, log=""):
    seen = {"loads": evidence("load-failures", "loads", rows=rows)}
    if facts is not None:
        seen["host"] = evidence("host-facts", "host", readings=facts)
    if log:
        seen["log"] = evidence("agent-log", "log", readings={"last_line": log})
    return LoadFailure().decide(Case(target=TARGET, evidence=seen))


def names(verdict):
    return [cause.name for cause in verdict.causes]


def test_the_same_errno_leads_to_the_cause_that_the_host_shows():
    """EPERM says that a right is missing, the facts say which."""
    lacking = decide([call()], {"caps_effective": "cap_net_admin", "seccomp": "disabled"})
    filtered = decide([call()], ROOT | {"seccomp": "filter"})

    assert names(lacking)[0] == "missing_capability"
    assert names(filtered)[0] == "seccomp_or_container_policy"


def test_a_filter_that_was_seen_to_refuse_decides():
    """The tracer saw the call end before the kernel looked at it."""
    verdict = decide([call(refused_by="seccomp")], {"caps_effective": "cap_net_admin"})

    assert names(verdict)[0] == "seccomp_or_container_policy"


def test_the_verifiers_log_counts_more_than_the_errno():
    """EACCES with a log is the verifier's."""
    verdict = decide([call(errno="EACCES", log_tail="R0 invalid mem access 'map_value_or_null'\n")], ROOT)

    assert names(verdict)[0] == "verifier_null_check"
    assert "agent[7] could not load trace_exec (EACCES)" in verdict.sentence


def test_each_cause_explains_its_share_of_the_failing_calls():
    """Two troubles at once are told apart by how many calls each explains."""
    rows = [call(errno="EACCES", log_tail="R6 !read_ok\n")] * 3
    rows += [call(command="MAP_CREATE", name="events", type="ringbuf", errno="EINVAL")]

    verdict = decide(rows, ROOT | {"kernel_version": 5004, "ringbuf_map": "no"})

    shares = {cause.name: cause.explains for cause in verdict.causes}
    assert shares["verifier_uninit_or_type"] == 0.75
    assert shares["kernel_too_old"] == 0.25


def test_feature_tests_of_libraries_are_left_aside_when_something_else_failed():
    """They are meant to fail on some kernels."""
    test = call(name="", insns=2, errno="EINVAL")

    verdict = decide([test] * 9 + [call(errno="EACCES", log_tail="back-edge from insn 9 to 3\n")], ROOT)

    assert names(verdict)[0] == "verifier_loop_or_complexity"


def test_without_a_failing_call_the_agents_log_speaks():
    """The load may have failed before the window."""
    verdict = decide(log="libbpf: failed to find valid kernel BTF")

    assert names(verdict)[0] == "btf_missing"
    assert verdict.causes[0].explains == 0.0


def test_without_any_failure_nothing_is_accused():
    """A quiet window is a good answer."""
    verdict = decide(facts=ROOT)

    assert verdict.causes == ()
    assert verdict.sentence == "Nothing failed to load in the window."


def test_what_was_not_looked_at_is_said():
    """An operator must know what the verdict rests on."""
    verdict = LoadFailure().decide(Case(target=TARGET))

    assert verdict.causes == ()
    assert any("load-failures was not looked at" in note for note in verdict.notes)
    assert any("host-facts was not looked at" in note for note in verdict.notes)


def test_every_cause_can_be_named_and_has_a_sentence():
    """Runbooks refer to causes by name."""
    assert set(LoadFailure().causes) == set(CAUSES)
    assert all(sentence.endswith(".") for sentence in LoadFailure().causes.values())
