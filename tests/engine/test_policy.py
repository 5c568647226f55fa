"""A policy is obeyed whole or refused with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import DocumentError, UsageError
from engine.guarding import policy
from engine.guarding.policy import Policy

EXAMPLE = Path(__file__).parents[2] / "runbooks" / "policies" / "default.yaml"


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    return file


def test_without_a_file_every_change_asks() -> None:
    """Cautious until somebody says otherwise."""
    risk = Policy().risk

    assert (risk.low, risk.medium, risk.high) == ("ask", "ask", "ask")


def test_yes_does_not_answer_for_high_risk() -> None:
    """A flag in a script is no decision about a dangerous change."""
    assert [Policy().yes_counts(risk) for risk in ("low", "medium", "high")] == [True, True, False]  # type: ignore[arg-type]


def test_the_shipped_example_states_the_built_in_values() -> None:
    """What it documents is what rules."""
    assert policy.load(EXAMPLE) == Policy()


def test_the_documented_example_is_a_policy(tmp_path: Path) -> None:
    """Who copies it gets what the text says."""
    text = (EXAMPLE.parents[2] / "docs" / "policy.md").read_text()
    found = policy.load(written(tmp_path, text.split("```yaml\n")[1].split("```")[0]))

    assert (found.risk.low, found.protected, found.freeze[0].days) == ("auto", ("cilium*",), ("sat", "sun"))


def test_values_are_read_in_base_units(tmp_path: Path) -> None:
    """Durations and sizes as everywhere else."""
    found = policy.load(
        written(tmp_path, "policy: 1\ncooldown: {for: 2h}\nbounds: {ring-buffer-size: {at_most: 64MiB}}\n")
    )

    assert found.cooldown.seconds == 7200
    assert found.bounds["ring-buffer-size"].at_most == 64 * 2**20


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("risk: {low: always}", "policy.yaml:1:13: 'always' is not known here"),
        ("coldown: {for: 10m}", "did you mean 'cooldown'?"),
        ("cooldown: {for: ten}", "policy.yaml:1:17"),
        ("freeze: [{from: '25:00'}]", "policy.yaml:1:17: '25:00' is no time of day"),
        ("freeze: [{days: [monday]}]", "'monday' is no day"),
        ("freeze: [{zone: Mars/Olympus}]", "no time zone"),
        ("bounds: {ring: {at_most: much}}", "policy.yaml:1:26: 'much' is no number"),
        ("memory_share: 3", "too much"),
        ("freshness: '{{ inputs.x }}'", "no templates"),
        ("risk: [", "YAML"),
        ("policy: 2", "policy.yaml:1:9"),
    ],
)
def test_a_wrong_policy_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    """Half obeyed would be worse than none."""
    with pytest.raises(DocumentError) as caught:
        policy.load(written(tmp_path, text))

    assert complaint in caught.value.problem


def test_a_named_policy_must_be_there(tmp_path: Path) -> None:
    """A typo in --policy must not mean the built-in one."""
    with pytest.raises(UsageError, match="not there"):
        policy.load(tmp_path / "absent.yaml")


def test_the_environment_names_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For services, which have no command line to edit."""
    monkeypatch.setenv("RUNBOOK_POLICY", str(written(tmp_path, "freshness: 1m")))

    assert policy.load().freshness == 60


def test_all_rules_of_a_policy_are_asked() -> None:
    """None is forgotten when they are joined."""
    names = [rule.name for rule in Policy().guard().rules]  # type: ignore[attr-defined]

    assert names == [
        "risk",
        "protected",
        "freshness",
        "bounds",
        "step",
        "memory",
        "cooldown",
        "budget",
        "proof",
    ]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{run: ss, owner: x}", "'ss' is no whole path"),
        ("{run: /usr/../bin/ss, owner: x}", "is no whole path"),
        ("{run: /usr/bin/ss}", "'owner' is missing"),
        ("{run: /usr/bin/ss, owner: x, dry_run: true}", "a dry-run runs only what reads"),
    ],
)
def test_a_wrong_entry_of_the_commands_is_refused(tmp_path: Path, entry: str, says: str) -> None:
    """A list that is half obeyed is no list."""
    with pytest.raises(DocumentError) as error:
        policy.load(written(tmp_path, f"policy: 1\ncommands: [{entry}]\n"))
    assert says in str(error.value)
