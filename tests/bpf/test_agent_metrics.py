"""The agent's metrics page: rates over the window, absent is unknown."""

from __future__ import annotations

from bpf.probes.agent_metrics import AgentMetrics, evidence_of, growth
from bpf.system.prometheus import parse
from engine.testing import check_probe
from engine.values import Counter, Target

TARGET = Target(
    name="lab",
    ref="lab",
    counters=(
        Counter(counts="received", source="metric", name="received_total"),
        Counter(
            counts="dropped", stage="ring", source="metric", name="dropped_total", labels={"stage": "ring"}
        ),
        Counter(
            counts="dropped", stage="queue", source="metric", name="dropped_total", labels={"stage": "queue"}
        ),
        Counter(counts="dropped", stage="exporter", source="metric", name="nowhere_total"),
    ),
)


def scrapes(*pages: str):
    return [(float(at), list(parse(page)), 0.002) for at, page in enumerate(pages)]


def page(received: int, ring: int, queue: int) -> str:
    lost = f'dropped_total{{stage="ring"}} {ring}\ndropped_total{{stage="queue"}} {queue}\n'
    return f"received_total {received}\n{lost}"


def test_rates_are_by_stage_and_an_absent_series_is_unknown():
    """The exporter's count is not on the page: that is not zero losses there."""
    seen = evidence_of(TARGET, (0.0, 2.0), scrapes(page(0, 0, 10), page(100, 6, 10), page(220, 8, 14)))
    assert seen.number("received_per_s") == 110
    assert seen.number("dropped_ring_per_s") == 4
    assert seen.number("dropped_queue_per_s") == 2
    assert seen.number("dropped_per_s") == 6
    assert "unknown, not zero" in seen.readings["dropped_exporter_per_s"].missing
    check_probe(AgentMetrics(), seen)


def test_a_counter_set_back_by_a_restart_goes_on_from_zero():
    """Counters restart with the agent."""
    assert growth([100, 110, 3, 5]) == 10 + 3 + 2


def test_the_table_shows_what_moved_first():
    """An agent we never heard of still shows which of its numbers run."""
    seen = evidence_of(TARGET, (0.0, 2.0), scrapes(page(0, 0, 10), page(220, 8, 14)))
    assert [row["change_per_s"] for row in seen.tables["values"]] == [220, 8, 4]


def test_without_an_address_the_answer_is_unknown_not_no():
    """The profile may just not know it; the option url still serves."""
    assert AgentMetrics().supported(Target(name="a", ref="a")).answer == "unknown"
