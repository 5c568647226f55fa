"""The steps of an ``each``, once for every item: one after the other, or several at a time.

One promise: what is gone through is written down before the first item, so that a run that is
taken up again goes through the same; each step's id names its item (``4[2].1``); what was seen of one
item is not there for the next.

Side by side only what looks is done: its events reach the journal through the run's own thread.

Not here: the steps themselves (``engine.running.steps``).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from engine.errors import (
    ChangeFailed,
    ExpressionError,
    Interrupted,
    JournalUnavailable,
    RunbookError,
    TargetGone,
)
from engine.journal import RunLog
from engine.language import expressions, filters
from engine.language.model import Each, Step, Try
from engine.language.unknown import Unknown
from engine.record import Event, Listed, StepSkipped, StepStarted
from engine.running.outcomes import End, stop_if_asked
from engine.running.scene import Scene, Silent
from engine.values import Scalar, Setting

S = TypeVar("S", bound=Step)
#: Goes through steps in a scene; gives an end when one of them ended the run.
Through = Callable[[Sequence[Step], Scene], End | None]
#: What no run goes on after, whatever a step says.
FATAL = (JournalUnavailable, Interrupted, ChangeFailed, TargetGone)


def each(step: Each, scene: Scene, through: Through) -> End | None:
    """Go through all items.

    Raises:
        RunbookError: An item failed, and the step does not say ``on_failure: continue``.
    """
    listed = scene.lists.get(step.id) or _listed(step, scene)
    if listed is None:
        return None
    if step.at_once > 1:
        return _side_by_side(step, listed, scene, through)
    for number, item in enumerate(listed.items, 1):
        stop_if_asked(scene)
        scene.note(_started(step, number, item, scene))
        with _at(step.label, item, scene):
            try:
                ended = through(numbered(step, number), scene)
            except FATAL:
                raise
            except RunbookError as error:
                _failed(step, item, error, scene)
                continue
        if ended is not None:
            return ended
    return None


def _listed(step: Each, scene: Scene) -> Listed | None:
    """What there is to go through, written down; None where that is unknown."""
    value = expressions.evaluate(step.items, scene.names())
    if isinstance(value, Unknown):
        why = f"{step.items} is unknown: {value.why}"
        scene.record(StepSkipped(at=scene.now, step=step.id, title=step.title, because=why))
        return None
    items = list(_items(value, step.items))
    event = Listed(
        at=scene.now,
        step=step.id,
        items=tuple(items[: step.limit]),
        left_out=max(0, len(items) - step.limit),
    )
    scene.record(event)
    return event


def _items(value: object, text: str) -> Iterator[Setting]:
    """The items of a list, a table or a mapping, each a scalar or a row of scalars."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield (
                {"key": str(key), **one}
                if isinstance(one, Mapping)
                else {"key": str(key), "value": _scalar(one, text)}
            )
    elif isinstance(value, list | tuple):
        for one in value:
            row = isinstance(one, Mapping)
            yield {str(key): _scalar(cell, text) for key, cell in one.items()} if row else _scalar(one, text)
    else:
        raise ExpressionError(
            f"`{text}` is neither a list nor a mapping", fix="name a table, a list or a mapping"
        )


def _scalar(value: object, text: str) -> Scalar:
    if isinstance(value, Unknown):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ExpressionError(
        f"an item of `{text}` is no plain value", fix="go through a table or a list of texts"
    )


def numbered(step: Each, number: int) -> tuple[Step, ...]:
    """The steps inside, with ids that name their item."""
    return tuple(_named(inner, f"{step.id}[{number}].") for inner in step.steps)


def _named(step: S, prefix: str) -> S:
    changed: dict[str, Any] = {"id": f"{prefix}{step.id}"}
    if isinstance(step, Try):
        changed["rungs"] = tuple(_named(rung, prefix) for rung in step.rungs)
    if step.on_failure not in {"stop", "continue"}:
        changed["on_failure"] = f"{prefix}{step.on_failure}"
    return msgspec.structs.replace(step, **changed)


@contextmanager
def _at(label: str, item: Setting, scene: Scene) -> Iterator[None]:
    """The names of one item; afterwards all is as it was, but for what was changed."""
    kept = (
        dict(scene.evidence),
        dict(scene.verdicts),
        dict(scene.results),
        list(scene.looks),
        list(scene.decides),
    )
    outside = scene.item
    scene.item = {**outside, label: item}
    try:
        yield
    finally:
        scene.evidence, scene.verdicts, scene.results, scene.looks, scene.decides = kept
        scene.item = outside


def _started(step: Each, number: int, item: Setting, scene: Scene) -> StepStarted:
    return StepStarted(
        at=scene.now, step=f"{step.id}[{number}]", title=f"{step.label} {_words(item)}", action="each"
    )


def _failed(step: Each, item: Setting, error: RunbookError, scene: Scene) -> None:
    """Note a failed item and go on, or raise."""
    if step.on_failure != "continue":
        raise error
    scene.warn(
        f"{step.label} {_words(item)}: {error.problem}; going on with the next", step=step.id, fix=error.fix
    )


def _words(item: Setting) -> str:
    """An item in a word or two: of a row the cell that names it, else its first."""
    if not isinstance(item, dict):
        return filters.text(item)
    key = next((key for key in ("name", "key", "comm", "id") if key in item), next(iter(item), ""))
    return filters.text(item.get(key, ""))


# ── side by side ────────────────────────────────────────────────────────────────


class _Relay(RunLog):
    """Hands events of a thread to the run's own thread, which writes them down."""

    def __init__(self, log: RunLog, events: queue.Queue[Event | None]) -> None:
        super().__init__(log.journal, log.run, log.number, log.target_ref)
        self._events = events

    def note(self, event: Event) -> None:
        """Hand it on."""
        self._events.put(event)

    def record(self, event: Event) -> None:
        """Hand it on: a look need not be on disk before the next one."""
        self._events.put(event)


class _Numbers(Silent):
    """Shows numbers only: events are shown by the thread that writes them down."""

    def __init__(self, number: Callable[[str, str, float, str], None]) -> None:
        self.number = number  # type: ignore[method-assign, assignment]


def _side_by_side(step: Each, listed: Listed, scene: Scene, through: Through) -> End | None:
    """Some items at a time, each in a thread and a scene of its own; the first end or failure counts."""
    events: queue.Queue[Event | None] = queue.Queue()
    waiting = iter(enumerate(listed.items, 1))
    ends: dict[int, End] = {}
    errors: dict[int, Exception] = {}
    turn = threading.Lock()

    def work() -> None:
        while True:
            with turn:
                go_on = step.on_failure == "continue" or not errors
                taken = next(waiting, None) if go_on and not ends and not scene.tools.cancel else None
            if taken is None:
                break
            number, item = taken
            inner = _apart(step.label, item, scene, events)
            inner.note(_started(step, number, item, scene))
            try:
                ended = through(numbered(step, number), inner)
            except Exception as error:  # noqa: BLE001 - raised again in the run's own thread
                errors[number] = error
            else:
                if ended is not None:
                    ends[number] = ended
        events.put(None)

    count = min(step.at_once, len(listed.items))
    for _ in range(count):
        threading.Thread(target=work, name=f"each-{step.id}", daemon=True).start()
    while count:
        event = events.get()
        if event is None:
            count -= 1
        else:
            (scene.note if isinstance(event, StepStarted) else scene.record)(event)
    stop_if_asked(scene)
    for number in sorted(errors):
        error = errors[number]
        if not isinstance(error, RunbookError) or isinstance(error, FATAL):
            raise error
        _failed(step, listed.items[number - 1], error, scene)
    return ends[min(ends)] if ends else None


def _apart(label: str, item: Setting, scene: Scene, events: queue.Queue[Event | None]) -> Scene:
    """A scene that a thread may change."""
    return replace(
        scene,
        log=_Relay(scene.log, events),
        tools=replace(scene.tools, watcher=_Numbers(scene.tools.watcher.number)),
        item={**scene.item, label: item},
        evidence=dict(scene.evidence),
        verdicts=dict(scene.verdicts),
        results=dict(scene.results),
        looks=list(scene.looks),
        decides=list(scene.decides),
        turned=list(scene.turned),
        touched=False,  # its steps change nothing, and the journal is not its to read
    )
