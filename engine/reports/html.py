"""A run as one HTML file: outcome, charts, cause, changes with their proof, what it cost.

One promise: the file stands alone (no address of anything outside it), and nothing in it that came from
an alert, an agent or a runbook is read as markup. It runs no script, but for the one of a flame graph
where there is one: the page itself forbids every other, by its hash.

Not here: what is said (``engine.reports.story``, ``timeline``), drawing (``charts``), the look
(``templates/report.css``).
"""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from engine import record, text
from engine.errors import RunbookError
from engine.evidence import unknown
from engine.reports import approvals, charts, flame, folded, timeline
from engine.reports.axis import Axis, pauses
from engine.reports.story import Story, tell
from engine.values import Scalar

if TYPE_CHECKING:
    from jinja2 import Environment

#: How an outcome or the state of a change is coloured.
TONES = {
    **dict.fromkeys(("healthy", "fixed", "kept"), "good"),
    **dict.fromkeys(("mitigated", "leased", "waiting", "rehearsed", "would", "running", "applied"), "info"),
    **dict.fromkeys(("approved",), "info"),
    **dict.fromkeys(("denied", "expired", "void", "withdrawn"), "warn"),
    **dict.fromkeys(("refused", "held back", "interrupted", "unknown", "left"), "warn"),
    **dict.fromkeys(("unfixed", "failed"), "bad"),
}


def render(run: record.Run) -> str:
    """The whole file as text. Cost: about 0.2 s, 15 MB with the libraries it loads."""
    story = tell(run)
    axis = Axis(run.head.started_at, story.ended_at, pauses(run))
    return (
        environment()
        .get_template("report.html.j2")
        .render(
            story=story,
            run=run,
            head=run.head,
            charts=charts.draw(story.evidence, story.attempts, axis),
            waited=bool(axis.pauses),
            flames=flame.draw(story.evidence),
            lines=[
                (event, told) for event in timeline.events(run) if (told := timeline.line(event)) is not None
            ],
            goal=_goal(story),
            inputs=inputs_of(run.head),
        )
    )


def _goal(story: Story) -> tuple[str, str, str] | None:
    """What the goal is about, measured first and last: its first value, or the sum that it asks for."""
    measured = [goal for goal in story.goals if goal.values]
    if not measured:
        return None
    names = [name for name in measured[0].values if not name.startswith("inputs.")]
    names = names or list(measured[0].values)
    name, unit = names[0], text.unit_of(names[0])
    added = [one for one in names if text.unit_of(one) == unit] if "+" in measured[0].condition else names[:1]
    first, last = (_sum([goal.values.get(one) for one in added]) for goal in (measured[0], measured[-1]))
    return name, text.measure(first, unit), text.measure(last, unit)


def _sum(values: list[Scalar]) -> Scalar:
    """One value as it is; of several numbers the sum, those that are unknown left out."""
    numbers = [value for value in values if isinstance(value, int | float)]
    return sum(numbers) if len(values) > 1 and numbers else values[0]


def inputs_of(head: record.RunHead) -> dict[str, str]:
    """The inputs with the units that the runbook's own text gives them, where it can be read back."""
    from engine.language import loader  # noqa: PLC0415 - only for a whole report

    kinds: dict[str, str] = {}
    with suppress(RunbookError):
        document = loader.parse(head.runbook_text.encode(), Path(f"{head.runbook}.yaml")).document
        kinds = {name: str(one.type) for name, one in document.inputs.items()}
    return {name: text.typed(value, kinds.get(name, "")) for name, value in head.inputs.items()}


@cache
def environment() -> Environment:
    """Templates with everything escaped and unknown names refused."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - only reports need it

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"flame_script": flame.script, "flame_hash": flame.script_hash}
    environment.filters |= {
        "measure": text.measure,
        "setting": text.setting,
        "size": text.size,
        "span": text.span,
        "share_of": text.share,
        "moment": text.day_and_time,
        "since": text.since,
        "several": text.several,
        "answers": lambda proposal: list(approvals.told(proposal)),
        "headline": timeline.headline,
        "comparison": timeline.comparison,
        "unit_of": text.unit_of,
        "tone": lambda word: TONES.get(word, "calm"),
        "drawing": _drawing,
        "folded": lambda rows: rows[0].keys() >= folded.COLUMNS,
        "unknown": unknown,
        "code": _code,
    }
    return environment


def _visible(value: object) -> object:
    """Everything a template prints: text without control characters."""
    from markupsafe import Markup  # noqa: PLC0415

    return text.plain(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _drawing(svg: str) -> object:
    """A chart or flame graph, which was built as a tree and so is escaped already."""
    from markupsafe import Markup  # noqa: PLC0415

    return Markup(svg)  # noqa: S704 - written by ElementTree, which escapes


def _code(source: str) -> object:
    """A document with its line breaks, each line made visible and escaped."""
    from markupsafe import Markup, escape  # noqa: PLC0415

    return Markup("\n").join(escape(text.plain(line)) for line in source.splitlines())
