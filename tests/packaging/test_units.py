"""The systemd units that `runbook serve --units` writes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.server import systemd

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze here")


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """As for this installation, but with a program that is surely there."""
    for name, text in systemd.texts("/bin/true").items():
        (tmp_path / name).write_text(text)
    return tmp_path


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@needs_systemd
def test_systemd_has_nothing_to_say_against_them(written: Path) -> None:
    """No unknown setting, no cycle, nothing missing."""
    done = analyze("verify", *written.glob("*.service"))
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "runbook" in line]
    assert (done.returncode, ours) == (0, [])


@needs_systemd
@pytest.mark.parametrize(("unit", "at_most"), [("listener", 1.2), ("worker", 6.2)])
def test_their_exposure_does_not_grow(written: Path, unit: str, at_most: float) -> None:
    """As systemd reckons it, from 0 to 10: the listener's is what a network service can reach at best."""
    place = written / f"runbook-{unit}.service"
    done = analyze("security", "--offline=true", "--no-pager", place)
    found = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze can't look at files: {done.stderr[:200]}")
    assert float(found[1]) <= at_most


def test_the_listener_has_no_capability_and_the_worker_no_port(written: Path) -> None:
    """The two promises that the privileges of both rest on."""
    listener, worker = ((written / f"runbook-{name}.service").read_text() for name in ("listener", "worker"))
    assert "\nCapabilityBoundingSet=\n" in listener
    assert "\nUser=runbook\n" in listener
    assert "\nNoNewPrivileges=yes\n" in listener
    assert "\nSocketBindDeny=any\n" in worker
    assert "SocketBindAllow" not in worker


def test_the_worker_sees_the_hosts_own_mounts(written: Path) -> None:
    """A runbook mounts file systems and changes files anywhere: nothing may make it a mount namespace."""
    text = (written / "runbook-worker.service").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    private = re.compile(
        r"(Protect(System|Home|Proc|Kernel\w+|ControlGroups)|Private(Tmp|Devices|Mounts|Users)|\w*Paths)="
    )
    assert not [line for line in lines if private.match(line)]


def test_each_capability_of_the_worker_has_its_reason(written: Path) -> None:
    """In the comment above it."""
    text = (written / "runbook-worker.service").read_text()
    comments = " ".join(line for line in text.splitlines() if line.startswith("#"))
    given = re.findall(
        r"CAP_(\w+)", " ".join(re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE))
    )
    assert given
    assert not [name for name in given if name not in comments]


def test_they_start_what_is_installed_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its whole path; the commands that put them in force name each file and its place."""
    place = tmp_path / "opt"
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "runbook").write_text("#!/bin/sh\n")
    (place / "bin" / "runbook").chmod(0o755)
    monkeypatch.setattr(systemd, "_HIDDEN", ("/home",))
    monkeypatch.setattr(sys, "executable", str(place / "bin" / "python"))
    commands = "\n".join(systemd.units(tmp_path / "units"))
    for name, target in systemd.PLACES.items():
        assert f"{tmp_path}/units/{name} {target}" in commands
        assert "{program}" not in (tmp_path / "units" / name).read_text()
    worker = (tmp_path / "units" / "runbook-worker.service").read_text()
    assert f"\nExecStart={place}/bin/runbook serve --part worker\n" in worker


def test_an_installation_that_the_listener_could_not_see_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Homes are hidden from it: said before anything is written, with what to do."""
    monkeypatch.setattr(sys, "executable", "/home/anna/env/bin/python")
    with pytest.raises(UsageError, match="can't be started by systemd") as caught:
        systemd.units(tmp_path / "units")
    assert "/opt" in caught.value.fix
    assert not (tmp_path / "units").exists()
