"""Runbooks from files: typed, placed, and every complaint at once."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import DocumentError, RunbookError, UnknownName, UsageError
from engine.language import check, documents, loader
from engine.language.describe import describe
from engine.language.model import Look, Runbook, Try
from tests.engine.parts import GOOD, PARTS, load

HEAD = "runbook: x\nsteps:\n"


def complaints(tmp_path, text):
    with pytest.raises(DocumentError) as error:
        load(tmp_path, text, "x.yaml")
    return [line.removeprefix(f"{tmp_path}/") for line in error.value.complaints]


def test_a_runbook_is_read_with_its_types(tmp_path):
    """Durations are seconds and sizes bytes once a runbook is loaded: nobody parses them again."""
    runbook = load(tmp_path, GOOD).document
    assert runbook.inputs["window"].default == 10.0
    assert runbook.goal.hold == 20.0
    assert runbook.steps[2].rungs[1].lease == 7200.0
    assert isinstance(runbook.steps[0], Look)
    assert runbook.steps[0].probes == ("event-flow", "process")


def test_every_step_has_an_id(tmp_path):
    """The journal names steps; an author need not."""
    steps = load(tmp_path, GOOD).document.steps
    assert [step.id for step in steps] == ["1", "2", "3", "4"]
    assert isinstance(steps[2], Try)
    assert [rung.id for rung in steps[2].rungs] == ["3.rungs.1", "3.rungs.2"]


def test_every_part_knows_its_place(tmp_path):
    """Findings and run-time errors point at the line the author wrote."""
    loaded = load(tmp_path, GOOD)
    assert loaded.where("goal.until").endswith("good.yaml:7:10")
    assert loaded.where("steps[2].try[0].when").endswith(":15:15")
    assert loaded.where("steps[2].try[0].lease").endswith(":14:9")


def test_all_complaints_come_at_once_with_place_and_nearest_word(tmp_path):
    """Correcting one error per run is what people hate about YAML tools."""
    text = "runbook: x\nsumary: a\nsteps:\n  - look: a\n    whn: b\n  - wait: x\n    for: 20x\n  - tel: y\n"
    assert complaints(tmp_path, text) == [
        "x.yaml:2:1: unknown key 'sumary' (did you mean 'summary'?)",
        "x.yaml:5:5: unknown key 'whn' (did you mean 'when'?)",
        "x.yaml:7:10: '20x' is not a duration (write it as 500ms, 10s, 5m, 2h, 1h30m)",
        "x.yaml:8:5: no step (did you mean 'tell'?)",
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "x.yaml:1:1: the file is empty"),
        ("steps: []\n", "x.yaml:1:1: 'runbook' is missing"),
        ("runbook: x\n", "'steps' is missing"),
        ("- a\n", "expected a mapping"),
        (HEAD + "  - look: a\n\twhen: b\n", "x.yaml:4:1: a tab can't indent YAML (use spaces)"),
        (HEAD + "  - look: a\n    look: b\n", "x.yaml:4:5: 'look' stands here twice (first on line 3)"),
        (HEAD + "  - tell: a: b\n", "x.yaml:3:12: YAML: a ':' followed by a space needs quotes"),
        (HEAD + "  - tell: {{ a }}\n", 'a key must be a text (a template needs quotes: "{{ … }}")'),
        (HEAD + "  - tell: @a\n", "a value that begins with '@' needs quotes"),
        (HEAD + "  - tell: no\n", 'x.yaml:3:11: no is a truth value to YAML readers (write "no" in quotes)'),
        (HEAD + "  - look: a\n    with: {fast: yes}\n", "yes is a truth value to some YAML readers"),
        (HEAD + '  - look: a\n    when: "{{ a }}"\n', "a condition is written without {{ }}"),
        (HEAD + "  - {look: a, tell: b}\n", "does several things at once: look, tell"),
        (HEAD + "  - call: Other One\n", "x.yaml:3:11: 'Other One' can't be a name here (lower-case"),
        (HEAD + "  - decide: a\n    cases: [{cause: b}]\n", "x.yaml:4:13: 'when' is missing"),
        (HEAD + "  - decide: a\n    cases: [{cause: b, when: c, sentence: d, confidence: 2}]\n", "2 is too"),
        (HEAD + "  - wait: a\n", "'for' is missing (a 'wait' step needs it)"),
        (HEAD + "  - change: a\n    keep: sometimes\n", "'sometimes' is not known here (one of: if-better"),
        (HEAD + "  - look: a\n    retry: {times: 1000}\n", "1000 is too much (at most 100)"),
        (HEAD + "  - look: a\n    id: 3x\n", "can't be a name here"),
        (HEAD + "--- \na: b\n", "a second document starts here"),
        (HEAD + "  - tell: !!python/object:os.system x\n", "is not read here (leave it out)"),
        (HEAD + "  - tell: &a [*a]\n", "*a refers to what it stands in"),
        (HEAD + "  - tell: *a\n", "*a refers to an anchor that is not there"),
        (
            "runbook: x\ninputs: {w: {type: duration, default: 5MiB}}\nsteps: []\n",
            "x.yaml:2:39: '5MiB' is not a duration",
        ),
    ],
)
def test_each_mistake_is_named(tmp_path, text, says):
    """A complaint names what is wrong and what to write instead."""
    assert any(says in line for line in complaints(tmp_path, text)), complaints(tmp_path, text)


def test_bytes_that_are_not_utf8_are_placed(tmp_path):
    """An editor's Latin-1 file fails with a line, not with a traceback."""
    assert complaints(tmp_path, b"runbook: x\nsummary: caf\xe9\n") == [
        "x.yaml:2:13: byte 0xe9 is not UTF-8 (save the file as UTF-8)"
    ]


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(
            ["a0: &a0 [1,1,1,1,1,1,1,1,1]"]
            + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
        ),
        "[" * 200_000,
        "{a: " * 5_000,
        "- " * 5_000 + "a",
        "a: " + "x" * (1 << 20),
        "x: [" + "1," * 30_000 + "]",
    ],
    ids=["laughs", "brackets", "braces", "dashes", "long", "wide"],
)
def test_a_bomb_is_refused(tmp_path, text):
    """A runbook from outside can't take the engine's memory or stack."""
    assert complaints(tmp_path, text)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_break_the_loader(raw):
    """Whatever a file holds, the answer is a runbook or complaints."""
    try:
        documents.read(Runbook, raw, "f.yaml")
    except RunbookError as error:
        assert all(line.startswith("f.yaml:") for line in error.complaints)  # noqa: PT017 - of whatever was raised


_KEYS = st.sampled_from(
    [
        "runbook",
        "steps",
        "look",
        "try",
        "change",
        "when",
        "with",
        "goal",
        "until",
        "inputs",
        "type",
        "stop",
        "id",
        "a",
    ]
)
_LEAVES = st.one_of(
    st.sampled_from(
        ["x", "10s", "no", "true", "~", "{{ a }}", "*a", "&a b", "!t c", "'", '"', "|", "1e9999", "0x1"]
    ),
    st.integers().map(str),
    st.text("ab:{}[]-#&*!|>'\"%@`\t \n", max_size=8),
)


@settings(max_examples=150, deadline=None)
@given(
    st.recursive(
        _LEAVES,
        lambda inner: st.one_of(
            st.dictionaries(_KEYS, inner, max_size=4).map(
                lambda d: "{" + ", ".join(f"{k}: {v}" for k, v in d.items()) + "}"
            ),
            st.lists(inner, max_size=4).map(lambda items: "[" + ", ".join(items) + "]"),
        ),
        max_leaves=20,
    )
)
def test_nothing_that_looks_like_a_runbook_breaks_the_loader(text):
    """Half-right documents are where a reader that trusts its input falls over."""
    try:
        documents.read(Runbook, text.encode(), "f.yaml")
    except RunbookError as error:
        assert error.complaints  # noqa: PT017 - of whatever was raised


def test_a_name_is_looked_up_along_the_search_path(tmp_path):
    """A runbook in the working directory wins over a shipped one of that name."""
    (tmp_path / "runbooks").mkdir()
    mine = tmp_path / "runbooks" / "events-dropped.yaml"
    mine.write_text(GOOD)
    assert loader.find("events-dropped", environment={}, here=tmp_path) == mine
    shipped = loader.find("events-dropped", environment={}, here=tmp_path / "elsewhere")
    assert shipped == loader.shipped() / "events-dropped.yaml"


def test_a_missing_runbook_names_the_nearest(tmp_path):
    """A typing error at 3 a.m. is answered with the right word."""
    with pytest.raises(UnknownName) as error:
        loader.find("event-droped", environment={}, here=tmp_path)
    assert error.value.nearest == "events-dropped"


@pytest.mark.parametrize("name", ["./nothing.yaml", "/"])
def test_a_path_that_is_no_file_is_said(name):
    """A path is never mistaken for a name."""
    with pytest.raises(UsageError, match=r"is not there|is a directory"):
        loader.find(name)


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | WORDS
    | st.sampled_from(["{{ x }}", "-rf", "1h", "look"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["in", "as", "at_once", "limit", "when", "with", "target", "answers", "who", "expires", "reads", "undo",
     "in_force", "cases", "id", "on_failure", "lease", "risk", "keep", "timeout"]
)  # fmt: skip


def steps(inner):
    """A step of the later kinds with fields of any kind, right or wrong, and steps inside."""
    verbs = st.sampled_from(["each", "ask", "run", "call", "decide", "look", "tell"])
    fields = st.dictionaries(FIELDS, VALUES, max_size=4)
    return st.builds(
        lambda verb, value, inside, further: {verb: inside if verb == "each" else value, **further},
        verbs, VALUES, st.lists(inner, max_size=2), fields,
    )  # fmt: skip


@given(found=st.lists(st.recursive(st.builds(dict, tell=WORDS), steps, max_leaves=5), max_size=4))
@settings(max_examples=250, deadline=None)
def test_any_step_of_any_shape_is_read_or_complained_about(tmp_path_factory, found):
    """Whatever stands there: a document or complaints with places, both at once for check, never a crash."""
    place = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    place.write_text(
        yaml.safe_dump({"runbook": "fuzz", "steps": found}, allow_unicode=True), encoding="utf-8"
    )
    said = check.complaints(place, PARTS)
    assert all(line.startswith(f"{place}:") for line in said)
    loaded, wrong = loader.parse_partly(place.read_bytes(), place)
    assert set(wrong) <= set(said)
    if loaded is not None:
        list(describe(loaded.document, PARTS, place.parent))


def test_shape_and_names_are_complained_about_in_one_go(tmp_path):
    """Correcting one kind of mistake to be told of the next is what people hate about such tools."""
    path = tmp_path / "x.yaml"
    path.write_text(
        "runbook: x\nsteps:\n  - look: event-flw\n  - tel: y\n  - look: event-flow\n    whn: a\n"
        "  - tell: '{{ flow.in_per_sec }}'\n  - tell: '{{ sources.x }}'\n"
    )
    assert [line.partition(": ")[2].partition(" (")[0] for line in check.complaints(path, PARTS)] == [
        "there is no probe named 'event-flw'",
        "no step",
        "unknown key 'whn'",
        "flow has no field 'in_per_sec'",
    ]
