"""Inputs: typed, bounded, and complained about all at once."""

import pytest

from engine.errors import DocumentError, UsageError
from engine.language import inputs
from engine.language.model import Input, Runbook, Tell
from tests.engine.parts import load

RUNBOOK = Runbook(
    runbook="x",
    inputs={
        "window": Input(type="duration", default=10.0, minimum=1.0, maximum=600.0),
        "limit": Input(type="bytes", default=64 << 20),
        "mode": Input(type="text", choices=("fast", "safe"), help="How."),
        "fast": Input(type="bool", default=False),
        "names": Input(type="list", default=[]),
        "token": Input(type="integer", default=1, secret=True),
    },
    steps=(Tell(sentence="a"),),
)


def test_texts_from_a_command_line_become_typed_values():
    """`--set window=5m` gives 300 seconds, not a text."""
    given = {"window": "5m", "limit": "1MiB", "mode": "fast", "fast": "yes", "names": "a, b"}
    assert inputs.resolve(RUNBOOK, given) == {
        "window": 300.0, "limit": 1 << 20, "mode": "fast", "fast": True, "names": ["a", "b"], "token": 1,
    }  # fmt: skip


def test_every_wrong_input_is_named_at_once():
    """Nothing is started, and one correction is enough."""
    given = {"windw": "1s", "window": "1h", "limit": "big", "fast": "maybe", "token": "hunter2"}
    with pytest.raises(UsageError) as error:
        inputs.resolve(RUNBOOK, given)
    problem = error.value.problem
    assert "no input 'windw' (did you mean 'window'?)" in problem
    assert "'1h' is out of bounds (at most" in problem
    assert "'big' is not a size in bytes" in problem
    assert "input 'mode' must be given: How." in problem
    assert "'maybe' is neither true nor false" in problem


def test_a_secret_is_not_shown_in_its_own_complaint():
    """An error goes to logs."""
    with pytest.raises(UsageError) as error:
        inputs.resolve(RUNBOOK, {"mode": "fast", "token": "hunter2"})
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("{type: duration, default: 5MiB}", "x.yaml:2:39: '5MiB' is not a duration"),
        ("{type: integer, default: 1.5}", "1.5 is not a whole number"),
        ("{type: duration, default: 5s, minimum: 10s}", "'5s' is out of bounds"),
        ("{type: text, default: c, choices: [a, b]}", "'c' is none of its choices"),
        ("{type: text, default: 5}", "5 is not a text"),
        ("{type: share, default: 30}", "more than the whole"),
    ],
)
def test_a_default_of_another_type_is_found_at_load(tmp_path, spec, says):
    """A wrong default would fail only for those who do not set the input."""
    with pytest.raises(DocumentError) as error:
        load(tmp_path, f"runbook: x\ninputs: {{a: {spec}}}\nsteps: [{{tell: x}}]\n", "x.yaml")
    assert says in error.value.problem


def test_a_secret_is_read_from_a_file_and_nothing_else_is(tmp_path):
    """`@FILE`: a command line can be read by every process; `@@` is a secret that begins with @."""
    runbook = Runbook(
        runbook="x", inputs={"pw": Input(type="text", secret=True), "who": Input(type="text")}, steps=()
    )
    (tmp_path / "pw").write_text("hunter2\n")
    place = f"@{tmp_path}/pw"
    assert inputs.with_secrets(runbook, {"pw": place, "who": place}) == {"pw": "hunter2", "who": place}
    assert inputs.with_secrets(runbook, {"pw": "@@home"}) == {"pw": "@home"}
    (tmp_path / "pw").write_text("\n")
    with pytest.raises(UsageError, match="nothing is in"):
        inputs.with_secrets(runbook, {"pw": place})
    with pytest.raises(UsageError, match="can't be read"):
        inputs.with_secrets(runbook, {"pw": "@/none"})
