"""The command and the probe: exit codes for a pipeline, JSON for tools, words for people; nothing changed."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from bpf.preflight import check
from bpf.preflight.of_agent import objects_of
from bpf.preflight.telling import as_text
from bpf.probes.preflight import PreflightProbe
from engine import cli
from engine.errors import ProbeFailed
from engine.testing import FakeClock, check_probe
from engine.values import Process, Target
from tests.preflight import building


@pytest.fixture
def files(tmp_path) -> Path:
    """A directory with two kernels and some objects."""
    building.btf_file(tmp_path, building.OLD, "old.btf")
    building.btf_file(tmp_path, building.NEW, "new.btf")
    for name in ("guarded_field", "old_field", "setting", "plain_xdp"):
        (tmp_path / f"{name}.bpf.o").write_bytes(building.small(name))
    return tmp_path


def preflight(*arguments: object) -> int:
    return cli.main(["preflight", *map(str, arguments)])


def test_the_exit_code_is_for_a_pipeline(files, capsys):
    """0 works, 1 something fails, 2 the call itself was wrong."""
    old, new = ("--btf", files / "old.btf"), ("--btf", files / "new.btf")
    assert preflight(files / "old_field.bpf.o", *old, "--kernel", "5.10") == 0
    assert preflight(files / "old_field.bpf.o", files / "guarded_field.bpf.o", *new, "--kernel", "6.12") == 1
    assert preflight(files / "setting.bpf.o", *old, "--kernel", "5.10") == 0  # can't be told is no failure
    assert preflight(files / "plain_xdp.bpf.o", "--kernel", "5.10") == 0
    capsys.readouterr()
    assert preflight(files / "old.btf", *old) == 2
    assert preflight(files / "plain_xdp.bpf.o", "--kernel", "tomorrow") == 2
    assert preflight(files / "missing.bpf.o", *old) == 2
    assert preflight() == 2
    assert "fix:" in capsys.readouterr().err


def test_a_program_that_the_agent_may_leave_out_does_not_fail_the_pipeline(files, capsys):
    """Many agents carry one program per kernel, and choose when they start."""
    call = (files / "old_field.bpf.o", "--btf", files / "new.btf", "--kernel", "6.12", "--optional")
    assert preflight(*call, "old_*") == 0
    assert "loaded only when the agent asks" in capsys.readouterr().out
    assert preflight(*call, "other") == 1


def test_words_tell_what_fails_why_and_the_way_out(files, capsys):
    """An operator reads this at the release of a kernel, not the sources."""
    preflight(files / "old_field.bpf.o", "--btf", files / "new.btf", "--kernel", "6.12")
    told = capsys.readouterr().out
    for words in (
        "FAILS   old_field  tp_btf/sched_switch (load fails, attach works)",
        "struct task_struct has no field `state` on kernel 6.12: kernels ≥ 5.14 call it `__state`",
        "→ guard it with bpf_core_field_exists",
        "On kernel 6.12, of 1 object: 1 will fail.",
    ):
        assert words in told


def test_json_holds_every_need_and_the_outcomes(files, capsys):
    """Tools want all of it, and one word at the top."""
    preflight(files / "guarded_field.bpf.o", "--btf", files / "new.btf", "--kernel", "6.12", "--json")
    told = json.loads(capsys.readouterr().out)
    assert (told["outcome"], told["kernel"]) == ("works", "kernel 6.12")
    (seen,) = told["objects"]
    assert seen["outcome"] == "works"
    assert {"relocation", "attach", "program type", "helper"} <= {one["about"] for one in seen["findings"]}


def test_against_shows_what_changes_from_another_kernel(files, capsys):
    """The diff of an upgrade: what breaks, and what CO-RE adjusts by itself."""
    preflight(
        files / "old_field.bpf.o",
        "--btf", files / "new.btf", "--kernel", "6.12", "--against", files / "old.btf",
    )  # fmt: skip
    told = capsys.readouterr().out
    assert "works → fails: relocation struct task_struct.state" in told


def test_nothing_is_changed(files, capsys):
    """It reads: every file is as it was, and no other is there."""

    def state() -> dict[str, str]:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files.iterdir()}

    before = state()
    preflight(*files.glob("*.bpf.o"), "--btf", files / "new.btf", "--all")
    assert state() == before


def test_a_machine_readable_error_is_one_too(files, capsys):
    """``--json`` holds for errors."""
    assert preflight(files / "missing.bpf.o", "--btf", files / "new.btf", "--json") == 2
    out = capsys.readouterr()
    assert "can't be read" in json.loads(out.err)["error"]


def test_a_config_that_cannot_be_read_is_told(files, capsys):
    """Else its options would count as off."""
    (files / "config").write_bytes(b"\xff\xfe nothing")
    code = preflight(files / "plain_xdp.bpf.o", "--btf", files / "new.btf", "--config", files / "config")
    assert code == 2
    assert "no kernel configuration" in capsys.readouterr().err


def test_everything_is_shown_when_asked_for(files):
    """``--all``: also what works, for a review."""
    answer = check.check(check.Wanted(objects=(files / "guarded_field.bpf.o",), btf=(files / "new.btf",)))
    assert "needs that it meets" in as_text(answer)
    assert "works   relocation: struct task_struct.__state (offset)" in as_text(answer, everything=True)


# ── the running agent ───────────────────────────────────────────────────────────


class Once:
    """A window that is over at once."""

    seconds = 1.0
    directory = "."

    def __init__(self, **options: str) -> None:
        self.options = options
        self.clock = FakeClock()

    def begin(self) -> float:
        return self.clock.now()


@pytest.fixture
def root(files) -> Path:
    """A machine that runs the old kernel and has the new one installed."""
    (files / "sys/kernel/btf").mkdir(parents=True)
    (files / "old.btf").rename(files / "sys/kernel/btf/vmlinux")
    (files / "boot").mkdir()
    (files / "proc/sys/kernel").mkdir(parents=True)
    (files / "proc/sys/kernel/osrelease").write_text("5.10.0-1\n")
    (files / "boot/config-6.12.7").write_text("CONFIG_BPF=y\nCONFIG_BPF_EVENTS=y\n")
    return files


def agent(root: Path, **facts: str) -> Target:
    me = Process(pid=os.getpid(), exe=str(root / "agent"))
    return Target(name="agent", ref="agent", processes=(me,), facts=facts)


def test_the_probe_tells_what_breaks_on_the_next_kernel(root):
    """The runbook's one look: outcome, first failure in words, and what moved."""
    probe = PreflightProbe(root)
    target = agent(root, objects=str(root / "old_field.bpf.o"))
    seen = probe.collect(target, Once(btf=str(root / "new.btf"), kernel="6.12.7"))
    check_probe(probe, seen)
    assert seen.text("outcome") == "fails"
    assert "no field `state`" in str(seen.text("first_failure"))
    assert "bpf_core_field_exists" in str(seen.text("advice"))
    assert (seen.number("programs"), seen.number("programs_failing")) == (1, 1)
    assert seen.number("changed") == 1
    assert any(row["outcome"] == "fails" for row in seen.tables["needs"])


def test_the_probe_says_what_it_cannot_compare(root):
    """On the running kernel itself there is nothing to compare with: unknown, not 0."""
    seen = PreflightProbe(root).collect(agent(root, objects=str(root / "plain_xdp.bpf.o")), Once())
    assert seen.text("outcome") == "works"
    assert seen.number("moved") is None
    assert seen.readings["first_failure"].missing


def test_objects_of_an_agent_are_found_in_its_profile_its_executable_or_beside_it(tmp_path):
    """Most agents name none: then the executable is opened, then its directory."""
    proc = tmp_path / "proc"
    mine = proc / str(os.getpid())
    mine.mkdir(parents=True)
    (mine / "root").symlink_to("/")
    exe = tmp_path / "agent"
    exe.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(11) + b"\x3e\0" + bytes(60) + building.small("new_helper"))
    (mine / "exe").symlink_to(exe)

    def names(*named: str, **facts: str) -> list[str]:
        return [one.programs[0].name for one in objects_of(agent(tmp_path, **facts), named, proc)]

    assert names() == ["new_helper"]
    exe.write_bytes(b"#!/bin/sh")
    with pytest.raises(ProbeFailed, match="no BPF object is in or beside"):
        names()
    (tmp_path / "x.bpf.o").write_bytes(building.small("old_field"))
    assert names() == ["old_field"]
    (tmp_path / "y.o").write_bytes(building.small("new_field"))
    assert names(objects=f"{tmp_path}/*.o") == ["old_field", "new_field"]
    assert names(f"{tmp_path}/y.o") == ["new_field"]
