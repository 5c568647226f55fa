"""CPU quotas in both versions of cgroups, on files that look like them."""

import pytest

from engine.errors import ChangedSince
from engine.values import Change, Knob, Target
from remediations.knobs.cgroup import Cgroup

AGENT = Target(name="agent", ref="agent")


@pytest.fixture(params=["v1", "v2"])
def group(request, tmp_path):
    """A cgroup directory with half a core, and a function that reads its quota."""
    if request.param == "v2":
        (tmp_path / "cpu.max").write_text("50000 100000\n")
        return tmp_path, lambda: (tmp_path / "cpu.max").read_text().split()[0]
    (tmp_path / "cpu.cfs_quota_us").write_text("50000\n")
    (tmp_path / "cpu.cfs_period_us").write_text("100000\n")
    return tmp_path, lambda: (tmp_path / "cpu.cfs_quota_us").read_text().strip()


def to(directory, before, after):
    knob = Knob(name="cpu-quota", backend="cgroup", path=str(directory), unit="cores")
    return Change(knob=knob, before=before, after=after, before_text="b", after_text="a", why="w")


def test_a_quota_is_read_set_and_put_back(group):
    """In cores, whatever the period."""
    directory, quota = group
    change = to(directory, 0.5, 1.25)
    assert Cgroup().read(change.knob, AGENT).value == 0.5
    captured = Cgroup().capture(change, AGENT)
    Cgroup().write(change, AGENT, captured)
    assert quota() == "125000"
    assert Cgroup().state(change, AGENT, captured) == "after"
    Cgroup().restore(change, AGENT, captured)
    assert quota() == "50000"


def test_no_limit_is_absent_and_comes_back_as_no_limit(group):
    """'max' and -1 are not numbers of cores."""
    directory, quota = group
    file = directory / ("cpu.max" if (directory / "cpu.max").exists() else "cpu.cfs_quota_us")
    file.write_text("max 100000\n" if file.name == "cpu.max" else "-1\n")
    change = to(directory, None, 2.0)
    value = Cgroup().read(change.knob, AGENT)
    assert (value.value, value.raw, value.missing) == (None, None, "")
    captured = Cgroup().capture(change, AGENT)
    Cgroup().write(change, AGENT, captured)
    Cgroup().restore(change, AGENT, captured)
    assert quota() in ("max", "-1")


def test_a_quota_that_the_runtime_set_back_is_left_alone(group):
    """systemd and container runtimes write here too."""
    directory, _ = group
    change = to(directory, 0.5, 1.0)
    captured = Cgroup().capture(change, AGENT)
    Cgroup().write(change, AGENT, captured)
    for name, text in (("cpu.max", "70000 100000"), ("cpu.cfs_quota_us", "70000")):
        if (directory / name).exists():
            (directory / name).write_text(text)
    with pytest.raises(ChangedSince, match=r"0\.7 cores"):
        Cgroup().restore(change, AGENT, captured)


def test_a_cgroup_that_is_gone_needs_no_undo(group):
    """It took its quota with it."""
    directory, _ = group
    change = to(directory, 0.5, 1.0)
    captured = Cgroup().capture(change, AGENT)
    for file in directory.iterdir():
        file.unlink()
    directory.rmdir()
    assert Cgroup().state(change, AGENT, captured) == "before"
    assert "gone" in Cgroup().restore(change, AGENT, captured).note


def test_a_target_without_a_quota_of_its_own_says_so():
    """The root cgroup can't be limited."""
    knob = Knob(name="cpu-quota", backend="cgroup", unit="cores")
    assert "no CPU quota of its own" in Cgroup().read(knob, AGENT).missing
