"""The command ``runbook``: finds the sub-command, runs it, turns errors into words and exit codes.

One promise: ``runbook --help`` imports nothing of the engine; a sub-command's module is
imported when that sub-command is used. ``COMMANDS`` therefore holds the one-line helps; a test
compares them with the commands' own.

Exit codes: 0 done, 1 unfixed, 2 wrong usage, 3 waiting or refused, 4 failed, 130 interrupted.
Not here: what the commands do (``engine.commands``).
"""

from __future__ import annotations

import errno
import gc
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from engine.errors import RunbookError, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Command → (module of ``engine.commands``, its one-line help), in the order of ``--help``.
COMMANDS: dict[str, tuple[str, str]] = {
    "run": ("run", "Run a runbook on an agent: evidence, cause, guarded change, proof."),
    "list": ("documents", "List the runbooks that can be run here."),
    "show": ("documents", "Tell in words what a runbook looks at and what it may change."),
    "check": ("documents", "Check runbook files: every complaint at once, with its line."),
    "test": ("rehearsals", "Rehearse runbooks on recorded evidence; nothing is looked at or changed."),
    "record": (
        "rehearsals",
        "Make a case for `runbook test` of what a runbook sees here, or of what a past run saw.",
    ),
    "new": (
        "rehearsals",
        "Write a commented skeleton of a runbook, with its first cases; overwrites nothing.",
    ),
    "schema": ("documents", "Print the JSON Schema of runbooks, profiles and cases, for editors."),
    "targets": ("targets", "List the eBPF agents that run on this host."),
    "look": ("look", "Look with one probe alone; change nothing."),
    "top": ("top", "Watch programs, maps and rings of all agents, live."),
    "exporter": ("exporter", "Give the health of all eBPF agents to Prometheus."),
    "serve": ("serve", "Take alerts, start their runs, show the page: unattended."),
    "alerts": ("alerts", "List alerts that came, what became of each, and why."),
    "runs": ("record", "List past and running runs, newest first."),
    "report": ("record", "Tell a run again from its journal, as text, HTML, Markdown or JSON."),
    "approve": ("approve", "Say yes to the change that a run waits with; without RUN list what waits."),
    "deny": ("approve", "Say no to the change that a run waits with; the run goes on without it."),
    "resume": ("undo", "Finish a run that was interrupted, or that waits for an answer."),
    "undo": ("undo", "Take back what a run changed, exactly."),
    "leases": ("leases", "List temporary changes; give them more time, end or keep them."),
    "keep": ("leases", "Make temporary changes last; prints the lines for the configuration."),
    "user": ("user", "Say who may log in to the page, and as what."),
    "audit": ("audit", "List who did what, when and by whose leave; verify the chain."),
    "doctor": ("doctor", "Say what works on this machine, and what mends the rest."),
}
#: Commands that come through entry points (group ``runbook.commands``) and are worth a line.
ADDED = {
    "explain": "Name the likely causes of an error text, an agent's log or a verifier's log.",
    "lab": "Practise on a small real eBPF agent with faults to switch on.",
    "preflight": "Tell which BPF objects load and attach on a kernel that is not running yet.",
}


class Commands(TyperGroup):
    """A group that knows its commands' names, and imports one only to use it."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ANN401, ARG002 - typer's signature
        """All names, in the order of the help."""
        return [*COMMANDS, *ADDED]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401, ARG002
        """Import a command; None when there is none of this name."""
        if cmd_name in COMMANDS:
            module = import_module(f"engine.commands.{COMMANDS[cmd_name][0]}")
            group: Any = get_command(module.app)
            return group.commands[cmd_name]
        from engine import catalog  # noqa: PLC0415 - reads every installed distribution

        installed = catalog.installed()
        if cmd_name not in installed.names("command"):
            return None
        added = get_command(installed.load("command", cmd_name))
        added.name = cmd_name
        return added

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:  # noqa: ANN401
        """Name the nearest command when there is none of this name."""
        if not ctx.resilient_parsing and self.get_command(ctx, args[0]) is None:
            raise UnknownName("command", args[0], self.list_commands(ctx))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401, ARG002
        """The list in ``--help``, without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, words) for name, (_, words) in COMMANDS.items()] + list(ADDED.items()))


app = typer.Typer(
    cls=Commands,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: runbook run events-dropped --dry-run --report plan.html",
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        typer.echo(f"runbook {version('bpf-runbook')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    ctx: typer.Context,
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Automated runbooks for the people on call for eBPF agents."""
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit code. Errors are told here, and only here."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    gc.set_threshold(50_000, 20, 100)  # imports make few cycles: a tenth less CPU for short commands
    try:
        code = get_command(app).main(words, prog_name="runbook", standalone_mode=False)
    except RunbookError as error:
        return _tell(error, words)
    except TyperException as error:
        return _usage(error, words)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except SystemExit:  # typer's answer to a reader that has gone (`| head`)
        code = 0
    except Exception as error:  # noqa: BLE001 - the last resort: a sentence, never a traceback
        full = isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None
        return _full(words) if full else _broke(error, words)
    return _flushed(code if isinstance(code, int) else 0, words)


def _flushed(code: int, words: Sequence[str]) -> int:
    """The exit code, once all is written: a full disk is worth a word, a reader that has gone is not."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            return _full(words)
        _hush(sys.stdout)
    return code


def _full(words: Sequence[str]) -> int:
    _hush(sys.stdout)
    problem = "the output could not be written: no space is left there"
    return _tell(RunbookError(problem, fix="make room, or write it elsewhere"), words)


def _broke(error: Exception, words: Sequence[str]) -> int:
    """A bug of ours: said in a sentence, with where it happened."""
    import traceback  # noqa: PLC0415 - bugs are rare
    from pathlib import Path  # noqa: PLC0415

    if os.environ.get("RUNBOOK_TRACEBACK"):
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    problem = f"runbook broke: {type(error).__name__}: {error} ({where})"
    fix = "it is a bug: report it with this line, and with what RUNBOOK_TRACEBACK=1 prints"
    return _tell(RunbookError(problem, fix=fix), words)


def _tell(error: RunbookError, words: Sequence[str]) -> int:
    """What happened, then the way out, on stderr; as JSON when the command was asked for JSON."""
    from engine.commands.printing import tell_error  # noqa: PLC0415 - errors are rare

    try:
        tell_error(error, as_json="--json" in words)
    except OSError:  # nobody is there any more
        _hush(sys.stderr)
    return error.exit_code


def _usage(error: TyperException, words: Sequence[str]) -> int:
    """A command line that typer refused, told like every other error."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":
        typer.echo(error.format_message(), err=True)
        return 2
    from engine.errors import UsageError  # noqa: PLC0415

    command = context.command_path if context is not None else "runbook"
    problem = error.format_message().rstrip(".")
    return _tell(UsageError(problem[:1].lower() + problem[1:], fix=f"{command} --help"), words)


def _hush(stream: TextIO) -> None:
    """Whoever read this has gone: say nothing more there, also not at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
