"""A run, from its head in the journal to its outcome. Read it downward: run → steps → step.

One promise: every run that begins ends in the journal with an outcome, whatever breaks on the
way, and what is not proven by then is undone.

The whole way of one change stands in ``engine.running.remedy``; a dry-run takes the same steps with
``engine.running.proposal.Rehearsal`` in place of its hands.

Not here: telling people (``engine.terminal.live``, ``engine.reports``), finding runbooks and targets.
"""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path

import msgspec

from engine import host, redaction
from engine.clock import stop_on_signals
from engine.errors import Interrupted, JournalUnavailable, Refused, RunbookError
from engine.journal import locks
from engine.language.check import given_names
from engine.language.model import Runbook
from engine.record import Ended, Run, RunHead, TargetFound, Told
from engine.running import goal, steps
from engine.running.outcomes import End, conclude, failed, refused, stop_if_asked
from engine.running.permission import leftovers
from engine.running.proposal import Rehearsal
from engine.running.remedy import Hands
from engine.running.scene import Scene, Tools
from engine.values import Cost, Setting, Target


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be run.

    Attributes:
        inputs: Complete and typed (``engine.language.inputs.resolve``).
        directory: Where relative paths in options start: the runbook's own.
        target: None for runbooks about the host.
        id: The run's; empty for a new one.
        alert: Id of the alert that asks for it.
    """

    runbook: Runbook
    text: str = ""
    sha256: str = ""
    directory: Path = Path()
    inputs: dict[str, Setting] = {}
    target: Target | None = None
    dry_run: bool = False
    id: str = ""
    alert: str = ""


def run(order: Order, tools: Tools) -> Run:
    """Run a runbook to its end.

    SIGINT, SIGTERM and SIGHUP, in the main thread, stop it in good order (``engine.clock``).

    Raises:
        Refused: Another run works on the target.
        UnknownName: The runbook names a part that is not installed.
        JournalUnavailable: The run could not be written down, so it did not begin; or the
            journal broke on the way: what was not proven was put back.
    """
    return begin(new_head(order, tools, id_=order.id), order, tools)


def begin(head: RunHead, order: Order, tools: Tools, holds: frozenset[str] = frozenset()) -> Run:
    """Run a runbook under a head that is made already; ``holds``: targets that its callers have locked.

    Raises:
        RunbookError: As for ``run``.
    """
    steps.preflight(order.runbook, tools.parts)
    secret = [order.inputs.get(name) for name, spec in order.runbook.inputs.items() if spec.secret]
    with redaction.known(secret), ExitStack() as held:
        hold(held, [head], tools, holds)
        log = tools.journal.begin(head)
        announce(head, tools)
        scene = Scene(order.runbook, head, tools, log, order.directory, order.inputs, order.target)
        scene.expected = given_names(order.runbook, tools.parts)
        scene.holds = holds | {head.target_ref}
        carry_out(scene)
    return tools.journal.run(head.id)


def hold(
    held: ExitStack, heads: Iterable[RunHead], tools: Tools, holds: frozenset[str] = frozenset()
) -> None:
    """Take the locks of runs and their targets, and the signals; ``holds``: targets locked already.

    Raises:
        Refused: Another process works on one of them.
    """
    directory, now, mine = tools.journal.directory, tools.clock.now(), set(holds)
    for head in heads:
        held.enter_context(locks.hold_run(directory, head.id, now=now))
        if head.target_ref and head.target_ref not in mine and not head.dry_run:
            held.enter_context(locks.hold_target(directory, head.target_ref, head.id, now=now))
            mine.add(head.target_ref)
    held.enter_context(stop_on_signals(tools.cancel))


def carry_out(scene: Scene, flow: Callable[[Scene], End] | None = None) -> None:
    """Go through the runbook (or another flow) and write down how it ended.

    Raises:
        JournalUnavailable: The end could not be written down.
    """
    spent = _Spent()
    try:
        outcome, sentence = (flow or _flow)(scene)
    except JournalUnavailable:
        raise
    except Interrupted as error:
        outcome, sentence = "interrupted", error.problem
    except Refused as error:
        outcome, sentence = refused(scene, error.problem)
    except RunbookError as error:
        scene.record(Told(at=scene.now, sentence=error.problem, level="error", fix=error.fix))
        outcome, sentence = failed(scene, error.problem)
    except Exception as error:  # noqa: BLE001 - a bug of ours or of a stranger's part: the run still ends
        problem = f"{type(error).__name__}: {error}"
        scene.record(Told(at=scene.now, sentence=problem, level="error", fix="report it: this is a bug"))
        outcome, sentence = failed(scene, problem)
    number = scene.tools.cancel.signal if outcome == "interrupted" else 0
    for ruled in leftovers(scene) if outcome != "waiting" else ():
        scene.note(ruled)
    scene.record(Ended(at=scene.now, outcome=outcome, sentence=sentence, cost=spent.cost(), signal=number))


def _flow(scene: Scene) -> End:
    """The run falling downward: target, goal before, steps, goal at the end, outcome."""
    if scene.target is not None:
        scene.record(TargetFound(at=scene.now, target=scene.target))
    if scene.runbook.goal is not None:
        goal.preflight(scene)
        first = goal.hold(scene, goal.measure(scene, "before"))
        stop_if_asked(scene)
        if first.holds:
            if scene.runbook.goal.explain:
                steps.explain(scene)
            return conclude(scene)
    hands = Rehearsal() if scene.head.dry_run else Hands()
    ended = steps.walk(scene, hands)
    return ended or conclude(scene)


def new_id(runbook: str, now: float) -> str:
    """``20261122-0301-events-dropped-k3f9e2``: sortable, unique on this host."""
    return f"{time.strftime('%Y%m%d-%H%M', time.gmtime(now))}-{runbook}-{os.urandom(3).hex()}"


def new_head(order: Order, tools: Tools, *, id_: str = "", called_by: str = "") -> RunHead:
    """The head of a run that is about to begin; a called run's id is its caller's to choose."""
    now, runbook = tools.clock.now(), order.runbook
    hidden = {name for name, spec in runbook.inputs.items() if spec.secret}
    return RunHead(
        id=id_ or new_id(runbook.runbook, now),
        runbook=runbook.runbook,
        runbook_version=runbook.version,
        runbook_hash=order.sha256,
        runbook_text=order.text,
        directory=str(order.directory.absolute()),
        summary=runbook.summary,
        target=order.target.name if order.target else "",
        target_ref=order.target.ref if order.target else "",
        inputs={name: redaction.MASK if name in hidden else value for name, value in order.inputs.items()},
        dry_run=order.dry_run,
        started_at=now,
        by=tools.by,
        alert=order.alert,
        called_by=called_by,
        policy=tools.policy_file,
        policy_hash=tools.policy_hash,
        host=host.hostname(),
        kernel=host.kernel(),
        pid=os.getpid(),
        boot_id=host.boot_id(),
    )


def announce(head: RunHead, tools: Tools) -> None:
    """Show a run's head to whoever watches."""
    with suppress(Exception):  # whoever watches must not stop a run
        tools.watcher.begin(head)


class _Spent:
    """What the run costs this machine: CPU of ours and of our children, peak memory, time."""

    def __init__(self) -> None:
        self._cpu = self._cpu_now()
        self._wall = time.monotonic()

    def cost(self) -> Cost:
        """Since it was made; the memory is the process's peak."""
        peak = max(
            resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        return Cost(
            cpu_s=self._cpu_now() - self._cpu, memory_bytes=peak * 1024, wall_s=time.monotonic() - self._wall
        )

    @staticmethod
    def _cpu_now() -> float:
        usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in usage)
