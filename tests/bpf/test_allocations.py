"""What is made of allocations that were followed: growth, sites, budgets; and why nothing can be."""

from __future__ import annotations

import os
import random

import pytest

from bpf.memory import outstanding
from bpf.memory.allocators import Found, allocators_of, own_ranges
from bpf.memory.growth import growth
from bpf.memory.outstanding import Piece, Site, Tally, Watched
from bpf.probes import allocations
from bpf.probes.allocations import Allocations
from bpf.stacks.address_space import AddressSpace, Mapping
from engine.errors import ProbeFailed
from engine.values import Process, Target

LEAK, CACHE = Site("leak", "agent", ("leak", "main")), Site("remember", "agent")
UNKNOWN = Site("[agent+0x10]", "agent", named=False)
ME = Target(name="me", ref="me", processes=(Process(pid=os.getpid()),))


def leaked(per_s: int = 100, seconds: float = 8.0, site: Site = LEAK, size: int = 64) -> list[Piece]:
    return [Piece(size, n / per_s, site) for n in range(int(per_s * seconds))]


def counted(pieces, seconds: float = 8.0, *, one_in: int = 1, net=None, older: int = 0) -> Watched:
    calls = len(pieces) * one_in
    tally = Tally(
        hits=2 * calls, calls=calls, bytes=sum(one.bytes for one in pieces) * one_in, frees=older, older=older
    )
    return Watched(pieces=pieces, tally=tally, seconds=seconds, one_in=one_in, net=net)


def test_a_steady_leak_is_told_with_its_rate_and_site():
    """Bytes a second and the function: what the developer asks first."""
    found = outstanding.readings(counted(leaked()), "libc.so.6")
    assert found["growing"].value is True
    assert found["outstanding_bytes_per_s"].value == pytest.approx(6400, rel=0.01)
    assert found["outstanding_low"].value <= 6400 <= found["outstanding_high"].value
    assert (found["top_site"].value, found["top_site_share"].value) == ("leak", 1.0)


def test_what_lives_shortly_is_no_leak_however_much_it_is():
    """At the end of any window something has just been allocated."""
    young = [Piece(1 << 20, 7.9 + n / 1000, CACHE) for n in range(90)]
    found = outstanding.readings(counted(young), "libc.so.6")
    assert found["growing"].value is False
    assert found["outstanding_bytes_per_s"].value == 0
    assert found["outstanding_bytes"].value == 90 << 20
    assert found["top_site"].value == "remember"


def test_a_cache_at_its_bound_gives_older_memory_back_and_is_no_leak():
    """Its new entries all survive; the old ones that it frees do not show among them."""
    pieces = leaked(site=CACHE)
    flat = growth([(n * 0.1, 0.0) for n in range(80)])
    assert outstanding.readings(counted(pieces, net=flat), "libc")["growing"].value is False
    by_count = outstanding.readings(counted(pieces, older=len(pieces)), "libjemalloc")
    assert by_count["growing"].value is False
    assert by_count["older_frees_per_s"].value == pytest.approx(100)


def test_a_small_leak_beside_a_great_cache_is_found_by_bytes():
    """Counts of allocations hide a leak of few great pieces; glibc's own sizes do not."""
    pieces = leaked(site=CACHE) + leaked(per_s=1, size=1 << 20)
    net = growth([(n * 0.1, n * 0.1 * (1 << 20)) for n in range(80)])
    found = outstanding.readings(counted(pieces, net=net, older=800), "libc.so.6")
    assert found["growing"].value is True
    assert found["top_site"].value == "leak"


def test_sampled_figures_are_scaled():
    """One in ten followed is ten times as much."""
    pieces = random.Random(1).sample(leaked(per_s=1000), 800)
    found = outstanding.readings(counted(pieces, one_in=10), "libc.so.6")
    assert found["outstanding_bytes_per_s"].value == pytest.approx(64000, rel=0.15)
    assert found["older_frees_per_s"].missing
    assert found["sampled_one_in"].value == 10


def test_sites_come_with_age_and_stack():
    """A row says how old the oldest is: the first leak after a deployment tells when it began."""
    rows = outstanding.rows(counted([*leaked(), Piece(10, 7.5, CACHE)]))
    assert [row["site"] for row in rows] == ["leak", "remember"]
    assert rows[0]["stack"] == "leak ← main"
    assert rows[0]["oldest_s"] == pytest.approx(8.0)
    assert rows[0]["old_share"] == pytest.approx(0.5)
    assert rows[1]["bytes_per_s"] == 0


def test_what_has_no_name_is_told_as_a_share():
    """A stripped agent's site is a place in a file, and that is said."""
    found = outstanding.readings(counted(leaked() + leaked(site=UNKNOWN)), "libc.so.6")
    assert found["unresolved_share"].value == pytest.approx(0.5)


def test_nothing_allocated_is_an_answer():
    """An idle agent."""
    found = outstanding.readings(counted([]), "libc.so.6")
    assert found["growing"].value is False
    assert found["top_site"].missing
    assert outstanding.rows(counted([])) == ()


def test_the_c_library_of_a_process_is_found_and_its_own_code_told_apart():
    """The executable and foreign libraries are the program's own code; libc is what stands before malloc."""
    space = AddressSpace.read(os.getpid())
    (found,) = [one for one in allocators_of(space).allocators if one.name.startswith("libc.")]
    assert {"malloc", "free", "realloc", "calloc"} <= found.offsets.keys()
    assert found.file.exists()
    ranges = own_ranges(space, 16)
    libc = next(one for one in space.mappings if one.module.startswith("libc."))
    assert all(not start <= libc.start < end for start, end in ranges)


def test_go_and_stripped_programs_are_told_with_the_way_out(tmp_path):
    """'No malloc' alone would leave the operator where he was."""
    stripped = tmp_path / "agent"
    stripped.write_bytes(b"\x7fELF" + bytes(200))
    space = AddressSpace(os.getpid(), [Mapping(0x1000, 0x2000, 0, str(stripped))], proc=tmp_path)
    assert "no symbols in agent" in allocators_of(space).why
    assert allocators_of(AddressSpace(1, [], proc=tmp_path)) == Found(why="its mappings can't be read")


def test_without_uprobes_it_says_what_else_can_look(tmp_path):
    """Some kernels are built without them."""
    answer = Allocations(device=tmp_path / "none").supported(ME)
    assert answer.answer == "no"
    assert "uprobes" in answer.why or "root" in answer.why + answer.fix
    assert answer.fix


@pytest.mark.parametrize("given", [0, -1, 1.5, True, "ten"])
def test_options_that_are_no_counts_are_refused(given):
    """A budget of nothing would watch nothing and say nothing."""
    with pytest.raises(ProbeFailed, match="one_in"):
        allocations._count({"one_in": given}, "one_in", 1)
