"""What the page shows and takes: runs, questions, links, leases, starting, the audit, files."""

import re

import msgspec
import pytest

from engine.server import messages as m
from tests.engine.server.canned import Canned, Served, digest, waiting_run
from tests.engine.server.visitor import Visitor
from tests.samples import runs as samples

WAITS, ASKS = "20261122-0305-events-dropped-w4it", "20261122-0306-memory-leak-a5kd"
FIXED, LINK = "20261122-0301-events-dropped-k3f9", "/links/good-link"


@pytest.fixture
def served():
    with Served(Canned().fill()) as one:
        yield one


@pytest.fixture
def anna(served):
    visitor = Visitor(served.port)
    visitor.log_in("anna")
    return visitor


def test_runs_that_wait_stand_first_and_in_the_title(anna):
    """Whoever has the page open among twenty others sees that somebody is wanted."""
    answer = anna.get("/")
    assert "<title>(2) Runs</title>" in answer.text
    ids = re.findall(r'id="run-([^"]+)"', answer.text)
    assert set(ids[:2]) == {WAITS, ASKS}
    assert len(ids) == len(set(ids)) == 10


def test_hundreds_of_runs_come_by_pages(served, anna):
    """Each once, none left out."""
    served.call(lambda: served.worker.crowd(120))
    path, seen = "/", []
    while path:
        answer = anna.get(path)
        seen += [
            one for one in re.findall(r'id="run-([^"]+)"', answer.text) if one not in seen or path != "/"
        ]
        onward = [one for one in answer.markup.all("a") if one.get("rel") == "next"]
        path = onward[0]["href"] if onward else ""
    assert len(seen) == len(set(seen)) == 130


def test_a_filter_that_nothing_fits_says_so(anna):
    """An empty page would look like a broken one."""
    assert "No run fits" in anna.get("/?target=none").markup.words


def test_a_question_shows_all_that_a_yes_is_about(anna):
    """Plan, reason, prediction, risk, cost, loss, age, who asks, until when."""
    words = anna.get(f"/runs/{WAITS}").markup.words
    for told in (
        "256 KiB", "2 MiB", "/etc/lab-agent.yaml: ring.size", "flow.fill_peak", "≤ 50 %", "+1.75 MiB",
        "events between the old and the new ring", "the policy asks for changes that need a reload",
        "min ago", "left", "for 10 min after it is given", "kill -HUP 4711", "3 guards agree",
    ):  # fmt: skip
        assert told in words


def test_a_yes_goes_to_the_worker_with_what_was_looked_at(served, anna):
    """The digest of the form, the comment, and nobody's word but the worker's on what came of it."""
    gone = anna.submit(
        f"/runs/{WAITS}", f"/runs/{WAITS}/rule", answer="approved", digest=digest(WAITS), comment=" fine \n"
    )
    assert (gone.status, gone.headers["location"]) == (303, f"/runs/{WAITS}")
    assert served.worker.asked == [m.Rule(run=WAITS, digest=digest(WAITS), answer="approved", comment="fine")]
    assert "Approved; the run goes on." in anna.get(f"/runs/{WAITS}").markup.words
    assert "Approved; the run goes on." not in anna.get("/").markup.words  # said once


def test_a_no_is_as_easy(served, anna):
    """One press, no second look."""
    anna.submit(f"/runs/{WAITS}", f"/runs/{WAITS}/rule", answer="denied", digest=digest(WAITS))
    assert served.worker.asked[0].answer == "denied"


def test_a_yes_to_another_plan_is_told_to_look_again(served, anna):
    """The page was open while the plan changed."""
    answer = anna.submit(f"/runs/{WAITS}", f"/runs/{WAITS}/rule", answer="approved", digest="0" * 64)
    assert answer.status == 409
    assert "changed since it was looked at" in answer.markup.words


def test_high_risk_is_looked_at_twice(served, anna):
    """Also without a script: the first press shows it once more."""
    plan = msgspec.structs.replace(samples.RING_PLAN, risk="high")
    name = "20261122-0310-events-dropped-high"
    served.call(lambda: served.worker.add(waiting_run(served.worker.now - 60, plan, name), "waiting"))
    fields = {"answer": "approved", "digest": digest(name), "comment": "go"}
    sure = anna.submit(f"/runs/{name}", f"/runs/{name}/rule", **fields)
    assert (sure.status, served.worker.asked) == (200, [])
    held = {one["name"]: one.get("value", "") for one in sure.markup.all("input") if "name" in one}
    assert anna.post(f"/runs/{name}/rule", held).status == 303
    assert served.worker.asked == [m.Rule(run=name, digest=digest(name), answer="approved", comment="go")]


def test_a_runbooks_question_is_a_form_of_typed_fields(served, anna):
    """Choices, bounds, defaults with their units, help."""
    page = anna.get(f"/runs/{ASKS}")
    fields = {
        one["name"]: one for one in page.markup.all("input") if one.get("name", "").startswith("answer.")
    }
    assert fields["answer.patience"]["value"] == "30 s"
    assert (fields["answer.batches"]["min"], fields["answer.batches"]["max"]) == ("1", "10")
    assert [one.get("value") for one in page.markup.all("option")] == ["", "now", "tonight", "never"]
    for told in ("the moment that suits", "from 5 s up to 10 min", "the owner of the agent"):
        assert told in page.markup.words
    answers = {"answer.when": "now", "answer.patience": "30 s", "answer.batches": "2", "answer.drain": "yes"}
    anna.post(f"/runs/{ASKS}/reply", answers | {"step": "4", "form": page.token, "comment": "ok"})
    values = {"when": "now", "patience": "30 s", "batches": "2", "drain": "yes"}
    assert served.worker.asked == [m.Reply(run=ASKS, step="4", values=values, comment="ok")]


def test_a_wrong_answer_comes_back_with_what_was_written(anna):
    """Nobody types it all again."""
    answers = {"answer.when": "tonight", "answer.patience": "soon", "step": "4"}
    answer = anna.submit(f"/runs/{ASKS}", f"/runs/{ASKS}/reply", **answers)
    assert answer.status == 400
    assert "is no duration" in answer.markup.words
    assert (
        next(one for one in answer.markup.all("input") if one.get("name") == "answer.patience")["value"]
        == "soon"
    )
    assert 'value="tonight" selected' in answer.text


def test_a_link_shows_the_question_without_a_login_and_is_answered_by_a_form(served):
    """By whom it was sent to; looking at it, as a mail scanner does, answers nothing."""
    somebody = Visitor(served.port)
    page = somebody.get(LINK)
    assert "You answer as anna" in page.markup.words
    assert not served.worker.asked
    fields = {"answer": "approved", "digest": digest(WAITS), "form": page.token, "comment": ""}
    done = somebody.post(LINK, fields)
    assert done.status == 200
    assert "Approved; the run goes on." in done.markup.words
    assert served.worker.asked[0].link == "good-link"


def test_a_link_shows_a_runbooks_question_and_takes_its_answer(served):
    """Typed fields as on the page; what was wrong comes back with what was written."""
    somebody = Visitor(served.port)
    page = somebody.get("/links/ask-link")
    assert "You answer as anna" in page.markup.words
    held = {one["name"]: one.get("value", "") for one in page.markup.all("input") if "name" in one}
    answers = {"answer.when": "now", "answer.patience": "soon", "answer.batches": "2", "answer.drain": "yes"}
    fields = {"step": held["step"], "digest": held["digest"], "form": page.token}
    wrong = somebody.post("/links/ask-link", fields | answers)
    assert wrong.status == 400
    assert "is no duration" in wrong.markup.words
    assert 'value="soon"' in wrong.text
    done = somebody.post("/links/ask-link", fields | answers | {"answer.patience": "30 s"})
    assert (done.status, "Answered; the run goes on." in done.markup.words) == (200, True)
    reply = served.worker.asked[-1]
    assert (reply.link, reply.digest, reply.values["patience"]) == ("ask-link", held["digest"], "30 s")


def test_a_link_that_is_not_ours_says_what_to_do(served):
    """It may have been cut by a mail program."""
    answer = Visitor(served.port).get("/links/cut-off")
    assert answer.status == 400
    assert "not all of it has arrived" in answer.markup.words


def test_a_run_that_ended_shows_what_was_promised_beside_what_came(anna):
    """Goal before and after, predictions and measurements, what it cost, what can be taken back."""
    words = " ".join(anna.get(f"/runs/{FIXED}").markup.words.split())
    for told in (
        "4,330/s → 0/s",
        "as predicted",
        "missed",
        "44.5 %",
        "610 ms CPU",
        "Undo 1 change",
        "kept",
        "undone",
    ):
        assert told in words


def test_a_run_that_goes_on_is_looked_at_again_without_a_script(served, anna):
    """And one that has ended is not."""
    started = anna.submit("/start", "/start", runbook="events-dropped", target="lab")
    path = started.headers["location"]
    assert '<noscript><meta http-equiv="refresh"' in anna.get(path).text
    assert 'http-equiv="refresh"' not in anna.get(f"/runs/{FIXED}").text


def test_a_run_is_started_as_a_dry_run_unless_somebody_says_otherwise(served, anna):
    """Also by a form that says nothing of it."""
    anna.submit("/start", "/start", runbook="events-dropped", target="lab", further="window=5s\n\nmode = x=y")
    anna.submit("/start", "/start", runbook="high-cpu", real="yes", **{"input.a": "1"})
    assert served.worker.asked == [
        m.StartRun(
            runbook="events-dropped", target="lab", inputs={"window": "5s", "mode": "x=y"}, dry_run=True
        ),
        m.StartRun(runbook="high-cpu", inputs={"a": "1"}),
    ]


def test_what_could_not_be_started_comes_back_with_the_reason(anna):
    """In the form, with what was written."""
    answer = anna.submit("/start", "/start", runbook="events-dropped", target="nobody", further="window=5s")
    assert answer.status == 400
    assert "no agent named 'nobody' runs here" in answer.markup.words
    assert "window=5s" in answer.markup.words


def test_the_same_run_again_brings_its_inputs_along(anna):
    """As somebody would write them."""
    words = anna.get(f"/start?again={FIXED}").markup.words
    assert "memory_limit=67108864" in words
    assert "window=10.0" in words


@pytest.mark.parametrize(("do", "path"), [("stop", WAITS), ("undo", FIXED)])
def test_a_run_is_stopped_and_undone_by_a_form(served, anna, do, path):
    """And one is back at the run, with what came of it."""
    gone = anna.submit(f"/runs/{path}", f"/runs/{path}/{do}")
    assert gone.headers["location"] == f"/runs/{path}"
    assert served.worker.asked[0].run == path


def test_a_lease_is_extended_ended_and_kept(served, anna):
    """Kept: the lines for the configuration are there to copy."""
    run = "20261122-0250-events-dropped-l3as"
    common = {"run": run, "attempt": "2"}
    anna.submit("/leases", "/leases", do="extend", seconds="3600", **common)
    anna.submit("/leases", "/leases", do="end", **common)
    kept = anna.submit("/leases", "/leases", do="keep", **common)
    assert [(one.do, one.seconds) for one in served.worker.asked] == [
        ("extend", 3600),
        ("end", 0),
        ("keep", 0),
    ]
    assert "sample: 10" in kept.markup.words
    seconds = ("nan x", "nan", "inf", "1e999")
    wrong = [
        {"do": "x"},
        {"do": "end", "attempt": "-1"},
        *({"do": "extend", "seconds": one} for one in seconds),
    ]
    assert {anna.submit("/leases", "/leases", **(common | one)).status for one in wrong} == {400}


def test_an_alert_shows_why_it_was_decided_so(anna):
    """Each runbook that was considered, each guard with its numbers."""
    words = anna.get("/alerts/4f1c9f0e7b3a4a21").markup.words
    for told in (
        "3 runbooks were considered, 1 fits",
        "as its trigger wants",
        "does not fit",
        "cooldown_s = 10 min",
    ):
        assert told in words
    assert anna.get("/alerts/unknown").status == 404


def test_the_audit_is_searched_and_taken_along(anna):
    """The files hold the rows that were searched for."""
    assert "Refused: a freeze window" in anna.get("/audit?text=freeze&since=always").markup.words
    rows = msgspec.json.decode(anna.get("/audit.json?text=freeze").raw)
    assert [row["state"] for row in rows] == ["refused"]
    table = anna.get("/audit.csv?text=freeze").text.splitlines()
    assert len(table) == 2
    assert anna.get("/audit.html").headers["content-disposition"].endswith('.html"')
    assert {anna.get(path).status for path in ("/audit.exe", "/audit?from=soon")} == {400}


@pytest.mark.parametrize("form", ["html", "md", "txt", "json"])
def test_a_report_is_taken_along_in_every_form(anna, form):
    """As ``runbook report`` writes it."""
    answer = anna.get(f"/runs/{FIXED}/report.{form}")
    assert answer.status == 200
    assert "ring-buffer-size" in answer.text


def test_files_are_kept_by_browsers_and_never_old(anna):
    """Their names change with what they hold; nothing else in that directory is served."""
    sheet = anna.get("/").markup.all("link")[1]["href"]
    assert "immutable" in anna.get(sheet).headers["cache-control"]
    stale = "/".join([*sheet.split("/")[:2], "0000000000", "page.css"])
    assert anna.get(stale).headers["cache-control"] == "no-cache"
    outside = ("/static/x/..%2fdesk.py", "/static/x/%2e%2e/desk.py", "/static/x/desk.py", "/static/x/%00")
    assert {anna.get(path).status for path in outside} == {404}


def test_only_what_changes_is_drawn_for_the_live_page(anna):
    """Its script asks every time something happens."""
    whole, parts = anna.get(f"/runs/{FIXED}"), anna.get(f"/runs/{FIXED}", X_Parts="live")
    assert "<svg xmlns" in whole.text
    assert "<svg xmlns" not in parts.text
    assert "data-live" in parts.text


def test_numbers_for_the_charts_are_those_of_the_report(anna):
    """The same frames in the same order, thinned, with the changes marked."""
    told = msgspec.json.decode(anna.get(f"/runs/{FIXED}/series").raw)
    titles = [frame["title"] for frame in told["frames"]]
    assert titles[:3] == ["Fill of the ring buffer", "Events lost", "Events in and out"]
    assert [mark["number"] for mark in told["marks"]] == [1, 2]
    assert all(
        len(window) < 1000
        for frame in told["frames"]
        for curve in frame["curves"]
        for window in curve["windows"]
    )
