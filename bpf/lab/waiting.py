"""Waiting for what others do: looked for until it holds, never slept for."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(
    holds: Callable[[], bool],
    seconds: float = 15.0,
    *,
    every: float = 0.02,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> bool:
    """Look ``every`` so many seconds until it holds; False when it does not within ``seconds``."""
    deadline = monotonic() + seconds
    while not holds():
        if monotonic() >= deadline:
            return False
        sleep(every)
    return True
