"""What to know before a profile is believed: stacks cut short, names missing, languages with habits.

Not here: why single files have no names (``bpf.stacks.naming``).
"""

from __future__ import annotations

from collections.abc import Iterable

from bpf.stacks.address_space import AddressSpace
from engine.values import Reading

_MANY = 0.5
_FEW = 0.01
#: A word in the name of a file that the process runs → what its names are.
_RUNTIMES = (
    (
        ("libpython", "python2", "python3"),
        "it runs Python: its functions here are the interpreter's own; Python 3.12 and newer names "
        "Python's too when started with -X perf",
    ),
    (
        ("libjvm.so",),
        "it runs Java: compiled methods have names only with a perf map "
        "(-XX:+PreserveFramePointer, and jcmd PID Compiler.perfmap)",
    ),
    (("node", "libnode"), "it may run JavaScript: its functions have names only with node --perf-basic-prof"),
)


def notes(readings: dict[str, Reading], spaces: Iterable[AddressSpace], *, go: bool) -> list[str]:
    """Sentences for the evidence's notes."""
    return [*_short_stacks(readings), *_lost(readings), *_languages(spaces, go=go)]


def _short_stacks(readings: dict[str, Reading]) -> list[str]:
    alone = readings["one_frame_share"].value
    if not isinstance(alone, float) or alone < _MANY:
        return []
    return [
        f"{alone:.0%} of the stacks in its own code are a single frame: that code keeps no frame pointers, "
        "so who called is not known (own shares hold); fix: build it with -fno-omit-frame-pointer"
    ]


def _lost(readings: dict[str, Reading]) -> list[str]:
    lost = readings["lost_share"].value
    if not isinstance(lost, float) or lost < _FEW:
        return []
    return [f"{lost:.1%} of the samples found no room and are left out; fix: a shorter window"]


def _languages(spaces: Iterable[AddressSpace], *, go: bool) -> list[str]:
    files = {mapping.module for space in spaces for mapping in space.mappings}
    found = [
        words
        for marks, words in _RUNTIMES
        if any(file == mark or file.startswith(mark) for file in files for mark in marks)
    ]
    if go:
        found.append(
            "it has Go code: goroutines share threads, so a thread here is whichever ran goroutines then"
        )
    return found
