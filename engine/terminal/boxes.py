"""The pieces of the terminal display: a line, the causes, a plan in its box, the ending.

Each takes recorded values and gives something rich can print; none has state. Readable from
60 columns on; boxes are at most 100 wide.

Not here: when they are shown (``engine.terminal.screen``).
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.constrain import Constrain
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from engine import record, text
from engine.reports import timeline
from engine.values import Cause, Decision, Plan, Verdict

#: Sign and style of a line, by its mark.
_LOOKS: dict[timeline.Mark, tuple[str, str]] = {
    "look": ("·", "cyan"),
    "goal": ("·", "cyan"),
    "cause": ("→", "magenta"),
    "plan": ("→", "blue"),
    "change": ("*", "blue"),
    "good": ("✓", "green"),
    "bad": ("✗", "red"),
    "skip": ("-", "dim"),
    "note": ("·", "dim"),
    "warn": ("!", "yellow"),
}
#: Sign and style of an answer in a check list.
_ANSWERS = {"good": ("✓", "green"), "bad": ("✗", "red"), "unknown": ("?", "yellow")}
_TONES = {"fixed": "green", "healthy": "green", "mitigated": "cyan", "rehearsed": "cyan", "waiting": "yellow"}
_TONES |= {"refused": "yellow", "interrupted": "yellow", "unfixed": "red", "failed": "red"}
_INDENT = 12  # columns before the words of a line
#: Style of a line of a diff, by its first character.
_LINE = {"+": "green", "-": "red"}
_WIDEST = 100


def title(head: record.RunHead) -> RenderableType:
    """What runs on what, and its id."""
    words = Text.assemble((text.plain(head.runbook), "bold"))
    if head.target:
        words.append(" on ", style="dim").append(text.plain(head.target), style="bold")
    if head.dry_run:
        words.append("  dry-run: nothing will be changed", style="yellow")
    words.append(f"\n{text.plain(head.summary)}" if head.summary else "")
    words.append(f"\nrun {text.plain(head.id)}" if head.id else "", style="dim")
    return Padding(words, (1, 2))


def line(when: str, told: timeline.Line) -> RenderableType:
    """One finished thing: sign, time, words, detail; wrapped lines hang under the words."""
    sign, style = _LOOKS[told.mark]
    faint = told.mark in {"skip", "note"}
    skipped = told.mark == "skip"
    words = Text(told.words, style="dim" if faint else "bold", no_wrap=skipped, overflow="ellipsis")
    if told.detail:
        words.append(f"  {told.detail}", style="not bold dim" if faint else "not bold")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(width=6, justify="right")
    grid.add_column()
    grid.add_row(Text(sign, style=style), Text(when, style="dim"), words)
    return Padding(grid, (0, 0, 0, 2))


def causes(verdict: Verdict) -> RenderableType:
    """The first cause with everything that speaks for and against it, the others in a line each."""
    parts: list[RenderableType] = []
    if verdict.checks:
        parts.append(_checks(verdict))
    elif verdict.causes:
        parts.append(_reasons(verdict.causes[0]))
    for rank, cause in enumerate(() if verdict.checks else verdict.causes[1:], 2):
        words = Text(f"{rank}. {text.plain(cause.name)}", style="dim").append(f"  {fits(cause)}", style="dim")
        parts.append(words)
    return Padding(Group(*parts), (0, 2, 0, _INDENT))


def _checks(verdict: Verdict) -> RenderableType:
    """A check list: sign, question, answer; under a bad one the way out."""
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(no_wrap=True)
    grid.add_column()
    for check in verdict.checks:
        sign, style = _ANSWERS[check.answer]
        said = Text(text.plain(check.sentence), style="dim" if check.answer == "unknown" else "")
        if check.fix:
            said.append(f"\n{text.plain(check.fix)}", style="cyan")
        grid.add_row(Text(sign, style=style), Text(text.plain(check.name), style="bold"), said)
    return grid


def fits(cause: Cause) -> str:
    """``fits 92 %, explains 97 %``."""
    explains = "" if cause.explains is None else f", explains {text.share(cause.explains)}"
    return f"fits {text.share(cause.confidence)}{explains}"


def _reasons(cause: Cause) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column()
    grid.add_row("", Text(fits(cause), style="dim"))
    sides = (
        ("+", "green", cause.speaks_for),
        ("−", "red", cause.speaks_against),
        ("=", "dim", cause.arithmetic),
    )
    for sign, style, facts in sides:
        for fact in facts:
            grid.add_row(Text(sign, style=style), Text(text.plain(fact), style="dim" if sign == "=" else ""))
    return grid


def plan(plan: Plan, run: str) -> RenderableType:
    """A plan in a box: before → after, where, why, predictions, what it costs, the way back."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column()
    for change in plan.changes:
        swap = Text.assemble(
            text.plain(change.before_text), (" → ", "dim"), (text.plain(change.after_text), "bold blue")
        )
        grid.add_row("change", swap.append(f"   {text.plain(change.where)}", style="dim"))
        grid.add_row("why", text.plain(change.why))
        for line in change.detail.splitlines():
            grid.add_row("", Text(text.plain(line), style=_LINE.get(line[:1], "dim")))
    for prediction in plan.predictions:
        unit = prediction.unit or text.unit_of(prediction.measure)
        before = "" if prediction.before is None else f"{text.measure(prediction.before, unit)} → "
        bound = "at most " if prediction.at_most and prediction.after else ""
        words = f"{text.plain(prediction.measure)}  {before}{bound}{text.measure(prediction.after, unit)}"
        grid.add_row("predicts", words)
    for name, facts in (("loses", plan.loses), ("mind", plan.warnings)):
        for fact in facts:
            grid.add_row(name, Text(text.plain(fact), style="yellow"))
    if plan.memory_bytes:
        limit = f"; {text.plain(plan.memory_limit)}" if plan.memory_limit else ""
        grid.add_row("memory", f"{'+' if plan.memory_bytes > 0 else ''}{text.size(plan.memory_bytes)}{limit}")
    grid.add_row("undo", f"runbook undo {text.plain(run)}")
    heading = Text.assemble(
        (text.plain(plan.remediation), "bold"), (f" · risk {plan.risk}", _risk(plan.risk))
    )
    box = Panel(
        grid, title=heading, title_align="left", box=ROUNDED, border_style="blue", padding=(0, 1), width=None
    )
    return Padding(_narrow(box), (0, 0, 0, 4))


def question(plan: Plan, decisions: Sequence[Decision]) -> Text:
    """The question itself, with the guard's reason for asking."""
    why = "; ".join(text.plain(decision.because) for decision in decisions if decision.answer == "ask")
    words = Text(f"  {why}\n" if why else "", style="yellow")
    changes = text.several(len(plan.changes), "change")
    return words.append(
        f"  Make {'this change' if len(plan.changes) == 1 else changes}? [y/N] ", style="bold not dim"
    )


def asked(event: record.Asked, problem: str) -> Text:
    """A runbook's own question; what was wrong with the answer before."""
    who = f" ({text.plain(event.who)})" if event.who else ""
    words = Text(f"  {text.plain(event.question)}{who}", style="bold")
    if event.expires_at is not None:
        words.append(
            f"\n  no answer until {text.day_and_time(event.expires_at)} is a no", style="not bold dim"
        )
    for line in problem.splitlines():
        words.append(f"\n  {text.plain(line)}", style="not bold yellow")
    return words


def part(name: str, wanted: record.Answerable) -> Text:
    """One part of an answer, before it is typed."""
    choices = f" {' | '.join(map(text.setting, wanted.choices))}" if wanted.choices else ""
    kind = "[y/N]" if wanted.type == "bool" else f"({wanted.type}{choices})"
    default = "" if wanted.default is None else f" [{text.typed(wanted.default, wanted.type)}]"
    help_ = f"  {text.plain(wanted.help)}" if wanted.help else ""
    return Text(f"  {text.plain(name)}{help_} {kind}{default} ")


def ending(event: record.Ended, head: record.RunHead) -> RenderableType:
    """The outcome in a box, with what to do next."""
    tone = _TONES.get(event.outcome, "yellow")
    words = Text(text.plain(event.sentence), style="bold")
    memory = f", {text.size(event.cost.memory_bytes)} of memory" if event.cost.memory_bytes else ""
    cost = f"cost {text.span(event.cost.cpu_s)} CPU in {text.span(event.cost.wall_s)}{memory}"
    hints = Text(f"{cost}\nrunbook report {text.plain(head.id)} --format html -o report.html", style="dim")
    if event.outcome in {"fixed", "mitigated"}:
        hints.append(f"\nrunbook undo {text.plain(head.id)}")
    if event.outcome == "waiting":
        hints.append(f"\nrunbook approve {text.plain(head.id)}    (or deny; a question: resume --answer …)")
    if event.outcome == "mitigated":
        hints.append(f"\nrunbook keep {text.plain(head.id)}    (else it is taken back when its time is up)")
    label = Text(f" {event.outcome} ", style=f"bold reverse {tone}")
    box = Panel(
        Group(words, hints), title=label, title_align="left", box=ROUNDED, border_style=tone, padding=(0, 1)
    )
    return Padding(_narrow(box), (1, 0, 1, 2))


def _risk(risk: str) -> str:
    return {"low": "green", "medium": "yellow"}.get(risk, "red")


def _narrow(box: RenderableType) -> RenderableType:
    """At most ``_WIDEST`` columns, so that a wide terminal does not tear lines apart."""
    return Constrain(box, _WIDEST)
