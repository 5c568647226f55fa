"""The flame graph in a real browser: zoomed, walked by keys, searched; and which scripts may run."""

import re
import shutil
import subprocess

import pytest

from engine.reports import html
from tests.engine.test_flame import STACKS, look, run_with

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]
ACTING = """<script>
const said = [], flame = document.querySelector(".flame"), says = flame.querySelector(".says");
const box = (name) => [...flame.querySelectorAll(".box")].find((one) => one.textContent === name);
const key = (name) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", {key: name, bubbles: true}));
box("parse").click();
said.push("zoomed " + box("memcpy").style.width
  + " " + box("main").classList.contains("around") + " " + box("read").hidden);
box("parse").focus(); key("Escape");
said.push("out " + box("read").hidden + " " + box("main").style.width);
key("ArrowDown"); key("ArrowDown"); said.push("down " + document.activeElement.textContent);
key("ArrowUp"); said.push("up " + document.activeElement.textContent);
key("ArrowRight"); said.push("right " + document.activeElement.textContent);
key("/");
const search = document.activeElement; search.value = "COPY"; search.dispatchEvent(new Event("input"));
said.push("found " + says.textContent);
search.value = "m"; search.dispatchEvent(new Event("input"));
said.push("nested " + says.textContent);
document.body.textContent = said.join("|");
</script></body>"""


def seen_in(page, tmp_path):
    """The page as the browser has it once its scripts have run."""
    place = tmp_path / "page.html"
    place.write_text(page, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", place.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def test_boxes_are_zoomed_walked_and_searched(tmp_path):
    """With the mouse, and with the keys alone."""
    page = html.render(run_with(look(STACKS))).replace("</body>", ACTING)
    page = re.sub(r"<meta http-equiv[^>]*>", "", page)  # else the script of this test would not run
    told = re.search(r"<body>(.*?)</body>", seen_in(page, tmp_path), re.DOTALL)[1]
    assert told.strip().split("|") == [
        "zoomed 100% true true",
        "out false 90%",
        "down main",
        "up reader",
        "right web (other process)",
        "found 20.0 % of the samples are in functions with “COPY”",
        "nested 90.0 % of the samples are in functions with “m”",
    ]


def test_the_page_lets_its_own_script_run_and_no_other(tmp_path):
    """What somebody smuggles into a report must stay text, or at least still."""
    smuggled = "<script>document.body.textContent = 'smuggled'</script></body>"
    seen = seen_in(html.render(run_with(look(STACKS))).replace("</body>", smuggled), tmp_path)
    assert '<div class="tools">' in seen  # ours has run
    assert "Where the CPU went" in seen
