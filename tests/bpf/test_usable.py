"""Whether BPF can be used at all, told before anything is tried."""

import pytest

from bpf import library


@pytest.mark.skipif(not library.is_root(), reason="needs root")
def test_programs_of_ours_need_the_kernels_type_data_and_looking_alone_does_not(tmp_path):
    """A tick that says yes where loading then fails sends people looking in the wrong place."""
    nowhere = tmp_path / "vmlinux"
    assert library.usable(btf=nowhere).answer == "yes"
    refused = library.usable(loading=True, btf=nowhere)
    assert refused.answer == "no"
    assert str(nowhere) in refused.why
