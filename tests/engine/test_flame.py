"""Flame graphs and files of folded stacks."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest

from engine import record
from engine.errors import UsageError
from engine.reports import flame, folded, html
from engine.values import Evidence
from tests.samples import runs

STACKS = {
    "reader;main;poll": 10,
    "reader;main;parse;memcpy": 60,
    "reader;main;read;copy_[k]": 20,
    "web (other process);bpf_prog_0123456789abcdef_on_event;lookup_[k]": 10,
}


def look(stacks: dict[str, int], at: float = runs.START + 3) -> Evidence:
    return Evidence(
        probe="cpu-profile",
        short="profile",
        target="lab",
        started_at=at,
        ended_at=at + 10,
        tables={
            "functions": (
                {
                    "function": "memcpy",
                    "module": "libc",
                    "kind": "user",
                    "self_share": 0.6,
                    "total_share": 0.6,
                },
            ),
            "stacks": tuple({"folded": stack, "samples": samples} for stack, samples in stacks.items()),
        },
    )


def run_with(*looks: Evidence) -> record.Run:
    """The sample run, with looks at stacks in it."""
    whole = runs.burst_run()
    events = list(whole.events)
    place = next(index for index, event in enumerate(events) if isinstance(event, record.Seen))
    more = [msgspec.structs.replace(events[place], evidence=seen) for seen in looks]
    return msgspec.structs.replace(whole, events=(*events[:place], *more, *events[place:]))


class Boxes(HTMLParser):
    """Name → (left, width, class) of each box."""

    def __init__(self, page):
        super().__init__()
        self.found, self.tags, self._open = {}, [], None
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        attributes = dict(attrs)
        if "box" in attributes.get("class", "").split():
            self._open = attributes

    def handle_data(self, data):
        if self._open is not None:
            left, width = re.findall(r"([\d.]+)%", self._open["style"])
            self.found[data] = (float(left), float(width), self._open["class"].split()[1])
            self._open = None


def test_every_box_is_as_wide_as_its_share():
    """The picture is read by eye: width is the message."""
    (drawn,) = flame.draw([look(STACKS)])
    boxes = Boxes(drawn.boxes).found
    assert boxes["all"][:2] == (0, 100)
    assert boxes["main"][:2] == (0, 90)
    assert boxes["memcpy"] == (0, 60, "user")
    assert boxes["copy"] == (60, 20, "kernel")
    assert boxes["on_event"] == (90, 10, "bpf")
    assert drawn.samples == 100


def test_children_lie_within_their_parents():
    """Else a function seems called by another."""
    (drawn,) = flame.draw([look(STACKS)])
    boxes = Boxes(drawn.boxes).found
    for inner, outer in (("memcpy", "parse"), ("parse", "main"), ("copy", "read"), ("lookup", "on_event")):
        assert boxes[outer][0] <= boxes[inner][0]
        assert sum(boxes[inner][:2]) <= sum(boxes[outer][:2]) + 1e-6


def test_a_functions_name_is_never_markup():
    """Names come from a stranger's binary."""
    (drawn,) = flame.draw([look({f"reader;{runs.EVIL}": 5})])
    assert set(Boxes(drawn.boxes).tags) == {"div"}
    assert "\x1b" not in drawn.boxes


def test_narrow_boxes_are_left_out_and_counted():
    """A graph of a million boxes opens in no browser; what is missing is told."""
    many = {f"reader;f{place}": 1 for place in range(3000)} | {"reader;hot": 7000}
    (drawn,) = flame.draw([look(many)])
    assert drawn.left_out == 3000
    assert drawn.boxes.count("<div") == 3


def test_the_first_and_the_last_look_are_drawn():
    """Before the change, and after it; a goal's looks in between say nothing new."""
    drawn = flame.draw([look(STACKS), look({"a;b": 2}), look({"a;c": 3})])
    assert [each.samples for each in drawn] == [100, 3]


def test_the_page_runs_this_one_script_and_forbids_all_others():
    """Held to its hash by the page itself: a name that became a script would not run."""
    page = html.render(run_with(look(STACKS)))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'" in page
    assert "http" not in scripts[0]
    assert "innerHTML" not in scripts[0]


def test_a_page_without_stacks_has_no_script_and_allows_none():
    """Nothing is brought that is not needed."""
    page = html.render(runs.burst_run())
    assert "<script" not in page
    assert "script-src" not in page


def test_stacks_are_drawn_and_not_listed_beside():
    """Two hundred lines of folded stacks are for machines."""
    page = html.render(run_with(look(STACKS)))
    assert "reader;main" not in page
    assert "Where the CPU went" in page


def test_the_file_is_what_flame_graph_tools_read(tmp_path):
    """One stack a line, a space, its samples."""
    place = tmp_path / "out.folded"
    assert str(place) in folded.write_run(run_with(look(STACKS), look({"a;b": 2})), place)
    lines = place.read_text().splitlines()
    assert dict(line.rsplit(" ", 1) for line in lines) == {name: str(count) for name, count in STACKS.items()}


def test_a_run_without_stacks_writes_no_file_and_says_how_to_get_one(tmp_path):
    """An empty file would be drawn as an empty graph."""
    place = tmp_path / "out.folded"
    with pytest.raises(UsageError, match="cpu-profile"):
        folded.write_run(runs.burst_run(), place)
    with pytest.raises(UsageError):
        folded.write(look({}), place)
    assert not place.exists()


def test_a_file_that_can_not_be_written_leaves_nothing_behind(tmp_path):
    """The old one stays whole, and no draft beside it."""
    with pytest.raises(UsageError, match="name another file"):
        folded.write(look(STACKS), tmp_path / "gone" / "out.folded")
    assert list(tmp_path.iterdir()) == []
