"""EPERM by five causes, each told from the others, on an old or new kernel."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path

from promises import HERE, KERNEL, NotHere, holds, same

from bpf.diagnoses.load_failure import LoadFailure
from bpf.explain.scoring import explain
from bpf.probes.host_facts import HostFacts
from bpf.probes.load_failures import LoadFailures
from engine.clock import Cancel, SystemClock
from engine.contracts import Probe
from engine.running.looking import Request, View, look
from engine.values import Case, Evidence, Process, Target

WINDOW_S = 1.5
TIMES = 1


@contextmanager
def refused(reason: str) -> Iterator[tuple[Target, str]]:
    """A process that is refused for this reason again and again, and what it says of it."""
    argv = [sys.executable, str(HERE / "refused.py"), reason]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        said = "".join(takewhile(str.strip, iter(child.stdout.readline, ""))) if child.stdout else ""
        yield Target(name=reason, ref=reason, processes=(Process(pid=child.pid, comm="refused"),)), said
    finally:
        child.kill()
        child.communicate()


def seen_of(target: Target, probes: Sequence[Probe]) -> dict[str, Evidence]:
    """What the probes see in one window."""
    cancel = Cancel()
    view = View(target, WINDOW_S, SystemClock(cancel), cancel)
    found = look([Request(probe) for probe in probes], view)
    return {one.short: one for one in found if isinstance(one, Evidence)}


def cause_of(reason: str) -> str:
    """The first cause that the diagnosis names."""
    with refused(reason) as (target, _):
        seen = seen_of(target, (LoadFailures(), HostFacts()))
        verdict = LoadFailure().decide(Case(target=target, evidence=seen))
    holds(bool(verdict.causes), f"no cause: {verdict.sentence}")
    return verdict.causes[0].name


def always(reason: str, cause: str) -> None:
    """Each time the same answer."""
    same([cause_of(reason) for _ in range(TIMES)], [cause] * TIMES)


def a_missing_capability_is_told() -> None:
    """Nobody loads a tracing program."""
    always("capability", "missing_capability")


def a_seccomp_filter_is_told() -> None:
    """Root with all rights, and a filter."""
    always("seccomp", "seccomp_or_container_policy")


def a_sysctl_is_told() -> None:
    """A socket filter takes no capability where the sysctl is 0."""
    if Path("/proc/sys/kernel/unprivileged_bpf_disabled").read_text().strip() == "0":
        raise NotHere("anybody may load socket filters here")
    always("sysctl", "unprivileged_bpf_disabled")


def a_memlock_limit_is_told() -> None:
    """4 MiB of map where 64 KiB may be locked."""
    if KERNEL >= (5, 11):
        raise NotHere("BPF memory is charged to the cgroup (5.11)")
    always("memlock", "memlock_rlimit")


def lockdown_is_told() -> None:
    """By what the agent says: our own tracer is forbidden too. The last one: it can't be taken back."""
    if not Path("/sys/kernel/security/lockdown").exists():
        raise NotHere("this kernel has no lockdown")
    with refused("lockdown") as (target, said):
        facts = seen_of(target, (HostFacts(),))["host"]
    same(facts.text("lockdown"), "confidentiality")
    host = {name: reading.value for name, reading in facts.readings.items()}
    same(explain(said, host)[0].name, "lockdown_or_lsm")


PROMISES: tuple[Callable[[], None], ...] = (
    a_missing_capability_is_told,
    a_seccomp_filter_is_told,
    a_sysctl_is_told,
    a_memlock_limit_is_told,
    lockdown_is_told,
)
