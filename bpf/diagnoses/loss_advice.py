"""What an agent's profile advises against a loss, where no setting that a remediation turns mends it.

Its promise: the advice is the profile's own words, and goes with the cause it is for.

Not here: naming the cause (``loss_rhythm``, ``loss_limits``).
"""

from __future__ import annotations

import msgspec

from engine.values import Cause, Target

#: Cause → facts of a profile that tell what mends it, in order.
ADVICE = {
    "loss-behind-the-ring": ("behind_the_ring",),
    "reader-cpu-bound": ("fewer_events",),
    "reader-starved": ("fewer_events",),
    "flood-from-one-source": ("fewer_events",),
    "burst-exceeds-buffer": ("ring", "fewer_events"),
    "reader-polls-too-slowly": ("ring", "fewer_events"),
}


def advised(cause: Cause, target: Target) -> Cause:
    """The cause with its profile's advice; as it is where the profile has none."""
    facts = [target.facts[name] for name in ADVICE.get(cause.name, ()) if target.facts.get(name)]
    if cause.fix or not facts:
        return cause
    return msgspec.structs.replace(cause, fix="; ".join(dict.fromkeys(facts)))
