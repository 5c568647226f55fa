"""Programs of the distribution that know nothing of us, beside a second source.

``mountsnoop`` has a BPF ring buffer, ``opensnoop`` and ``bpftrace`` perf buffers. Their events are made
at a known rate by a process of the test. All of them, ten runs each: ``make acceptance``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from bpf.bcc import headers
from bpf.libbpf import statistics
from bpf.objects import inventory
from bpf.probes.event_flow import EventFlow
from bpf.probes.process import ProcessProbe
from bpf.probes.program_cost import ProgramCost
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.running.looking import Missed, Request, View, look
from engine.values import Evidence, Target

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

#: Bytes of one event of mountsnoop 0.26 in its ring, with the ring's header of 8.
MOUNTSNOOP_RECORD = 8760
PAGE = os.sysconf("SC_PAGE_SIZE")
#: The tools want tracefs and debugfs: they get a mount namespace of their own where a machine has none.
OWN_MOUNTS = """
[ -d /sys/kernel/tracing/events ] || mount -t tracefs tracefs /sys/kernel/tracing
[ -d /sys/kernel/debug/tracing ] || mount -t debugfs debugfs /sys/kernel/debug
exec "$@"
"""
#: Calls mount() with nonsense, or opens a file, ARGV[2] times a second.
MAKER = """
import ctypes, os, sys, time
libc = ctypes.CDLL(None)
event = {"mount": lambda: libc.mount(b"a", b"/nowhere", b"b", 0, None),
         "open": lambda: os.close(os.open("/dev/null", os.O_RDONLY))}[sys.argv[1]]
every, due = 1 / int(sys.argv[2]), time.monotonic()
while True:
    event()
    due += every
    time.sleep(max(0, due - time.monotonic()))
"""


def needs(*tools: str) -> pytest.MarkDecorator:
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [tool for tool in tools if not shutil.which(tool, path=search)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


@contextmanager
def running(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    """A child that is ended at the end."""
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


@contextmanager
def tool(*argv: str) -> Iterator[Target]:
    """A third-party BPF program, as ``runbook targets`` finds it once it has attached."""
    # A grandchild: what we start ourselves is not a target of ours.
    arguments = ["unshare", "--mount", "--fork", "--kill-child", "sh", "-c", OWN_MOUNTS, "sh", *argv]
    with running(*arguments) as process:
        deadline = time.monotonic() + 15
        while (target := attached(process.pid)) is None:
            if process.poll() is not None:
                pytest.skip(f"{argv[0]} does not run on this kernel: {process.stderr.read().decode()[-200:]}")
            assert time.monotonic() < deadline, f"{argv[0]} attached nothing"
            time.sleep(0.05)
        yield target


@contextmanager
def compiling(folder: Path) -> Iterator[None]:
    """bcc compiles with the running kernel's headers, or with those of another, which serve here."""
    halves = () if headers.runs_everything(os.uname().release) else headers.any_halves()
    before = os.environ.get("BCC_KERNEL_SOURCE")
    if halves:
        os.environ["BCC_KERNEL_SOURCE"] = str(headers.merge(halves, folder / "headers"))
    try:
        yield
    finally:
        os.environ.pop("BCC_KERNEL_SOURCE", None)
        if before is not None:
            os.environ["BCC_KERNEL_SOURCE"] = before


def attached(parent: int) -> Target | None:
    """The target among the children of a process, when one of its programs is attached somewhere."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    finder = targets.on_this_host()
    for target in finder.find_all():
        if str(target.pid) in children:
            linked = any(target.pid in link.owners for link in finder.inventory.links)
            programs = [each for each in finder.inventory.programs if each.id in target.program_ids]
            return target if programs and (linked or any(each.attached_to for each in programs)) else None
    return None


def watch(target: Target, seconds: float, *probes: object) -> dict[str, Evidence]:
    """Evidence by short name; a probe that missed fails the test."""
    view = View(target, seconds, SystemClock(), Cancel())
    found = list(look([Request(probe) for probe in probes], view))
    missed = [answer.error for answer in found if isinstance(answer, Missed)]
    assert not missed, missed
    return {answer.short: answer for answer in found}


@needs("opensnoop", "bpftrace", "unshare")
def test_targets_finds_strangers_by_the_name_of_their_process():
    """Nothing has to be told about a tool: its process is enough to find it and its profile."""
    with tool("opensnoop") as snoop, tool("bpftrace", "-e", "interval:s:60 { exit(); }") as tracer:
        found = {each.ref: each for each in targets.on_this_host().find_all()}

    assert found[snoop.ref].processes[0].comm == "opensnoop"
    assert found[snoop.ref].profile == "libbpf-tools"
    assert found[snoop.ref].rings
    assert found[tracer.ref].profile == "bpftrace"
    assert found[tracer.ref].knobs["ring-buffer-size"].path == "BPFTRACE_PERF_RB_PAGES"


@needs("opensnoop", "unshare")
def test_events_through_a_perf_buffer_are_counted_by_the_records_that_wait_in_it():
    """A perf buffer was a black box: its size, its records and its rate are seen from outside."""
    with (
        running(sys.executable, "-c", MAKER, "open", "2000") as maker,
        tool("opensnoop", "-p", str(maker.pid)) as target,
    ):
        time.sleep(0.5)
        flow = watch(target, 2.0, EventFlow())["flow"]

    assert flow.number("ring_bytes") == 64 * PAGE
    assert flow.number("record_size_fixed")
    assert flow.number("in_per_s") == pytest.approx(2000, rel=0.1)
    assert flow.number("dropped_per_s") == 0
    assert flow.text("drop_source") == "kernel perf buffer losses"


@needs("bpftrace", "unshare")
def test_what_a_stopped_tracer_loses_is_counted_and_the_rest_of_the_picture_agrees(monkeypatch):
    """Arriving is what went in and what was refused; a reader that stands still is seen to."""
    monkeypatch.setenv("BPFTRACE_PERF_RB_PAGES", "4")
    with running(sys.executable, "-c", MAKER, "open", "2000") as maker:
        opens = f"tracepoint:syscalls:sys_enter_openat /pid == {maker.pid}/"
        with tool("bpftrace", "-e", f'{opens} {{ printf("%s\\n", str(args->filename)); }}') as target:
            time.sleep(0.3)
            os.kill(target.pid, signal.SIGSTOP)
            flow = watch(target, 1.5, EventFlow())["flow"]

    assert flow.number("ring_bytes") == 4 * PAGE
    assert flow.number("fill_peak") > 0.95
    assert not flow.number("consumer_moved")
    assert flow.number("dropped_per_s") > 1000


@needs("trace-bpfcc", "unshare")
def test_a_tool_in_python_is_found_by_its_script(tmp_path):
    """Its process is an interpreter: the script's name tells which tool it is, and whether it has a knob."""
    with compiling(tmp_path), tool("trace-bpfcc", "-b", "8", "t:syscalls:sys_enter_kill") as target:
        assert target.profile == "bcc-opensnoop"
        assert target.knobs["ring-buffer-size"].unit == "pages"


@needs("mountsnoop", "unshare")
def test_bytes_through_a_stranger_s_ring_are_counted_and_no_event_rate_is_made_up():
    """Without a profile the size of a record is unknown: bytes are told, events said to be missing."""
    with tool("mountsnoop") as target, running(sys.executable, "-c", MAKER, "mount", "200"):
        time.sleep(0.5)
        flow = watch(target, 2.0, EventFlow())["flow"]

    assert flow.number("bytes_in_per_s") == pytest.approx(200 * MOUNTSNOOP_RECORD, rel=0.1)
    assert flow.number("bytes_out_per_s") == pytest.approx(200 * MOUNTSNOOP_RECORD, rel=0.15)
    assert flow.number("in_per_s") is None
    assert "size of its records" in flow.readings["in_per_s"].missing


@needs("mountsnoop", "unshare")
def test_with_the_one_fact_of_a_profile_events_are_counted():
    """The record's size is all that a stranger's profile must say for a true rate."""
    with tool("mountsnoop") as found, running(sys.executable, "-c", MAKER, "mount", "200"):
        target = msgspec.structs.replace(found, record_bytes=MOUNTSNOOP_RECORD - 8)
        time.sleep(0.5)
        flow = watch(target, 2.0, EventFlow())["flow"]

    assert flow.number("in_per_s") == pytest.approx(200, rel=0.1)
    assert flow.number("dropped_per_s") in (0, None)


@needs("opensnoop", "unshare")
def test_the_cpu_and_memory_of_a_stranger_agree_with_proc():
    """A second source: the process's own /proc files, read by the test around the window."""
    ticks = os.sysconf("SC_CLK_TCK")

    def used(pid: int) -> float:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / ticks

    with tool("opensnoop") as target, running(sys.executable, "-c", MAKER, "open", "20000"):
        time.sleep(0.5)
        before, began = used(target.pid), time.monotonic()
        seen = watch(target, 2.0, ProcessProbe())["process"]
        told = (used(target.pid) - before) / (time.monotonic() - began)
        resident = int(Path(f"/proc/{target.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    assert seen.number("cpu_cores") == pytest.approx(told, abs=0.05)
    assert seen.number("rss_bytes") == pytest.approx(resident, rel=0.1)


@needs("opensnoop", "bpftool", "unshare")
def test_the_cost_of_a_stranger_s_programs_agrees_with_bpftool():
    """A second source: the kernel's run counts as bpftool prints them, before and after the window."""

    def runs(target: Target) -> int:
        listed = json.loads(
            subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True).stdout
        )
        return sum(row.get("run_cnt", 0) for row in listed if row["id"] in target.program_ids)

    with tool("opensnoop") as target, running(sys.executable, "-c", MAKER, "open", "2000"), statistics():
        time.sleep(0.5)
        before, began = runs(target), time.monotonic()
        cost = watch(target, 2.0, ProgramCost())["cost"]
        told = (runs(target) - before) / (time.monotonic() - began)

    assert told > 2000
    assert cost.number("runs_per_s") == pytest.approx(told, rel=0.15)
    assert any(f"({each})" in (cost.text("hottest") or "") for each in target.program_ids)


@needs("bpftrace", "unshare")
def test_a_tracer_with_maps_alone_is_found_with_its_program():
    """No ring at all: its program, owner and cost are still seen."""
    with (
        tool("bpftrace", "-e", "tracepoint:raw_syscalls:sys_enter { @[comm] = count(); }") as target,
        running(sys.executable, "-c", MAKER, "open", "2000"),
    ):
        time.sleep(0.5)
        cost = watch(target, 1.0, ProgramCost())["cost"]

    assert cost.number("runs_per_s") > 2000
    assert 0 < cost.number("hottest_ns_per_run") < 100_000


@needs("opensnoop", "bpftool", "unshare")
def test_what_a_stranger_holds_agrees_with_bpftool_and_fdinfo():
    """A second source for the inventory: the ids in the process's own descriptors, the names by bpftool."""
    with tool("opensnoop") as target:
        held: dict[str, set[int]] = {"map_id": set(), "prog_id": set()}
        for entry in Path(f"/proc/{target.pid}/fdinfo").iterdir():
            for line in entry.read_text().splitlines():
                name, _, value = line.partition(":")
                if name in held:
                    held[name].add(int(value))
        listed = json.loads(
            subprocess.run(["bpftool", "-j", "map", "show"], capture_output=True, check=True).stdout
        )
        ours = {each.id: each for each in inventory.read().maps}

    assert set(target.map_ids) == held["map_id"]
    assert set(target.program_ids) == held["prog_id"]
    for row in (row for row in listed if row["id"] in target.map_ids):
        mine = ours[row["id"]]
        assert (mine.type, mine.name, mine.max_entries) == (row["type"], row["name"], row["max_entries"])
