"""What happens beside the sampling: scrapes, log reading, and a look whether the target still lives.

Its promise: nothing here holds up a sample for longer than the interpreter's switch between
threads (milliseconds), however long an agent takes to answer.

Not here: the samples (``bpf.flow.sampling``).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from bpf.flow.counting import Counters
from bpf.flow.rings import Rings
from bpf.system.procfs import must_live
from engine.errors import RunbookError, TargetGone
from engine.values import Target

EVERY_S = 1.0
#: A scrape in flight may take this long; then the window does not wait for it any more.
LAST_S = 2.0


class Beside:
    """A thread that looks once a second, from ``start`` to ``stop``.

    Attributes:
        gone: The target has ended.
        cpu_s: CPU seconds it took; complete after ``stop``.
    """

    def __init__(
        self, target: Target, rings: Rings, counters: Counters, monotonic: Callable[[], float]
    ) -> None:
        self._target, self._rings, self._counters, self._monotonic = target, rings, counters, monotonic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="event-flow-beside", daemon=True)
        self.gone = False
        self.cpu_s = 0.0

    def start(self) -> None:
        """Begin looking, at once and then every second."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread, then look once more: the last counts belong to the window's end."""
        self._stop.set()
        self._thread.join(LAST_S)
        if not self._thread.is_alive():
            self._counters.take(self._monotonic)

    def _run(self) -> None:
        began = time.thread_time()
        while not self.gone:
            try:
                must_live(self._target)
                self._counters.take(self._monotonic)
                self._rings.follow()
            except TargetGone:
                self.gone = True
            except RunbookError as error:
                self._rings.notes.append(error.problem)
            self.cpu_s = time.thread_time() - began
            if self._stop.wait(EVERY_S):
                return
