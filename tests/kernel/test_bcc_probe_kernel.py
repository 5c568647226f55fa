"""The bcc probe for real: an author's program is compiled, attached and read on the running kernel."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bpf.bcc import bcc_host, symbols
from bpf.bcc.bcc_probe import BccProbe
from engine.errors import ProbeFailed

pytestmark = pytest.mark.kernel
ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "runbooks" / "examples"
FAILS = """
import os, time
print("ready", flush=True)
while True:
    os.path.exists("/nowhere")
    time.sleep(0.0005)
"""


def has_bcc() -> bool:
    try:
        bcc_host.interpreter()
    except bcc_host.BccMissing:
        return False
    return True


needs_bcc = pytest.mark.skipif(not has_bcc(), reason="no interpreter here has bcc")


class RealClock:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)
    sleep = staticmethod(time.sleep)


class ShortWindow:
    """A window of ``seconds`` of true time."""

    clock = RealClock()

    def __init__(self, seconds: float, directory: Path, **options: object) -> None:
        self.seconds, self.directory, self.options = seconds, str(directory), options

    def begin(self) -> float:
        return time.time()

    def wait(self) -> None:
        time.sleep(self.seconds)


@pytest.fixture
def failing():
    """A process whose system calls fail with ENOENT."""
    process = subprocess.Popen([sys.executable, "-c", FAILS], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


@needs_bcc
def test_the_shipped_example_counts_another_process_s_failing_calls(failing):
    """What the author wrote in C comes back as a table with the fields of the key."""
    window = ShortWindow(0.5, EXAMPLES, source="failing_syscalls.c", maps=["failures"], reads_kernel=False)

    seen = BccProbe().collect(None, window)

    ours = [row for row in seen.tables["failures"] if row["pid"] == failing.pid and row["error"] == 2]
    assert ours, seen.tables
    assert ours[0]["value"] > 10
    assert ours[0]["process"].startswith("python")
    assert seen.number("total") >= ours[0]["value"]
    assert seen.cost.memory_bytes > 0


@needs_bcc
def test_kinds_of_maps(tmp_path):
    """Arrays, per-CPU arrays, structures and histograms become rows; stacks are named as left out."""
    (tmp_path / "kinds.c").write_text(
        """
        struct both { u64 calls; u64 numbers; };
        BPF_ARRAY(calls, u64, 1);
        BPF_PERCPU_ARRAY(slots, u64, 4);
        BPF_HASH(pairs, u32, struct both);
        BPF_HISTOGRAM(spread);
        BPF_STACK_TRACE(stacks, 64);
        TRACEPOINT_PROBE(raw_syscalls, sys_enter) {
            int zero = 0, two = 2; u32 key = 7; struct both none = {}, *pair;
            calls.increment(zero); slots.increment(two); spread.increment(bpf_log2l(args->id));
            pair = pairs.lookup_or_try_init(&key, &none);
            if (pair) { pair->calls += 1; pair->numbers += args->id; }
            return 0;
        }"""
    )
    seen = BccProbe().collect(None, ShortWindow(0.2, tmp_path, source="kinds.c", reads_kernel=False))

    assert seen.tables["calls"][0]["value"] == seen.number("total") > 0
    assert [row["key"] for row in seen.tables["slots"]] == [2]
    assert set(seen.tables["pairs"][0]) == {"key", "calls", "numbers"}
    assert set(seen.tables["spread"][0]) == {"from", "to", "value"}
    assert any("stacks" in note for note in seen.notes)


@needs_bcc
def test_a_program_that_does_not_compile_is_told_with_its_own_lines(tmp_path):
    """The author sees the compiler's error, not a traceback."""
    (tmp_path / "wrong.c").write_text("BPF_HASH(a, u32, u64);\nint broken( { return 0; }\n")
    with pytest.raises(ProbeFailed, match=r"main\.c:2:"):
        BccProbe().collect(None, ShortWindow(0.1, tmp_path, source="wrong.c", reads_kernel=False))


@needs_bcc
def test_the_memory_ceiling_ends_the_child(tmp_path):
    """A compiler that would eat the host is ended, and the error names the ceiling."""
    (tmp_path / "any.c").write_text("BPF_ARRAY(a, u64, 1);\n")
    window = ShortWindow(0.1, tmp_path, source="any.c", reads_kernel=False, memory=24 << 20)
    with pytest.raises(ProbeFailed, match="memory ceiling of 24 MiB"):
        BccProbe().collect(None, window)


@needs_bcc
def test_the_time_ceiling_ends_the_child(tmp_path):
    """A compiler that does not come back is ended."""
    (tmp_path / "any.c").write_text("BPF_ARRAY(a, u64, 1);\n")
    window = ShortWindow(0.1, tmp_path, source="any.c", reads_kernel=False, timeout=0.01)
    with pytest.raises(ProbeFailed, match=r"not ready after 0\.01 s"):
        BccProbe().collect(None, window)


@needs_bcc
def test_a_map_that_is_not_there_is_told_with_those_that_are(tmp_path):
    """A misspelt map costs no window."""
    (tmp_path / "any.c").write_text("BPF_ARRAY(calls, u64, 1);\n")
    with pytest.raises(ProbeFailed) as told:
        BccProbe().collect(None, ShortWindow(9, tmp_path, source="any.c", maps=["cals"], reads_kernel=False))
    assert told.value.fix == "it has: calls"


@needs_bcc
def test_addresses_get_their_names(failing):
    """Stacks are readable: a libc function of a living process and a kernel function by name."""
    base = path = None
    for line in Path(f"/proc/{failing.pid}/maps").read_text().splitlines():
        if "libc.so" in line and "r-xp" in line:
            base, path = int(line.split("-")[0], 16) - int(line.split()[2], 16), line.split()[-1]
            break
    listed = subprocess.run(["nm", "-D", path], capture_output=True, text=True, check=True).stdout
    offset = next(int(line.split()[0], 16) for line in listed.splitlines() if " getpid@" in line)
    kernel = next(
        int(line.split()[0], 16)
        for line in Path("/proc/kallsyms").read_text().splitlines()
        if line.endswith(" T schedule")
    )

    names = symbols.resolve(failing.pid, [base + offset + 1], [kernel + 4])

    assert "getpid" in names.user[0]
    assert names.kernel == ("schedule",)


@needs_bcc
def test_the_shipped_example_runs_as_a_runbook(failing, tmp_path):
    """From the command line: the program is found beside the runbook, its numbers reach the sentence."""
    command = [Path(sys.executable).with_name("runbook"), "run", EXAMPLES / "failing-syscalls.yaml"]
    done = subprocess.run(
        [*command, "--input", "window=1s", "--state", tmp_path / "state", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    events = json.loads(done.stdout)["events"]
    (seen,) = [event["evidence"] for event in events if event["kind"] == "seen"]
    assert seen["readings"]["total"]["value"] > 0
    assert any("system calls fail a second" in event.get("sentence", "") for event in events)
