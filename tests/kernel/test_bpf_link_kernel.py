"""A program detached by its link, for real: what the kernel lets go of, and what it does not."""

import ctypes
import os
import shutil
import struct
import subprocess
from pathlib import Path

import msgspec
import pytest

from engine.errors import ChangedSince
from engine.values import Change, Knob, Reload, Target
from remediations.detach_program import DetachProgram
from remediations.knobs.bpf_call import bpf
from remediations.knobs.bpf_link import BpfLink

pytestmark = pytest.mark.kernel

_PROG_LOAD, _LINK_CREATE, _RAW_TRACEPOINT_OPEN, _INFO = 5, 28, 17, 15
_CGROUP_SKB, _RAW_TRACEPOINT, _EGRESS = 8, 17, 1
#: r0 = 1; exit
_ALLOW = struct.pack("=BBhi", 0xB7, 0, 0, 1) + struct.pack("=BBhi", 0x95, 0, 0, 0)


def load(name, kind, attach_type=0):
    """A program that only returns 1; its file descriptor."""
    code, licence = ctypes.create_string_buffer(_ALLOW), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQIIQII16sII", kind, 2, ctypes.addressof(code), ctypes.addressof(licence), 0, 0, 0, 0, 0,
        name.encode(), 0, attach_type,
    )  # fmt: skip
    return bpf(_PROG_LOAD, attributes)


def link_id(fd):
    info = ctypes.create_string_buffer(64)
    bpf(_INFO, struct.pack("=IIQ", fd, len(info), ctypes.addressof(info)))
    return struct.unpack_from("=II", info.raw)[1]


@pytest.fixture
def cgroup():
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    roots = [mount[1] for mount in mounts if mount[2] == "cgroup2"]
    if not roots:
        pytest.skip("no cgroup2 is mounted")
    directory = Path(roots[0]) / f"runbook-link-{os.getpid()}"
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)
    directory.rmdir()


@pytest.fixture
def attached(cgroup):
    """A program on a cgroup without processes, attached by a link that this test holds."""
    program = load("may_go", _CGROUP_SKB, _EGRESS)
    link = bpf(_LINK_CREATE, struct.pack("=IIII", program, cgroup, _EGRESS, 0))
    yield link_id(link)
    os.close(link)
    os.close(program)


def target(*links):
    return Target(name="agent", ref="a", link_ids=links)


def off(name="may_go"):
    knob = Knob(name="optional-program", backend="bpf-link", path=name, unit="bool")
    return Change(knob=knob, before=True, after=False, before_text="on", after_text="off", why="-")


def test_a_program_on_a_cgroup_is_detached_and_read_back(attached):
    """The kernel lets go of it while the agent still holds the link; bpftool sees the same."""
    hands, change, agent = BpfLink(), off(), target(attached)
    assert hands.read(change.knob, agent).value is True
    captured = hands.capture(change, agent)
    assert hands.state(change, agent, captured) == "before"
    hands.write(change, agent, captured)
    assert hands.state(change, agent, captured) == "after"
    assert hands.read(change.knob, agent).value is False
    assert hands.restore(change, agent, captured).reload
    shown = subprocess.run(
        ["bpftool", "link", "show", "id", str(attached)], check=False, capture_output=True, text=True
    )
    assert "cgroup_id 0" in shown.stdout or shutil.which("bpftool") is None


def test_undo_starts_the_agent_anew_once_it_was_detached(attached, tmp_path):
    """Nothing else attaches it again; where nothing was detached, nobody is started."""
    started = tmp_path / "started"
    start = Reload(by="command", argv=("touch", str(started)))
    agent = msgspec.structs.replace(target(attached), start=start)
    remedy, change = DetachProgram(), off()
    captured = remedy.capture(change, agent)
    remedy.undo(change, agent, captured)
    assert not started.exists()
    BpfLink().write(change, agent, captured)
    assert "started anew" in remedy.undo(change, agent, captured)
    assert started.exists()


def test_it_is_not_detached_twice_and_a_link_that_is_gone_counts_as_before(attached):
    """Compare-and-set, as for every setting."""
    hands, change, agent = BpfLink(), off(), target(attached)
    captured = hands.capture(change, agent)
    hands.write(change, agent, captured)
    with pytest.raises(ChangedSince):
        hands.write(change, agent, captured)
    assert hands.state(change, agent, {**captured, "link": 0}) == "before"
    assert not hands.restore(change, agent, {**captured, "link": 0}).reload


def test_a_program_on_a_tracepoint_cannot_be_detached_and_that_is_said():
    """Such links live for as long as the agent holds them: only its own setting helps."""
    program, name = load("stays", _RAW_TRACEPOINT), ctypes.create_string_buffer(b"sys_exit")
    try:
        link = bpf(_RAW_TRACEPOINT_OPEN, struct.pack("=QI", ctypes.addressof(name), program))
        read = BpfLink().read(off("stays").knob, target(link_id(link)))
        os.close(link)
    finally:
        os.close(program)
    assert read.value is None
    assert "raw_tracepoint link, which the kernel does not detach" in read.missing
    assert "optional-program" in read.missing


def test_a_program_without_a_link_is_said_to_have_none():
    """Not found is not detached."""
    read = BpfLink().read(off("nothing").knob, target())
    assert "no link of agent belongs to a program nothing" in read.missing
