"""Settings in YAML files: what is refused, and that everybody else's edits stay."""

import fcntl
import os

import pytest

from engine.errors import ChangedSince
from engine.values import Change, Knob, Target
from remediations.knobs.atomic_file import update
from remediations.knobs.backend import NotChanged
from remediations.knobs.yaml_file import YamlFile

HANDS = YamlFile()
AGENT = Target(name="lab", ref="lab")


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "agent.yaml"
    path.write_text("ring:\n  size: 256KiB # why\nreader:\n  poll: 100ms\n")
    return path


def knob(file, path="ring.size", unit="bytes"):
    return Knob(name="ring-buffer-size", backend="yaml-file", file=str(file), path=path, unit=unit)


def change(file, before="256KiB", after="1MiB", **of_knob):
    return Change(
        knob=knob(file, **of_knob),
        before=before,
        after=after,
        before_text=str(before),
        after_text=str(after),
        why="w",
    )


def test_read_gives_value_text_amount_and_line(file):
    """The plan shows the operator's own words, and the line to look at."""
    value = HANDS.read(knob(file), AGENT)
    assert (value.value, value.raw, value.effective) == ("256KiB", "256KiB", 262144)
    assert value.source == f"{file}:2"
    assert not value.missing


def test_absent_and_unreadable_are_told_apart(file):
    """Absent: the agent's default rules. Unreadable: we do not know."""
    assert HANDS.read(knob(file, "ring.pages"), AGENT).missing == ""
    file.write_text("ring: {size: lots}\n")
    assert "'lots' is not a size" in HANDS.read(knob(file), AGENT).missing
    assert "can't be read: No such file" in HANDS.read(knob(file.with_name("none.yaml")), AGENT).missing


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ring: [1\n", ":2: not valid YAML"),
        ("- ring\n", ":1: the document is not a mapping"),
        ("ring: 5\n", ":1: ring is not a mapping"),
        ("ring:\n  size: 1\n  size: 2\n", ":3: the key 'size' stands there twice"),
        ("a: &x {size: 1}\nring: *x\n", ":2: 'ring' is an alias"),
        ("ring:\n  size: &s 1\n", ":2: 'size' carries an anchor"),
        ("ring:\n  size: !big 1\n", ":2: 'size' carries an anchor (&) or a tag"),
        ("base: &b {size: 1}\nring:\n  <<: *b\n  other: 1\n", ":3: 'size' may come from a merged mapping"),
        ("ring:\n  size: |\n    1\n", ":2: the value is a block text"),
        ("ring: {size: {a: 1}}\n", ":1: the value is a mapping"),
        ("ring: {size: [[1]]}\n", ":1: the list holds more than plain values"),
        ("ring: {size: 2026-11-22}\n", ":1: '2026-11-22' is neither text, number nor yes/no"),
        ("ring: {size: 1}\n---\nring: {size: 2}\n", ":3: several YAML documents"),
        ("ring: ~\n", ":1: 'ring' is null"),
    ],
)
def test_what_is_not_one_stretch_of_text_is_refused_with_its_line(file, text, complaint):
    """Better no change than one that means something else than it says."""
    file.write_text(text)
    assert f"{file}{complaint}" in HANDS.read(knob(file), AGENT).missing


def test_bytes_that_are_not_utf8_are_refused_with_their_line(file):
    """Guessing an encoding would rewrite the operator's text."""
    file.write_bytes(b"a: 1\nb: \xff\n")
    assert f"{file}:2: not UTF-8" in HANDS.read(knob(file), AGENT).missing


def test_a_symbolic_link_is_refused_and_the_real_file_named(file, tmp_path):
    """Replacing a link would leave its target as it was, and the link broken."""
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    value = HANDS.read(knob(link), AGENT)
    assert value.value == "256KiB"
    assert f"the real file is {file}" in value.missing
    with pytest.raises(NotChanged, match="symbolic link"):
        HANDS.capture(change(link), AGENT)


def test_a_kubernetes_volume_is_refused_with_the_reason(tmp_path):
    """The kubelet would put the old content back."""
    real = tmp_path / "..2026_11_22"
    real.mkdir()
    (real / "agent.yaml").write_text("ring: {size: 1}\n")
    (tmp_path / "..data").symlink_to(real.name)
    (tmp_path / "agent.yaml").symlink_to("..data/agent.yaml")
    for path in (tmp_path / "agent.yaml", tmp_path / "..data" / "agent.yaml"):
        assert "kubelet" in HANDS.read(knob(path), AGENT).missing


def test_a_file_with_other_names_is_refused(file):
    """Replacing one hard link parts it from the others."""
    os.link(file, file.with_name("other"))
    assert "2 hard links" in HANDS.read(knob(file), AGENT).missing


def test_a_locked_file_is_refused_unchanged(file):
    """Two engines must not write one file at the same time."""
    with file.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        captured = HANDS.capture(change(file), AGENT)
        with pytest.raises(NotChanged, match="locked"):
            HANDS.write(change(file), AGENT, captured)
    assert "256KiB" in file.read_text()


def test_a_value_changed_before_the_capture_is_left_alone(file):
    """The plan was made for another value."""
    file.write_text("ring:\n  size: 512KiB\n")
    with pytest.raises(ChangedSince, match="512KiB"):
        HANDS.capture(change(file), AGENT)


def test_edits_elsewhere_between_capture_write_and_undo_stay(file):
    """An operator may work on the same file during the run."""
    captured = HANDS.capture(change(file), AGENT)
    file.write_text("# new head\n" + file.read_text().replace("100ms", "50ms"))
    HANDS.write(change(file), AGENT, captured)
    assert file.read_text() == "# new head\nring:\n  size: 1MiB # why\nreader:\n  poll: 50ms\n"
    file.write_text(file.read_text() + "tail: 1\n")
    HANDS.restore(change(file), AGENT, captured)
    assert file.read_text() == "# new head\nring:\n  size: 256KiB # why\nreader:\n  poll: 50ms\ntail: 1\n"


def test_somebody_who_writes_at_the_same_moment_is_not_overwritten(file):
    """Their edit lands after our read: the change is made anew, on their text."""
    calls = []

    def edit(content):
        calls.append(content)
        if len(calls) == 1:
            file.write_bytes(content + b"theirs: 1\n")
        return content.replace(b"256KiB", b"1MiB")

    update(file, edit)

    assert len(calls) == 2
    assert file.read_text().endswith("theirs: 1\n")
    assert "1MiB" in file.read_text()


def test_an_added_line_that_was_edited_since_is_left_alone(file):
    """The comment behind it may be somebody's decision."""
    added = change(file, before=None, after=10, path="sampling.one_in", unit="one-in-n")
    captured = HANDS.capture(added, AGENT)
    HANDS.write(added, AGENT, captured)
    file.write_text(file.read_text().replace("one_in: 10", "one_in: 10 # agreed with Anna"))
    with pytest.raises(ChangedSince, match="edited since"):
        HANDS.restore(added, AGENT, captured)
    assert "Anna" in file.read_text()


def test_a_parent_that_somebody_filled_is_not_taken_away(file):
    """Our line made the parent; their key lives in it now."""
    added = change(file, before=None, after=10, path="sampling.one_in", unit="one-in-n")
    captured = HANDS.capture(added, AGENT)
    HANDS.write(added, AGENT, captured)
    file.write_text(file.read_text() + "  seed: 3\n")
    theirs = file.read_text()
    with pytest.raises(ChangedSince):
        HANDS.restore(added, AGENT, captured)
    assert file.read_text() == theirs


def test_words_that_yaml_takes_for_yes_or_no_stay_words(file):
    """`wakeup: on` is a word of the agent's."""
    file.write_text("wakeup: on\n")
    words = change(file, before="on", after="off", path="wakeup", unit="text")
    captured = HANDS.capture(words, AGENT)
    HANDS.write(words, AGENT, captured)
    assert file.read_text() == 'wakeup: "off"\n'
    assert HANDS.state(words, AGENT, captured) == "after"
    HANDS.restore(words, AGENT, captured)
    assert file.read_text() == "wakeup: on\n"


@pytest.mark.skipif(not hasattr(os, "setxattr"), reason="no extended attributes here")
def test_extended_attributes_stay(file):
    """ACLs are extended attributes: losing them locks people out."""
    try:
        os.setxattr(file, "user.owner", b"anna")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    captured = HANDS.capture(change(file), AGENT)
    HANDS.write(change(file), AGENT, captured)
    assert os.getxattr(file, "user.owner") == b"anna"
