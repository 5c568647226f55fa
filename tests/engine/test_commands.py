"""Commands of a runbook: only what the policy lists, never a shell, and back again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.clock import Cancel
from engine.guarding.commands import entry, matches, unsafe, why_not
from engine.guarding.policy import Command, Policy, RiskAnswers
from engine.language.model import Input, Run, Runbook, Step, Tell
from engine.record import Judged, Ran, Settled, Told
from engine.record import Run as Done
from engine.running import processes, resume
from engine.testing import FakeTarget, fake_tools, rehearse
from tests.engine.rehearsed import agent, flow, of_type

ECHO = "/usr/bin/printf"
SHOW = Command(run=ECHO, arguments=("%s", "**"), reads=True, dry_run=True, owner="tests")


def policy(*commands: Command) -> Policy:
    return Policy(commands=commands, risk=RiskAnswers(low="auto", medium="auto"))


def go(
    *steps: Step, commands: tuple[Command, ...] = (SHOW,), lab: FakeTarget | None = None, **further: Any
) -> Done:
    lab = lab or agent()
    book = Runbook(runbook="x", steps=steps, inputs={"word": Input(type="text", default="-")})
    return rehearse(book, [flow(lab)], lab, policy=policy(*commands), **further)


def show(*argv: str, **further: Any) -> Run:
    return Run(id="show", argv=(ECHO, *argv), reads=True, **further)


def files(place: Path, **further: Any) -> tuple[Run, tuple[Command, ...]]:
    """A command that makes a file, with its undo, and the policy's entries for it."""
    step = Run(
        id="make",
        argv=("/usr/bin/touch", str(place)),
        undo=("/usr/bin/rm", str(place)),
        keep="always",
        **further,
    )
    entries = (
        Command(run="/usr/bin/touch", arguments=(f"{place.parent}/*",), owner="tests"),
        Command(run="/usr/bin/rm", arguments=(f"{place.parent}/*",), owner="tests"),
        Command(run="/usr/bin/test", arguments=("-e", f"{place.parent}/*"), reads=True, owner="tests"),
    )
    return step, entries


# ── reading ─────────────────────────────────────────────────────────────────────


def test_what_a_command_says_can_be_read() -> None:
    """Exit code, text and lines, under its name."""
    say = "{{ output.exit_code }} {{ output.lines | length }} {{ output.lines[1] }}"
    done = go(show("%s", "a\nb\n"), Tell(id="t", sentence=say))

    assert of_type(done, Told)[0].sentence == "0 2 b"
    (ran,) = of_type(done, Ran)
    assert (ran.argv, ran.exit_code, ran.stdout) == ((ECHO, "%s", "a\nb\n"), 0, "a\nb\n")


def test_no_shell_ever_sees_an_argument() -> None:
    """What a shell would expand is a text like any other."""
    hostile = "$(id) `id` ; id && id | id > /tmp/x 'a' \"b\" * ~ $HOME"
    done = go(show("%s", "{{ inputs.word }}"), given={"word": hostile})

    assert of_type(done, Ran)[0].stdout == hostile


def test_what_is_not_listed_is_not_run() -> None:
    """The policy alone says what may be run; a runbook can't bring its own."""
    done = go(show("%s", "x"), commands=())

    assert (done.head.outcome, of_type(done, Ran)) == ("refused", [])
    assert "lists no command" in done.head.sentence


def test_an_entry_that_only_reads_allows_no_change(tmp_path: Path) -> None:
    """Its owner said so."""
    step, entries = files(tmp_path / "a")
    reading = tuple(Command(run=one.run, arguments=one.arguments, reads=True, owner="x") for one in entries)

    assert "only read" in go(step, commands=reading).head.sentence
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "a").exists()


def test_a_dry_run_reads_only_where_the_policy_says_so() -> None:
    """A command that was said to read may still do something."""
    careful = Command(run=ECHO, arguments=("%s", "**"), reads=True, owner="tests")
    assert len(of_type(go(show("%s", "x"), dry_run=True), Ran)) == 1
    done = go(show("%s", "x"), commands=(careful,), dry_run=True)

    assert of_type(done, Ran) == []
    assert "does not let a dry-run run it" in of_type(done, Told)[0].sentence


def test_a_command_that_takes_too_long_is_ended() -> None:
    """A hung mount must not hold up a run."""
    sleep = Command(run="/usr/bin/sleep", arguments=("*",), reads=True, owner="tests")
    done = go(Run(id="s", argv=("/usr/bin/sleep", "600"), reads=True, timeout=0.2), commands=(sleep,))

    assert (done.head.outcome, of_type(done, Ran)[0].exit_code) == ("failed", None)
    assert "took longer than 0.2 s" in done.head.sentence


# ── hostile values ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("-rf", "would be read as an option"),
        ("--exec=id", "would be read as an option"),
        ("-", "would be read as an option"),
        ("a\0b", "can't be printed"),
        ("a\nb", "can't be printed"),
        ("\x1b[2J", "can't be printed"),
        ("\u202egnp.exe", "can't be printed"),
        ("", "it is empty"),
        ("x" * 5000, "5,000 characters"),
    ],
)
def test_a_value_that_would_be_more_than_an_argument_is_refused(word: str, says: str) -> None:
    """Labels of an alert are written by whoever can name a pod."""
    done = go(show("%s", "{{ inputs.word }}"), given={"word": word})

    assert (done.head.outcome, of_type(done, Ran)) == ("refused", [])
    assert says in done.head.sentence


def test_a_dash_that_the_author_wrote_is_the_authors() -> None:
    """An option with a value from outside is an option that somebody meant."""
    dashed = Command(run=ECHO, arguments=("%s", "--unit=*"), reads=True, owner="tests")
    done = go(show("%s", "--unit={{ inputs.word }}"), commands=(dashed,), given={"word": "-x"})

    assert of_type(done, Ran)[0].stdout == "--unit=-x"


def test_an_unknown_value_runs_nothing() -> None:
    """The word unknown is no unit's name."""
    done = go(show("%s", "--pid={{ flow.pid }}"))
    assert (done.head.outcome, of_type(done, Ran)) == ("failed", [])


@given(word=st.text(max_size=40))
@settings(max_examples=300, deadline=None)
def test_a_pattern_never_lets_an_option_or_a_way_up_through(word: str) -> None:
    """Whatever the word: an open pattern is no open door."""
    for pattern in ("*", "**", "/var/log/*", "/var/**", "a*"):
        if matches(pattern, word):
            assert not word.startswith("-")
            assert ".." not in word.split("/")
            assert "/" not in word or pattern in {"**", "/var/**"} or word.count("/") == pattern.count("/")


@given(
    word=st.text(min_size=1, max_size=60).filter(lambda one: one.isprintable() and not one.startswith("-"))
)
@settings(max_examples=60, deadline=None)
def test_an_argument_arrives_as_it_is(word: str) -> None:
    """One template, one argument, byte for byte."""
    encoded = word.encode("utf-8", "surrogatepass")
    result = processes.execute((ECHO, "%s", word), 20)
    assert result.stdout.encode("utf-8", "surrogatepass") == encoded


@pytest.mark.parametrize(
    ("pattern", "word", "fits"),
    [
        ("falco*", "falco-exporter", True),
        ("falco*", "falco/../../etc", False),
        ("/var/log/*", "/var/log/x.log", True),
        ("/var/log/*", "/var/log/a/b", False),
        ("/var/**", "/var/log/a/b", True),
        ("/var/**", "/var/../etc/shadow", False),
        ("-n", "-n", True),
        ("*", "-n", False),
        ("-*", "-n", True),
        ("..", "..", True),
        ("a.c", "abc", False),
        ("a*", "a\nb", True),
    ],
)
def test_patterns(pattern: str, word: str, *, fits: bool) -> None:
    """A star is one name, two are a path, and a dot is a dot."""
    assert matches(pattern, word) is fits


def test_why_not_names_the_nearest() -> None:
    """A typo in a path is the commonest reason."""
    listed = (SHOW, Command(run="/usr/bin/ss", arguments=("-l",), owner="x"))
    assert "did you mean /usr/bin/ss?" in why_not(listed, ["/usr/bin/s", "-l"], reads=True)
    assert "not with these arguments" in why_not(listed, ["/usr/bin/ss", "-a"], reads=True)
    assert why_not(listed, [ECHO, "%s", "{{ x }}"], reads=True) == ""
    assert entry(listed, ["/usr/bin/ss", "-l", "-l"], reads=True) is None


def test_a_program_that_others_can_change_is_not_run(tmp_path: Path) -> None:
    """Whoever can write it would decide what the policy allows."""
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert unsafe(str(program)) == ""
    program.chmod(0o775)
    assert "changed by others" in unsafe(str(program))
    assert "can't be run" in unsafe(str(tmp_path / "none"))
    assert "no program" in unsafe(str(tmp_path))


# ── processes ───────────────────────────────────────────────────────────────────


def test_a_flood_of_output_is_cut() -> None:
    """A command that says too much must not fill our memory or the journal."""
    result = processes.execute(("/usr/bin/head", "-c", "9000000", "/dev/zero"), 20)
    assert (result.exit_code, len(result.stdout), result.cut) == (0, processes.KEPT, True)


def test_what_a_command_leaves_behind_holds_nothing_up() -> None:
    """A daemon that keeps its parent's output open."""
    result = processes.execute(("/bin/sh", "-c", "sleep 30 & echo started"), 20)
    assert (result.exit_code, result.stdout) == (0, "started\n")
    assert result.seconds < 10


def test_a_command_sees_a_clean_environment() -> None:
    """A token in ours is none of its business."""
    os.environ["RUNBOOK_TEST_TOKEN"] = "x"
    said = processes.execute(("/usr/bin/env",), 20).stdout
    del os.environ["RUNBOOK_TEST_TOKEN"]
    assert "TOKEN" not in said


def test_one_that_is_not_there_ends_with_127() -> None:
    """As shells say it."""
    assert processes.execute(("/nonexistent/x",), 5).exit_code == 127


def test_a_wish_to_stop_ends_what_only_reads() -> None:
    """Nothing is lost by it."""
    cancel = Cancel()
    cancel.set()
    assert processes.execute(("/usr/bin/sleep", "600"), 600, cancel).exit_code is None


# ── changing ────────────────────────────────────────────────────────────────────


def test_a_command_that_changes_is_undone_by_its_undo(tmp_path: Path) -> None:
    """The same way as every other change: announced, made, kept, and taken back by another process."""
    step, entries = files(tmp_path / "a")
    lab = agent()
    done = go(step, commands=entries, lab=lab, directory=tmp_path / "state")
    assert (tmp_path / "a").exists()
    assert (done.head.outcome, [one.state for one in of_type(done, Settled)]) == ("mitigated", ["kept"])
    settled = resume.undo("last", fake_tools(tmp_path / "state", [flow(lab)], lab))

    assert ([one.state for one in settled], (tmp_path / "a").exists()) == (["undone"], False)
    assert resume.undo("last", fake_tools(tmp_path / "state", [flow(lab)], lab)) == []


def test_a_command_that_fails_is_undone_at_once(tmp_path: Path) -> None:
    """It may have done half of it."""
    place = tmp_path / "a"
    step, entries = files(place)
    failing = Run(
        **{
            **{name: getattr(step, name) for name in step.__struct_fields__},
            "argv": ("/usr/bin/cp", "-r", "/dev/null", str(place), "/x/y"),
        }
    )
    copy = Command(run="/usr/bin/cp", arguments=("-r", "/dev/null", "**", "/x/y"), owner="x")
    remove = Run(
        **{
            **{name: getattr(failing, name) for name in failing.__struct_fields__},
            "undo": ("/usr/bin/rm", "-f", str(place)),
        }
    )
    rm = Command(run="/usr/bin/rm", arguments=("-f", "**"), owner="x")
    done = go(remove, commands=(*entries, copy, rm))

    assert [one.state for one in of_type(done, Settled)] == ["undone"]
    assert [one.argv[0] for one in of_type(done, Ran)] == ["/usr/bin/cp", "/usr/bin/rm"]


def test_what_is_in_force_already_is_not_run(tmp_path: Path) -> None:
    """A second run of the runbook changes nothing."""
    step, entries = files(tmp_path / "a", in_force=("/usr/bin/test", "-e", str(tmp_path / "a")))
    assert go(step, commands=entries).head.outcome == "mitigated"
    done = go(step, commands=entries)

    assert (done.head.outcome, of_type(done, Settled)) == ("healthy", [])


def test_an_undo_leaves_alone_what_somebody_else_has_taken_back(tmp_path: Path) -> None:
    """Where a command can look, it looks first."""
    step, entries = files(tmp_path / "a", in_force=("/usr/bin/test", "-e", str(tmp_path / "a")))
    lab = agent()
    go(step, commands=entries, lab=lab, directory=tmp_path / "state")
    (tmp_path / "a").unlink()
    settled = resume.undo("last", fake_tools(tmp_path / "state", [flow(lab)], lab))

    assert [one.state for one in settled] == ["undone"]


def test_a_dry_run_never_makes_a_change(tmp_path: Path) -> None:
    """Not even one that the policy makes without asking."""
    step, entries = files(tmp_path / "a")
    done = go(step, commands=entries, dry_run=True)

    assert (done.head.outcome, (tmp_path / "a").exists(), of_type(done, Ran)) == ("rehearsed", False, [])
    assert "would change run touch" in done.head.sentence


def test_the_step_guard_does_not_compare_commands(tmp_path: Path) -> None:
    """A command is no amount: nothing about it is more or less."""
    step, entries = files(tmp_path / "a")
    done = go(step, commands=entries)
    said = [one for event in of_type(done, Judged) for one in event.decisions if one.guard == "step"]

    assert [one.answer for one in said] == ["allow"]
