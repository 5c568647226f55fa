"""Which functions of a kernel image can be traced: those that call ftrace when they begin.

fentry, fexit and kprobe.multi need such a function, and a kprobe by name refuses one without. Its name in
BTF or kallsyms does not tell: what the source calls ``inline`` is left out even where the compiler kept
it. The kernel carries the list of the calls (``__mcount_loc``), sorted, as addresses.
Cost: 0.1 s. x86 and others whose list holds addresses. Source: scripts/sorttable.c, kernel/trace/ftrace.c.

Not here: names (``bpf.preflight.image_symbols``).
"""

from __future__ import annotations

from array import array

from bpf.preflight import elf, image_symbols
from bpf.preflight.image_symbols import Symbols
from bpf.preflight.problems import BadFile

_START, _STOP = "__start_mcount_loc", "__stop_mcount_loc"
_AFTER_ENDBR = 4
_FEW = 1000
_INIT = ("_sinittext", "_einittext")


def traceable(kernel: bytes, symbols: Symbols, path: str) -> frozenset[str] | None:
    """Names of all functions that can be traced; None when the list can't be found."""
    try:
        sections = elf.Elf(kernel, path).sections
    except BadFile:
        return None
    text = next((section.address for section in sections if section.name == ".text"), 0)
    places = image_symbols.addresses(kernel, symbols, text)
    if places is None or _START not in symbols.names or _STOP not in symbols.names:
        return None
    where = dict(zip(symbols.names, places, strict=True))
    calls = _words(sections, where[_START], where[_STOP])
    if len(calls) < _FEW:
        return None
    freed = range(where.get(_INIT[0], 0), where.get(_INIT[1], 0))  # gone once the kernel has booted
    return frozenset(
        name
        for name, place in zip(symbols.names, places, strict=True)
        if (place in calls or place + _AFTER_ENDBR in calls) and place not in freed
    )


def _words(sections: tuple[elf.Section, ...], start: int, stop: int) -> frozenset[int]:
    """The 64-bit numbers between two addresses."""
    for section in sections:
        if section.address and section.address <= start < stop <= section.address + len(section.data):
            data = section.data[start - section.address : stop - section.address]
            return frozenset(array("Q", data[: len(data) // 8 * 8]))
    return frozenset()
