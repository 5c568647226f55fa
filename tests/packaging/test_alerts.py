"""The alert rules and the dashboard: each alert starts a runbook, each query asks for what there is."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import catalog
from engine.language import loader
from engine.metering.gathering import OWN

ALERTS = Path(__file__).parents[2] / "runbooks/alerts"
PROMTOOL = Path(__file__).parents[2] / "build/servers/usr/bin/promtool"
DOCS = Path(__file__).parents[2] / "docs"
#: Of others: the scrape itself, kube-state-metrics, and what promtool and Grafana add.
OTHERS = {"up", "kube_daemonset_status_number_unavailable", "ALERTS"}


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((ALERTS / "ebpf-agents.rules.yaml").read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def exported() -> set[str]:
    parts = catalog.installed()
    names = set(OWN) | {"runbook_process_cpu_seconds_total"}
    for name in parts.names("meter"):
        names |= set(parts.load("meter", name).families)
    return names


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_starts_the_runbook_that_it_names(rule):
    """The label `runbook` and the trigger must agree, or nothing starts at night."""
    runbook = loader.load(loader.find(rule["labels"]["runbook"])).document
    triggers = [one for one in runbook.triggers if one.alert == rule["alert"]]
    assert triggers
    severity = rule["labels"]["severity"]
    for matcher in triggers[0].matchers:
        name, pattern = re.fullmatch(r'(\w+)=~"(.*)"', matcher).groups()
        assert re.fullmatch(pattern, {"severity": severity}[name])


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_links_a_page_that_is_there(rule):
    """A dead link at 3 a.m. is worse than none."""
    page = rule["annotations"]["runbook_url"].rpartition("/")[2]
    assert (DOCS / page).is_file()


def test_every_runbook_has_an_alert():
    """What can be seen from outside should call somebody."""
    named = {rule["labels"]["runbook"] for rule in alerts()}
    assert named == {path.stem for path in ALERTS.parent.glob("*.yaml")}


def test_rules_and_dashboard_ask_for_nothing_that_nobody_exports():
    """A query for a series that does not exist is silent for ever."""
    dashboard = json.loads((ALERTS / "dashboard.json").read_text())
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    asked = [rule["expr"] for rule in rules()]
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    known = exported() | OTHERS | recorded
    for query in asked:
        bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^\]]*\]|\b(by|on) \([^)]*\)', " ", query)
        names = set(re.findall(r"[a-zA-Z_][a-zA-Z0-9_:]*_[a-z0-9_:]+|\bup\b", bare))
        functions = {"avg_over_time", "max_over_time", "min_over_time", "predict_linear"}
        assert names - functions <= known, query


@pytest.mark.parametrize("words", [("check", "ebpf-agents.rules.yaml"), ("test", "ebpf-agents.test.yaml")])
def test_promtool_finds_the_rules_right(words):
    """Each alert fires on its trouble and not on what looks alike; promtool judges."""
    if not PROMTOOL.exists():
        pytest.skip("promtool is not unpacked (tools/setup.sh tests)")
    verb, file = words
    told = subprocess.run(
        [PROMTOOL, verb, "rules", ALERTS / file], capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
