"""A small agent's BPF side (``sample.bpf.c``), compiled when a test asks for it."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bpf.libbpf import BpfObject


@pytest.fixture(scope="session")
def sample_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled sample, with its BTF."""
    if shutil.which("clang") is None:
        pytest.skip("the sample agent needs clang")
    made = tmp_path_factory.mktemp("sample") / "sample.bpf.o"
    source = Path(__file__).with_name("sample.bpf.c")
    headers = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run(
        ["clang", "-O2", "-g", "-target", "bpf", headers, "-c", str(source), "-o", str(made)], check=True
    )
    return made


@pytest.fixture
def sample(sample_file: Path) -> Iterator[Callable[[int], BpfObject]]:
    """Load the sample for the system calls of one process; attached and, at the end, unloaded."""
    opened: list[BpfObject] = []

    def start(tgid: int) -> BpfObject:
        agent = BpfObject.open(sample_file)
        opened.append(agent)
        agent.set_global("only_tgid", struct.pack("=I", tgid))
        agent.load()
        agent.attach("sample_enter")
        return agent

    yield start
    for agent in opened:
        agent.close()
