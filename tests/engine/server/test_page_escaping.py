"""Text from outside stays text: markup, quotes, template syntax, control characters, addresses."""

import msgspec
import pytest

from engine import record
from engine.server import messages as m
from engine.server.alerts.alert import Alert
from engine.values import Decision
from tests.engine.server.canned import Canned, Served, asking_run, waiting_run
from tests.engine.server.visitor import Visitor
from tests.samples import runs as samples

EVIL = (
    "</title></textarea></script><script>alert(1)</script><img src=x onerror=alert(1)>"
    "\"' onmouseover=alert(1) x='{{7919*7919}}{% raw %}${7919*7919}#{7919*7919}<!--\x1b[2J\u202e\x00&lt;"
)
HREF = "javascript:alert(1)//http://x"
ALLOWED_HREFS = ("/", "#", "http://", "https://")
RUN, WAITS, ASKS, ALERT = "evil", "evil-waits", "evil-asks", "evil-alert"


#: Words that a program reads: of a closed set, or names that bind one thing to another.
KEPT = {
    "type", "answer", "risk", "state", "outcome", "id", "step", "digest", "phase", "by", "rounding", "per",
    "misfit", "drop_visibility", "counts", "stage", "owner", "level",
}  # fmt: skip


def spoil(value):
    """The same value with every text in it replaced, but for names that programs read."""
    if isinstance(value, msgspec.Struct):
        fields = {name: getattr(value, name) for name in value.__struct_fields__}
        new = {name: one if name in KEPT else spoil(one) for name, one in fields.items()}
        return msgspec.structs.replace(value, **new)
    if isinstance(value, tuple):
        return tuple(spoil(one) for one in value)
    if isinstance(value, dict):
        return {EVIL + str(n): spoil(one) for n, one in enumerate(value.values())}
    return EVIL if isinstance(value, str) else value


def spoiled(run: record.Run, name: str) -> record.Run:
    head = msgspec.structs.replace(
        spoil(run.head), id=name, outcome=run.head.outcome, target_ref="x", runbook_hash="x", alert=ALERT
    )
    return record.Run(head=head, events=tuple(_event(one) for one in run.events))


def _event(event: record.Event) -> record.Event:
    if isinstance(event, record.Requested | record.Ended):
        return event
    if isinstance(event, record.Asked):
        answers = spoil(event.answers)
        return msgspec.structs.replace(event, question=EVIL, who=EVIL, answers=answers)
    if isinstance(
        event, record.TargetFound | record.Seen | record.Decided | record.Told | record.ProbeMissed
    ):
        return spoil(event)
    if isinstance(event, record.Planned):
        return msgspec.structs.replace(event, plan=spoil(event.plan))
    if isinstance(event, record.Judged):
        return msgspec.structs.replace(event, decisions=spoil(event.decisions), by=EVIL)
    return event


@pytest.fixture(scope="module")
def served():
    worker = Canned().fill()
    now = worker.now
    worker.add(spoiled(samples.burst_run(), RUN))
    worker.add(spoiled(waiting_run(now - 60), WAITS), "waiting")
    worker.add(spoiled(asking_run(now - 60), ASKS), "waiting")
    alert = Alert(
        name=EVIL, status="firing", fingerprint=EVIL, starts_at=now, labels={EVIL: EVIL},
        annotations={EVIL: EVIL, "summary": EVIL, "runbook_url": HREF}, url=HREF,
    )  # fmt: skip
    held = Decision(answer="deny", guard=EVIL, because=EVIL, values={EVIL: EVIL})
    trace = (m.Considered(runbook=EVIL, fits=True, because=EVIL, target=EVIL, guards=(held,)),)
    worker.alerts.insert(
        0,
        m.AlertRow(
            id=ALERT, sender=EVIL, alert=alert, received_at=now, seen=2, last_at=now, fate="started",
            because=EVIL, run=RUN, trace=trace,
        ),
    )  # fmt: skip
    worker.targets = (
        m.TargetRow(
            name=EVIL, ref=EVIL, profile=EVIL, health="down", because=EVIL, firing=(EVIL,), last_run=RUN
        ),
    )
    worker.leases = (
        m.LeaseRow(
            run=RUN, attempt=1, target=EVIL, remediation=EVIL, where=EVIL, before=EVIL, after=EVIL,
            until=now + 60, since=now, by=EVIL, lines=EVIL,
        ),
    )  # fmt: skip
    worker.runbooks = (m.RunbookRow(name="evil", summary=EVIL, needs=(EVIL,)),)
    worker.links["evil-link"] = WAITS
    with Served(worker) as one:
        yield one


@pytest.fixture(scope="module")
def anna(served):
    visitor = Visitor(served.port)
    visitor.log_in("anna")
    return visitor


PATHS = (
    "/", f"/runs/{RUN}", f"/runs/{WAITS}", f"/runs/{ASKS}", "/alerts", f"/alerts/{ALERT}", "/targets",
    "/leases",
    "/audit?since=always", "/start?runbook=evil", "/start", f"/start?again={RUN}", "/links/evil-link",
)  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_text_from_outside_is_never_markup(anna, path):
    """Neither a tag, nor an attribute, nor a script, nor a template; control characters are shown."""
    answer = anna.get(path)
    assert answer.status == 200
    assert "alert(1)" in answer.text  # it is shown, as text
    assert "\x1b" not in answer.text
    assert "\u202e" not in answer.text
    assert "62710561" not in answer.text  # nothing reckons with it
    check(answer)


def check(answer):
    markup = answer.markup
    for tag, facts in markup.tags:
        assert tag not in {"img", "iframe", "object", "embed", "base", "style"} or facts.get(
            "src", ""
        ).startswith("/static/")
        assert not any(name.startswith("on") or name == "style" for name in facts)
        for name in ("href", "src", "action", "formaction"):
            assert facts.get(name, "/").startswith(ALLOWED_HREFS)
    assert all(one["src"].startswith("/static/") for one in markup.all("script"))


@pytest.mark.parametrize(
    "path",
    ["/?target={}", "/?outcome={}&runbook={}", "/alerts?name={}&run={}&fate={}", "/audit?text={}&target={}",
     "/login?next=/{}", "/start?target={}&runbook={}", "/runs/{}", "/alerts/{}", "/links/{}", "/{}"],
)  # fmt: skip
def test_what_stands_in_the_address_is_never_markup(anna, path):
    """A link that somebody is sent must not be able to make the page do anything."""
    from urllib.parse import quote  # noqa: PLC0415

    check(anna.get(path.replace("{}", quote(EVIL.replace("\x00", ""), safe=""))))


def test_what_was_written_wrongly_comes_back_as_text(anna):
    """Into the fields of the same form."""
    for evil in (EVIL, "{{7919*7919}}"):
        answer = anna.submit(
            "/start?runbook=evil", "/start", runbook="evil", target="nobody", further=f"x={evil}"
        )
        assert answer.status == 400
        check(answer)
        login = Visitor(anna.port).log_in(evil)
        check(login)


@pytest.mark.parametrize(
    "url", [HREF, "data:text/html,x", "//evil", "ftp://x", "http:", "https://[", " http://x"]
)
def test_an_alerts_address_is_a_link_only_when_it_is_one(served, anna, url):
    """Alerts come from anybody who has the token, and people click at night."""
    row = served.worker.alerts[0]
    served.worker.alerts[0] = msgspec.structs.replace(row, alert=msgspec.structs.replace(row.alert, url=url))
    links = anna.get(f"/alerts/{ALERT}").markup.all("a")
    assert all(one["href"].startswith("/") or one["href"] == "#main" for one in links)


def test_a_link_to_a_sender_takes_nothing_along(served, anna):
    """Not the address of our page, nor a handle on its window."""
    row = served.worker.alerts[0]
    fine = msgspec.structs.replace(row.alert, url="https://prometheus.example.org/graph")
    served.worker.alerts[0] = msgspec.structs.replace(row, alert=fine)
    link = next(one for one in anna.get(f"/alerts/{ALERT}").markup.all("a") if "prometheus" in one["href"])
    assert {"noopener", "noreferrer"} <= set(link["rel"].split())


def test_the_report_can_reach_nothing_of_ours(anna):
    """It is a page of its own origin: no cookie, no request, only its own script by its hash."""
    answer = anna.get(f"/runs/{RUN}/report")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy or "'sha256-" in policy
    assert "<img src=x" not in answer.text


def test_a_file_to_take_along_has_a_harmless_name(anna, served):
    """Whatever a run is called."""
    served.worker.add(samples.burst_run(), "ended")
    answer = anna.get("/runs/20261122-0301-events-dropped-k3f9/report.md")
    assert (
        answer.headers["content-disposition"] == 'attachment; filename="20261122-0301-events-dropped-k3f9.md"'
    )
    assert answer.headers["content-type"].startswith("text/markdown")
