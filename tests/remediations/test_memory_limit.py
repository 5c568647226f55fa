"""A memory limit: how far it goes, what it refuses, and that undo is exact: cgroup v1, v2 and systemd."""

import subprocess

import msgspec
import pytest

from engine.errors import ChangedSince, ChangeFailed
from engine.values import Case, Change, Evidence, Knob, KnobValue, Process, Reading, Target
from remediations.knobs.cgroup_memory import CgroupMemory
from remediations.knobs.memory_groups import MemoryGroup, own_group, room_around, top_of
from remediations.knobs.systemd_memory import SystemdMemory, place
from remediations.memory_limit import ROOM, USED, MemoryLimitPlanner

MIB, GIB = 1 << 20, 1 << 30
AGENT = Target(name="agent", ref="agent")
UNMEASURED = dict.fromkeys(("cgroup_slope_bytes_per_s", "slope_bytes_per_s", "map_slope_bytes_per_s"))


# ── planning ────────────────────────────────────────────────────────────────────


def case(
    *, limit=512 * MIB, used=100 * MIB, room=8 * GIB, growth=1e6, others=0, target=AGENT, seen=(), **options
):
    readings = {
        "cgroup_slope_bytes_per_s": growth,
        "cgroup_others": others,
        "slope_bytes_per_s": 0.6e6,
        "map_slope_bytes_per_s": 0.2e6,
        "limit_in_s": None if limit is None or not growth else (limit - used) / growth,
        "left_bytes": None if limit is None else limit - used,
    } | dict(seen)
    memory = Evidence(
        probe="memory",
        short="memory",
        target="agent",
        started_at=0,
        ended_at=10,
        readings={name: Reading(value=value) for name, value in readings.items()},
    )
    file = "/sys/fs/cgroup/agent/memory.max"
    knobs = {
        "memory-limit": KnobValue(value=limit, raw=limit and str(limit), effective=limit, source=file),
        USED: KnobValue(value=used, effective=used),
        ROOM: KnobValue(value=room, effective=room, source="the host's memory"),
    }
    return Case(target=target, evidence={"memory": memory}, knobs=knobs, options=options)


def plan(**given):
    return MemoryLimitPlanner().plan(case(**given))


def test_a_raise_lasts_the_horizon_and_foretells_it():
    """Bytes used, growth and time give the limit; the prediction is the time it will last."""
    made = plan(horizon=1800.0)
    (change,) = made.changes
    assert 100 * MIB + 1e6 * 1800 < change.after <= 100 * MIB + 1e6 * 1800 * 1.6
    (lasts, left) = made.predictions
    assert lasts.measure == "memory.limit_in_s"
    assert lasts.after == pytest.approx((change.after - 100 * MIB) / 1e6)
    assert left.after == change.after - 100 * MIB
    assert made.undo_by_hand == f"echo {512 * MIB} > /sys/fs/cgroup/agent/memory.max"
    assert made.risk == "medium"


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"horizon": 60.0}, "are asked for"),
        ({"growth": 0.0}, "nothing grows"),
        ({"horizon": 86_400.0}, "there is room for"),
        ({"horizon": 1800.0, "at_most": 1 * GIB}, "there is room for 1 GiB"),
        ({"limit": None}, "no memory limit of its own"),
        ({"contain": True}, "contained already"),
        ({"seen": UNMEASURED}, "is unknown"),
    ],
)  # fmt: skip
def test_nothing_is_raised_where_it_would_not_help(given, why):
    """Long enough already, nothing grows, or not enough room for the horizon."""
    made = plan(**given)
    assert not made.changes
    assert why in made.reason


def test_other_processes_in_the_group_make_its_own_growth_count():
    """A shared group's growth is not the agent's: its memory and its maps' are."""
    (change,) = plan(others=3, horizon=1800.0).changes
    assert change.after < 100 * MIB + 0.8e6 * 1800 * 1.6


@pytest.mark.parametrize(("most", "raised"), [(200_000, False), (2_000_000, True)])
def test_a_map_that_ends_when_it_is_full_needs_no_more_than_that(most, raised):
    """It grows fast, and still fits below the limit when it is full; or not."""
    memory = {"growing": False, "map_growing": True, "top_map": "payloads (7)"}
    given = case(horizon=86_400.0, seen=memory)
    maps = {"name": "payloads", "entries": 100_000, "max_entries": most, "entry_bytes": 2000}
    seen = Evidence(
        probe="map-fill",
        short="maps",
        target="agent",
        started_at=0,
        ended_at=10,
        readings={name: Reading(value=value) for name, value in maps.items()},
    )
    made = MemoryLimitPlanner().plan(
        msgspec.structs.replace(given, evidence={**given.evidence, "maps": seen})
    )
    assert bool(made.changes) == raised
    if raised:
        assert made.changes[0].after < 6 * GIB
    else:
        assert "until it is full" in made.reason


def test_a_growth_that_went_faster_since_is_the_one_that_counts():
    """It follows the load: what allocations keep, watched afterwards, is the newer figure."""
    given = case(horizon=1800.0)
    alloc = Evidence(
        probe="allocations",
        short="alloc",
        target="agent",
        started_at=10,
        ended_at=20,
        readings={"net_bytes_per_s": Reading(value=1.6e6)},
    )
    newer = msgspec.structs.replace(given, evidence={**given.evidence, "alloc": alloc})
    (change,) = MemoryLimitPlanner().plan(newer).changes
    assert change.after > 100 * MIB + 1.6e6 * 1800


def test_a_killed_agent_gets_half_as_much_again():
    """Killed at its limit, it used more than was measured after its new start."""
    (change,) = plan(growth=0.0, seen={"oom_kills_in_window": 1}).changes
    assert change.after == 768 * MIB


def test_a_fence_stands_above_what_is_used_and_never_takes_it_all():
    """Contain: between what is in use and what is left."""
    made = plan(limit=None, contain=True)
    (change,) = made.changes
    assert change.before is None
    assert 110 * MIB <= change.after <= 200 * MIB
    assert "kills the agent" in made.warnings[0]
    assert made.undo_by_hand.startswith("echo max >")
    assert not plan(limit=None, contain=True, room=4 * MIB).changes


def test_a_shared_cgroup_is_not_fenced_in():
    """The kernel would end a neighbour in its place."""
    assert "would end them as well" in plan(limit=None, contain=True, others=2).reason
    assert any("share its cgroup" in said for said in plan(others=2, horizon=1800.0).warnings)


def test_a_pod_is_left_to_the_kubelet():
    """It would set the limit back; the place is named."""
    pod = Process(pid=1, cgroup="/kubepods.slice/kubepods-burstable.slice/cri-1.scope")
    made = plan(target=Target(name="a", ref="a", processes=(pod,)))
    assert "resources.limits.memory" in made.reason


def test_unread_use_blocks():
    """Without what is in use no limit is safe."""
    given = case()
    bare = Case(target=given.target, evidence=given.evidence, knobs={"memory-limit": KnobValue(value=GIB)})
    assert MemoryLimitPlanner().plan(bare).blocked


def test_a_service_of_systemd_is_asked_through_systemd():
    """A limit written behind its back is gone with its next reload."""
    service = Process(pid=1, cgroup="/system.slice/falco.service")
    knob = MemoryLimitPlanner().find(Target(name="a", ref="a", processes=(service,)))
    assert (knob.backend, knob.path) == ("systemd-memory", "falco.service")
    assert MemoryLimitPlanner().find(AGENT).backend == "cgroup-memory"


# ── cgroups ─────────────────────────────────────────────────────────────────────


def make_group(directory, version, limit, used, cache=0):
    """A directory that looks like a memory cgroup."""
    directory.mkdir(parents=True, exist_ok=True)
    names = {
        "v2": ("memory.max", "memory.current", "inactive_file", "max"),
        "v1": (
            "memory.limit_in_bytes",
            "memory.usage_in_bytes",
            "total_inactive_file",
            str((1 << 63) - 4096),
        ),
    }[version]
    (directory / names[0]).write_text(f"{names[3] if limit is None else limit}\n")
    (directory / names[1]).write_text(f"{used + cache}\n")
    (directory / "memory.stat").write_text(f"anon 5\n{names[2]} {cache}\n")
    return MemoryGroup(directory)


@pytest.fixture(params=["v1", "v2"])
def version(request):
    return request.param


def to(directory, before, after):
    knob = Knob(name="memory-limit", backend="cgroup-memory", path=str(directory), unit="bytes")
    return Change(knob=knob, before=before, after=after, before_text="b", after_text="a", why="w")


@pytest.mark.parametrize("limit", [256 * MIB, None])
def test_a_limit_is_read_set_and_put_back(tmp_path, version, limit):
    """Also none at all, which each version writes in its own way."""
    group = make_group(tmp_path / "g", version, limit, 10 * MIB)
    change, hand = to(group.directory, limit, 512 * MIB), CgroupMemory()
    assert hand.read(change.knob, AGENT).value == limit
    captured = hand.capture(change, AGENT)
    hand.write(change, AGENT, captured)
    assert (group.limit, hand.state(change, AGENT, captured)) == (512 * MIB, "after")
    hand.restore(change, AGENT, captured)
    assert (group.limit, hand.state(change, AGENT, captured)) == (limit, "before")


def test_no_limit_is_written_below_what_is_in_use(tmp_path, version):
    """It would kill the agent: neither planned so, nor undone so."""
    group, hand = make_group(tmp_path / "g", version, 256 * MIB, 10 * MIB), CgroupMemory()
    low = to(group.directory, 256 * MIB, 5 * MIB)
    with pytest.raises(ChangeFailed, match="would kill it"):
        hand.write(low, AGENT, hand.capture(low, AGENT))
    high = to(group.directory, 256 * MIB, GIB)
    captured = hand.capture(high, AGENT)
    hand.write(high, AGENT, captured)
    make_group(tmp_path / "g", version, GIB, 300 * MIB)  # it has grown beyond its former limit
    with pytest.raises(ChangeFailed, match="would kill it") as error:
        hand.restore(high, AGENT, captured)
    assert "restart the agent" in error.value.fix
    assert group.limit == GIB


def test_the_limit_with_swap_goes_up_first_and_comes_back(tmp_path):
    """Version 1 refuses a limit above it; Docker and others set both."""
    group, hand = make_group(tmp_path / "g", "v1", 256 * MIB, 10 * MIB), CgroupMemory()
    group.swap_file.write_text(f"{300 * MIB}\n")
    change = to(group.directory, 256 * MIB, GIB)
    captured = hand.capture(change, AGENT)
    hand.write(change, AGENT, captured)
    assert group.limit_with_swap == GIB + 44 * MIB
    group.file.write_text(str(256 * MIB))  # an undo that was killed half-way
    assert hand.state(change, AGENT, captured) == "after"
    hand.restore(change, AGENT, captured)
    assert (group.limit, group.limit_with_swap) == (256 * MIB, 300 * MIB)
    assert hand.state(change, AGENT, captured) == "before"


def test_what_somebody_else_set_is_left_alone(tmp_path, version):
    """Before the write and before the undo."""
    group, hand = make_group(tmp_path / "g", version, 256 * MIB, 10 * MIB), CgroupMemory()
    change = to(group.directory, 256 * MIB, 512 * MIB)
    captured = hand.capture(change, AGENT)
    make_group(tmp_path / "g", version, 300 * MIB, 10 * MIB)
    assert hand.state(change, AGENT, captured) == "other"
    for step in (hand.write, hand.restore):
        with pytest.raises(ChangedSince, match="300 MiB"):
            step(change, AGENT, captured)


def test_a_group_that_is_gone_needs_no_undo(tmp_path, version):
    """The agent was stopped meanwhile; its group went with it."""
    group, hand = make_group(tmp_path / "g", version, 256 * MIB, 10 * MIB), CgroupMemory()
    change = to(group.directory, 256 * MIB, 512 * MIB)
    captured = hand.capture(change, AGENT)
    gone = {**captured, "directory": str(tmp_path / "no")}
    assert hand.state(change, AGENT, gone) == "before"
    assert "is gone" in hand.restore(change, AGENT, gone).note


def test_room_is_the_least_up_the_tree_and_neighbours_promises_are_told(tmp_path, version):
    """Its parent's limit is nearer than the host's memory; a sibling may take some of it."""
    top = tmp_path / "top"
    make_group(top, version, None, 5 * GIB)
    make_group(top / "slice", version, 2 * GIB, 1 * GIB, cache=500 * MIB)
    make_group(top / "slice/other", version, 600 * MIB, 500 * MIB)
    own = make_group(top / "slice/agent", version, 512 * MIB, 100 * MIB)
    proc = tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 16777216 kB\nMemAvailable: 8388608 kB\n")
    room = room_around(own, top, proc)
    assert room.bytes == 1 * GIB
    assert str(top / "slice") in room.where
    assert room.promised == 100 * MIB


@pytest.mark.parametrize(
    ("lines", "mounts"),
    [
        ("4:memory:/slice/agent\n0::/\n", "30 1 0:1 / {top} rw - cgroup none rw,memory"),
        ("0::/slice/agent\n", "30 1 0:1 / {top} rw - cgroup2 none rw"),
    ],
)
def test_a_process_leads_to_its_group(tmp_path, lines, mounts):
    """In the hierarchy that has the controller."""
    kind = "v2" if "cgroup2" in mounts else "v1"
    top = tmp_path / "top"
    make_group(top / "slice/agent", kind, 512 * MIB, 100 * MIB)
    proc = tmp_path / "proc"
    for directory in ("self", "77"):
        (proc / directory).mkdir(parents=True)
    (proc / "77/cgroup").write_text(lines)
    (proc / "self/mountinfo").write_text(mounts.format(top=top) + "\n")
    target = Target(name="a", ref="a", processes=(Process(pid=77),))
    group = own_group(target, proc)
    assert group is not None
    assert group.limit == 512 * MIB
    assert top_of(group, proc) == top
    assert (
        CgroupMemory(proc).read(Knob(name="memory-limit", backend="cgroup-memory"), target).value == 512 * MIB
    )


def test_without_a_group_of_its_own_the_limit_says_why():
    """The root group can't be limited."""
    knob = Knob(name="memory-limit", backend="cgroup-memory", unit="bytes")
    assert "no memory cgroup of its own" in CgroupMemory().read(knob, AGENT).missing


# ── systemd ─────────────────────────────────────────────────────────────────────


class Systemd:
    """What systemctl does to MemoryMax, in one directory."""

    def __init__(self, control, limit="infinity"):
        self.control, self.limit, self.reloads = control, limit, 0

    def __call__(self, argv):
        match tuple(argv):
            case ("systemctl", "show", *_):
                return f"{self.limit}\n"
            case ("systemctl", "set-property", unit, setting):
                self.limit = setting.removeprefix("MemoryMax=")
                file = place(unit, self.control)
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(f"[Service]\n{setting}\n")
            case ("systemctl", "daemon-reload"):
                self.reloads += 1
            case _:
                raise subprocess.CalledProcessError(1, argv, stderr="unit not found")
        return ""


@pytest.mark.parametrize("limit", ["infinity", "268435456"])
@pytest.mark.parametrize("text", [None, "[Service]\nMemoryMax=256M  # theirs\n"])
def test_systemd_sets_it_and_its_file_comes_back_as_it_was(tmp_path, limit, text):
    """Gone if it was not there, else the very text; the limit in force is the former one."""
    systemd = Systemd(tmp_path, limit)
    file = place("falco.service", tmp_path)
    if text is not None:
        file.parent.mkdir()
        file.write_text(text)
    before = None if limit == "infinity" else int(limit)
    knob = Knob(name="memory-limit", backend="systemd-memory", file=str(file), path="falco.service")
    change = Change(knob=knob, before=before, after=GIB, before_text="b", after_text="a", why="w")
    hand = SystemdMemory(systemd)
    assert hand.read(knob, AGENT).value == before
    captured = hand.capture(change, AGENT)
    hand.write(change, AGENT, captured)
    assert (systemd.limit, hand.state(change, AGENT, captured)) == (str(GIB), "after")
    hand.restore(change, AGENT, captured)
    assert (systemd.limit, hand.state(change, AGENT, captured)) == (limit, "before")
    assert (file.read_text() if file.exists() else None) == text
    assert file.parent.exists() == (text is not None)
    assert systemd.reloads == 1


def test_a_limit_that_systemd_was_given_meanwhile_is_left_alone(tmp_path):
    """An operator's own set-property wins."""
    systemd = Systemd(tmp_path)
    knob = Knob(
        name="memory-limit",
        backend="systemd-memory",
        file=str(place("a.service", tmp_path)),
        path="a.service",
    )
    change = Change(knob=knob, before=None, after=GIB, before_text="not set", after_text="1 GiB", why="w")
    hand = SystemdMemory(systemd)
    captured = hand.capture(change, AGENT)
    hand.write(change, AGENT, captured)
    systemd.limit = "123"
    with pytest.raises(ChangedSince, match="123"):
        hand.restore(change, AGENT, captured)


def test_a_host_without_systemd_says_so():
    """Neither silence nor a traceback."""

    def none(argv):
        raise FileNotFoundError(2, "No such file or directory", argv[0])

    knob = Knob(name="memory-limit", backend="systemd-memory", path="a.service")
    assert "does not tell MemoryMax" in SystemdMemory(none).read(knob, AGENT).missing
