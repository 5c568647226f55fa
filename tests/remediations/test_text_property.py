"""Any ENV, INI, JSON or TOML file: set changes one value and nothing else, undo gives the same bytes."""

import configparser
import json
import subprocess
import tempfile
import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from engine.values import Change, Knob, Target
from remediations.knobs.backend import NotChanged
from remediations.knobs.env_file import EnvFile
from remediations.knobs.ini_file import IniFile
from remediations.knobs.json_file import JsonFile
from remediations.knobs.toml_file import TomlFile

AGENT = Target(name="lab", ref="lab")
fast = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
NEWLINES = st.sampled_from(["\n", "\r\n"])
BLANKS = st.sampled_from(["", "", "# about it", "  # ünï 'quote", "#off=1"])
WORDS = st.sampled_from(
    ["256KiB", "x", "a/b:c", "64k", "10", "0.5", "it's", 'say "hi"', "ß", "a b", "-3", "$x", "a,b", "\\"]
)
NUMBERS = st.one_of(st.integers(0, 1 << 40), st.sampled_from([0.5, 2, 17.25]))


def turn(backend, content, path, after, unit="text"):
    """Set through the backend in a real file; give the bytes in between, and after undo."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "agent.conf"
        file.write_bytes(content)
        knob = Knob(name="k", backend=backend.name, file=str(file), path=path, unit=unit)
        value = backend.read(knob, AGENT)
        assert not value.missing, value.missing
        change = Change(knob=knob, before=value.value, after=after, before_text="b", after_text="a", why="w")
        captured = json.loads(json.dumps(backend.capture(change, AGENT)))
        backend.write(change, AGENT, captured)
        between = file.read_bytes()
        assert backend.state(change, AGENT, captured) == "after"
        now = backend.read(knob, AGENT)
        assert backend.form.same(now.value, after)
        backend.restore(change, AGENT, captured)
        assert list(Path(place).iterdir()) == [file]
        return between, file.read_bytes()


# ── NAME=value ──────────────────────────────────────────────────────────────────

NAMES = st.sampled_from(["RB_SIZE", "QUEUE", "A", "_b2", "LONG_NAME_3"])
ENV_VALUES = st.sampled_from(
    ["", "64k", '"64 k"', "'it is'", '"a \\" b"', "17", '"two\nlines"', "'x'y", "a\\ b"]
)


@st.composite
def env_files(draw):
    rows = draw(
        st.lists(st.tuples(NAMES, ENV_VALUES, BLANKS, st.sampled_from(["", "", "export "])), max_size=5)
    )
    newline = draw(NEWLINES)
    lines = [line for name, value, blank, export in rows for line in (blank, f"{export}{name}={value}")]
    tail = draw(st.sampled_from(["", newline, newline + "# end" + newline]))
    return newline.join(lines) + (tail if lines else ""), [name for name, *_ in rows]


@fast
@given(env_files(), NAMES, WORDS, st.sampled_from([b"", b"# \xff no UTF-8\n"]))
def test_a_variable_is_set_and_taken_back(file, name, after, head):
    """A shell reads what was written; the others keep what they had."""
    text, names = file
    content = head + text.encode()
    between, restored = turn(EnvFile(), content, name, after)
    assert restored == content
    kept = [line for line in content.splitlines() if line.lstrip().startswith(b"#")]
    assert kept == [line for line in between.splitlines() if line.lstrip().startswith(b"#")]
    if b"two" not in content:
        assert len(between.splitlines()) - len(content.splitlines()) == (name not in names)
    script = between.replace(b"\r\n", b"\n") + b'\nprintf %s "$' + name.encode() + b'"'
    said = subprocess.run(["/bin/sh"], input=script, capture_output=True, check=True)
    assert said.stdout.decode() == after


# ── INI ─────────────────────────────────────────────────────────────────────────

SECTIONS = st.sampled_from(["ring", "Reader", "a.b", "x y"])
KEYS = st.sampled_from(["size", "workers", "poll-ms", "größe", "a_b"])
INI_VALUES = st.sampled_from(["", "64k", '"quoted"', "17", "0.5", "true", "a b", "x=y", "http://[::1]:80/"])


@st.composite
def ini_files(draw):
    newline, sep = draw(NEWLINES), draw(st.sampled_from(["=", " = ", ": "]))
    lines, paths = [], []
    for section in draw(st.lists(SECTIONS, max_size=3, unique=True)):
        lines += [draw(BLANKS), f"[{section}]"]
        for key in draw(st.lists(KEYS, max_size=3, unique=True)):
            lines += [draw(BLANKS), f"{key}{sep}{draw(INI_VALUES)}"]
            paths.append(f"{section}.{key}")
    tail = draw(st.sampled_from(["", newline, newline + "; end" + newline]))
    return newline.join(lines) + (tail if lines else ""), paths


@fast
@given(ini_files(), SECTIONS, KEYS, st.sampled_from(["128k", "10", "a b", "yes", "ß"]))
def test_a_key_of_a_section_is_set_and_taken_back(file, section, key, after):
    """As Python's own reader sees it, and byte for byte."""
    text, _ = file

    def read(content):
        parser = configparser.RawConfigParser(strict=True)
        parser.optionxform = str
        parser.read_string(content)
        return {name: dict(parser[name]) for name in parser.sections()}

    old = read(text)
    between, restored = turn(IniFile(), text.encode(), f"{section}.{key}", after)
    assert restored == text.encode()
    new = read(between.decode())
    there = old.pop(section, {})
    written = f'"{after}"' if there.get(key, "").startswith('"') else after
    assert new.pop(section) == {**there, key: written}
    assert new == old


# ── JSON and TOML ───────────────────────────────────────────────────────────────

TREE_KEYS = st.sampled_from(["ring", "size", "größe", "a b", "x-y", "n1", 'q"'])
LEAVES = st.sampled_from([1, 0.5, True, "text", "", "ü\n", [], [1, 2], ["a"], -3, 10**12])
TREES = st.recursive(
    st.dictionaries(TREE_KEYS, LEAVES, max_size=3),
    lambda inner: st.dictionaries(TREE_KEYS, st.one_of(LEAVES, inner), max_size=4),
    max_leaves=12,
)
AFTER = st.one_of(st.integers(0, 1 << 40), st.booleans(), WORDS, st.lists(WORDS, max_size=3))


def paths_of(tree, at=()):
    for key, value in tree.items():
        yield from paths_of(value, (*at, key)) if isinstance(value, dict) else [(*at, key)]


def with_value(tree, path, value):
    name, *rest = path
    return {**tree, name: with_value(tree.get(name, {}), rest, value) if rest else value}


def chosen(draw, tree):
    """A path that is there, or one that is not."""
    there = list(paths_of(tree))
    if there and draw(st.booleans()):
        path = draw(st.sampled_from(there))
    else:
        lead = draw(st.sampled_from(there))[:-1] if there else ()
        path = (*lead, *draw(st.sampled_from([("new",), ("new", "er"), ("ring", "new")])))
    node = tree
    for name in path[:-1]:
        node = node.get(name, {})
        assume(isinstance(node, dict))
    return path, node.get(path[-1])


def like(after, old):
    """A list where a list stood, a scalar where one stood."""
    assume(old is None or isinstance(after, list) == isinstance(old, list))


@fast
@given(
    st.data(), TREES, st.sampled_from([None, 1, 2, 4, "\t"]), NEWLINES, AFTER, st.sampled_from(["", "\ufeff"])
)
def test_a_json_value_is_set_and_taken_back(data, tree, indent, newline, after, head):
    """Order and indentation stay, and a reader sees one value changed."""
    path, old = chosen(data.draw, tree)
    like(after, old)
    separators = data.draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    text = json.dumps(tree, indent=indent, separators=separators, ensure_ascii=False).replace("\n", newline)
    content = (head + text + newline).encode()
    between, restored = turn(JsonFile(), content, ".".join(path), after, "list")
    assert restored == content
    wanted = with_value(tree, path, after)
    assert json.loads(between.decode().removeprefix("\ufeff")) == wanted
    assert list(paths_of(json.loads(between.decode().removeprefix("\ufeff")))) == list(paths_of(wanted))
    if old is not None and indent is not None and not isinstance(after, list):
        assert between.count(b"\n") == content.count(b"\n")


def toml_of(tree, draw, newline):
    """A TOML document of a tree: tables by header or in braces, comments between."""

    def key(name):
        return name if name.isascii() and name.replace("-", "").isalnum() else json.dumps(name)

    def value(one):
        if isinstance(one, dict):
            return "{ " + ", ".join(f"{key(k)} = {value(v)}" for k, v in one.items()) + " }" if one else "{}"
        if isinstance(one, list):
            gap = draw(st.sampled_from([", ", f",{newline}  ", f", # note{newline}  "])) if newline else ", "
            return "[" + gap.join(map(value, one)) + "]"
        if isinstance(one, str) and one.isprintable() and "'" not in one and draw(st.booleans()):
            return f"'{one}'"
        return json.dumps(one, ensure_ascii=False)

    lines = []

    def table(at, content):
        nonlocal newline
        inner = {k: v for k, v in content.items() if isinstance(v, dict) and draw(st.booleans())}
        for name, one in content.items():
            if name in inner:
                continue
            kept, newline = newline, "" if isinstance(one, dict) else newline
            lines.extend(
                [draw(BLANKS), f"{key(name)} = {value(one)}{draw(st.sampled_from(['', '  # why']))}"]
            )
            newline = kept
        for name, one in inner.items():
            lines.extend([draw(BLANKS), "[" + ".".join(map(key, (*at, name))) + "]"])
            table((*at, name), one)

    table((), tree)
    return newline.join(lines) + draw(st.sampled_from(["", newline, f"{newline}# end{newline}"]))


@fast
@given(st.data(), TREES, NEWLINES, AFTER, st.sampled_from(["", "\ufeff"]))
def test_a_toml_value_is_set_and_taken_back(data, tree, newline, after, head):
    """Comments stay, and a reader sees one value changed."""
    path, old = chosen(data.draw, tree)
    like(after, old)
    text = toml_of(tree, data.draw, newline)
    assert tomllib.loads(text) == tree
    content = (head + text).encode()
    try:
        between, restored = turn(TomlFile(), content, ".".join(path), after, "list")
    except NotChanged:
        assert b"# note" in content, "only comments within a list may stand in the way"
        reject()
    assert restored == content
    assert tomllib.loads(between.decode().removeprefix("\ufeff")) == with_value(tree, path, after)
    kept = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    now = between.decode().removeprefix("\ufeff")
    assert kept == [line for line in now.splitlines() if line.lstrip().startswith("#")]


# ── anything at all ─────────────────────────────────────────────────────────────

PIECES = st.sampled_from(
    [
        "a",
        "=",
        ":",
        "[",
        "]",
        "{",
        "}",
        '"',
        "'",
        "#",
        ";",
        "\n",
        "\r\n",
        "\\",
        " ",
        "\t",
        ",",
        "1",
        ".",
        "$",
        "b",
        '"""',
        "é",
    ]
)


@pytest.mark.parametrize("backend", [EnvFile(), IniFile(), JsonFile(), TomlFile()], ids=lambda one: one.name)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(pieces=st.lists(PIECES, max_size=25), after=st.sampled_from([7, "x y"]), raw=st.binary(max_size=3))
def test_whatever_stands_in_the_file_it_is_changed_rightly_or_refused_with_a_way_out(
    backend, pieces, after, raw
):
    """No input makes it fall over, or leaves a byte behind."""
    content = "".join(pieces).encode() + raw
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "f"
        file.write_bytes(content)
        knob = Knob(name="k", backend=backend.name, file=str(file), path="a", unit="text")
        value = backend.read(knob, AGENT)
        if value.missing:
            assert value.missing.startswith(str(file))
            return
        change = Change(knob=knob, before=value.value, after=after, before_text="", after_text="", why="")
        try:
            captured = backend.capture(change, AGENT)
        except NotChanged:
            assert file.read_bytes() == content
            return
        backend.write(change, AGENT, captured)
        assert backend.form.same(backend.read(knob, AGENT).value, after)
        backend.restore(change, AGENT, captured)
        assert file.read_bytes() == content
