"""What a plan must say besides its change: what it may cause, and how to take it back by hand.

Not here: deciding (the remediations), what a reload loses (``values.Reload``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from engine.values import Change, Knob, KnobValue, Target
from remediations.knobs import amounts, reload
from remediations.knobs.backend import told_by, where


def dangers(changes: Iterable[Change], knob: Knob, no_limit: str) -> Iterator[str]:
    """What the profile warns of, what the agent refuses to start with, what has no limit now.

    Args:
        changes: What is planned.
        knob: The knob that was asked for.
        no_limit: How it stands now, where that means "no limit"; else empty.
    """
    for each in changes:
        yield from each.knob.warns
        if each.knob.rounding != "none" and each.knob.misfit == "refused":
            fits = amounts.FITS[each.knob.rounding]
            yield (
                f"the agent refuses to start with a {each.knob.name} that is not {fits}; {each.after_text} is"
            )
    if no_limit:
        yield f"{where(knob)}: {no_limit} now, so what waits there may take all memory"


def by_hand(made: Change, now: KnobValue | None, target: Target) -> str:
    """How a change is taken back without us; ``now`` is what stood there before it."""
    knob = made.knob
    place = now.source if now and now.source else where(knob)
    told = told_by(knob.backend)
    if told is not None:
        return told.by_hand(made, now, target)
    if knob.backend == "bpf-variable":
        step = f"runbook undo (it stores {made.before} in {place}), or restart the agent: it ends with it"
    elif knob.backend == "cgroup":
        quota = now.raw.split()[0] if now and now.raw else "max" if place.endswith("cpu.max") else "-1"
        step = f"echo {quota} > {place}"
    elif knob.backend == "file-capability":
        step = f"setcap {made.before} {knob.file}" if made.before else f"setcap -r {knob.file}"
    elif knob.backend == "systemd-dropin":
        step = f"rm {knob.file}; systemctl daemon-reload"
    elif knob.backend == "stale-entries":
        step = "runbook undo (it puts what was deleted back where its key is absent)"
    elif knob.backend == "mount":
        step = f"umount {knob.file}"
    elif made.before is None:
        step = f"take the line {knob.path} out of {knob.file}"
    else:
        step = f"edit {place}: set {knob.path} back to {now.raw if now and now.raw else made.before_text}"
    then = reload.by_hand(knob.reload, target)
    return f"{step}; then: {then}" if then else step
