"""A profile that was written from the documentation alone, for an agent that nobody here knows.

The agent is the practice agent's binary under another name, with its own directory and settings; the
profile is the example of ``docs/profiles.md`` as it stands.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from bpf.lab import processes
from bpf.lab.faults import fault_named
from bpf.lab.settings import own_sources, render

pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.timeout(150)]
ROOT = Path(__file__).parents[2]


def example() -> str:
    """The profile in the walk-through."""
    text = (ROOT / "docs" / "profiles.md").read_text()
    return re.search(r"```yaml\n(profile: shop-watch\n.*?)```", text, re.DOTALL)[1]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Path]:
    """The stranger's agent at work and losing events; gives the file of its settings."""
    if os.geteuid() != 0 or not processes.AGENT.exists():
        pytest.skip("takes root and a built practice agent")
    home = tmp_path / "opt" / "shop-watch"
    home.mkdir(parents=True)
    program = home / "shop-watch"
    shutil.copy(processes.AGENT, program)
    for built in processes.HERE.glob("*.bpf.o"):
        shutil.copy(built, home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    fault = fault_named("burst")
    sources = own_sources(fault.sources, port)
    comms = ", ".join(source.split(":")[0] for source in sources)
    settings = tmp_path / "srv" / "shop.yaml"
    settings.parent.mkdir()
    own = {"metrics.port": str(port), "log.file": str(home / "log"), "filter.comms": f"[{comms}]"}
    settings.write_text(render(own | dict(fault.settings)))
    agent = subprocess.Popen([program, "--config", settings, "--for", "140"])
    maker = None
    try:
        deadline = time.monotonic() + 15
        while not answers(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        argv = [processes.GENERATOR, "--keys", str(fault.keys), "--for", "140", "--with-pid", str(agent.pid)]
        maker = subprocess.Popen([*argv, *(word for source in sources for word in ("--source", source))])
        yield settings
    finally:
        for process in filter(None, (maker, agent)):
            process.terminate()
            process.wait(timeout=10)


def answers(port: int) -> bool:
    """Whether it is healthy."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=0.2) as page:
            return page.status == 200
    except OSError:
        return False


def runbook(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``runbook`` with the stranger's own folder of profiles."""
    own = {"RUNBOOK_PROFILES": str(tmp_path / "agents"), "RUNBOOK_STATE": str(tmp_path / "state")}
    return subprocess.run(
        [sys.executable, "-m", "engine.cli", *words],
        capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **own},
    )  # fmt: skip


def test_a_profile_written_from_the_docs_alone_mends_an_unknown_agent(shop, tmp_path):
    """Under forty lines of data: found, explained, its loss ended, its settings put back byte for byte."""
    assert len(example().splitlines()) < 40
    (tmp_path / "agents").mkdir()
    profile = tmp_path / "agents" / "shop-watch.yaml"
    profile.write_text(example())
    before = shop.read_bytes()

    checked = runbook(tmp_path, "check", str(profile))
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, f"{profile}: ok\n", "")

    told = json.loads(runbook(tmp_path, "targets", "shop-watch", "--explain", "--json").stdout)
    (agent,) = told["answers"]
    (explained,) = told["profiles"]
    assert explained["file"] == str(profile)
    assert [one["matches"] for one in explained["candidates"] if one["comm"] == "shop-watch"] == [True]
    assert agent["health_ok"]
    assert agent["knobs"][0]["effective"] == 256 << 10
    assert f"{shop}:" in agent["knobs"][0]["where"]
    assert all(one["value"] is not None for one in agent["counters"])

    ran = runbook(tmp_path, "run", "events-dropped", "--target", "shop-watch", "--yes", "--json",
                  "--input", "window=5s", "--input", "hold=5s")  # fmt: skip
    run = json.loads(ran.stdout)
    assert run["outcome"] == "fixed", ran.stdout[-3000:]
    assert shop.read_bytes() != before
    assert runbook(tmp_path, "undo", run["id"]).returncode == 0
    assert shop.read_bytes() == before
