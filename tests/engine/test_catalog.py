"""The catalog: parts by name, through the same door for everybody."""

import pytest

from engine import catalog, entry_points
from engine.catalog import BrokenPart, Catalog
from engine.entry_points import EntryPoint
from engine.errors import UnknownName
from tests.engine.parts import FLOW, PARTS


def test_an_unknown_name_is_answered_with_the_nearest():
    """The operator learns the right word, not the list of all words."""
    with pytest.raises(UnknownName) as error:
        PARTS.probe("event-flwo")
    assert error.value.nearest == "event-flow"


def test_a_part_is_made_once():
    """Probes may keep what they found out about the machine."""
    assert PARTS.probe("event-flow") is PARTS.probe("event-flow") is FLOW


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("no_such_module:Thing", "No module named 'no_such_module'"),
        ("engine.errors:Nothing", "has no attribute 'Nothing'"),
        ("engine.errors:RunbookError", "TypeError"),
        ("builtins:dict", "it has no name, short"),
    ],
)
def test_a_broken_part_names_its_distribution(value, says):
    """A stranger's broken package must not look like our fault, nor stop the others."""
    parts = Catalog([EntryPoint("bad", "runbook.probes", value, "strange 1.0")])
    with pytest.raises(BrokenPart, match=says) as error:
        parts.probe("bad")
    assert "of strange 1.0" in error.value.problem
    assert [type(part) for _, part in parts.each("probe")] == [BrokenPart]


def test_names_import_nothing():
    """Completion and help list parts that may be dear to import, or broken."""
    parts = Catalog([EntryPoint("bad", "runbook.probes", "no_such_module:X", "strange 1.0")])
    assert parts.names("probe") == ("bad",)
    assert parts.names("guard") == ()


def test_every_shipped_part_keeps_its_contract():
    """The entry points of this distribution must load on a machine without BPF, too."""
    installed = catalog.installed()
    for kind in ("probe", "diagnosis", "remediation", "knob backend"):
        assert installed.names(kind)
        for name, part in installed.each(kind):
            assert not isinstance(part, BrokenPart), part
            assert part.name == name


def test_without_an_inventory_there_is_none():
    """The engine works where no eyes are installed."""
    assert Catalog([]).read_inventory() is None


def test_entry_points_are_read_from_the_metadata(tmp_path):
    """The same answer as importlib.metadata: comments, spaces, other groups, broken files."""
    good = tmp_path / "some_parts-1.2.dist-info"
    good.mkdir()
    text = "[console_scripts]\nx = y:z\n\n[runbook.probes]\n# a comment\na-b = mod.sub:Class.inner [extra]\n"
    (good / "entry_points.txt").write_text(text)
    (tmp_path / "empty-0.dist-info").mkdir()
    broken = tmp_path / "broken-1.dist-info"
    broken.mkdir()
    (broken / "entry_points.txt").write_bytes(b"\xff\xfe")
    found = entry_points.read(["runbook.probes"], [str(tmp_path), str(tmp_path / "absent")])
    assert found == [EntryPoint("a-b", "runbook.probes", "mod.sub:Class.inner [extra]", "some-parts 1.2")]


def test_a_distribution_that_stands_twice_on_the_path_counts_once(tmp_path):
    """An editable install beside a wheel must not offer each probe twice: the first one wins."""
    for folder, version in (("one", "2.0"), ("two", "1.0")):
        place = tmp_path / folder / f"parts-{version}.dist-info"
        place.mkdir(parents=True)
        (place / "entry_points.txt").write_text("[runbook.probes]\na = b:c\n")
    found = entry_points.read(["runbook.probes"], [str(tmp_path / "one"), str(tmp_path / "two")])
    assert [point.origin for point in found] == ["parts 2.0"]


def test_an_entry_point_loads_its_object():
    """`module:object.inner [extra]` as the specification has it."""
    assert EntryPoint("a", "g", "engine.errors : nearest [x]").load()("ab", ["abc"]) == "abc"
