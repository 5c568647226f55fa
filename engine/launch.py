"""From what an operator or an alert asked for to a run: everything found and checked first.

One promise: whatever can be known to be wrong (runbook, inputs, target, policy, report files) is
said before the run begins and before anything is looked at. What is left in force for a time is watched.

Not here: the run (``engine.running.runner``), the command line (``engine.commands.run``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from engine import catalog, host, record
from engine.agents import targets
from engine.clock import Cancel, SystemClock
from engine.errors import Refused
from engine.guarding import policy
from engine.journal import Journal
from engine.language import expressions, inputs, loader, scope
from engine.language.check import require
from engine.language.loader import LoadedRunbook
from engine.language.model import Call, Change, Look, Run, Runbook, all_steps
from engine.record import Watcher
from engine.running import resume, watch
from engine.running.discreet import Discreet
from engine.running.leases import end_leases
from engine.running.runner import Order, run
from engine.running.scene import Silent, Tools
from engine.values import Setting, Target


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants to be run.

    Attributes:
        runbook: A name or a file.
        target, pid: Which agent; both empty when there is only one to choose.
        inputs: As written; the runbook's types read them; `@FILE` for a secret one.
        yes: The operator's ``--yes``.
        policy: The policy file; None for the one that rules here.
        state: The journal's directory; None for the default one.
        by: Who is answerable; empty for whoever runs this process.
        run: The id that the run shall have; empty for a new one.
        alert: Id of the alert that asks for it.
        outside: An alert or the page asks for it, not somebody at this host.
    """

    runbook: str
    target: str = ""
    pid: int | None = None
    inputs: Mapping[str, str] = {}
    yes: bool = False
    dry_run: bool = False
    policy: Path | None = None
    state: Path | None = None
    by: str = ""
    run: str = ""
    alert: str = ""
    outside: bool = False


def launch(wish: Wish, watcher: Watcher) -> record.Run:
    """Run a runbook to its end.

    Raises:
        RunbookError: It could not begin; nothing was changed.
    """
    parts = catalog.installed()
    loaded = loader.load(loader.find(wish.runbook))
    require(loaded, parts)
    runbook = loaded.document
    if wish.outside:
        inputs.from_outside(runbook.inputs, wish.inputs)
    given = inputs.resolve(runbook, inputs.with_secrets(runbook, wish.inputs))
    with _at_work(wish, watcher) as everything:
        found = find_target(wish, loaded, parts, given)
        order = Order(
            runbook=runbook,
            text=loaded.text,
            sha256=loaded.sha256,
            directory=loaded.path.parent,
            inputs=given,
            target=found,
            dry_run=wish.dry_run,
            id=wish.run,
            alert=wish.alert,
        )
        end_leases(everything)  # overdue ones: the watch may have been killed, the machine restarted
        return run(order, everything)


def go_on(run: str, wish: Wish, watcher: Watcher, answers: Mapping[str, str] | None = None) -> record.Run:
    """Finish a run that was interrupted, or that waits, as ``engine.running.resume`` does.

    Args:
        run: Its id, its beginning, or ``last``.
        wish: Policy, journal and who is answerable; the rest stands in the run.
        watcher: Of this process.
        answers: To the question that it waits for, as written.

    Raises:
        RunbookError: It can't go on; see there.
    """
    with _at_work(wish, watcher) as everything:
        return resume.resume(run, everything, answers)


@contextmanager
def _at_work(wish: Wish, watcher: Watcher) -> Iterator[Tools]:
    """``tools`` of a run; what it leaves in force for a time is watched over, however it ends."""
    with tools(wish, watcher) as everything:
        try:
            yield everything
        finally:
            watch.start(everything.journal)


@contextmanager
def tools(wish: Wish, watcher: Watcher | None = None) -> Iterator[Tools]:
    """All that a run, a resumption or an undo works with; the journal is closed at the end."""
    cancel = Cancel()
    finder = targets.on_this_host()
    ruling, named = policy.load(wish.policy), wish.policy or policy.from_environment()
    with Journal.open(wish.state) as journal:
        yield Tools(
            journal=journal,
            parts=catalog.installed(),
            policy=ruling,
            clock=SystemClock(cancel),
            cancel=cancel,
            find=finder.find,
            watcher=Discreet(watcher) if watcher else Silent(),
            yes=wish.yes,
            by=wish.by or host.operator(),
            policy_file=str(named.absolute()) if named else "",
            policy_hash=policy.fingerprint(named) if named else "",
        )


def policy_of(run: str, state: Path | None) -> Path | None:
    """The policy file that a run was started with; None for the machine's own.

    Raises:
        Refused: The file has been changed since, or is not there any more.
    """
    with Journal.open(state, write=False) as journal:
        head = journal.run(run).head
    if not head.policy:
        return None
    path = Path(head.policy)
    if policy.fingerprint(path) != head.policy_hash:
        raise Refused(
            f"run {head.id} was started under the policy {path}, which has been changed since or is gone",
            fix=f"runbook resume {head.id} --policy FILE names the one to go on under",
        )
    return path


def find_target(
    wish: Wish, loaded: LoadedRunbook, parts: catalog.Catalog, given: Mapping[str, Setting]
) -> Target | None:
    """The agent that is meant; None for a runbook that is about the host."""
    name, runbook = wish.target, loaded.document
    if runbook.target and not name and wish.pid is None:
        name = str(expressions.render(runbook.target, scope.names(inputs=given)))
    if name or wish.pid is not None or needs_target(runbook, parts, loaded.path.parent):
        return targets.on_this_host().find(name or None, wish.pid)
    return None


def needs_target(runbook: Runbook, parts: catalog.Catalog, directory: Path) -> bool:
    """Whether some step looks at an agent or may change one, or a called runbook's does."""
    probes = set(runbook.goal.probes) if runbook.goal else set()
    for step in all_steps(runbook.steps):
        if isinstance(step, Change) or (isinstance(step, Run) and not step.reads):
            return True
        if isinstance(step, Look):
            probes |= set(step.probes)
        if isinstance(step, Call) and not step.target:
            other = loader.called(step.runbook, directory)
            if needs_target(other.document, parts, other.path.parent):
                return True
    return any(parts.probe(name).needs_target for name in probes)
