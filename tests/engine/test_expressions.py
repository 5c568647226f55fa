"""Conditions and templates: three truth values, kept types, no way out, no way to be slow."""

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import ExpressionError, RunbookError
from engine.language import expressions, scope
from engine.language.unknown import Record, Unknown
from engine.values import Cause, Evidence, Reading, Target, Verdict


def evidence(**readings):
    made = {
        name: Reading(missing="no drop source") if value is None else Reading(value=value)
        for name, value in readings.items()
    }
    tables = {"rings": ({"name": "events", "size": 4096},)}
    return Evidence(
        probe="event-flow", short="flow", target="lab", started_at=0, ended_at=1, readings=made, tables=tables
    )


VERDICT = Verdict(
    diagnosis="event-loss",
    sentence="two causes",
    causes=(
        Cause(name="burst-exceeds-buffer", sentence="bursts", confidence=0.9, explains=0.8),
        Cause(name="reader-cpu-bound", sentence="busy", confidence=0.4),
    ),
)
NAMES = scope.names(
    inputs={"window": 10.0, "limit": 64 << 20, "comms": ["a", "b"]},
    evidence={
        "flow": evidence(in_per_s=18_400.0, dropped_per_s=0, lost=None, source="metric x", nan=float("nan"))
    },
    verdicts={"cause": VERDICT},
    target=Target(name="lab", ref="lab:/etc/lab.yaml"),
    outcome=("fixed", "It holds."),
    expected=("sources",),
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("flow.dropped_per_s == 0", True),
        ("flow.in_per_s > 100_000", False),
        ("1 < 2 < 3", True),
        ("3 > 2 > 5", False),
        ('flow.source == "metric x"', True),
        ('"x" in flow.source and "a" in inputs.comms', True),
        ("flow.rings[0].size == 4096", True),
        ("flow.rings | length == 1", True),
        ("not (inputs.window > 20)", True),
        ("(inputs.limit / 2 ** 20) == 64", True),
        ('("a" ~ 1) == "a1"', True),
        ('("yes" if flow.dropped_per_s == 0 else "no") == "yes"', True),
        ('cause.is("burst-exceeds-buffer")', True),
        ('cause.is("reader-cpu-bound")', False),
        ('cause.is("reader-cpu-bound", "burst-exceeds-buffer")', True),
        ('cause.has("reader-cpu-bound")', True),
        ("cause.ranked[1].confidence < 0.5", True),
        ("inputs.window is defined and inputs.nothing is not defined", True),
        ("[1, 2.5] | max == 2.5 and [3, 4] | sum == 7", True),
        ('outcome.name != "healthy"', True),
    ],
)
def test_a_condition_is_true_or_false(text, holds):
    """What an author writes in a `when` means what it says."""
    assert expressions.ask(text, NAMES).holds is holds


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("flow.lost == 0", None),
        ("flow.lost > 0 and true", None),
        ("flow.lost > 0 and false", False),
        ("false and flow.lost > 0", False),
        ("flow.lost > 0 or true", True),
        ("flow.lost > 0 or false", None),
        ("not (flow.lost > 0)", None),
        ("flow.lost + 1 > 0", None),
        ("flow.lost | round > 0", None),
        ("flow.lost is known", False),
        ("flow.lost is unknown", True),
        ("flow.lost | default(0) == 0", True),
        ("flow.never_measured > 0", None),
        ("flow.nan > 0", None),
        ("sources.top_share > 0.6", None),
        ("1 < flow.lost < 3", None),
        ("1 < 0 < flow.lost", False),
        ("flow.in_per_s / 0 > 1", None),
        ("flow.rings[7].size > 0", None),
        ("cause.ranked[1].explains > 0", None),
        ("true if flow.lost > 0 else false", None),
    ],
)
def test_unknown_is_neither_true_nor_false(text, holds):
    """Could-not-measure must never open or close a gate silently (Kleene's three values)."""
    assert expressions.ask(text, NAMES).holds is holds


def test_an_unknown_answer_says_why():
    """The report explains a skipped step without anybody looking at the probe."""
    answer = expressions.ask("flow.lost > 0", NAMES)
    assert "flow.lost: no drop source" in answer.because
    assert answer.values == {"flow.lost": None}


def test_an_answer_shows_the_values_it_met():
    """A decision without its numbers can't be audited."""
    answer = expressions.ask('flow.in_per_s > 100_000 or cause.is("x")', NAMES)
    assert answer.values == {"flow.in_per_s": 18_400.0, "cause.name": "burst-exceeds-buffer"}
    assert "flow.in_per_s is 18400" in answer.because


def test_a_verdict_without_causes_names_none():
    """No cause found is known: no cause `is`; only its fields are unknown."""
    names = scope.names(verdicts={"cause": Verdict(diagnosis="d", sentence="nothing fits")})
    assert expressions.ask('cause.is("x")', names).holds is False
    assert expressions.ask("cause.name is unknown", names).holds is True


def test_a_lone_template_keeps_its_type():
    """A size that passes through a template is still a number of bytes."""
    assert expressions.render("{{ inputs.limit }}", NAMES) == 64 << 20
    assert expressions.render(["{{ inputs.window }}", "x"], NAMES) == [10.0, "x"]
    assert expressions.render({"a": "{{ inputs.window > 5 }}"}, NAMES) == {"a": True}


def test_a_template_within_a_text_gives_text():
    """Sentences for people take values in, unknown ones as the word."""
    text = "{{ flow.in_per_s | rate }}, {{ inputs.limit | bytes }}, lost {{ flow.lost }}"
    assert expressions.render(text, NAMES) == "18,400/s, 64 MiB, lost unknown"


def test_a_lone_unknown_template_is_refused_with_its_reason():
    """An option can't be unknown; the author learns how to say what then."""
    with pytest.raises(ExpressionError, match="no drop source") as error:
        expressions.render("{{ flow.lost }}", NAMES)
    assert "default" in error.value.fix


def test_text_from_an_alert_is_data():
    """A label that looks like a template must not be run as one."""
    names = scope.of_alert("A", {"job": "{{ 7 * 7 }}{% raw %}"}, {})
    assert expressions.render("{{ alert.labels.job }}", names) == "{{ 7 * 7 }}{% raw %}"
    assert expressions.render("on {{ alert.labels.job }}", names) == "on {{ 7 * 7 }}{% raw %}"


def test_only_double_braces_are_special():
    """A regular expression or a shell snippet in a text stays what it is."""
    assert expressions.render("{% if x %}{# y #}${z}", NAMES) == "{% if x %}{# y #}${z}"
    assert expressions.render("{% x %} {{ 1 + 1 }}", NAMES) == "{% x %} 2"


def test_names_in_an_expression_are_listed_dotted():
    """The check and the report ask which evidence a condition reads."""
    text = 'flow.in_per_s > inputs.limit and cause.is("x") and flow.rings[0].size > 1'
    assert expressions.names_in(text) == ("flow.in_per_s", "inputs.limit", "cause", "flow.rings")


@pytest.mark.parametrize(
    ("text", "says", "fix"),
    [
        ("flow.in_per_s", "a number, neither true nor false", "compare it"),
        ("inputs.windw > 1", "inputs has no field 'windw'", "did you mean 'window'?"),
        ("flo.in_per_s > 1", "'flo' is not known here", "did you mean 'flow'?"),
        ('flow.in_per_s > "x"', "a number can't be compared with a text", ""),
        ("flow.source > 3", "a text can't be compared with a number", ""),
        ("flow.source + 1 > 1", "a text can't be reckoned with", ""),
        ("inputs.window > 10s", "unexpected 's'", "numbers are in base units"),
        ("inputs.window = 3", "unexpected '='", "=="),
        ("inputs.window > ", "unexpected 'end'", ""),
        ("a.is", "'a' is not known here", ""),
        ("flow.is('x')", "a record has no is(…)", ""),
        ("cause.is(1)", "takes names in quotes", ""),
        ("inputs.window | rond > 1", "there is no filter 'rond'", "did you mean 'round'?"),
        ("inputs.window is knwn", "there is no test 'knwn'", "did you mean 'known'?"),
        ("1 if true", "an 'if' without 'else'", ""),
        ("inputs.window | round(99) > 1", "'round' can't take a number", ""),
    ],
)
def test_a_wrong_expression_is_explained(text, says, fix):
    """The author sees the place, the reason and the way out."""
    with pytest.raises(ExpressionError) as error:
        expressions.ask(text, NAMES)
    assert says in error.value.problem
    assert fix in error.value.fix


HOSTILE = [
    "''.__class__", "''['__class__']", "().__class__.__bases__[0].__subclasses__()",
    "flow.__init__.__globals__",
    "inputs._x", "cause.is.__func__", "x|attr('__class__')",
    "cause['is']('x')", "flow['__class__']", "inputs.window.real", "inputs.comms.append(1)",
    "'%s'.format(1)", "'{0.__class__}'.format(1)", "'%999999999d' % 1", "'a' * 10**9", "[0] * 10**9",
    "9**9**9", "9**9**9**9", "10**24 * 10**24", "1e308 * 1e308", "range(10**9)", "lipsum()",
    "cycler('a')", "namespace()", "self", "dict(a=1)", "joiner()", "flow|map('x')", "flow|tojson",
    "(" * 900 + "1" + ")" * 900, "not " * 480 + "true", "-" * 1900 + "1", "[" * 990 + "]" * 990,
    "a" + ".b" * 900, "1" + "+1" * 900, "x" * 3000, "1 if 1 else " * 150 + "1", "{{ 1 }}", "{% for x in y %}",
    "1 }} {{ 2", "'" + "a" * 1900 + "' ~ " * 1, "\0", "lambda: 0", "a := 1", "[x for x in y]", "'\\ud800'",
    "cause.is(*[1])", "cause.is(**{})", "'" + "b" * 60 + "'|int > 1", "1e999 > 1", "0x" + "f" * 1900,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_expressions_end_in_an_error_at_once(text):
    """No expression reaches Python, fills memory or keeps a CPU; the CPU bound is generous."""
    began = time.thread_time()
    with pytest.raises(ExpressionError):
        expressions.ask(text, NAMES)
    with pytest.raises(RunbookError):
        expressions.ask(f"({text}) == 1 and ({text}) != 1 and nothing", NAMES)
    assert time.thread_time() - began < 1.0


@pytest.mark.parametrize("word", ["values", "methods", "open", "name"])
def test_attributes_of_our_own_objects_are_not_fields(word):
    """Evidence without a field of that name has no such field, whatever Python object carries it."""
    assert isinstance(expressions.evaluate(f"flow.{word}", NAMES), Unknown)


_ATOMS = st.sampled_from(
    [
        "1",
        "0",
        "2.5",
        "'a'",
        "true",
        "none",
        "flow",
        "flow.lost",
        "flow.in_per_s",
        "inputs.comms",
        "cause",
        "x",
    ]
)
_WORDS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(
            inner,
            st.sampled_from(
                ["+", "-", "*", "/", "//", "%", "**", "==", "!=", "<", ">=", "and", "or", "in", "~"]
            ),
            inner,
        ).map(lambda parts: f"({' '.join(parts)})"),
        inner.map(lambda one: f"not {one}"),
        inner.map(lambda one: f"-{one}"),
        inner.map(lambda one: f"[{one}, {one}]"),
        st.tuples(
            inner, st.sampled_from(["round", "length", "join", "sum", "int", "first", "bytes", "nope"])
        ).map("|".join),
        st.tuples(inner, st.sampled_from(["known", "unknown", "defined", "odd"])).map(" is ".join),
        st.tuples(inner, st.sampled_from(["a", "__class__", "is('x')", "values", "name"])).map(".".join),
        st.tuples(inner, inner).map(lambda two: f"{two[0]}[{two[1]}]"),
        st.tuples(inner, inner, inner).map(lambda three: f"({three[0]} if {three[1]} else {three[2]})"),
    ),
    max_leaves=12,
)
_PLAIN = (bool, int, float, str, list, dict, type(None), Unknown, Record)


@settings(max_examples=300, deadline=None)
@given(_WORDS)
def test_every_expression_gives_plain_data_or_an_error(text):
    """Whatever can be written, nothing but plain data comes out and nothing else is raised."""
    try:
        assert isinstance(expressions.evaluate(text, NAMES), _PLAIN)
        answer = expressions.ask(text, NAMES)
    except RunbookError:
        return
    assert answer.holds in (True, False, None)


@settings(max_examples=200, deadline=None)
@given(st.text(string.printable + "é\u2028\x85", max_size=60))
def test_no_text_breaks_the_reading(text):
    """Text that is no expression at all is refused, in the same way."""
    for ask in (expressions.ask, expressions.evaluate, expressions.render):
        try:
            ask("{{" + text + "}}", NAMES) if ask is expressions.render else ask(text, NAMES)
        except RunbookError as error:
            assert error.fix  # noqa: PT017 - a property of whatever was raised
