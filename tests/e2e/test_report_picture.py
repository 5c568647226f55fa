"""The HTML report as a picture, in a real browser: light, dark, on a phone, on paper."""

import shutil
import struct
import subprocess
import zlib

import pytest

from engine.reports import html
from tests.samples import runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--hide-scrollbars"),
)
LIGHT, DARK = (0xF4, 0xF5, 0xF7), (0x0E, 0x11, 0x16)
DARK_SETTING = "--blink-settings=preferredColorScheme=0"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Picture:
    """A PNG of 8 bits a channel, without interlacing, as Chromium writes it."""

    def __init__(self, raw):
        self.width, self.height, _, colour = struct.unpack(">IIBB", raw[16:26])
        self.bytes_per_pixel = {2: 3, 6: 4}[colour]
        packed, at = b"", 8
        while at < len(raw):
            (size,), kind = struct.unpack(">I", raw[at : at + 4]), raw[at + 4 : at + 8]
            packed += raw[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
            at += size + 12
        self.rows = self._unfilter(zlib.decompress(packed))

    def _unfilter(self, flat):
        wide, step = self.width * self.bytes_per_pixel, self.bytes_per_pixel
        rows, above = [], bytearray(wide)
        for at in range(0, len(flat), wide + 1):
            kind, row = flat[at], bytearray(flat[at + 1 : at + 1 + wide])
            for i in range(wide) if kind else ():
                left, up = (row[i - step] if i >= step else 0), above[i]
                corner = above[i - step] if i >= step else 0
                nearest = min((left, up, corner), key=lambda one: abs(left + up - corner - one))
                row[i] = (row[i] + (0, left, up, (left + up) // 2, nearest)[kind]) & 255
            rows.append(row)
            above = row
        return rows

    def pixel(self, x, y):
        return tuple(self.rows[y][x * self.bytes_per_pixel :][:3])

    def colours(self):
        every = range(0, self.width, 3)
        return {self.pixel(x, y) for y in range(0, self.height, 3) for x in every}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The report of a run with two changes."""
    place = tmp_path_factory.mktemp("report") / "report.html"
    place.write_text(html.render(runs.burst_run()), encoding="utf-8")
    return place


def browse(page, tmp_path, *flags):
    """Let the browser do one thing with the page, with an empty profile."""
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *flags, page.as_uri()]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def picture(page, tmp_path, width, height, *flags):
    shot = tmp_path / "shot.png"
    browse(page, tmp_path, f"--screenshot={shot}", f"--window-size={width},{height}", *flags)
    return Picture(shot.read_bytes())


def test_the_report_is_light_by_day_and_dark_by_night(page, tmp_path):
    """At 3 a.m. a white page hurts; on paper and in the office a dark one does."""
    light = picture(page, tmp_path, 1200, 900)
    dark = picture(page, tmp_path, 1200, 900, "--force-dark-mode", DARK_SETTING)
    assert light.pixel(3, 600) == LIGHT
    assert dark.pixel(3, 600) == DARK


def test_charts_are_drawn_in_their_colours(page, tmp_path):
    """A chart whose style sheet does not reach it is black on black, and nobody notices but the reader."""
    colours = picture(page, tmp_path, 1200, 1300).colours()

    def near(wanted):
        return any(max(abs(a - b) for a, b in zip(wanted, one, strict=True)) < 24 for one in colours)

    assert near((0x7C, 0x4D, 0xD8))  # fill
    assert near((0xD6, 0x3B, 0x41))  # lost
    assert near((0x14, 0x80, 0x4A))  # the outcome's band


def test_on_a_phone_nothing_sticks_out(page, tmp_path):
    """Who is woken looks at the phone first; a page that scrolls sideways is not read."""
    phone = picture(page, tmp_path, 500, 5000)
    edge = {phone.pixel(phone.width - 1 - x, y) for x in range(3) for y in range(0, 4000, 7)}
    assert all(max(abs(a - b) for a, b in zip(LIGHT, one, strict=True)) < 8 for one in edge)  # shadows only


def test_it_prints(page, tmp_path):
    """The change board gets paper."""
    paper = tmp_path / "report.pdf"
    browse(page, tmp_path, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    raw = paper.read_bytes()
    assert raw.startswith(b"%PDF")
    assert 2 <= raw.count(b"/Type /Page\n") + raw.count(b"/Type /Page ") <= 12
