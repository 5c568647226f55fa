"""Sizes, durations and counts in agents' own ways of writing them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediations.knobs.units import effective, render, round_size, say, say_bytes


@pytest.mark.parametrize(
    ("value", "unit", "amount"),
    [
        ("256KiB", "bytes", 262144),
        ("256 KiB", "bytes", 262144),
        ("64M", "bytes", 64 << 20),
        ("1MB", "bytes", 1_000_000),
        ("4096", "bytes", 4096),
        (8, "MiB", 8 << 20),
        (64, "pages", 64 * 4096),
        ("100ms", "s", 0.1),
        ("1m30s", "ms", 90.0),
        (20, "ms", 0.02),
        (0.5, "s", 0.5),
        (10, "one-in-n", 10),
        (1.5, "cores", 1.5),
        ("none", "text", "none"),
        (["a"], "list", ["a"]),
        (None, "bytes", None),
    ],
)
def test_what_a_setting_amounts_to(value, unit, amount):
    """All arithmetic is in base units."""
    assert effective(value, unit) == amount


@pytest.mark.parametrize(
    ("value", "unit"), [("lots", "bytes"), ("5 parsecs", "s"), (True, "count"), ([1], "bytes"), ("", "s")]
)
def test_what_can_not_be_read_is_an_error(value, unit):
    """A wrong reading would become a wrong size."""
    with pytest.raises(ValueError, match=r"expected|is not"):
        effective(value, unit)


@pytest.mark.parametrize(
    ("amount", "unit", "like", "toward", "written"),
    [
        (1 << 20, "bytes", "256KiB", "up", "1MiB"),
        (1 << 20, "bytes", "64 K", "up", "1 M"),
        (3 << 19, "bytes", "256KiB", "up", "1536KiB"),
        (1 << 20, "bytes", 262144, "up", 1048576),
        (1 << 19, "MiB", 4, "up", 1),
        (1 << 20, "pages", 64, "up", 256),
        (0.0125, "ms", 100, "down", 12),
        (0.0125, "s", "100ms", "down", "12500us"),
        (0.02, "s", 0.1, "down", 0.02),
        (0.02, "s", 1, "down", 1),
        (4, "count", None, "up", 4),
        (10, "one-in-n", "5", "up", "10"),
        (1.25, "cores", 0.5, "up", 1.25),
    ],
)
def test_a_value_is_written_in_the_style_found(amount, unit, like, toward, written):
    """IEC text stays IEC text, a number stays a number; nothing becomes zero."""
    assert render(amount, unit, like, toward=toward) == written


@given(
    st.integers(1, 1 << 40), st.sampled_from(["256KiB", "1Ki", "64k", "1MB", "8 MiB", "512B", 4096, "4096"])
)
def test_a_size_written_in_any_style_reads_back_the_same(size, like):
    """What is written is what was planned."""
    assert effective(render(size, "bytes", like), "bytes") == size


@given(st.integers(1, 1 << 40), st.sampled_from([4096, 16384, 65536]))
def test_rounding_gives_a_power_of_two_of_pages_that_fits(size, page):
    """The kernel refuses every other ring size, on every page size."""
    up = round_size(size, "power-of-two-pages", page_bytes=page)
    down = round_size(size, "power-of-two-pages", page_bytes=page, down=True)
    assert up >= size
    assert up % page == 0
    assert (up // page).bit_count() == 1
    assert down <= max(size, page)
    assert up <= 2 * max(size, page)


def test_people_read_whole_units():
    """An operator does not count digits."""
    assert say_bytes(262144) == "256 KiB"
    assert say(None, "bytes") == "not set"
    assert say(10, "one-in-n") == "1 in 10"
    assert say(1, "one-in-n") == say("1", "one-in-n") == "none"  # nothing is left out
    assert say(["curl", "sh"], "list") == "curl, sh"
