"""Drop-ins of systemd units: what stands in them, and that undo leaves no trace."""

import json
import subprocess

import msgspec
import pytest

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Case, Change, Evidence, Knob, Process, Reading, Reload, Target
from remediations.knobs.systemd_dropin import SystemdDropin, place
from remediations.systemd_dropin import MemlockLimit, SystemdCapabilities

SERVICE = Target(
    name="agent",
    ref="agent",
    processes=(Process(pid=1 << 22, comm="agent", cgroup="/system.slice/agent.service"),),
)
LACKING = {
    "kernel_version": 5010,
    "caps_effective": "none",
    "caps_bounding": "cap_perfmon cap_bpf",
    "memcg_accounting": "no",
    "memlock_bytes": 65536,
}
TEXT = "# ours\n[Service]\nLimitMEMLOCK=infinity\n"


def case(target=SERVICE, options=None, **facts):
    readings = {name: Reading(value=value) for name, value in {**LACKING, **facts}.items()}
    host = Evidence(probe="host-facts", short="host", target="", started_at=0, ended_at=1, readings=readings)
    remedy = SystemdCapabilities()
    knobs = {**remedy.read(target), **MemlockLimit().read(target)}
    return Case(target=target, evidence={"host": host}, knobs=knobs, options=options or {})


def test_a_service_without_rights_is_given_ambient_capabilities():
    """A drop-in of our own, beside the unit; the bounding set is not named where it allows them."""
    (made,) = SystemdCapabilities().plan(case()).changes
    assert made.after.endswith("[Service]\nAmbientCapabilities=CAP_BPF CAP_PERFMON\n")
    assert made.where == "/etc/systemd/system/agent.service.d/50-runbook-capabilities.conf"
    assert made.knob.reload == Reload(by="systemd", unit="agent.service", settle_s=30.0)


def test_the_bounding_set_is_widened_only_where_it_is_in_the_way():
    """Naming it where the unit does not would take all other capabilities away."""
    (made,) = SystemdCapabilities().plan(case(caps_bounding="cap_net_admin")).changes
    assert "CapabilityBoundingSet=CAP_BPF CAP_PERFMON\n" in made.after


def test_memlock_counts_before_5_11_only():
    """On a newer kernel the message that names it is wrong."""
    (made,) = MemlockLimit().plan(case()).changes
    assert "LimitMEMLOCK=infinity\n" in made.after
    (less,) = MemlockLimit().plan(case(options={"to": "256M"})).changes
    assert "LimitMEMLOCK=256M\n" in less.after
    assert "5.11" in MemlockLimit().plan(case(memcg_accounting="yes")).reason
    assert "unlimited already" in MemlockLimit().plan(case(memlock_bytes=-1)).reason
    assert "unknown" in MemlockLimit().plan(case(memcg_accounting=None)).reason


def test_an_agent_that_is_no_service_says_so():
    """Nothing is written where nobody would read it."""
    plan = MemlockLimit().plan(case(target=Target(name="agent", ref="agent")))
    assert "no systemd service" in plan.reason


# ── the file ────────────────────────────────────────────────────────────────────


class Systemctl:
    """Stands for the command."""

    def __init__(self):
        self.calls, self.broken = [], False

    def __call__(self, argv):
        self.calls.append(tuple(argv))
        if self.broken:
            raise subprocess.CalledProcessError(1, argv)


@pytest.fixture
def systemctl():
    return Systemctl()


@pytest.fixture
def change(tmp_path):
    file = str(place("agent.service", "memlock", tmp_path))
    knob = Knob(name="memlock-limit", backend="systemd-dropin", file=file, unit="text")
    return Change(knob=knob, before=None, after=TEXT, before_text="b", after_text="a", why="w")


def test_written_and_taken_away_without_a_trace(systemctl, change, tmp_path):
    """Its directory too, which was ours; systemd is told each time."""
    hand = SystemdDropin(systemctl)
    captured = json.loads(json.dumps(hand.capture(change, SERVICE)))
    hand.write(change, SERVICE, captured)
    file = tmp_path / "agent.service.d" / "50-runbook-memlock.conf"
    assert file.read_text() == TEXT
    assert file.stat().st_mode & 0o777 == 0o644
    assert hand.read(change.knob, SERVICE).value == TEXT
    assert hand.state(change, SERVICE, captured) == "after"
    hand.restore(change, SERVICE, captured)
    assert list(tmp_path.iterdir()) == []
    assert systemctl.calls == [("systemctl", "daemon-reload")] * 2


def test_drop_ins_of_others_and_their_directory_stay(systemctl, change, tmp_path):
    """We take away what is ours, no more."""
    theirs = tmp_path / "agent.service.d" / "override.conf"
    theirs.parent.mkdir()
    theirs.write_text("[Service]\n")
    hand = SystemdDropin(systemctl)
    captured = hand.capture(change, SERVICE)
    hand.write(change, SERVICE, captured)
    hand.restore(change, SERVICE, captured)
    assert list(theirs.parent.iterdir()) == [theirs]


def test_a_drop_in_that_somebody_edited_is_left(systemctl, change, tmp_path):
    """Their edit wins, and the error says how to take it out by hand."""
    hand = SystemdDropin(systemctl)
    captured = hand.capture(change, SERVICE)
    hand.write(change, SERVICE, captured)
    file = tmp_path / "agent.service.d" / "50-runbook-memlock.conf"
    file.write_text(TEXT + "Nice=5\n")
    assert hand.state(change, SERVICE, captured) == "other"
    with pytest.raises(ChangedSince) as error:
        hand.restore(change, SERVICE, captured)
    assert str(file) in error.value.fix
    assert "Nice=5" in file.read_text()


def test_a_former_runs_file_comes_back_as_it_was(systemctl, change, tmp_path):
    """A second run goes on from the first one's value."""
    file = tmp_path / "agent.service.d" / "50-runbook-memlock.conf"
    file.parent.mkdir()
    file.write_text("[Service]\nLimitMEMLOCK=1M\n")
    again = msgspec.structs.replace(change, before=file.read_text())
    hand = SystemdDropin(systemctl)
    captured = hand.capture(again, SERVICE)
    hand.write(again, SERVICE, captured)
    hand.restore(again, SERVICE, captured)
    assert file.read_text() == "[Service]\nLimitMEMLOCK=1M\n"


def test_a_change_that_was_never_made_asks_nothing_of_systemd(systemctl, change, tmp_path):
    """Killed before the write."""
    hand = SystemdDropin(systemctl)
    captured = hand.capture(change, SERVICE)
    assert not hand.restore(change, SERVICE, captured).reload
    assert (systemctl.calls, list(tmp_path.iterdir())) == ([], [])


def test_a_systemd_that_does_not_answer_is_told_with_the_way_by_hand(systemctl, change):
    """The file is there, nobody has read it."""
    systemctl.broken = True
    hand = SystemdDropin(systemctl)
    with pytest.raises(ChangeFailed) as error:
        hand.write(change, SERVICE, hand.capture(change, SERVICE))
    assert "systemctl daemon-reload" in error.value.fix
