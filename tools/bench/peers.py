"""The tools that are measured, ours too: each installed into an environment of its own, with the same work.

Chaos Toolkit, ansible-core and ansible-rulebook, the newest releases that run on Python 3.11. Only for
measuring; nothing of them is used elsewhere.

Not here: measuring (``measure.py``).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

BUILD = Path(__file__).parents[2] / "build" / "bench"
RELEASES = {
    "chaos": ("chaostoolkit==1.19.0",),
    "ansible": ("ansible-core==2.19.*",),
    "rulebook": ("ansible-rulebook==1.3.2", "ansible-core==2.19.*"),
}


@cache
def our_runbook() -> str:
    """``runbook`` as an operator has it: from the wheel, with nothing but what it requires."""
    return _from_wheel("runbook")


@cache
def our_server() -> str:
    """``runbook`` with what ``runbook serve`` requires besides."""
    return _from_wheel("runbook-server", "[server]")


def _from_wheel(name: str, extra: str = "") -> str:
    wheel, place = _wheel(), BUILD / name
    subprocess.run([sys.executable, "-m", "venv", place], check=True)
    pip = [place / "bin/pip", "install", "-qq", "--constraint", BUILD / "pins.txt"]
    subprocess.run([*pip, f"{wheel}{extra}"], check=True)
    subprocess.run([*pip, "--force-reinstall", "--no-deps", wheel], check=True)
    return str(place / "bin/runbook")


@cache
def _wheel() -> Path:
    """The wheel of this checkout, and beside it the pins of what it requires."""
    root, wheels = BUILD.parents[1], BUILD / "wheel"
    shutil.rmtree(wheels, ignore_errors=True)
    building = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(wheels),
        str(root),
    ]
    subprocess.run(building, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pins = BUILD / "pins.txt"
    pins.write_text(
        "\n".join(re.findall(r"^[\w.-]+==\S+", (root / "requirements.lock").read_text(), re.MULTILINE))
    )
    (wheel,) = wheels.iterdir()
    return wheel


@cache
def install(peer: str) -> Path:
    """The ``bin`` directory of the peer's own environment."""
    place = BUILD / peer
    if not (place / "installed").exists():
        print(
            f"bench: installing {', '.join(RELEASES[peer])} into {place.relative_to(BUILD.parents[1])}",
            flush=True,
        )
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        subprocess.run([place / "bin/pip", "install", "-qq", *RELEASES[peer]], check=True)
        (place / "installed").touch()
    return place / "bin"


def chaos_experiment(steps: int) -> Path:
    """``steps`` activities that call a Python function in the process and return at once."""
    (BUILD / "noop_module.py").write_text("def nothing() -> bool:\n    return True\n")
    call = {"type": "python", "module": "noop_module", "func": "nothing"}
    path = BUILD / f"chaos-{steps}.json"
    path.write_text(
        json.dumps(
            {
                "title": "no-op steps",
                "description": "for measuring",
                "method": [
                    {"type": "action", "name": f"step-{number}", "provider": call} for number in range(steps)
                ],
                "rollbacks": [],
            }
        )
    )
    return path


def playbook(tasks: int) -> Path:
    """``tasks`` debug tasks on the local host."""
    path = BUILD / f"playbook-{tasks}.yaml"
    lines = ["- hosts: localhost", "  connection: local", "  gather_facts: false", "  tasks:"]
    lines += [
        f"    - {{name: step {number}, ansible.builtin.debug: {{msg: step {number}}}}}"
        for number in range(tasks)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def runbook(steps: int) -> Path:
    """``steps`` checks that hold: each is evaluated and flushed to the journal."""
    path = BUILD / f"runbook-{steps}.yaml"
    lines = ["runbook: no-op-steps", "summary: For measuring.", "steps:"]
    for number in range(steps):
        lines += [f"  - check: step {number} holds", f"    that: {number} == {number}"]
    path.write_text("\n".join(lines) + "\n")
    return path
