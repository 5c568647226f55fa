"""File systems of the kernel: mounted where they are missing, unmounted only when ours and empty."""

import os
import subprocess
from pathlib import Path

import pytest

from engine.errors import ChangedSince
from engine.values import Case, Evidence, Reading, Target
from remediations.knobs.mounts import mounted
from remediations.mounts import MountBpffs, MountTracefs

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")


@pytest.fixture
def agent(tmp_path):
    """An agent that pins in a directory which does not exist yet; nothing stays mounted."""
    place = tmp_path / "bpffs"
    yield Target(name="agent", ref="agent", facts={"bpffs": str(place), "tracefs": str(tmp_path / "tracing")})
    for left in (place, tmp_path / "tracing"):
        if os.path.ismount(left):
            subprocess.run(["umount", left], check=True)


def case(target, remedy):
    loads = Evidence(
        probe="load-failures",
        short="loads",
        target="",
        started_at=0,
        ended_at=1,
        readings={"failures": Reading(value=1)},
    )
    return Case(target=target, evidence={"loads": loads}, knobs=remedy.read(target))


def made(agent, clock, kind=MountBpffs):
    remedy = kind(clock)
    (change,) = remedy.plan(case(agent, remedy)).changes
    captured = remedy.capture(change, agent)
    remedy.apply(change, agent, captured)
    return remedy, change, captured


def test_the_usual_place_is_taken_where_the_profile_names_none(clock):
    """On most hosts something is mounted there: then there is nothing to do."""
    target = Target(name="agent", ref="agent")
    plan = MountTracefs(clock).plan(case(target, MountTracefs(clock)))
    found = plan.changes[0].where if plan.changes else plan.reason
    assert "/sys/kernel/tracing" in found


def test_the_plan_says_that_it_is_gone_after_a_reboot(agent, clock):
    """A lasting mount is the operator's to write down."""
    plan = MountBpffs(clock).plan(case(agent, MountBpffs(clock)))
    assert any("/etc/fstab" in one for one in plan.warnings)
    assert plan.undo_by_hand == f"umount {agent.facts['bpffs']}"


@ROOT
@pytest.mark.parametrize(
    ("kind", "fact", "type_"), [(MountBpffs, "bpffs", "bpf"), (MountTracefs, "tracefs", "tracefs")]
)
def test_mounted_and_unmounted_without_a_trace(agent, clock, kind, fact, type_):
    """The directory that we made goes too."""
    place = agent.facts[fact]
    remedy, change, captured = made(agent, clock, kind)
    assert mounted(place) == type_
    assert remedy.state(change, agent, captured) == "after"
    assert "already" in remedy.plan(case(agent, remedy)).reason
    remedy.undo(change, agent, captured)
    assert mounted(place) is None
    assert not Path(place).exists()
    assert remedy.undo(change, agent, captured) is None  # twice does nothing


@ROOT
def test_a_mount_that_is_in_use_stays(agent, clock):
    """Unmounting what holds pins would destroy them; a directory in use can't go either."""
    remedy, change, captured = made(agent, clock)
    place = agent.facts["bpffs"]
    Path(place, "pinned-by-somebody").mkdir()
    with pytest.raises(ChangedSince, match="pinned-by-somebody") as error:
        remedy.undo(change, agent, captured)
    assert error.value.fix.endswith(f"umount {place}")
    assert mounted(place) == "bpf"


@ROOT
def test_what_somebody_else_mounted_over_it_is_left(agent, clock):
    """It is not ours any more."""
    remedy, change, captured = made(agent, clock)
    place = agent.facts["bpffs"]
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
    try:
        assert remedy.state(change, agent, captured) == "other"
        with pytest.raises(ChangedSince, match="tmpfs"):
            remedy.undo(change, agent, captured)
    finally:
        subprocess.run(["umount", place], check=True)
