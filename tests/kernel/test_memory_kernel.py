"""Memory, allocations and heap profiles against what others say: valgrind, glibc, bpftool, Go's runtime."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bpf.lab import lab
from bpf.memory import processes
from bpf.objects import inventory
from bpf.probes.allocations import Allocations
from bpf.probes.heap_profile import HeapProfile
from bpf.probes.memory import Memory
from bpf.system import cgroups, kmsg, oom_kills
from engine.clock import Cancel, SystemClock
from engine.contracts import Probe
from engine.errors import TargetGone
from engine.running.looking import Missed, Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Target

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(90)]
PROMETHEUS = Path(__file__).parents[2] / "build/servers/usr/bin/prometheus"
SOURCES = Path(__file__).parent
ROUNDS = 500
JEMALLOC = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu" / "libjemalloc.so.2"


def built(name: str, directory: Path, *flags: str) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    made = directory / name
    subprocess.run(["gcc", "-O2", "-g", *flags, "-o", made, SOURCES / f"{name}.c"], check=True)
    return made


def asked(target: Target, *probes: Probe, seconds: float = 2.0, options=None) -> dict[str, Evidence | Missed]:
    cancel = Cancel()
    view = View(target=target, seconds=seconds, clock=SystemClock(cancel), cancel=cancel)
    requests = [Request(probe, options or {}) for probe in probes]
    return {answer.probe: answer for answer in look(requests, view)}


def seen(target: Target, probe: Probe, **further) -> Evidence:
    answer = asked(target, probe, **further)[probe.name]
    assert isinstance(answer, Evidence), answer
    check_probe(probe, answer)
    return answer


def target_of(pid: int) -> Target:
    return Target(name="program", ref="program", processes=(Process(pid=pid),))


class Leaky:
    """The leaking program, ready to be told to leak."""

    def __init__(self, program: Path, *words: str, preload: str = "") -> None:
        environment = {**os.environ, **({"LD_PRELOAD": preload} if preload else {})}
        self.process = subprocess.Popen(
            [program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        maps = Path(f"/proc/{self.process.pid}/maps")
        while "libc" not in maps.read_text() or "\nS" not in self.state():
            time.sleep(0.01)
        self.target = target_of(self.process.pid)

    def state(self) -> str:
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return "\n" + text.partition("State:\t")[2]

    def go_after(self, seconds: float) -> None:
        def go() -> None:
            self.process.stdin.write(b"\n")
            self.process.stdin.flush()

        threading.Timer(seconds, go).start()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def leaky(tmp_path: Path) -> Iterator[Callable[..., Leaky]]:
    program = built("leaky", tmp_path)
    started: list[Leaky] = []

    def start(*words: str, preload: str = "") -> Leaky:
        started.append(Leaky(program, *words, preload=preload))
        return started[-1]

    yield start
    for one in started:
        one.close()


def by_valgrind(program: Path, rounds: int, directory: Path) -> dict[str, int]:
    """Bytes that are not freed, by the program's function that asked for them."""
    report = directory / "valgrind.xml"
    subprocess.run(
        ["valgrind", "-q", "--leak-check=full", "--show-leak-kinds=all", "--xml=yes", f"--xml-file={report}",
         program, str(rounds)],
        input=b"\n", stdout=subprocess.DEVNULL, check=True, timeout=60,
    )  # fmt: skip
    found: dict[str, int] = defaultdict(int)
    for error in ET.parse(report).getroot().iter("error"):  # our own file
        frames = list(error.find("stack").iter("frame"))
        own = next(frame for frame in frames if frame.findtext("obj", "").endswith("/leaky"))
        found[own.findtext("fn", "")] += int(error.findtext("xwhat/leakedbytes"))
    return dict(found)


def by_us(evidence: Evidence) -> dict[str, int]:
    found: dict[str, int] = defaultdict(int)
    for row in evidence.tables["sites"]:
        found[row["site"]] += row["bytes"]
    return dict(found)


def test_leak_sites_and_bytes_are_valgrinds(leaky, tmp_path):
    """Every function and every byte: malloc, calloc, realloc, posix_memalign, strdup, a cache."""
    if shutil.which("valgrind") is None:
        pytest.skip("needs valgrind (tools/setup.sh tests)")
    program = leaky(str(ROUNDS), "1000")
    program.go_after(0.4)
    ours = seen(program.target, Allocations())
    assert by_us(ours) == by_valgrind(tmp_path / "leaky", ROUNDS, tmp_path)
    assert ours.number("not_followed") == 0


@pytest.mark.skipif(not JEMALLOC.exists(), reason="needs libjemalloc2 (tools/setup.sh tests)")
def test_another_allocator_gives_the_same_sites(leaky):
    """Agents are often run with jemalloc in front of libc."""
    program = leaky(str(ROUNDS), "0", preload=str(JEMALLOC))
    program.go_after(0.3)
    ours = seen(program.target, Allocations(), seconds=0.8)
    assert by_us(ours)["leak_aligned"] == 192 * ROUNDS
    assert by_us(ours)["leak_names"] == 32 * ROUNDS
    assert ours.text("allocator") == "libjemalloc.so.2"


def test_it_stops_by_itself_when_the_program_allocates_too_much(leaky):
    """A trap costs a microsecond; a million of them a second would be the outage."""
    program = leaky("5000000", "0")
    program.go_after(0.0)
    ours = seen(program.target, Allocations(), seconds=8.0, options={"at_most": 20000})
    assert ours.number("watched_s") < 3
    assert ours.ended_at - ours.started_at < 7
    assert any("stopped by itself" in note for note in ours.notes)


def test_a_program_that_ends_meanwhile_is_gone(leaky):
    """Its addresses mean nothing any more."""
    program = leaky("10", "0")
    threading.Timer(0.5, program.process.kill).start()
    answers = asked(program.target, Allocations(), Memory(), seconds=3.0)
    assert all(isinstance(one, Missed) and isinstance(one.error, TargetGone) for one in answers.values())


@pytest.mark.parametrize(("keep", "most", "least"), [(10, 0.95, 0.8), (1, 0.05, 0.0)])
def test_what_the_allocator_keeps_is_what_glibc_itself_says(tmp_path, keep, most, least):
    """Free inside the heap, read from outside, beside mallinfo2 of the process."""
    program = subprocess.Popen(
        [built("keeper", tmp_path), "100000", str(keep)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        free, arena = map(int, program.stdout.readline().split())
        ours = seen(target_of(program.pid), Memory(), seconds=0.5)
    finally:
        program.communicate(b"\n")
    assert ours.number("heap_read_share") > 0.9
    assert least <= ours.number("heap_free_share") <= most
    # The last pages of the heap may not have been touched yet: free to glibc, not in memory.
    assert ours.number("heap_free_bytes") == pytest.approx(free, abs=0.03 * arena)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[str], lab.Instance]]:
    yield lambda fault="": lab.start(fault, directory=tmp_path / "lab", seconds=60)
    for each in lab.instances(tmp_path / "lab"):
        lab.stop(each)


def agent_of(instance: lab.Instance) -> Target:
    held = [one.id for one in inventory.read().maps if instance.pid in one.owners]
    return Target(
        name="lab",
        ref="lab",
        processes=(Process(pid=instance.pid, comm="lab-agent"),),
        map_ids=tuple(held),
    )


def warm(instance: lab.Instance) -> lab.Instance:
    """Wait until it has touched the buffers that it took at its start."""
    before, since, deadline = 0, time.monotonic(), time.monotonic() + 15
    while time.monotonic() < min(since + 0.7, deadline):
        now = processes.split(instance.pid, exact=True).anon
        if now != before:
            before, since = now, time.monotonic()
        time.sleep(0.05)
    return instance


def test_a_leak_of_the_heap_is_told_with_its_rate_and_function(started):
    """20,000 events/s lose 64 bytes each, 80 in glibc's own sizes, in the function leak()."""
    answers = asked(agent_of(started("heap-leak")), Memory(), Allocations(), seconds=2.0)
    memory, alloc = answers["memory"], answers["allocations"]
    assert memory.readings["growing"].value is True
    assert memory.number("slope_bytes_per_s") == pytest.approx(1.6e6, rel=0.15)
    assert memory.readings["map_growing"].value is False
    assert alloc.text("top_site") == "leak"
    assert alloc.number("outstanding_bytes_per_s") == pytest.approx(1.28e6, rel=0.1)
    assert alloc.number("net_bytes_per_s") == pytest.approx(1.6e6, rel=0.1)
    assert alloc.readings["growing"].value is True


def test_a_growing_map_shows_in_no_heap_and_is_bpftools_figure(started):
    """The memory of maps is the kernel's; each map's bytes are compared with bpftool's."""
    if shutil.which("bpftool") is None:
        pytest.skip("needs bpftool")
    target = agent_of(warm(started("unbounded-map")))
    memory = seen(target, Memory())
    told = json.loads(
        subprocess.run(["bpftool", "-j", "map", "show"], capture_output=True, check=True).stdout
    )
    theirs = {one["id"]: one["bytes_memlock"] for one in told}
    assert memory.readings["growing"].value is False
    assert memory.readings["map_growing"].value is True
    assert memory.text("top_map").startswith("cache")
    for row in memory.tables["maps"]:
        assert row["bytes"] == pytest.approx(theirs[row["id"]], rel=0.2 if row["name"] == "cache" else 0)


def test_a_healthy_agent_does_not_grow(started):
    """The answer on most nights."""
    answers = asked(agent_of(warm(started(""))), Memory(), Allocations(), seconds=2.0)
    assert answers["memory"].readings["growing"].value is False
    assert answers["memory"].readings["map_growing"].value is False
    assert answers["allocations"].readings["growing"].value is False


def test_a_real_kill_is_found_in_the_kernel_log_and_in_the_group():
    """The kernel's own words change between versions: this is the running one's."""
    groups = cgroups.groups(os.getpid(), "memory")
    if not groups or groups[0].version != 1 or os.geteuid() != 0:
        pytest.skip("needs a memory cgroup of version 1 and root")
    place = groups[0].path / f"runbook-test-{os.getpid()}"
    place.mkdir()
    try:
        (place / "memory.limit_in_bytes").write_text(str(16 << 20))
        eater = "import os,sys; open(sys.argv[1],'w').write(str(os.getpid())); b=bytearray(64<<20)"
        child = subprocess.Popen([sys.executable, "-c", eater, str(place / "cgroup.procs")])
        child.wait(20)
        assert child.returncode == -9
        assert cgroups.oom_kills(cgroups.Group(place, 1)) == 1
        (kill,) = [one for one in oom_kills.kills(kmsg.read().lines) if one.pid == child.pid]
        assert kill.comm.startswith("python")
        assert kill.cgroup.endswith(place.name)
        assert kill.anon_bytes > 1 << 20
    finally:
        while place.exists():
            try:
                place.rmdir()
            except OSError:
                time.sleep(0.05)


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A Go program that nobody here wrote, watching itself."""
    if not PROMETHEUS.exists():
        pytest.skip("prometheus is not unpacked (tools/setup.sh tests)")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    (tmp_path / "p.yml").write_text(
        "scrape_configs: [{job_name: self, scrape_interval: 1s, "
        f"static_configs: [{{targets: ['{address}']}}]}}]\n"
    )
    process = subprocess.Popen(
        [PROMETHEUS, f"--config.file={tmp_path}/p.yml", f"--storage.tsdb.path={tmp_path}/data",
         f"--web.listen-address={address}"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 20
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/-/ready", timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield process.pid, address
    finally:
        process.terminate()
        process.wait()


def test_a_real_go_programs_heap_is_read_and_agrees_with_its_own_account(prometheus):
    """Never more lives than the runtime took; its sites are its own functions; both formats are read."""
    pid, address = prometheus
    target = Target(
        name="prometheus",
        ref="p",
        processes=(Process(pid=pid, comm="prometheus"),),
        heap_url=f"http://{address}/debug/pprof/heap",
    )
    heap = seen(target, HeapProfile(), seconds=1.0)
    page = urllib.request.urlopen(f"http://{address}/metrics", timeout=5).read().decode()
    live = float(re.search(r"^go_memstats_heap_inuse_bytes (\S+)", page, re.MULTILINE)[1])
    assert 0 < heap.number("inuse_bytes") < 1.5 * live
    assert (heap.text("format"), heap.number("sample_bytes")) == ("pprof", 524288)
    assert any("prometheus" in row["stack"] for row in heap.tables["sites"])
    assert heap.number("collections") >= 1
    text = seen(target, HeapProfile(), seconds=0.2, options={"url": f"{target.heap_url}?debug=1"})
    assert text.text("format") == "text"
    assert text.text("top_site").count(".") >= 1
    c_parts = seen(target, Allocations(), seconds=0.5)
    assert c_parts.readings["go"].value is True
    assert any("heap-profile" in note for note in c_parts.notes)
