"""Prometheus' text format as agents write it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bpf.system.prometheus import parse, scrape, total

PAGE = """
# HELP bpf_events_dropped_total Events lost.
# TYPE bpf_events_dropped_total counter
bpf_events_dropped_total{stage="ring",cpu="0"} 3
bpf_events_dropped_total{stage="ring",cpu="1"} 4 1700000000000
bpf_events_dropped_total{stage="queue"} 1e3
plain 7
quoted{text="a \\"b\\" {c} \\\\ \\n"} +Inf
odd{} NaN
exemplar_total{le="1"} 5 # {trace_id="x"} 0.5
broken{ 3
# EOF
"""


def test_series_are_summed_over_the_labels_that_are_not_asked_for():
    """A counter per CPU is one counter to whoever asks for the stage."""
    samples = list(parse(PAGE))
    assert total(samples, "bpf_events_dropped_total", {"stage": "ring"}) == 7
    assert total(samples, "bpf_events_dropped_total") == 1007
    assert total(samples, "plain") == 7


def test_a_series_that_is_not_there_is_unknown_not_zero():
    """Absent is not zero: an operator's check once read a misspelt name as health."""
    samples = list(parse(PAGE))
    assert total(samples, "bpf_events_lost_total") is None
    assert total(samples, "bpf_events_dropped_total", {"stage": "exporter"}) is None
    assert total(samples, "odd") is None, "NaN is no number"


def test_the_total_suffix_may_be_there_or_not():
    """OpenMetrics writers and older ones differ in it."""
    samples = list(parse("events 3\nlost_total 4\n"))
    assert total(samples, "events_total") == 3
    assert total(samples, "lost") == 4


def test_escapes_and_special_values_are_read():
    """Label values hold quotes and braces in the wild."""
    (sample,) = (s for s in parse(PAGE) if s.name == "quoted")
    assert sample.labels == {"text": 'a "b" {c} \\ \n'}
    assert sample.value == float("inf")


@given(st.text(max_size=300))
def test_no_page_breaks_the_parser(text):
    """What an agent answers is not ours to trust."""
    for sample in parse(text):
        assert isinstance(sample.value, float)


def test_only_http_addresses_are_fetched():
    """A profile's address must not read a local file."""
    with pytest.raises(ValueError, match="not an http address"):
        scrape("file:///etc/passwd")
