"""The page in a real browser: a person's path, by mouse, by keys, on a phone, in the dark, without scripts.

``RUNBOOK_PICTURES=DIR`` keeps pictures of every stage, to be looked at.
"""

import os
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.engine.server.canned import PASSWORD, Canned, Served, waiting_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
WAITS, ASKS = "20261122-0305-events-dropped-w4it", "20261122-0306-memory-leak-a5kd"
FIXED = "20261122-0301-events-dropped-k3f9"
PATHS = (
    "/", "/?outcome=none", f"/runs/{WAITS}", f"/runs/{ASKS}", f"/runs/{FIXED}", "/alerts", "/leases",
    "/audit", "/links/good-link", "/login",
    "/alerts/4f1c9f0e7b3a4a21", "/targets", "/start", "/start?runbook=kernel-upgrade",
    "/runs/20261121-1101-events-dropped-k1ld",
)  # fmt: skip
LOOKS = [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]

#: What a person with good eyes would notice.
CHECKS = Path(__file__).with_name("page_checks.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chromium():
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def served():
    worker = Canned().fill()
    worker.pace = 25.0
    with Served(worker) as one:
        yield one


class Person:
    """Somebody with a browser; ``troubles``: what its console complained of."""

    def __init__(self, chromium, served, width=1280, scheme="light", **options):
        self.served, self.name = served, f"{width}-{scheme}"
        self.context = chromium.new_context(
            viewport={"width": width, "height": 844 if width < 500 else 900}, color_scheme=scheme,
            device_scale_factor=2 if width < 500 else 1, has_touch=width < 500,
            base_url=f"http://127.0.0.1:{served.port}", **options,
        )  # fmt: skip
        self.page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self.troubles = []
        self.page.on(
            "console",
            lambda said: self.troubles.append(said.text) if said.type in {"error", "warning"} else None,
        )
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))

    def _heard(self, said):
        if said.type in {"error", "warning"}:
            self.troubles.append(said.text)

    def log_in(self, user="anna", onward="/"):
        self.page.goto(f"/login?next={onward}")
        self.page.fill("[name=user]", user)
        self.page.fill("[name=password]", PASSWORD)
        self.page.press("[name=password]", "Enter")
        self.page.wait_for_url(re.compile(f"{re.escape(onward)}$"))
        return self

    def wrong(self, kind):
        return self.page.evaluate(f"() => ({CHECKS}).{kind}()")

    def picture(self, name):
        if directory := os.environ.get("RUNBOOK_PICTURES"):
            Path(directory).mkdir(parents=True, exist_ok=True)
            self.page.screenshot(path=Path(directory) / f"{name}-{self.name}.png", full_page=True)


@pytest.fixture
def person(chromium, served):
    people = []

    def come(**options):
        people.append(Person(chromium, served, **options))
        return people[-1]

    yield come
    for one in people:
        one.context.close()
        assert one.troubles == []


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_a_persons_path(person, width, scheme):
    """Woken, logged in, sees what waits, reads, says yes, watches it go on, sees it end well."""
    anna = person(width=width, scheme=scheme)
    page = anna.page
    page.goto("/")
    anna.picture("1-login")
    anna.log_in()
    page.get_by_text("Live", exact=True).wait_for()
    assert page.title() == "(2) Runs"
    anna.picture("2-list")
    page.locator(f"#run-{WAITS} a").click()
    page.get_by_role("heading", name="ring-buffer-size").first.wait_for()
    anna.picture("3-question")
    page.fill("[name=comment]", "go on, I watch it")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved; the run goes on.").wait_for()
    page.locator("#live-charts svg").first.wait_for()
    anna.picture("4-goes-on")
    page.get_by_role("heading", name="Fixed: a 2 MiB ring").wait_for()
    page.locator("svg.chart").first.wait_for()
    anna.picture("5-ended")
    assert page.locator(".hero .pill").first.text_content() == "fixed"
    assert page.title().startswith("(1) fixed")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("path", PATHS)
def test_everything_can_be_read(person, path, width, scheme):
    """Contrast as WCAG AA wants it, nothing beyond the edge, nothing on top of another, fingers find it."""
    anna = person(width=width, scheme=scheme).log_in()
    anna.page.goto(path)
    anna.page.wait_for_load_state("load")
    anna.picture(re.sub(r"\W+", "-", path).strip("-") or "runs")
    assert anna.wrong("contrast") == []
    assert anna.wrong("cut") == []
    assert anna.wrong("overlap") == []
    assert anna.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert width > 500 or anna.wrong("small") == []


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_hundreds_of_runs_with_long_names_fit(person, served, width):
    """As narrow as a page is when somebody enlarges it four times."""
    served.call(lambda: served.worker.crowd(200))
    anna = person(width=width).log_in()
    anna.page.goto("/?target=a-very-long-agent-name-of-the-observability-platform-team-eu-central-1")
    anna.picture("crowd")
    assert anna.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert anna.wrong("cut") == []
    anna.page.get_by_role("link", name="Older").click()
    anna.page.get_by_role("link", name="Newest").wait_for()
    for path in PATHS:
        anna.page.goto(path)
        assert anna.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), path


def test_the_whole_path_by_keys_alone(person):
    """Without a mouse: skip link, lists, the question, an answer; nothing is a trap."""
    page = person().log_in().page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.textContent") == "events-dropped on lab"
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{WAITS}")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="detached")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "comment":
            break
    page.keyboard.type("gr? a comment with keys in it")  # keys act on nothing while somebody writes
    assert "/runs/" in page.url
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Approve"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("Denied; nothing is changed.").wait_for()
    page.keyboard.press("g")
    page.keyboard.press("a")
    page.wait_for_url("**/alerts")


def test_everything_works_without_scripts(person, served):
    """Also what asks twice, what opens, and what goes on."""
    anna = person(java_script_enabled=False, width=390).log_in()
    page = anna.page
    page.locator(f"#run-{ASKS} a").click()
    page.select_option("[name='answer.when']", "now")
    page.check("[name='answer.drain'][value=yes]")
    page.get_by_role("button", name="Answer").click()
    page.get_by_text("Answered; the run goes on.").wait_for()
    page.goto(f"/runs/{WAITS}")
    anna.picture("no-script")
    page.get_by_role("button", name="Approve").click()
    page.get_by_text("Approved; the run goes on.").wait_for()
    page.get_by_role("heading", name="Fixed: a 2 MiB ring").wait_for()  # it looks again by itself
    page.goto("/leases")
    page.get_by_text("Make permanent").first.click()
    page.get_by_role("button", name="Keep it for good").first.click()
    page.get_by_text("It is permanent now.").wait_for()
    page.goto("/start?runbook=events-dropped")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**/runs/*")
    assert served.worker.asked[-1].dry_run


def test_what_is_written_stays_while_the_page_goes_on(person, served):
    """Another run begins to wait; the comment, the focus and what is open are still there."""
    page = person().log_in(onward=f"/runs/{WAITS}").page
    page.get_by_text("Live", exact=True).wait_for()
    page.get_by_text("3 guards agree").click()
    page.fill("[name=comment]", "half a sen")
    page.focus("[name=comment]")
    new = waiting_run(time.time() - 30, name="20261122-0309-events-dropped-new1")
    served.call(lambda: served.worker.add(new, "waiting"))
    event = new.events[0]
    served.call(lambda: served.worker.happen(WAITS, event))
    playwright.expect(page).to_have_title(re.compile(r"^\(3\)"))
    assert page.input_value("[name=comment]") == "half a sen"
    assert page.evaluate("document.activeElement.name") == "comment"
    assert page.get_by_text("2 MiB is within").first.is_visible()


def test_a_list_hears_of_a_run_that_begins_to_wait(person, served):
    """In the title, in the bar, and at the top of the list, without a reload."""
    page = person().log_in().page
    page.get_by_text("Live", exact=True).wait_for()
    new = waiting_run(time.time() - 30, name="20261122-0309-events-dropped-new1")

    def begin():
        served.worker.add(new, "waiting")
        served.worker._state(new.head.id, "waiting")

    served.call(begin)
    page.locator("#run-20261122-0309-events-dropped-new1").wait_for()
    assert page.title() == "(3) Runs"
    assert "waiting" in page.locator("link[rel=icon]").get_attribute("href")


def test_a_click_in_a_chat_finds_the_login_that_is_there(person, served):
    """The cookie is strict: a click on another site does not bring it, and the page looks once more."""
    page = person().log_in().page
    other = f"http://localhost:{served.port}/static/0/calm.svg"  # another site to the browser
    page.goto(other)
    page.evaluate(f"location.href = 'http://127.0.0.1:{served.port}/runs/{WAITS}'")
    page.get_by_role("button", name="Approve").wait_for()


def test_the_report_is_a_page_of_its_own(person):
    """Its style is there; it can't reach our cookies."""
    anna = person().log_in(onward=f"/runs/{FIXED}")
    anna.page.get_by_role("link", name="Report", exact=True).click()
    anna.page.get_by_text("What could not be seen").wait_for()
    anna.picture("report")
    assert anna.page.evaluate("getComputedStyle(document.querySelector('.hero')).borderTopWidth") == "5px"
    assert anna.page.evaluate("self.origin") == "null"


def test_who_prefers_stillness_gets_it(person):
    """No animation runs."""
    page = person(reduced_motion="reduce").log_in().page
    page.goto("/start?runbook=events-dropped")
    page.get_by_role("button", name="Start", exact=True).click()
    page.locator(".timeline .now").wait_for()
    assert page.evaluate("document.getAnimations().length") == 0


def test_a_failed_page_is_one_of_ours(person, served):
    """What is not there, what one may not, and a worker that is gone."""
    anna = person(width=390, scheme="dark").log_in("vera")
    page = anna.page
    for path, words in (("/nowhere", "There is no such page"), ("/start", "That is not for you to do")):
        page.goto(path)
        page.get_by_role("heading", name=words).wait_for()
    served.cut()
    page.goto("/")
    page.get_by_role("heading", name="The worker can’t be reached").or_(
        page.get_by_role("heading", name="The worker can't be reached")
    ).wait_for()
    anna.picture("no-worker")
    anna.troubles[:] = [one for one in anna.troubles if not re.search(r"status of (404|403|503)", one)]
