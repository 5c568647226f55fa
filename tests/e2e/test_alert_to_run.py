"""An agent loses events; Prometheus and Alertmanager tell ``runbook serve``; the runbook does the rest.

Four ways: by the policy alone, approved, denied, expired. Nobody types anything but the answer.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.alerting import AlertPath, first, matches, missing
from tests.serving import open_directory

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(bool(missing()), reason=f"not unpacked (tools/setup.sh tests): {missing()}"),
]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
AUTO = {"risk": {"low": "auto", "medium": "ask"}}
ASK = {"risk": {"low": "ask", "medium": "ask"}}

Begun = Callable[..., AlertPath]


@pytest.fixture
def begun() -> Iterator[Begun]:
    """Start all of it under a policy."""
    with ExitStack() as stack:
        home = stack.enter_context(open_directory())
        yield lambda policy, **settings: stack.enter_context(AlertPath(home, policy, settings))


def outcome(events: list[dict[str, Any]]) -> str:
    return next(str(event["outcome"]) for event in reversed(events) if event["kind"] == "ended")


def ruled(events: list[dict[str, Any]]) -> list[str]:
    return [str(event["answer"]) for event in events if event["kind"] == "ruled"]


def mended(path: AlertPath, run: str) -> list[dict[str, Any]]:
    """The run's events at its end; the trouble is over, and the news of it has come."""
    changed = first(path.comes_to(run, "ended"), "applied")
    assert changed is not None
    events = path.hears(run, "alerted", after=changed, did="resolved")
    assert outcome(events) == "fixed"
    goals = [event for event in events if event["kind"] == "goal-measured"]
    assert goals[-1]["values"]["flow.dropped_per_s"] == 0
    assert any(matches(event, "settled", {"state": "kept"}) for event in events)
    return events


def test_by_the_policy_alone(begun: Begun):
    """Alert, webhook, run, change, no more drops, resolved: nobody was there."""
    path = begun(AUTO)
    row = path.alert()
    events = mended(path, row.run)
    assert not any(event["kind"] == "requested" for event in events)
    report = path.serving.command("report", row.run, "--format", "md").stdout
    assert "resolved" in report


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_by_a_yes_given_in_a_browser(begun: Begun):
    """It waits with its plan on the page; a person's yes carries out that plan and no other."""
    browsing = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = begun(ASK)
    path.serving.add_person("anna", "correct horse", "approver")
    row = path.alert()
    waiting = path.comes_to(row.run, "waiting")
    assert not any(event["kind"] == "intended" for event in waiting)
    with browsing.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(base_url=path.serving.url)
        page.goto(f"/login?next=/runs/{row.run}")
        page.fill("[name=user]", "anna")
        page.fill("[name=password]", "correct horse")
        page.press("[name=password]", "Enter")
        page.get_by_role("heading", name="ring-buffer-size").first.wait_for()
        page.fill("[name=comment]", "seen")
        page.get_by_role("button", name="Approve").click()
        path.hears(row.run, "ruled", answer="approved")
        events = mended(path, row.run)
        page.get_by_role("heading", name="Fixed").first.wait_for()
        browser.close()
    answers = [event for event in events if event["kind"] == "ruled"]
    assert [(one["answer"], one["by"], one["comment"], one["via"]) for one in answers] == [
        ("approved", "anna", "seen", "page")
    ]


def test_a_no_changes_nothing(begun: Begun):
    """The run ends, with who said no and why; the agent's settings are as before."""
    path = begun(ASK)
    row = path.alert()
    before = Path(path.agent.config_file).read_bytes()
    path.comes_to(row.run, "waiting")
    done = path.serving.command("deny", row.run, "--comment", "not tonight")
    assert done.returncode in {0, 1, 3}, done.stderr
    events = path.comes_to(row.run, "ended")
    assert ruled(events) == ["denied"], [event["kind"] for event in events]
    assert not any(event["kind"] == "intended" for event in events)
    assert Path(path.agent.config_file).read_bytes() == before


def test_no_answer_in_time_is_a_no(begun: Begun):
    """Nobody comes: the run ends as refused by itself, and a late yes changes nothing."""
    path = begun({**ASK, "approval": {"expires": "3s"}})
    row = path.alert()
    before = Path(path.agent.config_file).read_bytes()
    path.comes_to(row.run, "waiting")
    events = path.comes_to(row.run, "ended", within=60)
    assert outcome(events) == "refused"
    assert ruled(events) == ["expired"], [event["kind"] for event in events]
    assert path.serving.command("approve", row.run).returncode != 0
    assert Path(path.agent.config_file).read_bytes() == before
