"""Kill -9 of either part of ``runbook serve``, anywhere: no alert lost, no change twice, nothing left open.

A bounded number of kills; ``tools/kill_serve.py`` makes as many as one likes.
"""

from __future__ import annotations

import pytest

from tests.faults.killing import Campaign
from tests.serving import open_directory

pytestmark = pytest.mark.slow

KILLS = 30


def test_kill_9_loses_no_alert_and_changes_nothing_twice():
    """A storm, runs, approvals and leases go on meanwhile; afterwards everything is counted."""
    with open_directory() as home, Campaign(home / "campaign", seed=7) as campaign:
        with campaign.load():
            for _ in range(KILLS):
                campaign.kill_once()
        campaign.settle()
        assert campaign.problems() == []
    assert sum(campaign.kills.values()) >= KILLS * 0.7
    assert len(campaign.taken) > KILLS
