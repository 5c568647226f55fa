"""`runbook check` judges the place of a knob by what its backend says it needs."""

import pytest

from engine import catalog
from engine.agents import profile_check

PROFILE = "profile: x\nmatch: {comm: x}\nknobs:\n  queue-size: {backend: %s, unit: count}\n"


@pytest.mark.parametrize(
    ("knob", "said"),
    [
        ("ini-file, path: a.b", "'file' is missing"),
        ("option-directory, path: x", "'file' is missing"),
        ("systemd-argument, path: rb-size", "is no flag"),
        ("process-argument, path: --buffers kernel", "is no flag"),
        ("systemd-environment, path: A-B", "is no name of a variable"),
        ("kubernetes, path: configmap/x", "is no place in a ConfigMap"),
        ("kubernetes, path: arg/rb", "is no flag"),
        ("kubernetes, path: secret/x", "is no place of a setting"),
    ],
)
def test_a_place_that_can_not_be_is_an_error(tmp_path, knob, said):
    """Before an agent is found with it."""
    file = tmp_path / "x.yaml"
    file.write_text(PROFILE % knob)
    assert any(said in one for one in profile_check.check(file, catalog.installed()))


@pytest.mark.parametrize(
    "knob",
    [
        "ini-file, file: /etc/x.ini, path: a.b",
        "systemd-argument, path: --buffers kernel.events=",
        "kubernetes, path: 'configmap/x#y.yaml:a.b'",
        "kubernetes, path: env/A",
    ],
)
def test_a_place_that_can_be_is_none(tmp_path, knob):
    """No false alarm."""
    file = tmp_path / "x.yaml"
    file.write_text(PROFILE % knob)
    assert not [one for one in profile_check.check(file, catalog.installed()) if "error" in one]
