"""The wheel, as an operator gets it: installed elsewhere, where there is no compiler, it works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(shutil.which, ("clang", "cc", "make"))), reason="no compiler to build with"
    ),
    pytest.mark.timeout(300),
]


def build(kind: str, into: Path) -> Path:
    """Build one distribution file from this checkout."""
    arguments = [
        sys.executable,
        "-m",
        "build",
        f"--{kind}",
        "--no-isolation",
        "--outdir",
        str(into),
        str(ROOT),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return next(into.iterdir())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    return build("wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The ``runbook`` of an environment that has nothing but the wheel and what it requires."""
    place = tmp_path_factory.mktemp("host")
    pins = re.findall(r"^[A-Za-z0-9._-]+==\S+", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    (place / "pins.txt").write_text("\n".join(pins))
    subprocess.run([sys.executable, "-m", "venv", place / "env"], check=True)
    pip = [place / "env/bin/pip", "install", "-q", "--disable-pip-version-check"]
    done = subprocess.run(
        [*pip, "--constraint", place / "pins.txt", wheel], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return place / "env/bin/runbook"


def run(runbook: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run it from an empty directory, with nothing on the path but itself."""
    place = runbook.parents[2]
    (place / "elsewhere").mkdir(exist_ok=True)
    environment = {"PATH": str(runbook.parent), "HOME": str(place), "RUNBOOK_STATE": str(place / "state")}
    return subprocess.run(
        [runbook, *arguments],
        cwd=place / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_is_for_this_machine_type_and_holds_the_built_parts(wheel):
    """A wheel tagged `any` would bring the lab's x86 programs to an arm host."""
    names = set(zipfile.ZipFile(wheel).namelist())
    assert wheel.name.endswith(f"-py3-none-linux_{os.uname().machine}.whl")
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "bpf").rglob("*.bpf.c")}
    assert {source.replace(".bpf.c", ".bpf.o") for source in sources} <= names
    assert {"bpf/lab/lab-agent", "bpf/lab/lab-generator", "bpf/bcc/bcc_child.py"} <= names
    shipped = {path.relative_to(ROOT).as_posix() for path in (ROOT / "runbooks").rglob("*") if path.is_file()}
    assert shipped <= names


def test_the_lab_s_programs_can_be_executed_after_the_install(installed):
    """A wheel keeps the executable bit only if it was packed with it."""
    (agent,) = installed.parents[1].glob("lib/python3*/site-packages/bpf/lab/lab-agent")
    assert os.access(agent, os.X_OK)


@pytest.mark.parametrize("command", [["--help"], ["list"], ["doctor"]])
def test_commands_work_from_the_wheel(installed, command):
    """No file of the checkout is needed."""
    done = run(installed, *command)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_shipped_runbooks_come_with_it(installed):
    """An operator types a name, not a path."""
    assert "events-dropped" in run(installed, "list").stdout


@pytest.mark.kernel
def test_a_probe_with_a_bpf_object_looks_from_the_wheel(installed):
    """The objects that were built elsewhere load here."""
    done = run(installed, "look", "kernel-facts", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    done = run(installed, "targets", "--json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_source_distribution_can_be_built_from(tmp_path):
    """It holds the C sources and what builds them, and nothing that was built."""
    with tarfile.open(build("sdist", tmp_path)) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {"Makefile", "hatch_build.py", "bpf/Makefile", "bpf/lab/Makefile", "bpf/kernel.h"} <= names
    assert not [name for name in names if name.endswith((".bpf.o", ".pyc"))]
