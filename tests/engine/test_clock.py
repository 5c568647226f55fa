"""Waiting ends when somebody asks to stop."""

from __future__ import annotations

import subprocess
import sys
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


def test_a_signal_at_any_moment_ends_a_wait() -> None:
    """Also one that comes while the wait begins or ends: nothing locks up."""
    code = """
import random, signal
from engine.clock import Cancel
now = Cancel()
signal.signal(signal.SIGALRM, lambda *_: now.set(signal.SIGALRM))
for _ in range(1000):
    now = Cancel()
    signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-6, 5e-5))
    assert now.wait(60)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
