"""Any YAML file: set changes the value and nothing else, undo gives the same bytes."""

import json
import tempfile
from pathlib import Path

import yaml
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from engine.values import Change, Knob, Target
from remediations.knobs.backend import NotChanged
from remediations.knobs.yaml_file import YamlFile

HANDS = YamlFile()
AGENT = Target(name="lab", ref="lab")
NAMES = st.sampled_from(["ring", "reader", "größe", "a b", "on", "x-y", "filter", "n1", "été", "42"])
COMMENTS = st.sampled_from(["", "", "  # keep: this", " # ünï 'quote", "   #"])
PLAIN = st.sampled_from(
    [
        "256KiB",
        "'single ''q'''",
        '"dou\\"ble"',
        "17",
        "0.5",
        "true",
        "~",
        "[a, 'b', \"c\"]",
        "wörd",
        "[]",
        "",
        "-3",
    ]
)
AFTER = st.one_of(
    st.integers(0, 1 << 40),
    st.booleans(),
    st.sampled_from(
        ["512KiB", "true", "10", "ß # no", "a: b", "it's", 'say "hi"', " lead", "x", "😀", "-", ""]
    ),
)


@st.composite
def documents(draw, depth=0):
    """Lines of a block mapping with comments, blank lines and nested mappings, and its key paths."""
    lines, paths = [], []
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    step = draw(st.sampled_from([1, 2, 4]))
    for name in names:
        key = name if yaml.safe_load(name) == name else f'"{name}"'
        comment = draw(COMMENTS)
        kind = draw(
            st.sampled_from(["value", "value", "block", "nested", "flow", "text"] if depth < 2 else ["value"])
        )
        lines += draw(st.sampled_from([[], [], ["# about it"], [""]]))
        if kind == "nested":
            inner, below = draw(documents(depth=depth + 1))
            lines += [f"{key}:{comment}", *(" " * step + line if line else "" for line in inner)]
            paths += [(name, *path) for path in below]
        elif kind == "block":
            lines += [
                f"{key}:{comment}",
                *(f"  - i{i}{draw(COMMENTS)}" for i in range(draw(st.integers(1, 3)))),
            ]
            paths.append((name,))
        elif kind == "flow":
            lines.append(f"{key}: {{a: 1, 'b': [x, \"y\"], c: {{}}}}{comment}")
            paths += [(name, "a"), (name, "b"), (name, "c", "new")]
        elif kind == "text":
            lines += [f"{key}: |{comment}", "  some: text", "", "    # and no comment"]
        else:
            value = draw(PLAIN)
            lines.append(f"{key}: {value}{comment}" if value else f"{key}:{comment}")
            paths.append((name,))
    return lines, paths or [("new",)]


@st.composite
def files(draw):
    lines, paths = draw(documents())
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    head = draw(st.sampled_from(["", "\ufeff", "---" + newline, "# head" + newline]))
    tail = draw(st.sampled_from(["", newline, newline + newline, newline + "# end" + newline]))
    return head + newline.join(lines) + tail, paths


def with_value(document, path, value):
    """The parsed document with one value set, parents made."""
    document = document if isinstance(document, dict) else {}
    name, *rest = path
    return {**document, name: with_value(document.get(name), rest, value) if rest else value}


def turn(text, path, after):
    """Set through the backend in a real file; give the bytes before, between and after undo."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "agent.yaml"
        file.write_bytes(text.encode())
        knob = Knob(name="k", backend="yaml-file", file=str(file), path=".".join(path), unit="list")
        value = HANDS.read(knob, AGENT)
        assert not value.missing, value.missing
        change = Change(knob=knob, before=value.value, after=after, before_text="b", after_text="a", why="w")
        try:
            captured = HANDS.capture(change, AGENT)
        except NotChanged:
            assert "|" in text, "only block text may stand in the way"
            reject()
        captured = json.loads(json.dumps(captured))
        HANDS.write(change, AGENT, captured)
        between = file.read_bytes()
        assert HANDS.state(change, AGENT, captured) == "after"
        HANDS.restore(change, AGENT, captured)
        assert list(Path(place).iterdir()) == [file]
        return between, file.read_bytes(), value


fast = settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@fast
@given(files(), st.data())
def test_set_then_undo_gives_the_same_bytes_and_set_changes_one_value(file, data):
    """Comments, order, quotes, line breaks: an operator's file is theirs."""
    text, paths = file
    path = data.draw(st.sampled_from(paths))
    document = yaml.safe_load(text.removeprefix("\ufeff"))
    old = document
    for name in path:
        old = old.get(name)
    after = [*old, data.draw(AFTER)] if isinstance(old, list) else data.draw(AFTER)
    if after == old:
        return

    between, restored, _ = turn(text, path, after)

    assert restored == text.encode()
    assert yaml.safe_load(between.decode().removeprefix("\ufeff")) == with_value(document, path, after)
    kept = [line for line in text.splitlines() if line.strip().startswith("#")]
    assert kept == [line for line in between.decode().splitlines() if line.strip().startswith("#")]


@fast
@given(files(), st.lists(st.sampled_from(["sampling", "one_in", "neu é"]), min_size=1, max_size=3), AFTER)
def test_an_absent_value_is_added_with_its_parents_and_undo_takes_all_of_it_away(file, extra, after):
    """An agent's default is no reason to leave a trace behind."""
    text, paths = file
    path = (*paths[-1][:-1], *extra)
    document = yaml.safe_load(text.removeprefix("\ufeff"))

    between, restored, value = turn(text, path, after)

    assert value.raw is None
    assert restored == text.encode()
    assert yaml.safe_load(between.decode().removeprefix("\ufeff")) == with_value(document, path, after)
