"""What the changes share that make programs load: how the agent is started, and what is foretold.

Not here: the changes themselves.
"""

from __future__ import annotations

from typing import Any

from engine.values import Prediction, Reload, Target
from remediations.planning import Question

#: How long an agent may take to become well where its profile does not say.
SETTLE_S = 15.0


def start_of(target: Target) -> Reload:
    """How the agent is started anew; ``none``, with time for its supervisor, where nobody says."""
    return target.start if target.start.by != "none" else Reload(settle_s=SETTLE_S)


def predictions(asked: Question[Any]) -> tuple[Prediction, ...]:
    """Programs are held, and nothing fails to load."""
    return (
        Prediction(
            measure="loads.failures",
            before=asked.number("loads.failures"),
            after=0,
            at_most=True,
            arithmetic="what kept the programs from loading is gone",
        ),
    )


def warnings(start: Reload) -> tuple[str, ...]:
    """That nobody starts the agent, where that is so."""
    if start.by != "none":
        return ()
    return ("how the agent is started is not known (start: in its profile): its supervisor must do it",)


def unit_of(target: Target) -> str:
    """The agent's systemd unit: as its profile says, else by its cgroup; empty when there is none."""
    named = target.start.unit or target.facts.get("unit", "")
    if named:
        return named if "." in named else f"{named}.service"
    cgroup = target.processes[0].cgroup if target.processes else ""
    last = cgroup.rpartition("/")[2]
    return last if last.endswith(".service") else ""
