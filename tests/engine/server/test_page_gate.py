"""Who gets in, and which forms count: logins, roles, origins, tokens, headers."""

import pytest

from engine.server import messages as m
from engine.server.page.desk import for_people
from engine.server.settings import Listen, People, Settings
from tests.engine.server.canned import Canned, Served, digest
from tests.engine.server.visitor import Visitor

WAITS = "20261122-0305-events-dropped-w4it"
YES = {"answer": "approved", "digest": digest(WAITS)}
PATHS = ("/", f"/runs/{WAITS}", "/alerts", "/targets", "/leases", "/audit", "/start")


@pytest.fixture
def served():
    with Served(Canned().fill()) as one:
        yield one


@pytest.fixture
def anna(served):
    visitor = Visitor(served.port)
    visitor.log_in("anna")
    return visitor


def test_who_is_not_logged_in_is_asked_to_and_comes_back(served):
    """After the login one is where one wanted to be."""
    visitor = Visitor(served.port)
    gone = visitor.get(f"/runs/{WAITS}?x=1")
    assert gone.status == 303
    login = visitor.get(gone.headers["location"])
    onward = next(one["value"] for one in login.markup.all("input") if one.get("name") == "next")
    fields = {"user": "anna", "password": "correct horse", "form": login.token, "next": onward}
    assert visitor.post("/login", fields).headers["location"] == f"/runs/{WAITS}?x=1"


@pytest.mark.parametrize(
    "onward", ["//evil.example", "https://evil.example", "/\\evil.example", "evil", "/\n//e"]
)
def test_a_login_leads_nowhere_else(served, onward):
    """Whoever sends somebody a link to the login must not learn from it, nor lead them astray."""
    visitor = Visitor(served.port)
    token = visitor.get("/login").token
    gone = visitor.post(
        "/login", {"user": "anna", "password": "correct horse", "form": token, "next": onward}
    )
    assert gone.headers["location"] == "/"


def test_a_wrong_password_is_told_and_nothing_else(served):
    """No cookie, no hint whether the name exists."""
    visitor = Visitor(served.port)
    wrong = visitor.log_in("anna", "guess"), visitor.log_in("nobody", "guess")
    assert [one.status for one in wrong] == [401, 401]
    assert "runbook" not in visitor.cookies
    words = [one.markup.words.replace("anna", "X").replace("nobody", "X") for one in wrong]
    assert words[0] == words[1]


def test_the_session_is_out_of_reach_of_scripts_and_other_sites(served):
    """And with TLS it never goes over a line that can be read."""
    visitor = Visitor(served.port)
    cookie = visitor.log_in("anna").headers.get_all("set-cookie")[0]
    assert all(word in cookie for word in ("HttpOnly", "SameSite=strict", "Path=/"))
    assert "Secure" not in cookie
    with Served(Canned(), Settings(listen=Listen(public_url="https://runbook.example.org"))) as secure:
        cookie = Visitor(secure.port).log_in("anna").headers.get_all("set-cookie")[0]
        assert cookie.startswith("__Host-runbook=")
        assert "Secure" in cookie


def test_a_logout_ends_the_session_itself(served, anna):
    """A copied cookie is worth nothing after it."""
    copied = dict(anna.cookies)
    anna.submit("/", "/logout")
    assert not served.worker.tokens
    again = Visitor(served.port)
    again.cookies = copied
    assert again.get("/").status == 303


@pytest.mark.parametrize("path", [*PATHS, "/login", "/nowhere", "/links/good-link"])
def test_every_page_forbids_what_it_does_not_need(anna, path):
    """No inline script, no style, no frame, nothing of another host; nothing is kept by caches."""
    answer = anna.get(path)
    policy = answer.headers["content-security-policy"]
    for rule in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "form-action 'self'",
                 "frame-ancestors 'none'", "base-uri 'none'", "connect-src 'self'"):  # fmt: skip
        assert rule in policy
    assert "unsafe" not in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    markup = answer.markup
    assert not markup.all("style")
    assert not any(
        "style" in facts or any(name.startswith("on") for name in facts) for _, facts in markup.tags
    )
    assert all(one["src"].startswith("/static/") for one in markup.all("script"))


def test_every_form_that_is_posted_holds_the_token(anna):
    """One that was forgotten would not work at all, so it is found here."""
    for path in (*PATHS, "/start?runbook=events-dropped", "/runs/20261122-0301-events-dropped-k3f9"):
        text = anna.get(path).text
        assert text.count('method="post"') == text.count('name="form"')


FOREIGN = (
    {"Sec_Fetch_Site": "cross-site"},
    {"Sec_Fetch_Site": "same-site"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
)


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_form_of_another_site_does_nothing(served, anna, headers):
    """Even with the cookie and the right token."""
    token = anna.get(f"/runs/{WAITS}").token
    answer = anna.post(f"/runs/{WAITS}/rule", YES | {"form": token}, **headers)
    assert answer.status == 403
    assert not served.worker.asked


@pytest.mark.parametrize("token", ["", "0" * 64, "é"])
def test_a_form_without_our_token_does_nothing(served, anna, token):
    """The cookie alone is not enough."""
    assert anna.post(f"/runs/{WAITS}/rule", YES | {"form": token}).status == 403
    assert not served.worker.asked


def test_a_token_of_somebody_else_does_nothing(served, anna):
    """Nor that of a browser without a login."""
    otto = Visitor(served.port)
    otto.log_in("otto")
    for token in (otto.get("/").token, Visitor(served.port).get("/login").token):
        assert anna.post(f"/runs/{WAITS}/rule", YES | {"form": token}).status == 403
    assert not served.worker.asked


def test_a_look_changes_nothing(served, anna):
    """Whatever is fetched ahead, by a browser or a mail scanner, answers no question."""
    for path in (f"/runs/{WAITS}/rule", f"/runs/{WAITS}/stop", "/logout", f"/runs/{WAITS}/undo"):
        assert anna.get(path).status in {404, 405}
    anna.get("/links/good-link?answer=approved&sure=yes")
    assert not served.worker.asked


def test_our_own_address_behind_a_proxy_counts():
    """The proxy speaks https to people and http to us."""
    settings = Settings(listen=Listen(public_url="https://runbook.example.org"))
    with Served(Canned().fill(), settings) as served:
        anna = Visitor(served.port, Origin="https://runbook.example.org")
        anna.log_in("anna")
        assert anna.submit(f"/runs/{WAITS}", f"/runs/{WAITS}/rule", **YES).status == 303


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("x" * 70_000, "application/x-www-form-urlencoded"),
        ("&".join(f"a{i}=1" for i in range(300)), "application/x-www-form-urlencoded"),
        ('{"answer":"approved"}', "application/json"),
        ("\xff\xfe=%zz", "application/x-www-form-urlencoded"),
    ],
)
def test_a_body_that_is_no_form_of_ours_is_refused_kindly(served, anna, body, kind):
    """Large, odd or of another kind: a page says so, nothing is done."""
    answer = anna.send("POST", f"/runs/{WAITS}/rule", body.encode("latin-1"), {"Content-Type": kind})
    assert answer.status in {400, 403}
    assert "<h1" in answer.text
    assert not served.worker.asked


OFFERS = {
    "vera": {"Approve": False, "Stop it": False, "Start": False},
    "otto": {"Approve": False, "Stop it": True, "Start": True},
    "anna": {"Approve": True, "Stop it": True, "Start": True},
}


@pytest.mark.parametrize("user", OFFERS)
def test_what_one_may_not_do_is_not_offered(served, user):
    """A button that says no when it is pressed is a lie."""
    visitor = Visitor(served.port)
    visitor.log_in(user)
    words = visitor.get(f"/runs/{WAITS}").markup.words
    assert {word: word in words for word in OFFERS[user]} == OFFERS[user]


@pytest.mark.parametrize(
    ("user", "path", "fields"),
    [
        ("vera", "/leases", {"run": "x", "attempt": "2", "do": "end"}),
        ("vera", f"/runs/{WAITS}/stop", {}),
        ("otto", f"/runs/{WAITS}/rule", YES),
        ("vera", "/start", {"runbook": "events-dropped"}),
    ],
)
def test_what_one_may_not_do_is_refused_kindly(served, user, path, fields):
    """By the worker, whatever the page offered; said on a page."""
    visitor = Visitor(served.port)
    visitor.log_in(user)
    answer = visitor.submit("/", path, **fields)
    assert answer.status == 403
    assert "needs the role" in answer.markup.words
    assert not served.worker.asked


def test_where_everybody_may_look_nobody_needs_a_login():
    """A wall display; what changes something is not there."""
    with Served(Canned().fill(), Settings(people=People(anonymous="viewer"))) as served:
        served.worker.tokens[""] = "vera"
        words = Visitor(served.port).get(f"/runs/{WAITS}").markup.words
        assert "ring-buffer-size" in words
        assert "Approve" not in words
        assert "Log in" in words


def test_a_click_on_another_site_finds_the_login_again(served, anna):
    """A strict cookie does not come along from a chat; the page looks once more from here."""
    cookies, anna.cookies = anna.cookies, {}
    first = anna.get(f"/runs/{WAITS}", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate")
    again = next(one["content"] for one in first.markup.all("meta") if one.get("http-equiv") == "refresh")
    anna.cookies = cookies
    path = again.partition("url=")[2]
    assert anna.get(path, Sec_Fetch_Site="same-origin").status == 200
    anna.cookies = {}
    assert anna.get(path, Sec_Fetch_Site="cross-site").status == 303  # and does not look for ever


def test_without_a_worker_people_are_told_what_to_do(served, anna):
    """A page of ours, not the browser's."""
    served.cut()
    answer = anna.get("/")
    assert answer.status == 503
    assert "systemctl start runbook-worker" in answer.markup.words
    assert answer.headers["retry-after"]


def test_a_worker_that_speaks_another_language_is_an_error_with_a_way_out(served, anna):
    """The two parts may be of different versions for a moment."""
    served.worker._look = lambda _request: m.Done(sentence="what?")
    answer = anna.get("/targets")
    assert answer.status == 500
    assert "restart both" in answer.markup.words


class Refusing(Canned):
    """A worker that answers one kind of request in its own way."""

    def __init__(self, kind, answer):
        super().__init__()
        self.kind, self.given = kind, answer

    def _one(self, request, token):
        return self.given if isinstance(request, self.kind) else super()._one(request, token)


def test_who_tried_too_often_is_told_when_to_come_again():
    """Programs and people: 429 with `Retry-After`, and the sentence."""
    no = m.No(problem="too many failed logins", fix="try again in 2 min", why="later", retry_after_s=90.4)
    with Served(Refusing(m.Login, no), Settings()) as served:
        visitor = Visitor(served.port)
        fields = {"user": "anna", "password": "x", "form": visitor.get("/login").token}
        answer = visitor.post("/login", fields)
        assert answer.status == 429
        assert answer.headers["retry-after"] == "90"
        assert "Too many failed logins" in answer.markup.words


def test_while_the_worker_can_not_look_somebody_up_nobody_is_sent_to_the_login():
    """They are logged in; the page says that it is busy."""
    with Served(Refusing(m.WhoAmI, m.Busy(because="the queue is locked")), Settings()) as served:
        answer = Visitor(served.port).get("/")
        assert answer.status == 503
        assert "queue is locked" in answer.markup.words


def test_a_way_out_on_the_host_is_somebody_elses_to_go():
    """People who look at the page may have no shell there."""
    assert for_people("runbook report X") == "ask whoever runs this host: runbook report X"
    assert for_people("open it again") == "open it again"


def test_with_tls_a_browser_comes_back_by_tls_only():
    """And without, nothing of it is said: a browser would never reach it again."""
    secure = Settings(listen=Listen(public_url="https://runbook.example.org"))
    for settings, said in ((secure, True), (Settings(), False)):
        with Served(Canned(), settings) as served:
            answer = Visitor(served.port).get("/login")
            assert ("strict-transport-security" in answer.headers) is said
