"""Quantities as people write them."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import units
from engine.errors import UsageError


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("1_000s", 1000.0, "duration"),
        ("10s", 10.0, "duration"),
        ("500ms", 0.5, "duration"),
        ("1h30m", 5400.0, "duration"),
        ("2d", 172800.0, "duration"),
        ("64MiB", 67108864, "bytes"),
        ("10 MB", 10_000_000, "bytes"),
        ("100k/s", 100_000.0, "rate"),
        ("6000 events/min", 100.0, "rate"),
        ("30%", 0.3, "share"),
    ],
)
def test_a_quantity_with_a_unit_is_read_in_base_units(text, value, dimension):
    """Authors write what they would say; the engine reckons in seconds, bytes and events per second."""
    assert units.parse(text) == (pytest.approx(value), dimension)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "10x",
        "64M",
        "1KiB2KiB",
        "1h2KiB",
        "-5s",
        "ten",
        "1e999s",
        "9" * 99,
        "0_",
        "1__0s",
        "0_/s",
        "1_%",
    ],
)
def test_what_is_no_quantity_is_left_to_its_reader(text):
    """Guessing at `64M` would be wrong half of the time."""
    assert units.parse(text) is None


def test_a_number_without_unit_is_in_base_units():
    """Programs hand over seconds and bytes, and need no text for it."""
    assert units.seconds(1.5) == 1.5
    assert units.seconds("1.5") == 1.5
    assert units.size("4096") == 4096


@pytest.mark.parametrize(
    "value", ["10MiB", "ten", True, None, -1, float("nan"), float("inf"), [1], "1" * 1000, "0_"]
)
def test_a_wrong_duration_says_how_to_write_one(value):
    """The message must be enough to correct it."""
    with pytest.raises(UsageError, match="is not a duration") as error:
        units.seconds(value)
    assert "1h30m" in error.value.fix


def test_a_share_beyond_the_whole_is_refused():
    """`30` was meant as 30 %."""
    with pytest.raises(UsageError, match="more than the whole"):
        units.share(30)


@given(st.text(max_size=80))
@example("0_")
@example("0_s")
@example("0_/s")
@example("0_%")
def test_no_text_breaks_the_reading(text):
    """What comes from a command line or an alert may be anything."""
    found = units.parse(text)
    assert found is None or found[0] >= 0


@pytest.mark.parametrize("value", ["9999999999999d", "3661d", 1e300])
def test_a_duration_is_at_most_ten_years(value):
    """What is added to now must still be a date."""
    with pytest.raises(UsageError, match="longer than ten years"):
        units.seconds(value)
