"""Waiting ends when somebody asks to stop."""

from __future__ import annotations

import threading

from engine.clock import Cancel, SystemClock


def test_a_sleep_ends_when_the_run_is_cancelled():
    """A wait of an hour must not hold up a Ctrl-C."""
    cancel = Cancel()
    clock = SystemClock(cancel)
    threading.Timer(0.05, cancel.set).start()
    sleeper = threading.Thread(target=clock.sleep, args=(3600.0,), daemon=True)
    sleeper.start()
    sleeper.join(timeout=30)
    assert not sleeper.is_alive()
