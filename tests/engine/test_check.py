"""Whether a runbook means something: every finding at once, each with its place."""

import pytest

from engine import catalog, cli
from engine.errors import DocumentError
from engine.guarding.commands import why_not
from engine.guarding.policy import Command
from engine.language import check, loader
from tests.engine.parts import GOOD, PARTS, load

HEAD = "runbook: good\n"
GOAL = "goal: {look: event-flow, until: flow.dropped_per_s == 0}\n"


def findings(tmp_path, text):
    loaded = load(tmp_path, text)
    return [str(one).removeprefix(f"{tmp_path}/good.yaml:") for one in check.check(loaded, PARTS)]


def test_a_right_runbook_has_no_findings(tmp_path):
    """A check that cries wolf is switched off."""
    assert findings(tmp_path, GOOD) == []


def test_shipped_runbooks_pass_against_the_installed_parts():
    """What we ship must run on what we ship."""
    for path in loader.shipped().glob("**/*.yaml"):
        if path.parent.name in ("agents", "alerts", "policies"):
            continue
        if "\nsteps:" in path.read_text():
            assert check.check(loader.load(path), catalog.installed()) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            GOOD.replace("look: event-flow", "look: event-flw"),
            "5:9: there is no probe named 'event-flw' (did you",
        ),
        (GOOD.replace("decide: event-loss", "decide: event-los"), "did you mean 'event-loss'?"),
        (GOOD.replace("change: sampling", "change: samplin"), "did you mean 'sampling'?"),
        (
            GOOD.replace("flow.dropped_per_s ==", "flow.droped_per_s =="),
            "7:10: flow has no field 'droped_per_s' (did you mean 'dropped_per_s'?)",
        ),
        (
            GOOD.replace("flow.dropped_per_s ==", "flw.dropped_per_s =="),
            "'flw' is not known here (did you mean 'flow'?)",
        ),
        (
            GOOD.replace("flow.dropped_per_s == 0", "flow.dropped_per_s"),
            "it gives a number, neither true nor false",
        ),
        (
            GOOD.replace("flow.dropped_per_s == 0", "flow.drop_source > 0"),
            "a text can't be compared with a number",
        ),
        (GOOD.replace("flow.dropped_per_s == 0", "flow.dropped_per_s ="), "7:10: unexpected '='"),
        (
            GOOD.replace("flow.dropped_per_s == 0", "inputs.window > 1"),
            "the goal never reads what it looks at (flow)",
        ),
        (
            GOOD.replace("burst-exceeds-buffer", "burst-exceds-buffer"),
            "no diagnosis before it can name 'burst-exceds-buffer' (did you mean",
        ),
        (
            GOOD.replace("{{ inputs.window }}", "{{ inputs.windw }}"),
            "inputs has no field 'windw' (did you mean 'window'?)",
        ),
        (GOOD.replace("{{ inputs.window }}", "10"), "3:11: warning: input 'window' is never used"),
        (
            GOOD.replace("with: {window:", "with: {windw:"),
            "there is no option 'windw' here (did you mean 'window'?)",
        ),
        (
            GOOD.replace('"{{ inputs.window }}"', '"10s"'),
            "'10s' is no duration (write it without quotes: 10s)",
        ),
        (GOOD.replace("        lease: 2h\n", ""), "warning: sampling loses or hides events on purpose"),
        (
            GOOD.replace("when: cause.is", "when: process.cpu_quota_left > 1 and caus.is"),
            "'caus' is not known here",
        ),
        (
            GOOD.replace("runbook: good", "runbook: other"),
            "warning: the file is named 'good', the runbook 'other'",
        ),
        (GOOD.replace("{{ outcome.sentence }}", "{{ outcome.text }}"), "outcome has no field 'text'"),
        (HEAD + "steps:\n  - change: sampling\n    lease: 1h\n", "a change without a goal can't be proven"),
        (HEAD + GOAL + "steps: []\n", "there are no steps"),
        (
            HEAD + GOAL + "steps:\n  - decide: event-loss\n    from: [flw]\n",
            "'flw' was not looked at before (did you mean 'flow'?)",
        ),
        (HEAD + "steps:\n  - decide: event-loss\n", "warning: event-loss also reads event-flow"),
        (
            HEAD + "steps:\n  - look: [event-flow, process]\n    as: both\n",
            "one name can't stand for several probes",
        ),
        (HEAD + "steps:\n  - look: process\n    as: inputs\n", "'inputs' means something else already"),
        (
            HEAD + "steps:\n  - tell: a\n    on_failure: latr\n  - tell: b\n    id: later\n",
            "did you mean 'later'?",
        ),
        (
            HEAD + "steps:\n  - tell: a\n    id: one\n  - tell: b\n    on_failure: one\n",
            "could go in circles",
        ),
        (HEAD + "steps:\n  - {tell: a, id: x}\n  - {tell: b, id: x}\n", "the id 'x' is taken already"),
        (HEAD + "steps:\n  - stop: unfixed\n    because: x\n  - tell: b\n", "5:5: warning: never reached"),
        (HEAD + GOAL + "steps:\n  - try: []\n", "a ladder needs rungs"),
        (
            HEAD
            + GOAL
            + "steps:\n  - try:\n    - change: ring-buffer-size\n    - change: ring-buffer-size\n",
            "the same as rung 1",
        ),
        (
            HEAD + GOAL + "steps:\n  - change: ring-buffer-size\n    with: {at_mst: 1MiB}\n",
            "did you mean 'at_most'?",
        ),
        (HEAD + GOAL + "steps:\n  - {change: sampling, keep: never, lease: 1h}\n", "its lease is never used"),
        (
            HEAD + "triggers: [{alert: A, matchers: ['severity']}]\nsteps: [{tell: a}]\n",
            "'severity' is no matcher",
        ),
        (
            HEAD + "triggers: [{alert: A, target: '{{ alert.label.x }}'}]\nsteps: [{tell: a}]\n",
            "did you mean 'labels'?",
        ),
        (HEAD + "triggers: [{alert: A, inputs: {x: z}}]\nsteps: [{tell: a}]\n", "there is no input 'x'"),
    ],
)
def test_each_mistake_is_found_before_a_run(tmp_path, text, says):
    """At 3 a.m. is the wrong time to learn of a typing error in the third rung."""
    found = findings(tmp_path, text)
    assert any(says in line for line in found), found


def test_evidence_is_only_there_after_it_was_looked_at(tmp_path):
    """A condition on what a later step sees would always be unknown."""
    text = HEAD + "steps:\n  - tell: a\n    when: process.cpu_quota_left > 1\n  - look: process\n"
    assert any("'process' is not known here" in line for line in findings(tmp_path, text))


def test_a_missing_probe_causes_one_finding_and_no_trail(tmp_path):
    """Ten complaints about one typing error hide the other nine mistakes."""
    text = HEAD + "steps:\n  - look: quite-other\n  - tell: '{{ other.a }}'\n    when: other.b > 1\n"
    assert len(findings(tmp_path, text)) == 1


def test_require_raises_errors_and_lets_warnings_pass(tmp_path):
    """A run stops for an error; for a warning it goes on and says it."""
    warned = load(tmp_path, GOOD.replace("runbook: good", "runbook: other"))
    assert [one.level for one in check.require(warned, PARTS)] == ["warning"]
    with pytest.raises(DocumentError, match="event-flw"):
        check.require(load(tmp_path, GOOD.replace("look: event-flow", "look: event-flw")), PARTS)


def test_given_names_are_those_of_all_steps(tmp_path):
    """A name of a skipped step is unknown in a run, not an error."""
    assert check.given_names(load(tmp_path, GOOD).document, PARTS) == ("flow", "process", "cause")


INNER = """\
runbook: inner
inputs:
  window: {type: duration, default: 10s}
  who: {type: text}
steps:
  - look: event-flow
    with: {window: "{{ inputs.window }}"}
  - tell: "{{ inputs.who }}"
"""


def calls(tmp_path, step, inner=INNER):
    (tmp_path / "inner.yaml").write_text(inner)
    text = f"runbook: outer\ninputs:\n  pw: {{type: text, secret: true, default: x}}\nsteps:\n{step}"
    return [one.what for one in check.check(load(tmp_path, text, "outer.yaml"), PARTS)]


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("  - call: innr\n", "there is no runbook named 'innr'"),
        ("  - call: inner\n", "inner must be given 'who'"),
        ("  - call: inner\n    with: {who: a, windw: 3s}\n", "did you mean 'window'?"),
        ("  - call: inner\n    with: {who: a, window: soon}\n", "'soon' is not a duration"),
        (
            '  - call: inner\n    with: {who: "{{ inputs.pw }}"}\n',
            "input 'pw' is secret, and 'who' there is not",
        ),
        ('  - call: inner\n    with: {who: "{{ flw.x }}"}\n', "'flw' is not known here"),
        ("  - call: inner\n    with: {who: a}\n  - tell: '{{ inner.outcom }}'\n", "did you mean 'outcome'?"),
        ("  - call: inner\n    with: {who: a}\n    as: target\n", "'target' means something else already"),
        ("  - call: outer\n", "it would go in circles: outer → outer"),
    ],
)
def test_a_call_is_checked_before_it_is_made(tmp_path, step, says):
    """At three in the morning nobody wants to hear of a typo in the second runbook."""
    assert any(says in what for what in calls(tmp_path, step)), calls(tmp_path, step)


def test_a_circle_of_calls_is_found_the_long_way_round(tmp_path):
    """A runbook that calls its caller would never end."""
    (found,) = [
        what
        for what in calls(tmp_path, "  - call: inner\n", "runbook: inner\nsteps: [{call: outer}]\n")
        if "circle" in what
    ]
    assert "outer → inner → outer" in found


def test_a_called_runbook_that_is_wrong_is_said_at_the_call(tmp_path):
    """What it calls is part of what a runbook does."""
    wrong = INNER.replace("event-flow", "event-flw")
    assert any(
        "inner is wrong: " in what and "event-flw" in what
        for what in calls(tmp_path, "  - call: inner\n    with: {who: a}\n", wrong)
    )


def test_the_causes_of_cases_are_known_to_is(tmp_path):
    """A typo in a cause would make its step never run."""
    steps = (
        "  - look: event-flow\n  - decide: loss\n    cases:\n"
        "      - {cause: big, when: flow.in_per_s > 3, sentence: '{{ flow.in_per_s }}'}\n"
        "  - tell: x\n    when: cause.is('bg')\n"
    )
    assert any(
        "no diagnosis before it can name 'bg' (did you mean 'big'?)" in one for one in calls(tmp_path, steps)
    )


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("  - each: []\n    in: '[1]'\n", "there is nothing to do for each"),
        ("  - each: [{tell: '{{ item }}'}]\n    in: 3\n", "nothing to go through in a number"),
        ("  - each: [{tell: '{{ itm }}'}]\n    in: '[1]'\n", "did you mean 'item'?"),
        ("  - each: [{tell: x}]\n    in: '[1]'\n  - tell: '{{ item }}'\n", "'item' is not known here"),
        ("  - each: [{tell: x}]\n    in: '[1]'\n    as: host\n", "'host' means something else already"),
        ("  - each: [{tell: x, id: a}, {tell: z, id: a}]\n    in: '[1]'\n", "the id 'a' is taken already"),
        ("  - each: [{stop: failed, because: x}, {tell: z}]\n    in: '[1]'\n", "never reached"),
        ("  - each: [{change: sampling, keep: always}]\n    in: '[1]'\n    at_once: 2\n", "'change' can't"),
        ("  - ask: Go on?\n    answers: {by: {type: bool}}\n", "'by' means something else already"),
        ("  - ask: Go on?\n    answers: {a: {type: text, secret: true}}\n", "an answer is recorded"),
        (
            "  - ask: Go on?\n    answers: {a: {type: text, local: true}}\n",
            "an answer may come from the page",
        ),
        ("  - ask: Go on?\n    answers: {a: {type: duration, default: x}}\n", "'x' is not a duration"),
        ("  - ask: Go on?\n  - tell: '{{ answer.yse }}'\n", "did you mean 'yes'?"),
        ("  - run: []\n    reads: true\n", "a command needs a program"),
        ("  - run: [ls]\n    reads: true\n", "'ls' is no program (write its whole path"),
        ("  - run: ['/bin/{{ inputs.pw }}']\n    reads: true\n", "is no program"),
        ("  - run: [/bin/ls, '{{ inputs.pw }}']\n    reads: true\n", "input 'pw' is secret"),
        ("  - run: [/bin/touch, a]\n", "needs its way back"),
        ("  - run: [/bin/touch, a]\n    undo: [/bin/rm, a]\n", "a change without a goal can't be proven"),
        ("  - run: [/bin/ls]\n    reads: true\n    undo: [/bin/ls]\n", "nothing to take back"),
        ("  - run: [/bin/ls]\n    reads: true\n  - tell: '{{ output.line }}'\n", "did you mean 'lines'?"),
    ],
)
def test_each_ask_and_run_are_checked(tmp_path, step, says):
    """A typo in a step that runs once a month is found now."""
    assert any(says in what for what in calls(tmp_path, step)), calls(tmp_path, step)


def test_a_command_that_the_policy_does_not_allow_is_a_warning(tmp_path):
    """The runbook may be meant for another machine."""
    text = "runbook: good\nsteps:\n  - run: [/usr/bin/ss, '-{{ run.id }}']\n    reads: true\n"
    listed = (Command(run="/usr/bin/ss", arguments=("-a*",), owner="x"),)
    loaded = load(tmp_path, text)
    found = check.check(loaded, PARTS, allows=lambda argv, reads: why_not((), argv, reads=reads))
    assert [(one.level, "lists no command" in one.what) for one in found] == [("warning", True)]
    assert not check.check(loaded, PARTS, allows=lambda argv, reads: why_not(listed, argv, reads=reads))


# ── which kind of document ──────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("file", "text", "code", "kind"),
    [
        ("mine.yaml", "risk: {low: auto}\nyes: [low]\n", 0, "policy by its keys"),
        ("policy.yaml", "risc: {}\n", 2, "policy by its place"),
        ("policies/a.yaml", "{}\n", 0, "policy by its place"),
        ("agents/a.yaml", "summary: x\n", 2, "profile by its place"),
        ("a.yaml", "summary: x\nsteps: []\n", 2, "runbook by its keys"),
        ("b.yaml", "runbook: process\nexpect: {outcome: healthy}\n", 2, "case by its keys"),
    ],
)
def test_a_document_that_does_not_name_its_kind_is_told_by_place_and_keys(
    file, text, code, kind, tmp_path, capsys
):
    """And what it was taken for is said."""
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

    assert cli.main(["check", str(path)]) == code
    said = capsys.readouterr().err
    assert f"warning: taken for a {kind}" in said
    assert ("'runbook' is missing" in said) == kind.startswith("runbook")


def test_no_trigger_sets_a_local_input(tmp_path):
    """It names a file of this host; an alert must not."""
    text = (
        "runbook: outer\ntriggers: [{alert: A, inputs: {file: '{{ alert.labels.file }}'}}]\n"
        "inputs:\n  file: {type: text, local: true, default: ''}\nsteps:\n  - tell: '{{ inputs.file }}'\n"
    )
    found = [one.what for one in check.check(load(tmp_path, text, "outer.yaml"), PARTS)]

    assert found == ["input 'file' is local: no alert may set it"]
