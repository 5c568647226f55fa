"""The load-failures probe against calls that are made to fail."""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.failures import Failure
from bpf.loads import LoadTracer
from bpf.probes.load_failures import LoadFailures
from engine.clock import Cancel, SystemClock
from engine.running.looking import Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Setting, Target

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(60)]

HERE = Path(__file__).parent
#: Kind of refusal → errno, and what its log ends with.
REFUSALS = {
    "null_check": ("EACCES", "invalid mem access 'map_value_or_null'"),
    "bounds": ("EACCES", "unbounded memory access"),
    "uninitialised": ("EACCES", "R7 !read_ok"),
    "endless_loop": ("EINVAL", "infinite loop detected"),
    "wrong_helper": ("EINVAL", "bpf_skb_load_bytes#26"),
    "deep_stack": ("EACCES", "invalid write to stack"),
    "no_licence": ("EINVAL", "cannot call GPL"),
}


@pytest.fixture(params=[False, True], ids=["bpf_loop", "bounded"])
def tracer(request: pytest.FixtureRequest) -> Iterator[LoadTracer]:
    """Both programs: that for kernels before 5.17 runs on newer ones too."""
    with LoadTracer(time.time() - time.monotonic(), bounded=request.param) as made:
        yield made


@pytest.fixture(scope="session")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Objects that the verifier refuses, by kind."""
    if shutil.which("clang") is None:
        pytest.skip("the refused programs need clang")
    made = tmp_path_factory.mktemp("refused")
    source, headers = HERE / "refused.bpf.c", f"-I/usr/include/{os.uname().machine}-linux-gnu"
    for kind in REFUSALS:
        argv = ["clang", "-O2", "-g", "-target", "bpf", headers, f"-D{kind.upper()}", "-c", str(source)]
        subprocess.run([*argv, "-o", str(made / f"{kind}.bpf.o")], check=True)
    return {kind: made / f"{kind}.bpf.o" for kind in REFUSALS}


def fail(kind: str, times: int = 1) -> tuple[int, str]:
    """Pid of the process that failed, and the errnos it was given."""
    argv = [sys.executable, str(HERE / "failing.py"), kind, str(times)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as made:
        assert made.stdout is not None
        return made.pid, made.stdout.read().strip()


def of(pid: int, failures: list[Failure]) -> list[Failure]:
    return [failure for failure in failures if failure.pid == pid]


def one(kind: str, tracer: LoadTracer) -> Failure:
    pid, given = fail(kind)
    (seen,) = of(pid, tracer.rest())
    assert seen.errno == given
    return seen


# ── refusals of the verifier ────────────────────────────────────────────────────


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_program_is_seen_with_its_name_errno_and_the_end_of_its_log(
    kind: str, refused: dict[str, Path], tracer: LoadTracer
) -> None:
    """The agent's own log may be lost, cut or silent; the kernel's reason stands at the log's end."""
    if (tool := shutil.which("bpftool", path=os.environ.get("PATH", "") + ":/usr/sbin")) is None:
        pytest.skip("bpftool is not installed")
    argv = [tool, "prog", "load", str(refused[kind]), "/sys/fs/bpf/never"]
    loader = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loader.wait()
    number, reason = REFUSALS[kind]
    (seen,) = of(loader.pid, tracer.rest())
    assert (seen.comm, seen.command, seen.name, seen.errno) == ("bpftool", "PROG_LOAD", kind, number)
    assert reason in "\n".join(seen.last_lines())
    assert (seen.type, seen.tries, seen.log_complete) == ("raw_tracepoint", 2, True)
    assert seen.insns > 0


# ── other calls ─────────────────────────────────────────────────────────────────


def test_a_map_that_can_not_be_made_is_seen_with_what_was_asked(tracer: LoadTracer) -> None:
    """EINVAL alone does not say which of the sizes was wrong."""
    seen = one("ring", tracer)
    assert (seen.command, seen.name, seen.type, seen.errno) == (
        "MAP_CREATE",
        "wrong_ring",
        "ringbuf",
        "EINVAL",
    )
    assert "100 entries" in seen.sentence


def test_a_load_without_a_log_is_seen_without_one(tracer: LoadTracer) -> None:
    """No log is a fact of its own: the caller did not ask for one."""
    seen = one("program", tracer)
    assert (seen.name, seen.insns, seen.log_tail, seen.log_complete) == ("no_end", 1, "", False)


def test_types_that_are_refused_are_seen_with_their_log(tracer: LoadTracer) -> None:
    """Its log lies elsewhere in the arguments than a program's."""
    assert "magic" in one("types", tracer).log_tail


@pytest.mark.parametrize(
    ("kind", "command", "about"),
    [("tracepoint", "RAW_TRACEPOINT_OPEN", "no_such_tracepoint"), ("link", "LINK_CREATE", "trace_fentry")],
)
def test_an_attachment_that_fails_says_to_what(
    kind: str, command: str, about: str, tracer: LoadTracer
) -> None:
    """The program loaded; where it can't be attached is the news."""
    seen = one(kind, tracer)
    assert seen.command == command
    assert about in (seen.name, seen.type)


def test_a_call_refused_by_seccomp_is_told_from_one_that_the_kernel_refused(tracer: LoadTracer) -> None:
    """Both are EPERM, with different cures; the filter's never reaches the kernel's checks."""
    if os.uname().machine != "x86_64":
        pytest.skip("a refused call's registers are known on x86-64 only")
    by_filter, by_kernel = one("seccomp", tracer), one("not-permitted", tracer)
    assert (by_filter.errno, by_kernel.errno) == ("EPERM", "EPERM")
    assert (by_filter.refused_by, by_kernel.refused_by) == ("seccomp", "")
    assert (by_filter.command, by_filter.name) == ("MAP_CREATE", "fine_map")
    assert by_kernel.uid == 65534


def test_our_own_failures_are_left_out(tracer: LoadTracer) -> None:
    """Looking at the machine tries things that may fail; that is no news."""
    ours = runpy.run_path(str(HERE / "failing.py"))
    assert ours["ring_of_wrong_size"]() != 0
    assert not of(os.getpid(), tracer.rest())


def test_what_comes_too_fast_is_counted(tracer: LoadTracer) -> None:
    """Silence about losses would make the count of failures a lie."""
    pid, _ = fail("ring", 20_000)  # more than the ring holds, and nobody reads
    seen = of(pid, list(tracer.attempts()))
    assert tracer.losses().lost > 0
    assert len(seen) + tracer.losses().lost >= 20_000


# ── the probe ───────────────────────────────────────────────────────────────────


def look_at(target: Target | None, options: dict[str, Setting]) -> tuple[Evidence, list[str], int]:
    """A window in which another process fails; gives what was said as it came, and that process's pid."""
    said: list[str] = []
    failed: list[int] = []
    cancel = Cancel()

    def show(_probe: str, _label: str, _value: float, _unit: str) -> None:
        """Called at each tick of the window: the first one starts the failing process."""
        if not failed:
            failed.append(fail("program-with-log")[0])

    view = View(target, 0.6, SystemClock(cancel), cancel, show=show, say=said.append)
    (seen,) = look([Request(LoadFailures(), options)], view)
    assert isinstance(seen, Evidence), seen
    return seen, said, failed[0]


def test_the_probe_says_each_failure_as_it_comes_and_keeps_it() -> None:
    """An operator who waits for the agent's next try wants to see it happen."""
    seen, said, pid = look_at(None, {})
    check_probe(LoadFailures(), seen)
    (row,) = (row for row in seen.tables["failures"] if row["pid"] == pid)
    assert (row["name"], row["errno"], row["insns"]) == ("no_end", "EINVAL", 1)
    assert row["log_tail"]
    assert any(f"[{pid}] PROG_LOAD no_end" in words and "\n" in words for words in said)
    assert seen.readings["lost"].value == 0


def test_with_a_target_only_its_own_failures_are_told_unless_asked() -> None:
    """On a busy node others fail too."""
    other = Target(name="other", ref="other", processes=(Process(pid=os.getpid(), comm="other"),))
    seen, said, _ = look_at(other, {})
    assert (seen.readings["failures"].value, said) == (0, [])
    seen, said, pid = look_at(other, {"everybody": True})
    assert any(f"[{pid}]" in words for words in said)
    assert seen.readings["last_program"].value is not None
