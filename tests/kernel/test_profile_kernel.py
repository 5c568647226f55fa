"""cpu-profile and reader-work against programs whose CPU is known."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.lab import lab
from bpf.libbpf import BpfObject
from bpf.probes.cpu_profile import CpuProfile
from bpf.probes.reader_work import ReaderWork
from bpf.syscall import MapInfo, ProgramInfo, ask
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.contracts import Probe
from engine.running.looking import Missed, Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Setting, Target

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

SPENDER = Path(__file__).parents[2] / "tools" / "bench" / "spender.c"
CALLER = "import os\nwhile True: os.getppid()"


def seen(probe: Probe, target: Target, seconds: float = 2.0, **options: Setting) -> Evidence:
    cancel = Cancel()
    view = View(target, seconds, SystemClock(cancel), cancel)
    (answer,) = look([Request(probe, options)], view)
    assert not isinstance(answer, Missed), answer.error
    check_probe(probe, answer)
    return answer


def target_of(pid: int, **further: tuple[int, ...]) -> Target:
    return Target(name=str(pid), ref=str(pid), processes=(Process(pid=pid),), **further)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def spender_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("the program of known shares needs a C compiler")
    made = tmp_path_factory.mktemp("spender") / "spender"
    subprocess.run(
        ["cc", "-O0", SPENDER, "-o", made],
        check=True,
    )
    return made


@pytest.fixture
def spender(spender_file: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that spends half of its CPU in spend_half, and so on."""
    process = subprocess.Popen([spender_file], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def own_shares(evidence: Evidence) -> dict[str, float]:
    return {str(row["function"]): float(row["self_share"] or 0) for row in evidence.tables["functions"]}


@pytest.mark.parametrize("symbols", ["bcc", "own"])
def test_known_functions_have_their_known_shares(spender, symbols):
    """Against the truth, not another tool: 1/2, 3/10, 1/5 of its own code, within what chance allows."""
    evidence = seen(CpuProfile(), target_of(spender.pid), 3.0, hz=499, symbols=symbols)
    shares = own_shares(evidence)
    known = [shares[name] for name in ("spend_half", "spend_three_tenths", "spend_fifth")]
    assert [share / sum(known) for share in known] == pytest.approx([0.5, 0.3, 0.2], abs=0.09)
    assert evidence.text("top_user_function") == "spend_half"
    assert sum(known) > 0.7
    assert any(";main;spend_half" in str(row["folded"]) for row in evidence.tables["stacks"])
    assert evidence.cost.bpf_s > 0


def test_a_target_that_dies_in_the_window_still_gives_its_stacks(spender):
    """The agent that burns all CPU and crashes is the one to be looked at."""
    threading.Timer(1.0, os.kill, (spender.pid, signal.SIGKILL)).start()
    evidence = seen(CpuProfile(), target_of(spender.pid), 5.0)
    assert evidence.text("top_user_function") == "spend_half"
    assert any("ended after" in note for note in evidence.notes)


def test_a_stripped_program_keeps_its_places_and_says_what_mends_it(spender_file, tmp_path):
    """Names can't be had; where to look and what to install can."""
    if shutil.which("strip") is None:
        pytest.skip("needs strip")
    bare = tmp_path / "bare"
    subprocess.run(["strip", "-o", bare, spender_file], check=True)
    process = subprocess.Popen([bare], stdout=subprocess.DEVNULL)
    try:
        evidence = seen(CpuProfile(), target_of(process.pid), 1.0)
    finally:
        process.kill()
        process.wait()
    assert evidence.text(
        "top_user_function",
    ).startswith("[bare+0x")
    assert evidence.number("unresolved_share") > 0.7
    assert any("bare: it is stripped" in note for note in evidence.notes)


def test_a_program_running_in_another_process_is_the_targets_cost(sample: Callable[[int], BpfObject]):
    """BPF programs run on the account of whoever triggers them: the agent itself uses nothing here."""
    caller = subprocess.Popen([sys.executable, "-c", CALLER])
    try:
        agent = sample(caller.pid)
        program = ask(agent.program_fd("sample_enter"), ProgramInfo()).id
        ring = ask(agent.map("sample_ring").fd, MapInfo()).id
        target = target_of(os.getpid(), program_ids=(program,), map_ids=(ring,))
        evidence = seen(CpuProfile(), target, 2.0, hz=499, symbols="own")
    finally:
        caller.kill()
        caller.wait()
    assert evidence.text("top_program") == f"sample_enter ({program})"
    assert evidence.number("bpf_share") > 0.3
    threads = {str(row["thread"]) for row in evidence.tables["threads"]}
    assert any("(other process)" in name for name in threads)


@pytest.mark.parametrize(("option", "value"), [("hz", 0), ("hz", "fast"), ("hz", 5000), ("symbols", "guess")])
def test_a_wrong_option_is_refused_before_anything_is_loaded(option, value):
    """With the right form in the fix."""
    cancel = Cancel()
    view = View(target_of(os.getpid()), 1.0, SystemClock(cancel), cancel)
    (answer,) = look([Request(CpuProfile(), {option: value})], view)
    assert isinstance(answer, Missed)
    assert option in str(answer.error)


# ── reader-work ─────────────────────────────────────────────────────────────────


def work_of(fault: str, directory: Path) -> Evidence:
    """The practice agent with a fault, alone on the machine."""
    instance = lab.start(fault=fault, directory=directory)
    try:
        time.sleep(0.5)
        return seen(ReaderWork(), targets.on_this_host().find(None, instance.pid), 2.0)
    finally:
        lab.stop(instance)


def test_busy_polling_is_told_from_work(tmp_path):
    """Both take half a CPU or more; one asks with it, the other parses events."""
    spins, works = work_of("busy-poll", tmp_path), work_of("hot-reader", tmp_path)
    assert spins.number("spin_share") > 0.8
    assert spins.text("spinning_thread").startswith("reader")
    assert works.number("spin_share") < 0.1
    assert works.number("cpu_us_per_event") == pytest.approx(
        works.number("cpu_cores") / works.number("events_per_s") * 1e6, rel=0.1
    )


POLLER = """
import select
nothing = select.poll()
while True: nothing.poll(1)
"""


def test_waits_that_end_with_nothing_are_counted():
    """A time-out of a millisecond is a thousand wake-ups a second for nothing."""
    process = subprocess.Popen([sys.executable, "-c", POLLER])
    try:
        time.sleep(0.3)
        work = seen(ReaderWork(), target_of(process.pid), 1.5)
    finally:
        process.kill()
        process.wait()
    assert work.text("top_syscall") == "poll"
    assert work.number("empty_share") > 0.95
    assert work.number("empty_wakeups_per_s") == pytest.approx(work.number("syscalls_per_s"), rel=0.1)
    assert work.number("wakeups_per_s") > 100
    assert work.readings["spin_cores"].value is None
