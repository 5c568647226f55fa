"""Numbers as people read them."""

import pytest

from engine import text


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (18_400.4, "events/s", "18,400/s"),
        (0, "events/s", "0/s"),
        (262_144, "bytes", "256 KiB"),
        (1_572_864, "bytes", "1.5 MiB"),
        (0.93, "share", "93 %"),
        (0.42, "cores", "0.42 cores"),
        (1.0, "cores", "1 core"),
        (850, "ns", "850 ns"),
        (1_250_000, "bytes/s", "1.19 MiB/s"),
        (8356, "id", "8356"),
        (None, "events/s", "unknown"),
        (True, "", "yes"),
        ("bursts", "", "bursts"),
    ],
)
def test_a_measured_value_shows_its_unit_the_way_people_say_it(value, unit, shown):
    """An operator compares figures across screens: one value, one look."""
    assert text.measure(value, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (2.5e-7, "250 ns"),
        (0.012, "12 ms"),
        (4.2, "4.2 s"),
        (20, "20 s"),
        (59.96, "1 min"),
        (90, "1 min 30 s"),
        (7200, "2 h"),
        (273_600, "3 d 4 h"),
        (-20, "-20 s"),
    ],
)
def test_a_span_uses_the_two_largest_units(seconds, shown):
    """Nobody reads 273600 s at 3 a.m."""
    assert text.span(seconds) == shown


def test_a_share_near_the_edge_is_not_rounded_onto_it():
    """Nearly all is not all, and a few in a million are not none: an edge is a claim."""
    assert text.share(0.9998) == "> 99.9 %"
    assert text.share(0.000003) == "< 0.01 %"
    assert text.share(1.0) == "100 %"
    assert text.share(0.0) == "0 %"


def test_text_from_outside_can_not_steer_the_terminal():
    """An alert label with an escape sequence must not clear the screen or fake an answer."""
    shown = text.plain("bad\x1b[2J\x07\x9b1m\u202eevil\nline")
    assert shown == "bad\\x1b[2J\\x07\\x9b1m\\u202eevil line"
    assert shown.isprintable()


def test_moments_are_utc_and_absent_ones_stay_absent():
    """Reports from several hosts are laid side by side: one time zone, and no invented end."""
    assert text.moment(1_795_316_472.9) == "2026-11-22T03:01:12Z"
    assert text.moment(None) is None
    assert text.day_and_time(1_795_316_472) == "2026-11-22 03:01:12 UTC"
    assert text.since(100.0, 167.9) == "+1:07"


def test_an_input_shows_the_unit_of_its_type():
    """67108864 says nothing to whoever typed 64MiB."""
    assert text.typed(67_108_864, "bytes") == "64 MiB"
    assert text.typed(10.0, "duration") == "10 s"
    assert text.typed(["a", "b"], "list") == "a, b"


def test_settings_of_any_shape_fit_on_one_line():
    """Filters are lists and mappings; they must not spill into a table as Python literals."""
    assert text.setting({"comms": None, "uids": 0}) == "comms: not set, uids: 0"
    assert text.setting(["nginx", "redis"]) == "nginx, redis"


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("flow.dropped_per_s", "events/s"),
        ("flow.bytes_in_per_s", "bytes/s"),
        ("flow.fill_peak", "share"),
        ("process.rss_bytes", "bytes"),
        ("flow.full_longest_s", "s"),
        ("flow.ring_map_id", "id"),
        ("process.threads", ""),
    ],
)
def test_the_name_of_a_reading_tells_its_unit(name, unit):
    """A goal's measured values carry names only; the screen still shows units."""
    assert text.unit_of(name) == unit


@pytest.mark.parametrize("epoch", [1e308, -1e308, float("inf"), float("-inf"), float("nan"), 1e17])
def test_what_is_no_date_is_told_as_such(epoch):
    """One mad number in a journal must not keep anybody from reading the rest."""
    told = [text.moment(epoch), text.day_and_time(epoch), text.measure(epoch, "moment")]

    assert all(one.startswith("no date (") for one in told)
    assert all((text.span(epoch), text.size(epoch), text.since(0.0, epoch)))
