"""The probe host-facts: a made-up machine, and this one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bpf.probes.host_facts import HostFacts
from bpf.system.procfs import started_ticks
from engine.contracts import Probe
from engine.errors import ProbeFailed
from engine.testing import FakeClock, check_probe
from engine.values import Process, Support, Target

STOPPED = Target(name="agent", ref="agent:/etc/agent.yaml", facts={"executable": "/usr/bin/agent"})


class Glimpse:
    """A window that is over as soon as it begins."""

    seconds, directory = 1.0, "/"

    def __init__(self, **options) -> None:
        self.clock, self.options = FakeClock(), options

    def begin(self) -> float:
        return self.clock.now()

    def ticks(self, every_s: float) -> Iterator[float]:
        yield self.clock.now() + every_s

    def wait(self) -> None:
        """Over."""

    def show(self, label: str, value: float, unit: str = "") -> None:
        """To nobody."""


def tried(names) -> dict[str, Support]:
    """All kinds as if they had worked."""
    return {name: Support(answer="yes", why="tried") for name in names}


def untried(names) -> dict[str, Support]:
    return {name: Support(answer="unknown", why="not root") for name in names}


def test_it_keeps_the_probes_contract():
    """Entry points are called without arguments and give this."""
    assert isinstance(HostFacts(), Probe)
    assert all(field.help for field in HostFacts().fields.values())


def test_a_machine_that_shows_nothing_gives_unknown_with_reasons(tmp_path):
    """Every field has its reading or its reason, and none is a guess."""
    seen = HostFacts(tmp_path, untried).collect(None, Glimpse())
    check_probe(HostFacts(), seen)
    assert set(seen.readings) | {"attach"} == set(HostFacts().fields)
    for name in ("caps_effective", "lockdown", "config_bpf", "bpffs", "fentry", "unprivileged_bpf_disabled"):
        assert seen.readings[name].value is None
        assert seen.readings[name].missing


def test_our_own_process_on_this_machine_is_read_as_it_is():
    """Compared with what the system calls say of ourselves."""
    me = Process(pid=os.getpid(), started_ticks=started_ticks(os.getpid()))
    target = Target(name="me", ref="me", processes=(me,))
    seen = HostFacts(try_kinds=tried).collect(target, Glimpse(attach_to="no_such_function_x"))
    check_probe(HostFacts(), seen)
    assert seen.number("uid") == os.geteuid()
    assert seen.text("running") == "yes"
    assert seen.text("executable") == str(Path("/proc/self/exe").readlink())
    assert seen.text("kernel_release") == os.uname().release
    assert seen.number("page_bytes") == os.sysconf("SC_PAGESIZE")
    assert seen.text("ringbuf_map") == "yes"
    if Path("/proc/kallsyms").read_text(encoding="utf-8")[:16].strip("0 "):
        assert seen.text("attach_missing") == "no_such_function_x"


def test_of_a_target_that_does_not_run_the_host_is_told_and_its_process_is_not(tmp_path):
    """What killed it may be the host's; its rights nobody knows any more."""
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text("30 20 0:26 / /sys/fs/bpf rw - bpf bpf rw\n")
    seen = HostFacts(tmp_path, tried).collect(STOPPED, Glimpse())
    check_probe(HostFacts(), seen)
    assert (seen.text("running"), seen.number("programs")) == ("no", 0)
    assert seen.readings["caps_effective"].missing == "agent does not run"
    assert (seen.text("bpffs"), seen.text("tracefs")) == ("yes", "no")
    assert seen.text("executable") == "/usr/bin/agent"
    assert seen.notes


def test_a_pid_that_is_not_there_is_an_error():
    """Facts of another process would be worse than none."""
    with pytest.raises(ProbeFailed, match="no process"):
        HostFacts(try_kinds=tried).collect(None, Glimpse(pid="999999999"))
