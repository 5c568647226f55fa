"""What ``runbook lab list`` shows."""

from __future__ import annotations

from bpf.lab.instances import Instance
from bpf.lab.rates import measure


def test_an_agent_that_has_ended_is_listed_as_such_without_numbers():
    """A list that hides a dead agent would hide why nothing works; a made-up zero would be worse."""
    gone = Instance(
        name="burst",
        fault="burst",
        directory="/nowhere",
        config_file="/nowhere/config.yaml",
        log_file="/nowhere/agent.log",
        metrics_url="http://127.0.0.1:1/metrics",
        health_url="http://127.0.0.1:1/healthz",
        pid=1,
        started_ticks=2**60,
    )
    rows = measure([gone], sleep=lambda _: None, monotonic=lambda: 0.0)
    assert rows.rows[0].events_per_s is None
    assert "ended" in rows.as_text()
    assert '"dropped_per_s": null' in rows.as_json()


def test_an_empty_list_says_how_to_start_one():
    """The next step stands where an operator looks."""
    assert "runbook lab start" in measure([]).as_text()
