"""Rehearsals: evidence from a file in, what the real engine makes of it out."""

from __future__ import annotations

import contextlib
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Meta

from engine import cli, record
from engine.catalog import installed
from engine.errors import DocumentError, RunbookError, UsageError
from engine.language import documents, loader
from engine.rehearsals import (
    cases,
    expectations,
    finding,
    happened,
    recording,
    replay,
    skeleton,
    stage,
    suite,
)
from engine.rehearsals.coverage import coverage
from engine.rehearsals.play import play
from engine.rehearsals.thinning import Thinner
from engine.rehearsals.writing import text_of
from engine.values import Evidence, Process, Reading, Series, Target

SHIPPED = loader.shipped()
RUNBOOKS = sorted(path.stem for path in SHIPPED.glob("*.yaml"))

BURST = """\
case: Bursts overrun the ring.
runbook: events-dropped
inputs: {window: 5s, hold: 5s}
target: {profile: lab, knobs: {ring-buffer-size: 256KiB}}
before:
  flow: {in_per_s: 20000, accepted_per_s: 19000, out_per_s: 19000, dropped_per_s: 1000,
    dropped_ring_per_s: 1000, dropped_behind_per_s: 0, record_bytes: 72, ring_bytes: 256KiB, fill_peak: 1,
    full_share: 0.05, pattern: bursts, burst_in_per_s: 200000, burst_s: 50ms, burst_bytes: 600KiB,
    service_per_s: 60000, consumer_moved: true}
  process: {cpu_cores: 0.3, busiest_thread_cores: 0.3, throttled_share: 0, runq_wait_share: 0.01}
after:
  ring-buffer-size:
    flow: {dropped_per_s: 0, dropped_ring_per_s: 0, fill_peak: 0.29}
expect:
  outcome: fixed
  causes: [burst-exceeds-buffer]
  plans:
    - {change: ring-buffer-size, to: 2MiB, ends: kept}
"""

VERBS = """\
runbook: verbs
summary: Every verb of the language.
goal:
  look: process
  with: {window: 1s}
  until: process.oom_kills == 0
steps:
  - look: [process, event-flow]
    with: {window: 1s}
  - decide: inline
    cases:
      - {cause: many, when: process.oom_kills > 10, sentence: many}
      - {cause: some, when: process.oom_kills > 0, sentence: some}
  - run: [/bin/touch, MARK]
    id: mark
    reads: true
  - each:
      - tell: "ring {{ row.name }}"
        id: told
        when: row.bytes > 5
    in: flow.rings
    as: row
    id: rings
  - ask: Shall it be?
    id: shall
    as: shall
    expires: 10m
  - run: [/bin/false, "on"]
    id: switch
    undo: [/bin/false, "off"]
    when: shall.yes
  - call: other
    when: process.oom_kills > 0
"""
OTHER = """\
runbook: other
summary: Another.
steps:
  - look: process
    with: {window: 1s}
  - {stop: unfixed, because: It is so.}
"""
SWITCHED = """\
case: A command ends it.
runbook: verbs
runs: {/bin/touch MARK: "", /bin/false on: {exit: 0}, /bin/false off: {exit: 0}}
before:
  process: {oom_kills: 3}
  flow: {rings: [{name: big, bytes: 9}, {name: small, bytes: 1}]}
after:
  /bin/false on: {process: {oom_kills: 0}}
expect:
  outcome: fixed
  taken: [mark, rings, told, shall, switch]
  causes: [some]
  plans: [{change: run false, ends: kept}]
  tells: [^ring big$]
"""
LATE = """\
case: Nobody answers in time, and the called runbook does not mend it.
runbook: verbs
runs: {/bin/touch MARK: {exit: 1}}
answers: {shall: late}
calls: {other: unfixed}
before:
  process: {oom_kills: 30}
  flow: {rings: []}
expect:
  outcome: unfixed
  skipped: [switch]
  causes: [many, some]
  calls: {other: unfixed}
"""


def parse(text: str, path: Path = Path("case.yaml"), **further):
    return cases.parse(text.encode(), path, installed(), **further)


def run(text: str, path: Path = Path("case.yaml")):
    case = parse(text, path)
    result, done = suite.run_one(case, installed())
    return result, done


def complaints(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        parse(text)
    return str(caught.value)


@pytest.fixture
def verbs(tmp_path):
    """A directory with a runbook of every verb, and the place for its cases."""
    mark = tmp_path / "mark"
    (tmp_path / "verbs.yaml").write_text(VERBS.replace("MARK", str(mark)))
    (tmp_path / "other.yaml").write_text(OTHER)
    place = tmp_path / "rehearsals" / "verbs"
    place.mkdir(parents=True)
    (place / "switched.yaml").write_text(SWITCHED.replace("MARK", str(mark)))
    (place / "late.yaml").write_text(LATE.replace("MARK", str(mark)))
    return place


# ── what ships ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", RUNBOOKS)
def test_every_shipped_runbook_is_rehearsed_on_every_branch(name):
    """What nobody has rehearsed is first tried at three in the morning."""
    done = suite.run_all(finding.find([name]), installed())

    assert [line for one in done.results for line in (*map(str, one.differences), *one.complaints)] == []
    (covered,) = done.coverages
    assert [f"{one.where}: {one.what}" for one in covered.branches if not one.reached] == []


# ── running ─────────────────────────────────────────────────────────────────────


def test_a_case_takes_the_whole_way_of_a_run():
    """Evidence, cause, plan, guards, write, proof: only eyes and hands are made up."""
    result, done = run(BURST)

    assert (result.result, done.head.outcome) == ("ok", "fixed")
    kinds = [event.__struct_config__.tag for event in done.events]
    for kind in (
        "seen",
        "decided",
        "planned",
        "judged",
        "intended",
        "applied",
        "compared",
        "settled",
        "ended",
    ):
        assert kind in kinds


def test_the_same_case_gives_the_same_run():
    """No clock, machine or chance is in it, but for the order of probes within one window."""

    def told(done):
        return sorted(f"{type(event).__name__} {event.step}" for event in done.events), done.head.sentence

    first, second = run(BURST)[1], run(BURST)[1]

    assert told(first) == told(second)
    assert first.head.ended_at == second.head.ended_at


def test_a_difference_names_the_line_of_the_expectation():
    """Expected and seen, where to look, and why."""
    result, _ = run(BURST.replace("outcome: fixed", "outcome: unfixed").replace("to: 2MiB", "to: 4MiB"))

    told = [str(one) for one in result.differences]
    line = next(number for number, text in enumerate(BURST.splitlines(), 1) if "outcome:" in text)
    assert told[0].startswith(f"case.yaml:{line}:12: outcome: expected unfixed; seen: fixed: Fixed by")
    assert "plans[0].to: expected 4MiB; seen: ring-buffer-size 2MiB" in told[1]


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (
            "taken: [no cause fits]",
            "expected step no cause fits taken; seen: skipped: `cause.name is unknown`",
        ),
        ("skipped: [ring-buffer-size]", "expected step ring-buffer-size skipped; seen: taken (5.rungs.4)"),
        ("causes: [reader-stuck]", "expected reader-stuck; seen: burst-exceeds-buffer"),
        ("plans: []", "expected no further plan that changes something; seen: ring-buffer-size"),
        ("plans: [{change: workers}]", "expected a plan of workers; seen: a plan of ring-buffer-size"),
        ("plans: [{change: ring-buffer-size, predicts: {flow.dropped_per_s: 5}}]", "expected 5; seen: 0"),
        (
            "plans: [{change: ring-buffer-size, predicts: {flow.x: 5}}]",
            "seen: no prediction of it (flow.dropp",
        ),
        ("plans: [{change: ring-buffer-size, ends: undone}]", "expected undone; seen: kept"),
        ("plans: [{change: ring-buffer-size, risk: high}]", "expected high; seen: low"),
        ("tells: [nothing of it]", "expected /nothing of it/ in a sentence told"),
        ("misses: [process]", "expected process could not look"),
        ("sentence: no such words", "expected /no such words/; seen: Fixed by"),
    ],
)
def test_every_kind_of_expectation_can_differ(expected, seen):
    """An expectation that can't fail proves nothing."""
    head = BURST.partition("expect:")[0]
    result, _ = run(f"{head}expect:\n  outcome: fixed\n  {expected}\n")

    assert [seen in str(one) for one in result.differences] == [True]


def test_an_undone_change_leaves_what_was_seen_before_it():
    """Evidence follows what is in force, not what was once tried."""
    text = BURST.replace(
        "{dropped_per_s: 0, dropped_ring_per_s: 0, fill_peak: 0.29}", "{dropped_per_s: 5000}"
    )
    _, done = run(text.replace("  - {change", "  - {change").replace("outcome: fixed", "outcome: unfixed"))

    lost = [event.values["flow.dropped_per_s"] for event in done.events if hasattr(event, "held_s")]
    assert lost == [1000, 5000, 1000]


def test_what_people_and_guards_say_is_heard():
    """A no is a no, nobody is a wait, a guard is a guard."""
    for words, outcome in (
        ("answers: {ring-buffer-size: no, sampling: no}", "refused"),
        ("answers: {ring-buffer-size: nobody}", "waiting"),
        ("guards: {ring-buffer-size: deny}", "refused"),
        ("breaks: {ring-buffer-size: it did not come back}", "unfixed"),
        ("dry_run: true", "rehearsed"),
    ):
        assert run(f"{words}\n{BURST}")[1].head.outcome == outcome


def test_a_target_that_ends_within_a_window_ends_the_run():
    """As it would in earnest."""
    _, done = run(BURST.replace("  process: {cpu_cores", "  sources: {gone: killed}\n  process: {cpu_cores"))

    assert done.head.outcome == "failed"
    assert "the target ended while it was looked at: killed" in done.head.sentence


def test_a_probe_that_no_phase_tells_of_says_so():
    """It never sees nothing in silence."""
    _, done = run(BURST)

    assert any("the case tells nothing of program-cost" in str(event) for event in done.events)


def test_every_verb_can_be_rehearsed(verbs):
    """Commands, questions, lists, calls and causes written in the runbook."""
    done = suite.run_all(finding.find([str(verbs)]), installed())

    assert [str(line) for one in done.results for line in one.differences] == []
    missing = {branch.what for branch in done.coverages[0].branches if not branch.reached}
    assert missing == {
        "the goal holds at once",
        "step switch (run: /bin/false on): held back",
    }


def test_no_command_is_ever_run(verbs, tmp_path):
    """A rehearsal that touches a file is none."""
    suite.run_all(finding.find([str(verbs)]), installed())

    assert not (tmp_path / "mark").exists()


def test_a_rehearsal_leaves_nothing_behind(tmp_path):
    """Neither a journal nor a lock."""
    play(parse(BURST), installed(), scratch=tmp_path)

    assert list(tmp_path.iterdir()) == []


# ── reading ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            "dropped_per_s: 1000",
            "droped_per_s: 1000",
            "case.yaml:6:82: event-flow gives no 'droped_per_s' (did you",
        ),
        ("  flow: {in", "  flwo: {in", "there is no probe 'flwo' (did you mean 'flow'?)"),
        ("pattern: bursts", "pattern: 7", "pattern of event-flow is a text (in quotes), found 7"),
        (
            "consumer_moved: true",
            "consumer_moved: 1",
            "consumer_moved of event-flow is true or false, found 1",
        ),
        ("fill_peak: 1,", "fill_peak: [1],", "expected a row of plain values, found 1"),
        (
            "  ring-buffer-size:\n",
            "  ring-bufer-size:\n",
            "there is no remediation 'ring-bufer-size' (did you mean",
        ),
        (
            "runbook: events-dropped",
            "runbook: events-droped",
            "there is no runbook named 'events-droped' (did you",
        ),
        ("profile: lab", "profile: lap", "there is no agent profile named 'lap' (did you mean 'lab'?)"),
        ("window: 5s", "windw: 5s", "events-dropped has no input 'windw' (did you mean 'window'?)"),
        ("outcome: fixed", "outcome: fixd", "'fixd' is not known here (did you mean 'fixed'?)"),
        (
            "[burst-exceeds-buffer]",
            "[burst-exceeds]",
            "has no diagnosis that could name 'burst-exceeds' (did you",
        ),
        ("{change: ring-buffer-size,", "{change: map-kind,", "events-dropped has no change 'map-kind'"),
        ("  outcome: fixed", "  outcome: fixed\n  tells: ['(']", "'(' is no regular expression"),
        ("  outcome: fixed", "  outcome: fixed\n  taken: [77]", "events-dropped has no step '77'"),
        ("ring-buffer-size: 256KiB", "ring-buffer-size: soon", "'soon' can't be read in bytes"),
        (
            "ring-buffer-size: 256KiB",
            "ring-buffer-size: {value: 1, minimum: low}",
            "no knob: Expected `float | null`",
        ),
        ("case: Bursts", "cse: Bursts", "unknown key 'cse' (did you mean 'case'?)"),
        ("runbook: events", "runs: {ls: x}\nrunbook: events", "'ls' names no program by its whole path"),
        ("runbook: events", "host: {memory_bytes: much}\nrunbook: events", "'much' is not a size in bytes"),
    ],
)
def test_what_is_wrong_with_a_case_is_told_with_its_place(old, new, says):
    """File, line, the nearest right word; before anything is run."""
    assert old in BURST
    told = complaints(BURST.replace(old, new, 1))

    assert says in told
    assert told.startswith("case.yaml:")


def test_every_shape_of_evidence_is_read():
    """Readings short and long, tables, series, notes, a reading and a table of one name."""
    text = BURST.replace(
        "fill_peak: 1,",
        "fill_peak: {value: 0.9, source: ring positions}, lost_share: {missing: no counter}, out_per_s: null,"
        " rings: [{name: events}], fill: {times: [0, 1], values: [0, 0.9]}, notes: [seen from outside],"
        " samples: {value: 2, rows: [{at: 1}]},",
    ).replace("out_per_s: 19000, ", "", 1)
    _, done = run(text)
    seen = next(event.evidence for event in done.events if getattr(event, "evidence", None))

    assert seen.readings["fill_peak"] == Reading(value=0.9, unit="share", source="ring positions")
    assert seen.readings["lost_share"].missing == "no counter"
    assert seen.readings["out_per_s"].missing == "the case says so"
    assert seen.readings["record_size_fixed"].missing == "the case does not tell it"
    assert seen.tables == {"rings": ({"name": "events"},), "samples": ({"at": 1},)}
    assert seen.series["fill"].times == (seen.started_at, seen.started_at + 1)
    assert seen.notes == ("seen from outside",)


scraps = st.sampled_from(
    [
        "null",
        "true",
        "[]",
        "{}",
        "-1",
        "1e400",
        "'{{ x }}'",
        "[[[]]]",
        "{a: {b: {c: 1}}}",
        "\x00",
        "&a *a",
        "!!x y",
        "no",
    ]
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_a_case_says_it_is_read_or_refused(data):
    """Hostile or hurried: a complaint with a place, never a traceback."""
    words = BURST.split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(words) - 1))
        words[place] = data.draw(st.one_of(scraps, st.text(max_size=8)))
    with contextlib.suppress(RunbookError):
        parse(" ".join(words))


letters = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029\x85\ufeff")
lookalikes = ["10s", "64MiB", "no", "~", "1e5", "30%", "true", "on", "-", "{{ x }}", "0x10", "1_000"]
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(letters)
    | st.sampled_from(lookalikes)
)


def nested(inner):
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)


@settings(max_examples=100, deadline=None)
@given(st.recursive(scalars, nested, max_leaves=8))
def test_what_is_written_is_read_back_the_same(value):
    """A text stays a text, even one that looks like a size, a number or a truth value."""
    kind = msgspec.defstruct("Kind", [("value", Annotated[Any, Meta(extra={"reads": "tree"})])])
    read, _ = documents.read(kind, text_of({"value": value}).encode(), "x")

    assert read.value == value
    assert type(read.value) is type(value) or isinstance(value, float)


# ── finding ─────────────────────────────────────────────────────────────────────


def test_cases_are_found_by_runbook_directory_and_file(verbs):
    """And each finds the runbook that it lies beside."""
    runbook = verbs.parents[1] / "verbs.yaml"

    assert len(finding.find([str(runbook)])) == len(finding.find([str(verbs)])) == 2
    assert finding.find([str(verbs / "late.yaml"), str(verbs)]) == [
        verbs / "late.yaml",
        verbs / "switched.yaml",
    ]
    assert cases.load(verbs / "late.yaml", installed()).runbook.path == runbook


def test_a_runbook_without_cases_says_how_to_get_one(tmp_path):
    """The way out is in the message."""
    (tmp_path / "lonely.yaml").write_text(OTHER.replace("other", "lonely"))
    with pytest.raises(UsageError, match="has no rehearsals") as caught:
        finding.find([str(tmp_path / "lonely.yaml")])
    assert "runbook record" in caught.value.fix


# ── recording ───────────────────────────────────────────────────────────────────


def test_a_recorded_run_replays_to_the_same_end():
    """What it saw, in its order, before and after its change."""
    _, done = run(BURST)

    again = replay.of_past(done, installed())
    assert [one.result for one in again.results] == ["ok"]
    assert again.runs[0].head.sentence == done.head.sentence


def test_a_run_becomes_a_case_that_expects_what_it_did():
    """With its settings, answers and evidence; and it holds."""
    _, done = run(f"answers: {{sampling: no}}\n{BURST}")
    text = replay.case_of_run(done, installed())

    result, again = run(text)
    assert result.result == "ok"
    assert again.head.outcome == done.head.outcome
    assert 'ring-buffer-size: "256KiB"' in text
    assert 'to: "2MiB"' in text


@pytest.mark.parametrize("read", [5, None])
def test_a_series_of_a_readings_name_is_kept_beside_it(read, verbs):
    """As map-fill's `entries`; and of a table's name, as `maps` of memory."""
    line = "series: {times: [0, 1], values: [4, 5], unit: entries}"
    known = "missing: no access" if read is None else f"value: {read}"
    case = parse(
        SWITCHED.replace(
            "flow: {rings: [", f"flow: {{samples: {{{known}, {line}}}, rings: {{{line}, rows: ["
        ).replace("bytes: 1}]}", "bytes: 1}]}}"),
        verbs / "both.yaml",
    )
    done = play(case, installed()).run
    document = recording.of_run(done, case.runbook.document)
    again = cases.parse(text_of(document).encode(), verbs / "again.yaml", installed()).looks[stage.BEFORE]

    for seen in (case.looks[stage.BEFORE]["event-flow"][0], again["event-flow"][0]):
        assert seen.readings["samples"].value == read
        assert {name: (one.times, one.values) for name, one in seen.series.items()} == dict.fromkeys(
            ("samples", "rings"), ((0, 1), (4, 5))
        )
        assert [row["name"] for row in seen.tables["rings"]] == ["big", "small"]
        assert "rings" not in seen.readings


def _undone(done):
    """The same run, taken back after its end."""
    attempt = next(one.attempt for one in done.events if isinstance(one, record.Applied))
    later = done.head.ended_at + 60
    back = (
        record.Resumed(at=later, by="anna", doing="undo"),
        record.Settled(at=later + 1, attempt=attempt, state="undone", because="taken back by anna"),
    )
    return msgspec.structs.replace(done, events=done.events + back)


def test_a_run_that_was_undone_later_is_as_it_ended():
    """The undo was not the run's."""
    _, done = run(BURST)
    undone = _undone(done)

    assert [one.result for one in replay.of_past(undone, installed()).results] == ["ok"]
    assert "ends: kept" in replay.case_of_run(undone, installed())


def test_a_called_run_that_was_undone_later_is_as_it_ended():
    """The same of the runs that it called."""
    _, done = run(BURST)
    caller = msgspec.structs.replace(done, called=(_undone(done),))
    assert happened.until_its_end(caller).called == (done,)


def test_no_case_is_recorded_that_would_end_otherwise():
    """Its title would tell one outcome, its expectation another."""
    _, done = run(BURST)
    other = msgspec.structs.replace(done, head=msgspec.structs.replace(done.head, outcome="unfixed"))
    with pytest.raises(UsageError, match=r"ended unfixed, and .* ends fixed .* would be untrue") as refused:
        replay.case_of_run(other, installed())
    assert f"--replay {done.head.id}" in refused.value.fix


def test_commands_and_answers_of_a_run_are_recorded(verbs):
    """A replay runs no command either."""
    case = cases.load(verbs / "switched.yaml", installed())
    done = play(case, installed()).run
    document = recording.of_run(done, case.runbook.document)

    assert document["answers"]["shall"] == {"yes": "yes"}
    assert document["runs"]["/bin/false on"] == [{}]


def test_secrets_and_other_processes_are_left_out():
    """The same name becomes the same stand-in, so that a diagnosis still fits."""
    ramp = tuple(map(float, range(999)))
    seen = Evidence(
        probe="event-sources",
        short="sources",
        target="x",
        started_at=0,
        ended_at=1,
        readings={
            "top_comm": Reading(value="payroll"),
            "command": Reading(value="x --token=abc123 https://u:pw@h/"),
        },
        tables={
            "processes": (
                {"pid": 1, "comm": "payroll", "argv": "payroll --all"},
                {"pid": 2, "comm": "agent"},
            ),
            "threads": ({"comm": "worker-1"},),
        },
        series={"in": Series(label="in", times=ramp, values=ramp)},
        notes=("payroll of /home/anna says hunter2 and worker-1",),
    )
    target = Target(name="agent", ref="agent", processes=(Process(pid=2, comm="agent"),))
    thin = Thinner([seen], target, ["hunter2"]).evidence(seen)

    assert thin.readings["top_comm"].value == "process-1"
    assert thin.readings["command"].value == "x --token=(secret) https://(secret)@h/"
    assert thin.tables["processes"] == ({"pid": 1, "comm": "process-1"}, {"pid": 2, "comm": "agent"})
    assert thin.notes == ("process-1 of /home/someone says (secret) and worker-1",)
    assert len(thin.series["in"].times) <= 120


# ── a new runbook ───────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "wanted",
    [
        {"probes": ("event-flow",), "diagnosis": "event-loss", "changes": ("workers", "sampling")},
        {"probes": ("process",)},
        {"probes": ("process",), "until": "process.cpu_cores < 0.1"},
        {"probes": ("kernel-facts",)},
    ],
)
def test_a_new_runbook_passes_check_and_its_first_cases(wanted, tmp_path):
    """Whoever begins begins with something that works."""
    for path, text in skeleton.make(skeleton.Wanted(name="mine", **wanted), installed()).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)

    assert cli.main(["check", str(tmp_path / "mine.yaml")]) == 0
    assert cli.main(["test", str(tmp_path / "mine.yaml")]) == 0


def test_new_overwrites_nothing(tmp_path, capsys):
    """Neither the runbook nor one of its cases."""
    assert cli.main(["new", "mine", "-d", str(tmp_path)]) == 0
    (tmp_path / "mine.yaml").write_text("my work")
    assert cli.main(["new", "mine", "-d", str(tmp_path)]) == 2

    assert (tmp_path / "mine.yaml").read_text() == "my work"
    assert "nothing was written" in capsys.readouterr().err


# ── the command ─────────────────────────────────────────────────────────────────


def test_exit_codes_tell_right_different_and_wrong(tmp_path, capsys):
    """0, 1, 2; a wrong case stops no other."""
    for name, text in (
        ("ok", BURST),
        ("differs", BURST.replace("fixed", "unfixed")),
        ("wrong", BURST.replace("flow:", "flwo:")),
    ):
        (tmp_path / f"{name}.yaml").write_text(text)

    assert cli.main(["test", str(tmp_path / "ok.yaml")]) == 0
    assert cli.main(["test", str(tmp_path / "ok.yaml"), "--coverage", "90"]) == 1
    assert cli.main(["test", str(tmp_path / "ok.yaml"), str(tmp_path / "differs.yaml")]) == 1
    assert cli.main(["test", str(tmp_path)]) == 2
    assert cli.main(["test", "no-such-thing"]) == 2
    assert cli.main(["test", str(tmp_path), "--report", str(tmp_path / "r.html")]) == 2
    told = capsys.readouterr().out
    assert "3 cases, 1 as expected" in told
    assert "events-dropped.yaml:22:10: not reached: the goal holds at once" in told


def test_machines_get_json_and_junit(tmp_path, capsys):
    """One document each; what differs is in both."""
    (tmp_path / "differs.yaml").write_text(BURST.replace("fixed", "unfixed"))
    assert cli.main(["test", str(tmp_path), "--json", "--junit", str(tmp_path / "r.xml")]) == 1

    document = json.loads(capsys.readouterr().out)
    assert document["cases"][0]["differences"][0]["what"] == "outcome"
    assert document["coverage"][0]["unreached"][0]["where"].endswith("events-dropped.yaml:22:10")
    suite_ = ET.parse(tmp_path / "r.xml").getroot()
    assert (suite_.get("failures"), suite_[0][0].tag) == ("1", "failure")


def test_coverage_counts_what_a_runbook_forks(verbs):
    """Every way has its place in the file."""
    loaded = loader.load(verbs.parents[1] / "verbs.yaml")
    found = coverage(loaded, [])

    assert found.reached == 0
    assert {branch.where.rsplit(":", 2)[0] for branch in found.branches} == {str(loaded.path)}
    whats = [branch.what for branch in found.branches]
    for way in ("names many", "with items", "without items", "answered", "not answered in time", "held back"):
        assert any(what.endswith(way) for what in whats)


def test_what_a_case_may_call_a_step():
    """By id, by name, and by what a rung changes."""
    case = parse(BURST)
    result = expectations.differences(
        case.document, case.source, case.runbook.document, play(case, installed()).run
    )
    assert result == []
