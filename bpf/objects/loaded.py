"""An object of ours, opened and to be loaded, with what every one of them is asked.

Its promise: closing detaches its programs and unloads it, and so does a ``set_up`` that fails.

Not here: which programs and maps it has, and what they tell (each one's own module).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bpf.closing import Closing
from bpf.libbpf import BpfObject, library
from bpf.syscall import MapInfo, ask


class Loaded(Closing):
    """One ``x.bpf.o``; subclasses load it within ``_set_up``."""

    def __init__(self, file: Path) -> None:
        self._object = BpfObject.open(file)

    def close(self) -> None:
        """Detach and unload. Doing it twice is no error."""
        self._object.close()

    @contextmanager
    def _set_up(self) -> Iterator[BpfObject]:
        """The object, for as long as it is made ready."""
        try:
            yield self._object
        except BaseException:
            self.close()
            raise

    def _id(self, name: str) -> int:
        """The id of one of its maps."""
        return int(ask(self._object.map(name).fd, MapInfo()).id)

    def _target(self, pid: int) -> None:
        """Name a process that its programs look at (``targets`` of targets.h)."""
        key = struct.pack("=I", pid)
        library().bpf_map_update_elem(self._object.map("targets").fd, key, key, 0)
