"""Telling people, within a run: into the record, and through the notifiers.

One promise: a notifier that is slow or broken is noted and never holds up a run; what people were
told before a run waited for them is not told again.

Not here: notifiers themselves (entry points), reports (``engine.reports``).
"""

from __future__ import annotations

import threading

from engine.contracts import Notifier
from engine.language.model import Tell
from engine.record import Told
from engine.redaction import HERE
from engine.running.outcomes import End
from engine.running.scene import Scene

#: How long all notifiers together may take before the run goes on without them.
PATIENCE_S = 5.0


def tell(scene: Scene, step: Tell, outcome: End) -> None:
    """Write a step's sentence down and send it to the notifiers (all, or those named)."""
    sentence = HERE.text(scene.words(step.sentence, outcome))
    if (step.id, sentence) in scene.told:
        return
    scene.record(
        Told(at=scene.now, step=step.id, sentence=sentence, repeats=sentence == HERE.text(outcome[1]))
    )
    if scene.head.dry_run:
        return
    known = dict(scene.tools.parts.each("notifier"))
    for missing in sorted(set(step.to) - set(known)):
        scene.warn(f"there is no notifier named {missing!r}", step=step.id, fix="runbook doctor lists them")
    head = scene.head
    facts = {"run": head.id, "runbook": head.runbook, "target": head.target, "host": head.host}
    problems: list[str] = []

    def send(name: str, notifier: Notifier) -> None:
        try:
            notifier.tell(sentence, facts)
        except Exception as error:  # noqa: BLE001 - a stranger's part
            problems.append(f"{name}: {type(error).__name__}: {error}")

    chosen = {name: one for name, one in known.items() if not step.to or name in step.to}
    threads = [threading.Thread(target=send, args=pair, daemon=True) for pair in chosen.items()]
    for thread in threads:
        thread.start()
    for name, thread in zip(chosen, threads, strict=True):
        thread.join(PATIENCE_S / len(threads))
        if thread.is_alive():
            problems.append(f"{name}: no answer within {PATIENCE_S:.0f} s")
    for problem in problems:
        scene.warn(f"a notifier failed: {problem}", step=step.id)
