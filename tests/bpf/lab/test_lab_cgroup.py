"""Finding the hierarchy that can hold a CPU quota, on both versions of cgroups."""

from __future__ import annotations

import pytest

from bpf.lab.cgroup import NoController, hierarchy


def test_v1_is_found_by_its_controller():
    """On v1 each controller may be mounted elsewhere; cpuacct and cpuset are not it."""
    mounts = (
        "cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0\n"
        "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,relatime,cpu,cpuacct 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
    )
    version, root = hierarchy(mounts)
    assert (version, str(root)) == (1, "/sys/fs/cgroup/cpu,cpuacct")


def test_v2_is_used_when_its_children_get_the_controller(tmp_path):
    """The root of v2 must hand the controller down; only then has a child a cpu.max."""
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    assert hierarchy(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n") == (2, tmp_path)


def test_v2_without_the_controller_names_the_command_that_mends_it(tmp_path):
    """An operator who wants the fault gets the line to type."""
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    with pytest.raises(NoController, match=r"echo \+cpu > .*cgroup.subtree_control"):
        hierarchy(f"cgroup2 {tmp_path} cgroup2 rw 0 0\n")


def test_no_hierarchy_at_all_is_an_error_with_a_way_out():
    """A container without cgroup mounts can still use every other fault."""
    with pytest.raises(NoController, match="choose another fault"):
        hierarchy("proc /proc proc rw 0 0\n")
