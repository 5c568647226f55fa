"""Files of settings in each format: what is refused, what is kept, and the way through a remediation."""

import json
from importlib.metadata import entry_points

import msgspec
import pytest

from engine.errors import ChangedSince
from engine.testing import check_remediation
from engine.values import Change, Knob, Reload, Target
from remediations.knobs.backend import NotChanged, where
from remediations.knobs.env_file import EnvFile
from remediations.knobs.ini_file import IniFile
from remediations.knobs.json_file import JsonFile
from remediations.knobs.option_directory import OptionDirectory
from remediations.knobs.systemd_argument import SystemdArgument
from remediations.knobs.toml_file import TomlFile
from remediations.planning import backend as load
from remediations.ring_buffer_size import RingBufferSize

AGENT = Target(name="agent", ref="agent")
TOML = """\
# sizes
title = 'agent'   # ours
[ring]
size = 262_144 # bytes
rate = 2.0
mask = 0x10
names = [
  'a', # first
  'b',
]
inline = { depth = 3, "a b" = true }
dotted.one = 1
[[sinks]]
size = 1
"""
JSON = (
    '{\n  "ring": {"size": 262144, "names": ["a",\n    "b"]},\n  "ünï": "ß",\n  "sinks": [{"size": 1}]\n}\n'
)
INI = "; sizes\n[ring]\nsize = 262144 ; bytes\nmode: on\n\n[other]\nsize = 1\n"
ENV = "# sizes\nRING=1\nexport MODE='fast one'\nRING=262144  # the last one counts\n"


def changed(hands, file, path, after, unit="bytes"):
    knob = Knob(name="k", backend=hands.name, file=str(file), path=path, unit=unit)
    before = hands.read(knob, AGENT)
    assert not before.missing, before.missing
    change = Change(knob=knob, before=before.value, after=after, before_text="b", after_text="a", why="w")
    captured = json.loads(json.dumps(hands.capture(change, AGENT)))
    hands.write(change, AGENT, captured)
    return change, captured


@pytest.mark.parametrize(
    ("hands", "text", "path", "unit", "after", "old", "new"),
    [
        (TomlFile(), TOML, "ring.size", "bytes", 524288, "262_144 # bytes", "524_288 # bytes"),
        (TomlFile(), TOML, "ring.rate", "count", 3, "2.0", "3.0"),
        (TomlFile(), TOML, "ring.mask", "count", 32, "0x10", "0x20"),
        (TomlFile(), TOML, "title", "text", "it", "'agent'", "'it'"),
        (TomlFile(), TOML, "ring.names", "list", ["a", "b", "c"], "  'b',\n", "  'b',\n  'c',\n"),
        (TomlFile(), TOML, "ring.inline.depth", "count", 5, "depth = 3", "depth = 5"),
        (TomlFile(), TOML, "ring.inline.new", "count", 5, "true }", "true, new = 5 }"),
        (TomlFile(), TOML, "ring.dotted.one", "count", 5, "one = 1", "one = 5"),
        (TomlFile(), TOML, "ring.dotted.two", "count", 5, "one = 1\n", "one = 1\ndotted.two = 5\n"),
        (JsonFile(), JSON, "ring.size", "bytes", 524288, "262144", "524288"),
        (JsonFile(), JSON, "ring.names", "list", ["a", "b", "c"], '"b"]', '"b",\n    "c"]'),
        (JsonFile(), JSON, "sinks.0.size", "count", 2, '"size": 1', '"size": 2'),
        (JsonFile(), JSON, "queue.size", "count", 2, "}]\n}", '}],\n  "queue": {\n    "size": 2\n  }\n}'),
        (IniFile(), INI, "ring.size", "bytes", 524288, "262144 ;", "524288 ;"),
        (IniFile(), INI, "ring.mode", "bool", False, "mode: on", "mode: off"),
        (IniFile(), INI, "ring.new", "count", 2, "mode: on\n", "mode: on\nnew: 2\n"),
        (EnvFile(), ENV, "RING", "bytes", 524288, "262144  #", "524288  #"),
        (EnvFile(), ENV, "MODE", "text", "slow", "'fast one'", "'slow'"),
        (EnvFile(), ENV, "NEW", "text", "a b", "counts\n", 'counts\nNEW="a b"\n'),
    ],
)
def test_a_value_is_written_as_the_one_before_and_the_rest_stays(
    tmp_path, hands, text, path, unit, after, old, new
):
    """Base, fraction, quotes, words, layout: an operator finds their file again."""
    file = tmp_path / "agent.conf"
    file.write_text(text)
    file.chmod(0o640)
    assert text.count(old) == 1
    change, captured = changed(hands, file, path, after, unit)
    assert file.read_text() == text.replace(old, new)
    assert file.stat().st_mode & 0o777 == 0o640
    assert hands.read(change.knob, AGENT).value == after
    hands.restore(change, AGENT, captured)
    assert file.read_text() == text


@pytest.mark.parametrize(
    ("hands", "text", "path", "said"),
    [
        (TomlFile(), "a = \n", "a", ":1: not valid TOML"),
        (TomlFile(), "[a]\nb = 1\n", "a", "is a table"),
        (TomlFile(), "a = 1979-05-27\n", "a", ":1: a: neither text"),
        (TomlFile(), "[[a]]\nb = 1\n", "a.b", "a is no table"),
        (JsonFile(), "{'a': 1}", "a", ":1: not valid JSON"),
        (JsonFile(), '{"a": 1,\n "a": 2}', "a", "stands there twice"),
        (JsonFile(), '{"a": {"b": 1}}', "a", ":1: a: neither text"),
        (JsonFile(), "[" * 100_000, "a", "nested too deeply"),
        (IniFile(), "[r]\na=1\na=2\n", "r.a", "lines 2 and 3"),
        (IniFile(), "[r]\nA=1\n", "r.a", ":2: it says r.A"),
        (IniFile(), "[r]\na=1\n  more\n", "r.a", ":2: indented lines"),
        (EnvFile(), "if true; then\nA=1\nfi\n", "A", ":1: a shell script"),
        (EnvFile(), "A=$B\n", "A", ":1: a shell makes its value"),
        (EnvFile(), "A=a b\n", "A", ":1: 'a b' holds spaces"),
        (EnvFile(), "A='a\n", "A", ":1: a quote that is never closed"),
        (EnvFile(), "A=maybe\n", "A", "expected a number"),
    ],
)
def test_what_hangs_on_the_reader_is_refused_with_its_line(tmp_path, hands, text, path, said):
    """Present and not understood is never taken for absent."""
    file = tmp_path / "agent.conf"
    file.write_text(text)
    seen = hands.read(Knob(name="k", backend=hands.name, file=str(file), path=path, unit="count"), AGENT)
    assert seen.value is None
    assert said in seen.missing


@pytest.mark.parametrize("hands", [TomlFile(), JsonFile(), IniFile(), EnvFile()], ids=lambda one: one.name)
def test_absent_and_unreadable_are_told_apart(tmp_path, hands):
    """An absent value means the default; an unreadable file means nothing."""
    file = tmp_path / "agent.conf"
    knob = Knob(name="k", backend=hands.name, file=str(file), path="a", unit="count")
    assert "No such file" in hands.read(knob, AGENT).missing
    file.write_text("{}" if hands.name == "json-file" else "")
    seen = hands.read(knob, AGENT)
    assert (seen.value, seen.raw, seen.missing) == (None, None, "")
    file.write_bytes(b'{"\xff": 1}' if hands.strict else b"\xff")
    assert ("not UTF-8" in hands.read(knob, AGENT).missing) == hands.strict
    file.unlink()
    file.symlink_to(tmp_path / "other")
    (tmp_path / "other").write_text("{}" if hands.name == "json-file" else "")
    assert "symbolic link" in hands.read(knob, AGENT).missing


def test_what_somebody_else_has_set_is_left_alone(tmp_path):
    """Their other edits stay through an undo; their value ends it."""
    file = tmp_path / "agent.toml"
    file.write_text(TOML)
    change, captured = changed(TomlFile(), file, "ring.size", 524288)
    file.write_text(file.read_text().replace("# sizes", "# ours").replace("rate = 2.0", "rate = 9.0"))
    TomlFile().restore(change, AGENT, captured)
    assert file.read_text() == TOML.replace("# sizes", "# ours").replace("rate = 2.0", "rate = 9.0")
    change, captured = changed(TomlFile(), file, "ring.new", 5)
    file.write_text(file.read_text().replace("new = 5", "new = 6"))
    assert TomlFile().state(change, AGENT, captured) == "other"
    with pytest.raises(ChangedSince, match="6"):
        TomlFile().restore(change, AGENT, captured)


# ── through a remediation ───────────────────────────────────────────────────────

FILES = {
    "toml-file": ("[ring]\nsize = 262144 # bytes\n", "ring.size"),
    "json-file": ('{"ring": {"size": 262144}}', "ring.size"),
    "ini-file": ("[ring]\nsize=262144\n", "ring.size"),
    "env-file": ("RING_SIZE='262144'\n", "RING_SIZE"),
}


@pytest.mark.parametrize("name", [*FILES, "option-directory"])
@pytest.mark.parametrize("there", [True, False], ids=["set", "not set"])
def test_a_remediation_over_it_keeps_every_promise(agent, case_for, clock, tmp_path, name, there):
    """The check that strangers' parts are given."""
    place = tmp_path / "settings"
    content, path = FILES.get(name, ("262144\n", "ring-size"))
    if name == "option-directory":
        place.mkdir()
        file = place / path
    else:
        file = place
    if there or name in FILES:
        file.write_text(content if there else "{}" if name == "json-file" else "")
    knob = Knob(
        name="ring-buffer-size",
        backend=name,
        file=str(place),
        path=path,
        unit="bytes",
        default="256KiB",
        rounding="power-of-two-pages",
        reload=Reload(by="signal", settle_s=1),
    )
    target = msgspec.structs.replace(agent.target, knobs={"ring-buffer-size": knob})
    remediation = RingBufferSize(clock)
    before = file.read_bytes() if file.exists() else None

    plan = check_remediation(remediation, target, case_for(remediation, target=target))

    assert (file.read_bytes() if file.exists() else None) == before
    assert plan.undo_by_hand
    assert plan.changes[0].where == where(knob)
    assert not [each for each in tmp_path.rglob("*") if "runbook" in each.name], "nothing is left behind"


def test_each_backend_says_what_a_profile_must_say():
    """`runbook check` complains by it."""
    for entry in entry_points(group="runbook.knobs"):
        requires = getattr(entry.load(), "requires", ())
        assert set(requires) <= {"file", "path"}, entry.name
        assert load(entry.name).name == entry.name
    assert OptionDirectory.requires == ("file", "path")
    assert SystemdArgument.requires == ("path",)


def test_a_text_that_no_list_could_hold_is_refused(tmp_path):
    """Written and read back, or not at all."""
    file = tmp_path / "default"
    file.write_text("A=x,y\n")
    with pytest.raises(NotChanged, match="comma"):
        changed(EnvFile(), file, "A", ["a,b"], "list")
    with pytest.raises(NotChanged, match="one line"):
        changed(EnvFile(), file, "A", "a\nb", "text")
    assert file.read_text() == "A=x,y\n"
