"""What a ``run`` step may say: a whole path, one argument each, and the way back.

One promise: a command that passes can't be turned into another one by a value that comes from
outside: its program is fixed, each template is one argument, and no secret stands where every
process of the machine can read it.

Not here: what the machine's policy allows (``engine.guarding.commands``), running it
(``engine.running.commands``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.language import scope
from engine.language.calls import secrets_in
from engine.language.findings import Findings
from engine.language.model import Run
from engine.language.shapes import LIST, NUMBER, TEXT, Shape

#: Why a policy does not allow a command; empty where it does. Templates stand for any argument.
Allows = Callable[[Sequence[str], bool], str]

RESULT = Shape("record", {**dict.fromkeys(scope.RAN, TEXT), "exit_code": NUMBER, "lines": LIST})


def check_run(found: Findings, step: Run, path: str, allows: Allows | None) -> None:
    """Everything that can be said against a command before it runs."""
    for name, argv in (("run", step.argv), ("undo", step.undo), ("in_force", step.in_force)):
        if argv or name == "run":
            _argv(found, argv, f"{path}.{name}")
            reads = step.reads or name == "in_force"
            why = allows(argv, reads) if allows and argv else ""
            if why:
                found.warn(f"{path}.{name}", why)
    if step.reads and (step.undo or step.in_force or step.lease is not None):
        found.error(
            path, "a command that only reads has nothing to take back (leave undo, in_force, lease out)"
        )
    if not step.reads and not step.undo:
        found.error(
            path, "a command that changes something needs its way back (write undo: […], or reads: true)"
        )
    if not step.reads:
        found.durations(step, path, "lease")
        found.provable(step.keep, path)


def _argv(found: Findings, argv: Sequence[str], path: str) -> None:
    if not argv:
        found.error(path, "a command needs a program")
        return
    if not argv[0].startswith("/") or "{{" in argv[0]:
        found.error(f"{path}[0]", f"{argv[0]!r} is no program (write its whole path, such as /usr/bin/ss)")
    for index, argument in enumerate(argv):
        found.template(argument, f"{path}[{index}]")
        for name in sorted(secrets_in(argument, found.runbook)):
            found.error(
                f"{path}[{index}]", f"input {name!r} is secret, and arguments can be read by every process"
            )
