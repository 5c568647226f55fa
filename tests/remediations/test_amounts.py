"""What settings amount to on a machine: presets, doublings, rounding, buffers per CPU."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from engine.guarding.amounts import in_base_units
from engine.values import Host, Knob, KnobValue, in_use
from remediations.knobs.amounts import amount, bounds, buffers, fits, made, say, say_buffers, written

MIB = 1 << 20
FALCO = Knob(
    name="ring-buffer-size",
    backend="yaml-file",
    unit="preset",
    default=4,
    presets={str(n): float(MIB << (n - 1)) for n in range(1, 11)},
    per="cpu",
    cpus_each=2,
)
SCALE = Knob(name="map-scale", backend="b", unit="doublings", base=65536.0, minimum=-3, maximum=3)
PAGES = Knob(name="ring-buffer-size", backend="b", unit="pages", rounding="power-of-two", misfit="refused")
HERE = Host(cpus=8, possible_cpus=16, online_cpus=8)

hosts = st.builds(
    Host,
    cpus=st.integers(1, 512),
    possible_cpus=st.integers(1, 512),
    online_cpus=st.integers(1, 512),
    page_bytes=st.sampled_from([4096, 16384, 65536]),
)
sized = st.builds(
    Knob,
    name=st.just("ring-buffer-size"),
    backend=st.just("b"),
    unit=st.sampled_from(["bytes", "KiB", "MiB", "pages", "count"]),
    rounding=st.sampled_from(["none", "page", "power-of-two", "power-of-two-pages"]),
    misfit=st.sampled_from(["rounded", "refused"]),
    per=st.sampled_from(["total", "cpu", "online-cpu", "cpu-share"]),
    cpus_each=st.integers(0, 8),
    minimum=st.none() | st.integers(0, 64),
    maximum=st.none() | st.integers(1, 1 << 30),
    unbounded=st.none() | st.just(0),
)
preset = st.builds(
    lambda presets, low, high, none: Knob(
        name="ring-buffer-size", backend="b", unit="preset", presets=presets, minimum=low, maximum=high,
        unbounded=none,
    ),
    st.dictionaries(st.integers(0, 20).map(str), st.integers(1, 1 << 30).map(float), min_size=1),
    st.none() | st.integers(0, 10),
    st.none() | st.integers(5, 20),
    st.none() | st.integers(0, 20),
)  # fmt: skip
doubled = st.builds(
    Knob,
    name=st.just("map-scale"),
    backend=st.just("b"),
    unit=st.just("doublings"),
    base=st.sampled_from([1.0, 65536.0, 1000.0]),
    minimum=st.none() | st.integers(-4, 2),
    maximum=st.none() | st.integers(3, 12),
)
styles = st.sampled_from([None, 4, "4", "256KiB", "1MB", "64M"])


@given(
    st.one_of(sized, preset, doubled), hosts, st.floats(1, 1 << 40), styles, st.sampled_from(["up", "down"])
)
def test_what_is_planned_is_what_the_agent_makes_of_it(knob, host, size, like, toward):
    """Read back as the agent reads it: the same amount, within the bounds, never 'no limit'."""
    assume(not (knob.unit not in ("bytes",) and isinstance(like, str) and not like.isdigit()))
    try:
        value, result = written(size, knob, host, like=like, toward=toward)
    except ValueError:
        return  # nothing fits: refused, with a reason
    assert made(value, knob, host) == pytest.approx(result)
    low, high = bounds(knob, host)
    assert low * 0.999999 <= result <= high * 1.000001
    assert math.isfinite(result)
    if knob.misfit == "refused":
        assert fits(value, knob, host)
    if toward == "down":
        assert result <= size * 1.000001
    if isinstance(like, str):
        assert isinstance(value, str)


@given(sized, hosts, st.integers(1, 1 << 34))
def test_up_is_enough_or_the_most_that_is_allowed(knob, host, size):
    """A size that is cut short without need would lose events that could have been kept."""
    try:
        _, result = written(size, knob, host, toward="up")
    except ValueError:
        return
    if result < size:
        _, more = written(2 * size, knob, host, toward="up")
        assert more == result


@given(hosts, st.integers(0, 8))
def test_buffers_cover_every_cpu_and_none_twice(host, each):
    """Memory is their number times the size: too few would overrun a limit."""
    knob = Knob(name="k", backend="b", per="cpu", cpus_each=each)
    count = buffers(knob, host)
    if each == 0:
        assert count == 1
    else:
        assert (count - 1) * each < host.possible_cpus <= count * each


def test_a_preset_is_picked_by_what_it_amounts_to():
    """Falco: 4 is 8 MiB, and 9 MiB need 5."""
    assert amount(4, FALCO, HERE) == amount("4", FALCO, HERE) == 8 * MIB
    assert written(9 * MIB, FALCO, HERE, like=4) == (5, 16 * MIB)
    assert written(9 * MIB, FALCO, HERE, like="4", toward="down") == ("4", 8 * MIB)
    assert written(1 << 40, FALCO, HERE) == (10, 512 * MIB)
    assert say(4, FALCO, HERE) == "4 (8 MiB)"
    with pytest.raises(ValueError, match="none of the presets"):
        amount(11, FALCO, HERE)


def test_half_the_cpus_have_half_the_buffers():
    """One for two of 16 possible CPUs; one for all with 0; those that are on, where only they count."""
    assert buffers(FALCO, HERE) == 8
    assert say_buffers(FALCO, HERE) == " × 8 (each for 2 of 16 CPUs)"
    assert buffers(Knob(name="k", backend="b", per="online-cpu"), HERE) == 8
    assert say_buffers(Knob(name="k", backend="b", per="cpu", cpus_each=0), HERE) == ""


def test_doublings_count_from_their_base():
    """2^-3 to 2^3 of 65536."""
    assert amount(0, SCALE, HERE) == 65536
    assert written(100_000, SCALE, HERE, like=0) == (1, 131072)
    assert written(1e9, SCALE, HERE, like="0") == ("3", 524288)
    assert bounds(SCALE, HERE) == (8192, 524288)


@pytest.mark.parametrize(("page", "pages"), [(4096, 256), (16384, 64), (65536, 16)])
def test_a_size_in_pages_hangs_on_the_page(page, pages):
    """1 MiB is 256 pages here and 16 on some arm64."""
    host = Host(page_bytes=page)
    assert written(MIB, PAGES, host, like=64) == (pages, MIB)
    assert not fits(100, PAGES, host)


def test_a_share_of_one_buffer_counts_all_cpus_before_it_is_rounded():
    """Tetragon: 64 KiB on each of 3 CPUs is one ring of 256 KiB."""
    knob = Knob(
        name="ring-buffer-size", backend="b", unit="bytes", per="cpu-share", rounding="power-of-two-pages"
    )
    host = Host(possible_cpus=3)
    assert made(65536, knob, host) == 262144
    value, result = written(MIB, knob, host)
    assert (made(value, knob, host), result, buffers(knob, host)) == (MIB, MIB, 1)


def test_guards_read_the_same_amounts():
    """A step factor of presets' numbers would say ×1.25 for a doubling."""
    assert in_base_units(5, FALCO) == 16 * MIB
    assert in_base_units("2", SCALE) == 4 * 65536
    assert in_base_units(0, Knob(name="k", backend="b", unbounded=0)) == math.inf


def test_of_several_places_the_first_in_which_it_is_set_counts():
    """One that can't be read may hold it; one that is not there does not."""
    unset, here = KnobValue(), KnobValue(value=1, raw="1")
    gone, secret = KnobValue(missing="no such file", absent=True), KnobValue(missing="no right")
    assert in_use([unset, here, KnobValue(value=2)]).place == 1
    assert in_use([gone, here]).place == 1
    assert in_use([secret, here]).missing == "no right"
    assert in_use([gone, unset]).place == 1
    assert in_use([gone, gone]).place == 0


def test_bounds_are_in_base_units():
    """A profile gives them in the knob's own unit."""
    assert bounds(Knob(name="k", backend="b", unit="MiB", minimum=1, maximum=64), HERE) == (MIB, 64 * MIB)
    assert bounds(Knob(name="k", backend="b"), HERE) == (0, math.inf)
