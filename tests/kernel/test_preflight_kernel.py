"""What preflight says of the running kernel, against really loading there, program by program."""

from __future__ import annotations

import time

import pytest

from bpf.libbpf import BpfObject
from bpf.library import BpfError
from bpf.preflight import kernels
from bpf.preflight.bpf_object import BpfFile
from bpf.preflight.check import TRIED
from bpf.preflight.judge import judge
from bpf.preflight.kernel import Kernel
from bpf.preflight.result import ObjectVerdict, worst
from tests.preflight import building

pytestmark = pytest.mark.kernel
NAMES = sorted(path.name.removesuffix(".bpf.c") for path in building.HERE.glob("*.bpf.c"))
#: libbpf decides these by its own version, so preflight says that it can't be told.
OPEN = {"many_functions"}


@pytest.fixture(scope="module")
def here() -> Kernel:
    return kernels.running(tried=kernels.kinds_of_running(TRIED))


def really(path, parsed: BpfFile, program: str) -> str:
    """Load one program alone, maps that have no size given one."""
    with BpfObject.open(path) as ours:
        for other in parsed.programs:
            if other.name != program:
                ours.skip(other.name)
        try:
            ours.load()
            ours.program_fd(program)
        except BpfError:
            return "fails"
        return "works"


def predicted(verdict: ObjectVerdict, program: str) -> str:
    whole = [one.outcome for one in verdict.findings if not one.program and one.stage == "load"]
    return worst([*whole, *(one.load for one in verdict.programs if one.name == program)])


@pytest.mark.parametrize("name", NAMES)
def test_the_prediction_is_what_the_kernel_does(name, here, tmp_path):
    """The whole point: believed before the reboot, true after it."""
    path = tmp_path / f"{name}.bpf.o"
    path.write_bytes(building.small(name))
    parsed = building.object_of(name)
    verdict = judge(parsed, here)
    for program in parsed.programs:
        said = predicted(verdict, program.name)
        if name in OPEN or said == "unknown" or program.optional:
            continue
        assert said == really(path, parsed, program.name), program.name


def test_looking_is_quick(here):
    """The types of a whole kernel are passed over in less than a second of CPU."""
    started = time.process_time()
    kernel = kernels.running()
    judge(building.object_of("guarded_field"), kernel)
    assert time.process_time() - started < 1.0
    assert kernel.whole
