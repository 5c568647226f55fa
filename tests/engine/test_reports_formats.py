"""Reports in all four formats."""

import json
from html.parser import HTMLParser

import msgspec
import pytest

from engine import record, reports
from engine.errors import UsageError
from engine.reports import json as machine
from tests.samples import runs

ALL = ("html", "markdown", "text", "json")


class Tags(HTMLParser):
    """The tags and addresses of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in {"href", "src", "srcset", "action"}]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("make", [runs.burst_run, runs.rehearsal_run, runs.killed_run, runs.hostile_run])
def test_every_run_can_be_told_in_every_format(make, name):
    """A report is wanted most when the run went wrong."""
    assert reports.render(make(), name)


@pytest.mark.parametrize("name", ["html", "markdown", "text"])
def test_outcome_cause_changes_proof_and_undo_are_all_told(name):
    """These five are what a report is for."""
    told = reports.render(runs.burst_run(), name)
    for words in (
        "none for",
        "256 KiB",
        "2 MiB",
        "44.5 %",
        "undone",
        "runbook undo 20261122-0301-events-dropped-k3f9",
    ):
        assert words in told
    assert "burst" in told


def test_the_page_stands_alone_and_runs_no_script():
    """It is mailed, archived and opened on machines without a network."""
    page = Tags(reports.render(runs.burst_run(), "html"))
    assert page.addresses == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)


def test_text_from_outside_is_never_markup_in_the_page():
    """An alert's label must not become part of the page."""
    page = reports.render(runs.hostile_run(), "html")
    assert "script" not in Tags(page).tags
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize("name", ["text", "markdown"])
def test_text_from_outside_can_not_steer_a_terminal(name):
    """`runbook report | less -R` must stay harmless."""
    assert "\x1b" not in reports.render(runs.hostile_run(), name)


def test_markdown_from_outside_is_escaped():
    """A link or an HTML tag in a label must not appear in a ticket."""
    told = reports.render(runs.hostile_run(), "markdown")
    outside_code = [part for index, part in enumerate(told.split("``")) if index % 2 == 0]
    assert all("<script>" not in part.replace("\\<script\\>", "") for part in outside_code)


def test_json_holds_the_record_itself_and_the_exit_code():
    """Machines read numbers, not sentences."""
    told = json.loads(reports.render(runs.burst_run(), "json"))
    assert (told["outcome"], told["exit_code"], told["ended_at"]) == ("fixed", 0, "2026-11-22T03:02:18Z")
    assert [change["state"] for change in told["changes"]] == ["undone", "kept"]
    assert told["events"][0]["kind"] == "target-found"


def test_a_signal_decides_the_exit_code():
    """Scripts tell Ctrl-C (130) from SIGTERM (143)."""
    run = runs.killed_run()
    assert machine.exit_code(run) == 130
    stopped = run.__class__(head=runs.head(outcome="interrupted", signal=15), events=run.events)
    assert machine.exit_code(stopped) == 143


def test_a_dry_run_says_that_nothing_was_changed_and_offers_no_undo():
    """The change board must not take a plan for a deed."""
    told = reports.render(runs.rehearsal_run(), "text")
    assert "nothing was changed" in told
    assert "runbook undo" not in told


def test_a_report_path_that_can_not_be_written_is_refused_with_the_way_out(tmp_path):
    """Found before the run starts, not after a minute of measuring."""
    with pytest.raises(UsageError, match="no directory") as refused:
        reports.check_writable(tmp_path / "missing" / "r.html")
    assert refused.value.fix.startswith("mkdir -p")
    (tmp_path / "d.html").mkdir()
    with pytest.raises(UsageError, match="is a directory"):
        reports.check_writable(tmp_path / "d.html")
    with pytest.raises(UsageError, match="does not say which kind"):
        reports.check_writable(tmp_path / "report.pdf")
    reports.check_writable(tmp_path / "report.html")


def test_a_report_is_written_whole_or_not_at_all(tmp_path):
    """A reader never meets half a page, and no draft is left behind."""
    place = tmp_path / "report.md"
    reports.write(runs.burst_run(), place)
    assert place.read_text().startswith("# Fixed")
    assert [item.name for item in tmp_path.iterdir()] == ["report.md"]


def test_a_format_has_one_name_and_short_forms():
    """`--format md` is what people type."""
    assert reports.format_named("MD") == "markdown"
    with pytest.raises(UsageError, match="no report format"):
        reports.format_named("pdf")


def test_only_numbers_keep_to_one_line_in_the_evidence():
    """On a phone a long text that may not wrap leaves one letter's width for the names."""
    report = reports.render(runs.burst_run(), "html")
    assert '<td class="word">bursts</td>' in report
    assert '<td class="number">256 KiB</td>' in report


def test_a_goal_about_a_sum_shows_the_sum():
    """The agent's own CPU alone would tell half of what the goal is about."""
    run = runs.burst_run()
    events = [
        msgspec.structs.replace(
            event,
            condition="a.cpu_cores + b.cpu_cores < inputs.most",
            values={"a.cpu_cores": 0.25, "b.cpu_cores": 0.5},
        )
        if isinstance(event, record.GoalMeasured)
        else event
        for event in run.events
    ]
    assert "0.75 cores" in reports.render(msgspec.structs.replace(run, events=tuple(events)), "html")
