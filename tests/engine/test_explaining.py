"""Why a process is an agent or not, and what an agent answers now."""

import itertools

import pytest

from engine.agents import answers, explaining, matching
from engine.agents.matching import Held
from engine.agents.processes import ProcessTable
from engine.agents.profile import Events, Match, Profile
from engine.agents.profiles import Found
from engine.catalog import installed
from engine.commands import explained
from engine.values import BpfMap, BpfProgram, Counter, Inventory, Knob, Target

CONDITIONS = {
    "comm": (("agent",), ("other", "an-agent-with-a-long-name")),
    "exe": (("*/bin/agent",), ("/opt/*",)),
    "argv": ("--serve", "^nothing"),
    "unit": ("agent", "other.service"),
    "map": (("events",), ("rb",)),
    "program": (("handle",), ("a",)),
}


@pytest.fixture
def table(tmp_path):
    """Three processes: an agent, one like it, and one that holds nothing."""
    for pid, comm, argv, unit in (
        (10, "agent", "agent --serve", "agent.service"),
        (11, "agent", "agent", "other.service"),
        (12, "an-agent-with-a", "x --serve", ""),
    ):
        folder = tmp_path / str(pid)
        folder.mkdir()
        (folder / "comm").write_text(f"{comm}\n")
        (folder / "cmdline").write_bytes(argv.replace(" ", "\0").encode() + b"\0")
        (folder / "cgroup").write_text(f"0::/system.slice/{unit}\n")
        (folder / "exe").symlink_to(f"/usr/bin/{comm}")
    return ProcessTable(tmp_path)


@pytest.fixture
def held():
    """The first two hold BPF objects."""
    found = {}
    for pid, ring in ((10, "events"), (11, "rb")):
        found[pid] = Held()
        found[pid].maps[pid] = BpfMap(id=pid, name=ring, type="ringbuf", owners=(pid,))
        found[pid].programs[pid] = BpfProgram(id=pid, name="handle", type="tracing", owners=(pid,))
    return found


def test_what_is_told_to_match_is_what_is_picked(table, held):
    """An explanation that differs from the deed sends people after the wrong condition."""
    for first, second in itertools.combinations(CONDITIONS, 2):
        for one, two in itertools.product(CONDITIONS[first], CONDITIONS[second]):
            profile = Profile(profile="x", match=Match(**{first: one, second: two}))
            (told,) = explaining.explain(
                Found(profiles=(profile,), files={}), table, held, listed=True, only="x"
            )
            matched = [each.pid for each in told.candidates if each.matches]
            assert matched == sorted(matching.matching(profile.match, table, held)), profile.match


def test_what_could_not_be_listed_is_neither_yes_nor_no(table):
    """Without the right to list BPF objects, 'holds none' would be a guess."""
    profile = Profile(profile="x", match=Match(comm=("agent",), map=("events",)))
    (told,) = explaining.explain(Found(profiles=(profile,), files={}), table, {}, listed=False)
    assert [one.conditions[1].met for one in told.candidates] == [None, None]
    assert "could not be listed" in told.unseen[0]


def test_a_process_is_the_agent_of_one_profile_only(table, held):
    """The second profile that fits is told who has it."""
    two = tuple(Profile(profile=name, match=Match(comm=("agent",))) for name in ("a", "b"))
    _, second = explaining.explain(Found(profiles=two, files={}), table, held, listed=True)
    assert {one.taken_by for one in second.candidates} == {"a"}


def test_every_condition_is_told_with_what_the_process_has(table, held, capsys):
    """'Does not match' alone helps nobody."""
    profile = Profile(profile="x", match=Match(comm=("agent",), argv="--serve", map=("evnts",)))
    found = Found(profiles=(profile,), files={})
    explained.tell_profiles(explaining.explain(found, table, held, listed=True), all_of_them=False)
    told = capsys.readouterr().out
    assert "10 agent: does not match" in told
    assert "no  map      wants evnts; has events" in told
    assert "yes argv     wants --serve; has agent --serve" in told


def test_an_agent_tells_what_it_can_and_why_it_can_not(tmp_path, capsys):
    """What can be read now, in which of its places, and what the profile names in vain."""
    file = tmp_path / "agent.yaml"
    file.write_text("preset: 4\n")
    presets = {"4": 8.0 * 2**20}
    first = Knob(name="ring-buffer-size", backend="yaml-file", file=str(tmp_path / "absent.yaml"), path="p")
    second = Knob(
        name="ring-buffer-size",
        backend="yaml-file",
        file=str(file),
        path="preset",
        unit="preset",
        presets=presets,
    )
    target = Target(
        name="x",
        ref="x",
        profile="x",
        rings=(7,),
        counters=(Counter(counts="dropped", source="metric", name="lost_total", labels={"stage": "ring"}),),
        knobs={
            "ring-buffer-size": Knob(
                **{**{f: getattr(first, f) for f in first.__struct_fields__}, "otherwise": (second,)}
            )
        },
    )
    profile = Profile(profile="x", match=Match(comm=("x",)), events=Events(rings=("events", "more")))
    rings = (BpfMap(id=7, name="events", type="ringbuf", max_entries=4096, fill_bytes=1024),)
    inventory = Inventory(taken_at=0, source="made up", maps=rings)
    told = answers.ask(target, profile, inventory, installed())
    assert told.knobs[0].effective == 8 * 2**20
    assert told.health_ok is None
    explained.tell_target(target, told)
    shown = capsys.readouterr().out
    assert f"4 = 8 MiB        {file}:1: preset  (place 2 of 2)" in shown
    assert "events (map 7, ringbuf, 4 KiB, 25 % full)" in shown
    assert "more: the process holds none of this name" in shown
    assert "metric lost_total{stage=ring}: unknown: the profile names no metrics page" in shown
