"""Options of ``runbook look``: they mean on the command line what they mean in a runbook."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.terminal.glance import typed_options
from engine.testing import FakeProbe


class Optioned(FakeProbe):
    options = dict.fromkeys(("sample_every", "memory", "reads_kernel", "maps", "times"), "for the test")


@pytest.mark.parametrize(
    ("name", "written", "meant"),
    [
        ("sample_every", "2ms", 0.002),
        ("memory", "64MiB", 64 << 20),
        ("reads_kernel", "false", False),
        ("maps", "failures", "failures"),
        ("times", "3", 3),
    ],
)
def test_an_option_is_typed_as_in_yaml(name, written, meant):
    """A probe is given seconds and bytes, wherever the option was written."""
    assert typed_options(Optioned(), {name: written}) == {name: meant}


def test_a_misspelt_option_is_told_with_the_nearest():
    """Ten seconds of looking with a wrong option are ten seconds lost."""
    with pytest.raises(UsageError) as told:
        typed_options(Optioned(), {"sample_evry": "2ms"})
    assert "sample_every" in told.value.fix
