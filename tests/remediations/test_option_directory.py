"""Tetragon's way: each option is a file of its own, and its absence is a setting too."""

import json
import os

import pytest

from engine.errors import ChangedSince
from engine.values import Change, Knob, Target
from remediations.knobs.option_directory import OptionDirectory

HANDS = OptionDirectory()
AGENT = Target(name="tetragon", ref="tetragon")


@pytest.fixture
def place(tmp_path):
    directory = tmp_path / "etc" / "tetragon.conf.d"
    directory.mkdir(parents=True)
    (directory / "export-filename").write_text("/var/log/tetragon.log\n")
    (directory / "export-filename").chmod(0o640)
    return directory


def changed(place, after, option="rb-size", before=None, unit="bytes"):
    knob = Knob(name="k", backend=HANDS.name, file=str(place), path=option, unit=unit)
    change = Change(knob=knob, before=before, after=after, before_text="b", after_text="a", why="w")
    captured = json.loads(json.dumps(HANDS.capture(change, AGENT)))
    return change, captured


def everything(place):
    return {each.name: each.read_bytes() for each in place.rglob("*") if each.is_file()}


def test_an_option_that_is_not_set_gets_a_file_like_its_neighbours_and_undo_takes_it_away(place):
    """Absent is a value: the agent's default."""
    before = everything(place.parent)
    change, captured = changed(place, 131072)
    assert HANDS.read(change.knob, AGENT).value is None
    assert not HANDS.read(change.knob, AGENT).missing

    HANDS.write(change, AGENT, captured)

    assert (place / "rb-size").read_text() == "131072\n"
    assert (place / "rb-size").stat().st_mode & 0o777 == 0o640
    assert HANDS.read(change.knob, AGENT).effective == 131072
    assert HANDS.state(change, AGENT, captured) == "after"
    assert HANDS.restore(change, AGENT, captured).reload
    assert everything(place.parent) == before
    assert HANDS.restore(change, AGENT, captured).reload, "killed before the reload: it is made up for"


@pytest.mark.parametrize("content", ["65536", "64K\n", " 65536 \r\n"])
def test_an_option_that_is_set_keeps_its_white_space(place, content):
    """An undone file is the same to the byte."""
    (place / "rb-size").write_bytes(content.encode())
    knob = Knob(name="k", backend=HANDS.name, file=str(place), path="rb-size", unit="bytes")
    value = HANDS.read(knob, AGENT)
    assert value.effective == 65536
    change, captured = changed(place, "128K", before=value.value)
    HANDS.write(change, AGENT, captured)
    assert (place / "rb-size").read_bytes() == content.replace(content.strip(), "128K").encode()
    HANDS.restore(change, AGENT, captured)
    assert (place / "rb-size").read_bytes() == content.encode()


def test_what_somebody_else_has_set_is_left_alone(place):
    """By their file or by their value."""
    change, captured = changed(place, 131072)
    (place / "rb-size").write_text("1\n")
    with pytest.raises(ChangedSince):
        HANDS.write(change, AGENT, captured)
    with pytest.raises(ChangedSince):
        HANDS.restore(change, AGENT, captured)
    assert (place / "rb-size").read_text() == "1\n"


def test_a_change_that_was_never_made_needs_no_undo(place):
    """Announced in the journal, killed before the write."""
    change, captured = changed(place, 131072)
    (place.parent / ".rb-size.x1.runbook").write_text("13")
    assert not HANDS.restore(change, AGENT, captured).reload
    assert not (place.parent / ".rb-size.x1.runbook").exists()


def test_no_directory_is_an_absent_place_and_an_unreadable_one_is_unknown(place, tmp_path):
    """Another place may hold it in the first case, not in the second."""
    nowhere = Knob(name="k", backend=HANDS.name, file=str(tmp_path / "none"), path="x")
    assert HANDS.read(nowhere, AGENT).absent
    (place / "x").mkdir()
    seen = HANDS.read(Knob(name="k", backend=HANDS.name, file=str(place), path="x"), AGENT)
    assert (seen.absent, seen.value) == (False, None)
    assert "directory" in seen.missing


def test_a_mounted_config_map_is_not_written(place):
    """The kubelet would put its own back."""
    (place / "..data").symlink_to(place)
    knob = Knob(name="k", backend=HANDS.name, file=str(place), path="rb-size")
    assert "API server" in HANDS.read(knob, AGENT).missing


def test_nothing_but_options_ever_stands_in_the_directory(place, monkeypatch):
    """An agent that starts in the middle must not take a half-written file for an option."""
    seen, link = [], os.link

    def watched(*args):
        seen.extend(each.name for each in place.iterdir())
        link(*args)

    monkeypatch.setattr(os, "link", watched)
    change, captured = changed(place, 131072)
    HANDS.write(change, AGENT, captured)
    assert seen == ["export-filename"]
