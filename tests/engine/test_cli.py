"""The command line: parses, hands over, prints, exits."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command

from engine import cli
from engine.errors import UsageError
from engine.journal import Journal
from engine.terminal import glance
from tests.samples import runs

ROOT = Path(__file__).parents[2]
RUNBOOK = """\
runbook: quiet
summary: Says one sentence.
steps:
  - tell: all is well
"""


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A journal of the test's own, and no policy or runbooks of this machine."""
    monkeypatch.setenv("RUNBOOK_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("RUNBOOK_POLICY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "state"


@pytest.fixture
def recorded(state):
    """A journal that holds one fixed run."""
    run = runs.burst_run()
    with Journal.open(state) as journal:
        log = journal.begin(run.head)
        for event in run.events:
            log.record(event)
    return run


def call(capsys, *words):
    """Exit code, stdout and stderr of one command."""
    code = cli.main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_help_imports_nothing_of_the_engine():
    """`--help` and completion must cost what the command-line library costs, and no more."""
    code = (
        "import sys; sys.argv = ['runbook', '--help']\n"
        "from engine.cli import main\n"
        "main()\n"
        "loaded = {m for m in sys.modules if m.startswith('engine.')} - {'engine.cli', 'engine.errors'}\n"
        "heavy = {'rich', 'jinja2', 'pygal', 'msgspec', 'yaml', 'sqlite3', 'psutil', 'importlib.metadata'}\n"
        "sys.exit(f'{loaded} {heavy & set(sys.modules)}' if loaded or heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "events-dropped" in done.stdout


def test_the_helps_that_are_listed_are_the_commands_own():
    """The list is static so that it is quick; it must not drift from the truth."""
    root = get_command(cli.app)
    for name, (_, words) in cli.COMMANDS.items():
        command = root.get_command(None, name)
        assert command.get_short_help_str(200) == words
        assert "Example: runbook" in command.epilog


def test_the_documentation_is_what_help_says(monkeypatch):
    """A command page that lies is worse than none."""
    monkeypatch.setenv("COLUMNS", "100")
    module = runpy.run_path(str(ROOT / "tools" / "cli_docs.py"))
    assert (ROOT / "docs" / "cli.md").read_text() == "\n".join(module["page"]())


@pytest.mark.parametrize(
    ("words", "problem", "fix"),
    [
        (("rnu",), "there is no command named 'rnu'", "did you mean 'run'?"),
        (("runs", "--nope"), "no such option: --nope", "runbook runs --help"),
        (
            ("run", "event-droped"),
            "there is no runbook named 'event-droped'",
            "did you mean 'events-dropped'?",
        ),
        (("run", "missing/x.yaml"), "missing/x.yaml is not there", "runbook list"),
        (("run", "events-dropped", "--input", "window"), "not of the form NAME=VALUE", "window=30s"),
        (("run", "events-dropped", "--input", "windwo=3s"), "no input 'windwo'", "window"),
        (("run", "events-dropped", "--input", "window=ten"), "ten", ""),
        (("run", "events-dropped", "--policy", "none.yaml"), "none.yaml is not there", "--policy"),
        (("run", "events-dropped", "--report", "no/r.html"), "there is no directory no", "mkdir -p no"),
        (("run", "events-dropped", "--report", "r.pdf"), "does not say which kind", ".html"),
        (("look", "event-flwo"), "there is no probe named 'event-flwo'", "did you mean 'event-flow'?"),
        (("look", "event-flow", "--for", "soon"), "'soon'", ""),
        (("look", "event-flow", "--for", "0s"), "a look of no time", "--for 10s"),
        (("report", "nothing"), "there is no run named 'nothing'", ""),
        (("report", "--format", "pdf"), "there is no report format 'pdf'", "html, md, text, json"),
        (("schema", "runbok"), "'runbok'", "runbook"),
    ],
)
def test_bad_input_names_the_problem_and_the_way_out(state, capsys, words, problem, fix):
    """Nobody at 3 a.m. should need the source to understand a typo; and nothing has begun."""
    code, out, err = call(capsys, *words)
    assert code == 2
    assert out == ""
    assert problem in err
    assert f"fix: {fix}" in err or fix in err.partition("fix: ")[2] or fix in err
    assert not state.exists() or Journal.open(state, write=False).runs() == []


def test_errors_are_json_when_json_was_asked_for(state, capsys):
    """A script must not have to read sentences."""
    code, out, err = call(capsys, "run", "event-droped", "--json")
    told = json.loads(err)
    assert (code, out) == (2, "")
    assert told["exit_code"] == 2
    assert told["fix"] == "did you mean 'events-dropped'?"
    assert told["touched"] is False


def test_no_process_of_this_pid_is_said_so(state, capsys):
    """A pid that ended a second ago is the usual mistake."""
    code, _, err = call(capsys, "look", "process", "--pid", "4194304")
    assert code == 2
    assert "no process has the pid 4194304" in err


def test_a_runbook_about_the_host_runs_and_is_recorded(state, capsys, tmp_path):
    """The whole way from the command line to the journal and back, without an agent."""
    (tmp_path / "quiet.yaml").write_text(RUNBOOK)
    code, out, err = call(capsys, "run", "./quiet.yaml", "--json", "--report", "r.html")
    document = json.loads(out)
    assert code == document["exit_code"] == 0
    assert "all is well" in json.dumps(document["events"])
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert "report: r.html" in err
    _, out, _ = call(capsys, "runs", "--json")
    assert [run["id"] for run in json.loads(out)] == [document["id"]]


def test_runs_are_listed_newest_first_with_what_scripts_need(recorded, state, capsys):
    """Dashboards read this list: the keys and ISO-8601 moments are a promise."""
    with Journal.open(state) as journal:
        journal.begin(
            runs.head(id="20261122-0400-later", started_at=runs.START + 3600, outcome=None, ended_at=None)
        )
    code, out, _ = call(capsys, "runs", "--json")
    later, fixed = json.loads(out)
    assert code == 0
    assert (later["id"], later["outcome"], later["ended_at"]) == ("20261122-0400-later", "interrupted", None)
    assert {"id", "runbook", "target", "outcome", "started_at", "ended_at"} <= set(fixed)
    assert (fixed["started_at"], fixed["ended_at"]) == ("2026-11-22T03:01:12Z", "2026-11-22T03:02:18Z")


def test_runs_on_a_fresh_machine_say_how_to_start_one(state, capsys):
    """An empty table explains nothing; and reading makes no journal."""
    code, out, _ = call(capsys, "runs")
    assert (code, "runbook run NAME" in out, state.exists()) == (0, True, False)
    assert json.loads(call(capsys, "runs", "--json")[1]) == []


@pytest.mark.parametrize(
    ("form", "begins"), [("text", "FIXED"), ("md", "# Fixed"), ("html", "<!doctype"), ("json", "{")]
)
def test_a_report_is_told_again_in_any_form(recorded, capsys, form, begins):
    """The incident review happens days later."""
    code, out, _ = call(capsys, "report", "2026", "--format", form)
    assert (code, out.startswith(begins)) == (0, True)


def test_a_report_goes_to_a_file_by_its_ending(recorded, capsys, tmp_path):
    """`-o x.html` says all that is needed."""
    code, out, _ = call(capsys, "report", "-o", str(tmp_path / "x.html"))
    assert (code, out.startswith("written:")) == (0, True)
    assert (tmp_path / "x.html").read_text().startswith("<!doctype")


def test_audit_lists_and_verifies(recorded, capsys):
    """What was done, by whom, and that nobody has altered it."""
    _, out, _ = call(capsys, "audit")
    assert "ring-buffer-size" in out
    code, out, _ = call(capsys, "audit", "--verify", "--json")
    assert (code, json.loads(out)["whole"]) == (0, True)


def test_check_gives_every_complaint_with_its_line_and_fails(state, capsys, tmp_path):
    """Editors and CI jump to file:line."""
    (tmp_path / "bad.yaml").write_text("runbook: bad\nsteps:\n  - lok: event-flow\n  - look: event-flwo\n")
    code, _, err = call(capsys, "check", "bad.yaml")
    assert code == 2
    assert "bad.yaml:3:" in err
    code, out, _ = call(capsys, "check", "bad.yaml", "--json")
    assert (code, json.loads(out)["ok"]) == (2, False)


def test_the_shipped_documents_are_right(state, capsys):
    """We do not ship a runbook that our own check refuses."""
    ours = [path for path in (ROOT / "runbooks").rglob("*.yaml") if path.parent.name != "alerts"]
    code, out, err = call(capsys, "check", *map(str, sorted(ours)))  # alerts are for promtool to check
    assert code == 0, err
    assert "ok" in out


def test_show_names_every_change_with_its_risk(state, capsys):
    """Before running a stranger's runbook one wants to know the worst it can do."""
    code, out, _ = call(capsys, "show", "events-dropped")
    assert code == 0
    for words in (
        "may change",
        "ring-buffer-size",
        "risk low",
        "taken back after 2 h",
        "burst-exceeds-buffer",
    ):
        assert words in out


def test_schema_is_json_for_editors(state, capsys):
    """The editor completes from it."""
    code, out, _ = call(capsys, "schema")
    assert code == 0
    assert "$defs" in json.loads(out)


def test_a_reader_that_goes_away_is_no_error():
    """`runbook list | head -1` must not print a traceback."""
    pipe = f"{sys.executable} -m engine.cli --help | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", pipe], capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr


def test_undo_and_keep_of_a_run_that_changed_nothing_say_so(state, capsys, tmp_path):
    """Undo must be safe to type twice, and at the wrong run."""
    (tmp_path / "quiet.yaml").write_text(RUNBOOK)
    call(capsys, "run", "./quiet.yaml")
    assert call(capsys, "undo")[:2] == (0, "nothing to take back: no change of it is in force\n")
    assert call(capsys, "keep")[:2] == (0, "no change of it is temporary\n")
    assert call(capsys, "undo", "--leases", "--wait")[0] == 0


def test_a_run_that_has_ended_can_not_be_resumed(state, capsys, tmp_path):
    """Going on after the end would change things that nobody asked for."""
    (tmp_path / "quiet.yaml").write_text(RUNBOOK)
    call(capsys, "run", "./quiet.yaml")
    code, _, err = call(capsys, "resume")
    assert code == 2
    assert "has ended" in err


def test_options_of_a_look_are_typed_as_in_yaml():
    """`--with reads_kernel=false` must not become the text "false", which is true."""
    probe = type("Probe", (), {"name": "bcc", "options": {"reads_kernel": "", "every": "", "source": ""}})
    given = {"reads_kernel": "false", "every": "3", "source": "x.c"}
    assert glance.typed_options(probe, given) == {"reads_kernel": False, "every": 3, "source": "x.c"}
    with pytest.raises(UsageError, match="no option 'sorce'") as refused:
        glance.typed_options(probe, {"sorce": "x.c"})
    assert refused.value.fix == "did you mean 'source'?"


def test_a_bug_is_told_in_a_sentence(capsys, monkeypatch):
    """A traceback with exit code 1 would read as `unfixed`."""

    def broken(_app):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(cli, "get_command", broken)
    code = cli.main(["runs"])
    told = capsys.readouterr().err
    assert code == 4
    assert "ZeroDivisionError" in told
    assert "Traceback" not in told


def test_a_full_disk_is_told():
    """Half a list must not look like a whole one."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "engine.cli", "list"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 4
    assert "no space is left" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_is_no_regular_file_is_said_to_be_there(capsys, tmp_path):
    """Waiting for a FIFO's writer would hang; that it is not there would be untrue."""
    os.mkfifo(tmp_path / "x.yaml")
    code = cli.main(["check", str(tmp_path / "x.yaml")])
    assert code == 2
    assert "is no regular file" in capsys.readouterr().err
