"""Label matchers: Alertmanager's language, within bounded time."""

from __future__ import annotations

import pytest

from engine.errors import UsageError
from engine.server.worker import matching

LABELS = {"severity": "critical", "job": "falco", "quoted": 'a"b\\c'}


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('severity="critical"', True),
        ('severity!="critical"', False),
        ("severity=critical", True),
        ('severity=~"warning|critical"', True),
        ('severity=~"crit"', False),
        ('severity=~"crit.*"', True),
        ('severity!~"warn.*"', True),
        ('missing=""', True),
        ('missing!=""', False),
        ('missing=~".+"', False),
        (r'quoted="a\"b\\c"', True),
        (' job =~ "fal[a-z]+" ', True),
    ],
)
def test_matchers_mean_what_they_mean_to_alertmanager(text: str, fits: bool) -> None:
    """Patterns are anchored; a label that is not there is empty."""
    assert matching.read(text).fits(LABELS)[0] is fits


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+",
        "(a|aa)+",
        "(.*)*",
        "(a{1,9}){9}",
        "(a?){8}",
        "a?" * 40,
        "(?=a)b",
        r"(a)\1",
        "(ab|cd)" * 12,
        "x" * 501,
        "(",
    ],
)
def test_a_pattern_that_could_take_endless_time_is_refused(pattern: str) -> None:
    """Labels come from strangers: nobody may make the worker think for ever."""
    with pytest.raises(UsageError):
        matching.read(f'job=~"{pattern}"')


def test_a_value_too_long_for_its_pattern_does_not_fit_and_says_so() -> None:
    """Three endless repetitions over four thousand characters would take minutes."""
    matcher = matching.read('job=~".*a.*b.*c"')
    fits, because = matcher.fits({"job": "ab" * 2000})

    assert not fits
    assert "too long" in because
    assert matcher.fits({"job": "xaybzc"})[0]


@pytest.mark.parametrize("text", ["job", 'job=="x"', '1job="x"', 'job=~"x', ""])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    """With how it is written."""
    with pytest.raises(UsageError, match="no matcher"):
        matching.read(text)
