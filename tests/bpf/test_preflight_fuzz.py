"""Whatever the bytes: an answer, or an error that tells the way out. Never a crash, never a hang."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bpf.preflight import image_symbols, kernel_image
from bpf.preflight.bpf_object import BpfFile
from bpf.preflight.btf import STRUCT, Btf
from bpf.preflight.elf import embedded
from bpf.preflight.judge import judge
from bpf.preflight.kernel import Kernel
from engine.errors import RunbookError
from tests.preflight import building

CALM = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
#: Where bytes are overwritten (as a share of the length), with what, and where the file ends.
MUTATIONS = st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), min_size=1, max_size=12)
CUT = st.one_of(st.none(), st.floats(0, 1))


def mutated(data: bytes, changes: list[tuple[float, bytes]], cut: float | None) -> bytes:
    """Bytes with some of them overwritten, and the end cut off."""
    found = bytearray(data)
    for share, new in changes:
        at = int(share * (len(found) - 1))
        found[at : at + len(new)] = new
    return bytes(found[: int(cut * len(found))] if cut is not None else found)


def new_kernel() -> Kernel:
    """A pretended kernel without a file."""
    return Kernel(label="new", release="6.12", btf=Btf(building.btf_bytes(building.NEW), "new"))


def only_told_errors(judged: bytes, kernel: Kernel) -> None:
    """Judge, and let only the errors of ours pass."""
    with suppress(RunbookError):
        judge(BpfFile(judged, "mutated.bpf.o"), kernel)


@CALM
@given(
    name=st.sampled_from(["guarded_field", "new_helper", "kfunc_weak", "setting"]), changes=MUTATIONS, cut=CUT
)
def test_a_damaged_object_is_told_or_judged(name, changes, cut):
    """Agents are copied over broken links too."""
    only_told_errors(mutated(building.small(name), changes, cut), new_kernel())


@CALM
@given(changes=MUTATIONS, cut=CUT)
def test_damaged_types_of_a_kernel_are_told_or_used(changes, cut):
    """A BTF file may be half written."""
    data = mutated(building.btf_bytes(building.NEW), changes, cut)
    with suppress(RunbookError):
        types = Btf(data, "mutated")
        types.alike("task_struct", (STRUCT,))
        kernel = Kernel(label="mutated", btf=types)
        for name in ("guarded_field", "bit_field", "types", "kfunc_strong"):
            judge(building.object_of(name), kernel)


@CALM
@given(noise=st.binary(max_size=4096), bytes_before=st.binary(max_size=64))
def test_noise_is_no_object(noise, bytes_before):
    """Anything at all may be given by mistake."""
    only_told_errors(noise, new_kernel())
    only_told_errors(b"\x7fELF" + noise, new_kernel())
    assert list(embedded(bytes_before + noise)) == []


@CALM
@given(noise=st.binary(max_size=2048), changes=MUTATIONS)
def test_noise_is_no_kernel_image(noise, changes):
    """A cut-off download of a kernel ends in an error, not in a crash of the unpacker."""
    head = bytearray(0x250)
    head[0x202:0x206] = b"HdrS"
    image = mutated(bytes(head) + noise, changes, None)
    kernel_image.release(image)
    kernel_image.find_btf(noise)
    image_symbols.find(noise)
    with suppress(RunbookError):
        kernel_image.unpack(image, "noise")
