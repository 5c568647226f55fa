"""Capabilities of an executable: planned from facts, given, and taken back byte for byte."""

import json
import os
import shutil
import struct
from pathlib import Path

import msgspec
import pytest

from engine.errors import ChangedSince
from engine.testing import check_remediation
from engine.values import Case, Evidence, Reading, Target
from remediations.file_capabilities import FileCapabilities
from remediations.knobs import file_capability
from remediations.knobs.backend import NotChanged

LACKING = {
    "kernel_version": 6001,
    "caps_effective": "none",
    "caps_bounding": "cap_net_admin cap_sys_admin cap_perfmon cap_bpf",
    "no_new_privs": "no",
    "user_namespace": "initial",
}
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="setting capabilities takes root")


@pytest.fixture
def agent(tmp_path):
    """An executable of its own, and the target of an agent that does not run."""
    program = tmp_path / "agent"
    shutil.copy("/bin/true", program)
    return Target(name="agent", ref="agent:x", facts={"executable": str(program)})


def case(target, loads=(), knobs=None, options=None, **facts):
    host = {name: Reading(value=value) for name, value in {**LACKING, **facts}.items()}
    rows = tuple({"command": "PROG_LOAD", "type": kind} for kind in loads)
    seen = {
        "host": Evidence(
            probe="host-facts", short="host", target="", started_at=0, ended_at=1, readings=host
        ),
        "loads": Evidence(
            probe="load-failures",
            short="loads",
            target="",
            started_at=0,
            ended_at=1,
            readings={"failures": Reading(value=3)},
            tables={"failures": rows},
        ),
    }
    knobs = FileCapabilities().read(target) if knobs is None else knobs
    return Case(target=target, evidence=seen, knobs=knobs, options=options or {})


def planned(target, **what):
    return FileCapabilities().plan(case(target, **what))


def path_of(target):
    return Path(target.facts["executable"])


def attribute(path):
    return os.getxattr(path, file_capability.ATTRIBUTE)


# ── planning ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("loads", "version", "wanted"),
    [
        ((), 6001, "cap_perfmon,cap_bpf=ep"),
        (("kprobe", "tracing"), 6001, "cap_perfmon,cap_bpf=ep"),
        (("sched_cls",), 6001, "cap_net_admin,cap_bpf=ep"),
        (("xdp", "raw_tracepoint"), 6001, "cap_net_admin,cap_perfmon,cap_bpf=ep"),
        (("kprobe",), 5004, "cap_sys_admin=ep"),
    ],
)
def test_the_least_that_the_programs_take_is_given(agent, loads, version, wanted):
    """Never CAP_SYS_ADMIN where the kernel knows less."""
    (made,) = planned(agent, loads=loads, kernel_version=version).changes
    assert made.after == wanted


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"no_new_privs": "yes"}, "no_new_privs"),
        ({"user_namespace": "child"}, "user namespace"),
        ({"caps_bounding": "cap_net_admin"}, "bounding set"),
        ({"caps_effective": "cap_bpf cap_perfmon"}, "not what it lacks"),
        ({"caps_effective": "cap_sys_admin"}, "not what it lacks"),
        ({"kernel_version": None}, "unknown"),
    ],
)
def test_where_it_would_be_of_no_use_nothing_is_planned(agent, facts, why):
    """A change that can't help only widens what an attacker may use."""
    plan = planned(agent, **facts)
    assert not plan.changes
    assert why in plan.reason


def test_an_interpreter_is_refused(agent, tmp_path):
    """Every script of the machine would get the capabilities."""
    program = tmp_path / "python3.11"
    shutil.copy("/bin/true", program)
    plan = planned(msgspec.structs.replace(agent, facts={"executable": str(program)}))
    assert "every script" in plan.reason


def test_a_target_of_which_no_executable_is_known_says_so():
    """It neither runs nor is named."""
    plan = planned(Target(name="agent", ref="x"))
    assert "which executable agent has is not known" in plan.reason


def test_named_capabilities_are_taken_and_unknown_ones_refused(agent):
    """The operator may know better; a slip must not pass."""
    named, bounding = {"capabilities": "cap_bpf, CAP_SYS_PTRACE"}, "cap_bpf cap_sys_ptrace"
    (made,) = planned(agent, options=named, caps_bounding=bounding).changes
    assert made.after == "cap_sys_ptrace,cap_bpf=ep"
    assert "cap_bfp" in planned(agent, options={"capabilities": "cap_bfp"}).reason


def test_who_else_gets_them_and_the_way_back_by_hand_are_said(agent):
    """The operator answers for it."""
    plan = planned(agent)
    assert any("whoever may run" in one for one in plan.warnings)
    assert plan.undo_by_hand == f"setcap -r {path_of(agent)}"
    assert plan.risk == "medium"
    check_remediation(FileCapabilities(), agent, case(agent))


# ── writing ─────────────────────────────────────────────────────────────────────


def made_and_captured(agent, clock):
    remedy = FileCapabilities(clock)
    (change,) = planned(agent).changes
    change = msgspec.json.decode(msgspec.json.encode(change), type=type(change))
    captured = json.loads(json.dumps(remedy.capture(change, agent)))
    return remedy, change, captured


@ROOT
def test_apply_gives_and_undo_takes_away(agent, clock):
    """The kernel itself reads back what we wrote."""
    remedy, change, captured = made_and_captured(agent, clock)
    remedy.apply(change, agent, captured)
    assert attribute(path_of(agent)) == struct.pack("<5I", 0x02000001, 0, 0, 0xC0, 0)
    assert remedy.state(change, agent, captured) == "after"
    remedy.undo(change, agent, captured)
    assert remedy.state(change, agent, captured) == "before"
    with pytest.raises(OSError, match="No data"):
        attribute(path_of(agent))


@ROOT
def test_what_stood_there_before_comes_back_byte_for_byte(agent, clock):
    """Inheritable ones stay meanwhile; a package's own attribute must survive us."""
    before = struct.pack("<5I", 0x02000000, 1 << 13, 1 << 12, 0, 0)
    os.setxattr(path_of(agent), file_capability.ATTRIBUTE, before)
    remedy, change, captured = made_and_captured(agent, clock)
    remedy.apply(change, agent, captured)
    assert (
        file_capability.spelled(attribute(path_of(agent)))
        == "cap_net_raw,cap_perfmon,cap_bpf=ep cap_net_admin=ei"
    )
    remedy.undo(change, agent, captured)
    assert attribute(path_of(agent)) == before


@ROOT
def test_capabilities_that_somebody_else_has_set_since_are_left(agent, clock):
    """Never fight a package manager."""
    remedy, change, captured = made_and_captured(agent, clock)
    theirs = struct.pack("<5I", 0x02000001, 1 << 21, 0, 0, 0)
    os.setxattr(path_of(agent), file_capability.ATTRIBUTE, theirs)
    with pytest.raises(ChangedSince):
        remedy.apply(change, agent, captured)
    with pytest.raises(ChangedSince, match="cap_sys_admin"):
        remedy.undo(change, agent, captured)
    assert attribute(path_of(agent)) == theirs


@ROOT
def test_a_change_that_was_never_made_is_undone_by_doing_nothing(agent, clock):
    """Announced in the journal, killed before the write; a file that is gone took it along."""
    remedy, change, captured = made_and_captured(agent, clock)
    before = path_of(agent).stat().st_ctime_ns
    assert remedy.undo(change, agent, captured) is None
    assert path_of(agent).stat().st_ctime_ns == before
    path_of(agent).unlink()
    assert "gone" in remedy.undo(change, agent, captured)


def test_a_link_is_not_followed(agent, tmp_path, clock):
    """The attribute would end on a file that nobody named."""
    link = tmp_path / "link"
    link.symlink_to(path_of(agent))
    target = msgspec.structs.replace(agent, facts={"executable": str(link)})
    assert "no regular file" in planned(target).reason
    (change,) = planned(agent).changes
    knob = msgspec.structs.replace(change.knob, file=str(link))
    with pytest.raises(NotChanged):
        FileCapabilities(clock).capture(msgspec.structs.replace(change, knob=knob), target)
