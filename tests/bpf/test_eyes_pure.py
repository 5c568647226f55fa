"""What the eyes make of the kernel's answers, without a kernel."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from bpf.libbpf import BpfError, BpfObject, failure
from bpf.objects import attach_points, names, pins
from bpf.objects.perfbuf import PerfWatch
from bpf.objects.ringbuf import record_bytes
from bpf.probes import kernel_kinds
from bpf.probes.event_sources import EventSources
from bpf.probes.kernel_facts import KernelFacts
from bpf.probes.program_cost import ProgramCost
from bpf.system import syscall_names
from engine.contracts import Probe, Window
from engine.errors import ProbeFailed
from engine.testing import FakeClock, check_probe
from engine.values import Setting, Support


class OneLook:
    """A window for probes that look once."""

    seconds = 1.0
    clock = FakeClock()
    options: Mapping[str, Setting] = {}

    def begin(self) -> float:
        return self.clock.now()

    def ticks(self, every_s: float) -> Iterator[float]:
        yield self.clock.now()

    def wait(self) -> None:
        return

    def show(self, label: str, value: float, unit: str = "") -> None:
        return


# ── errors ──────────────────────────────────────────────────────────────────────


def test_an_object_that_was_never_built_says_how_to_build_it(tmp_path: Path) -> None:
    """The first thing that goes wrong in a fresh checkout."""
    with pytest.raises(BpfError, match="not beside") as caught:
        BpfObject.open(tmp_path / "x.bpf.o")
    assert caught.value.fix == "make objects"


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOENT, 524, 4001, 9999])
def test_every_errno_is_told_with_a_meaning_and_a_fix(number: int) -> None:
    """Bare numbers send people to search engines."""
    told = failure("it", number)
    assert told.number == number
    assert str(number) in told.problem or "E" in told.problem
    assert told.fix


def test_a_process_without_perf_events_is_told_so(tmp_path: Path) -> None:
    """The perf watch must not be tried on every agent."""
    with pytest.raises(BpfError, match="no perf events"):
        PerfWatch(1, proc=tmp_path)


# ── names and places ────────────────────────────────────────────────────────────


def test_a_name_that_fills_its_field_keeps_its_last_letter() -> None:
    """Names come padded from the kernel, and cut from ctypes."""
    assert names.text(b"sample_enter\0\0\0\0") == "sample_enter"
    assert names.text(b"sample_enter") == "sample_enter"


def test_a_kind_from_a_newer_kernel_is_told_by_its_number() -> None:
    """An unknown type must not stop the inventory."""
    assert names.named(names.PROGRAM_TYPES, 99) == "type-99"
    assert names.named(names.PROGRAM_TYPES, 5) == "tracepoint"
    assert names.named(names.MAP_TYPES, 27) == "ringbuf"
    assert names.named(names.LINK_TYPES, 7) == "perf_event"


@pytest.mark.parametrize(
    ("event", "place"),
    [
        ((2, 300, "sched", "sched_switch"), "tracepoint sched/sched_switch"),
        ((8, 1, "kprobes", "do_exit"), "kretprobe do_exit"),
        ((9, 0, "uprobes", "DUMMY_EVENT"), "uprobe"),
        ((1, 0, "", ""), "perf_event cpu-clock"),
        ((4, 77, "", ""), "perf_event type 4 config 77"),
    ],
)
def test_perf_events_are_told_as_their_users_know_them(event: tuple[int, int, str, str], place: str) -> None:
    """bcc and bpftrace attach through them, without a link."""
    assert names.perf_place(*event) == place


def test_programs_at_one_place_are_counted_once_and_single_calls_together() -> None:
    """Two counters at one tracepoint would double the agent's cost for nothing."""
    found = attach_points.of(
        [
            "raw_tp sched_switch",
            "tp_btf sched_switch",
            "tracepoint syscalls/sys_enter_openat, tracepoint syscalls/sys_enter_execve",
        ]
    )
    by_tracepoint = {place.tracepoint: place for place in found.countable}
    assert sorted(by_tracepoint) == ["sched_switch", "sys_enter"]
    calls = {syscall_names.name_of(call) for call in by_tracepoint["sys_enter"].calls}
    assert calls == {"openat", "execve"}
    assert not found.refused


def test_all_calls_take_in_single_ones() -> None:
    """Else they would be told apart as two places with the same events."""
    found = attach_points.of(["raw_tp sys_enter", "tracepoint syscalls/sys_enter_openat"])
    assert [(place.tracepoint, place.calls) for place in found.countable] == [("sys_enter", ())]


@pytest.mark.parametrize("place", ["perf_event cpu-clock", "uprobe", "lsm file_open", "xdp"])
def test_places_where_nothing_can_be_counted_are_refused_with_a_reason(place: str) -> None:
    """Unknown with a reason, never a guess."""
    found = attach_points.of([place])
    assert not found.countable
    assert found.refused[place]


def test_system_calls_go_by_the_names_of_their_tracepoints_too() -> None:
    """sys_enter_newfstat traces fstat."""
    for name in ("openat", "execve", "newfstat", "futex", "mseal"):
        number = syscall_names.number_of(name)
        assert number is not None
        assert syscall_names.name_of(number) in (name, "fstat")
    assert syscall_names.number_of("no_such_call") is None
    assert syscall_names.name_of(100_000) == "call 100000"
    assert syscall_names.table("aarch64")[56] == "openat"
    assert syscall_names.table("x86_64")[257] == "openat"


def test_bpf_mounts_are_found_wherever_they_are() -> None:
    """Agents in containers mount their own, with odd names."""
    told = (
        "29 22 0:25 / /sys/fs/bpf rw,nosuid shared:9 - bpf bpf rw,mode=700\n"
        "30 22 0:26 / /run/my\\040agent rw - bpf none rw\n"
        "31 22 0:27 / /proc rw - proc proc rw\n"
    )
    assert pins.mounts(told) == [Path("/run/my agent"), Path("/sys/fs/bpf")]


@pytest.mark.parametrize(("payload", "taken"), [(64, 72), (1, 16), (8, 16), (9, 24)])
def test_a_record_takes_its_header_and_is_rounded_up(payload: int, taken: int) -> None:
    """Rates in events/s hang on it."""
    assert record_bytes(payload) == taken


# ── probes ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("probe", [ProgramCost(), EventSources(), KernelFacts()])
def test_the_eyes_keep_the_probes_contract(probe: Probe) -> None:
    """Entry points are called without arguments and give this."""
    assert isinstance(probe, Probe)
    assert probe.name != probe.short
    assert all(field.help for field in probe.fields.values())


def test_event_sources_needs_a_target() -> None:
    """There is no attach point without an agent."""
    window: Window = OneLook()
    with pytest.raises(ProbeFailed, match="target"):
        EventSources().collect(None, window)


def test_kernel_facts_tells_unknown_for_what_it_can_not_see(tmp_path: Path) -> None:
    """An empty machine: no proc, no sys, no rights; every field still has its reading or reason."""
    nothing = dict.fromkeys(kernel_kinds.NAMES, Support(answer="unknown", why="not root"))
    seen = KernelFacts(tmp_path, lambda: nothing).collect(None, OneLook())
    check_probe(KernelFacts(), seen)
    assert set(seen.readings) | set(seen.tables) == set(KernelFacts().fields)
    assert seen.text("fentry") == "unknown"
    assert seen.readings["lockdown"].missing
    assert seen.readings["bpf_jit_limit"].missing


def test_kernel_facts_reads_settings_mounts_and_rights(tmp_path: Path) -> None:
    """From files as the kernel writes them."""
    files = {
        "proc/sys/kernel/unprivileged_bpf_disabled": "2\n",
        "proc/sys/kernel/perf_event_paranoid": "-1\n",
        "sys/kernel/security/lockdown": "none [integrity] confidentiality\n",
        "sys/kernel/security/lsm": "capability,landlock,bpf",
        "sys/devices/system/cpu/possible": "0-7\n",
        "proc/self/status": "Name:\tx\nCapEff:\t000000c000200000\n",
        "proc/self/limits": "Max locked memory         65536                65536                bytes\n",
        "proc/self/mountinfo": "30 20 0:26 / /sys/fs/bpf rw,nosuid shared:4 - bpf bpf rw\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    seen = KernelFacts(tmp_path, dict).collect(None, OneLook())
    found = {name: seen.readings[name].value for name in seen.readings}
    assert found["unprivileged_bpf_disabled"] == 2
    assert found["perf_event_paranoid"] == -1
    assert found["lockdown"] == "integrity"
    assert found["possible_cpus"] == 8
    assert found["capabilities"] == "CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF"
    assert found["memlock_limit_bytes"] == 65536
    assert (found["bpffs"], found["tracefs"]) == ("/sys/fs/bpf", None)
