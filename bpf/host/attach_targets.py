"""Whether something can be attached to is there on this kernel: functions and tracepoints.

One promise: ``no`` is said only where a complete list was read and does not have it.

Source: tracefs ``available_filter_functions`` and ``events``, /proc/kallsyms, the kernel's BTF.

Not here: whether attaching is permitted (``bpf.probes.kernel_kinds`` tries it).
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path

from engine.values import Support

_TRACEFS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")
_KIND = re.compile(
    r"(tracepoint|tp|raw_tp|raw_tracepoint|tp_btf|kprobe|kretprobe|fentry|fexit|fmod_ret|lsm)[:/]"
)
_MOUNT = "mount -t tracefs tracefs /sys/kernel/tracing"
_RAW = ("raw_tp", "raw_tracepoint", "tp_btf")


class AttachTargets:
    """The attach targets of one machine; each list is read when first needed, 50 ms for functions."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def find(self, wanted: str) -> Support:
        """One target: ``tcp_connect``, ``kprobe:tcp_connect``, ``tracepoint:syscalls:sys_enter_openat``."""
        match = _KIND.match(wanted)
        kind = match[1] if match else ""
        name = wanted[match.end() :] if match else wanted
        if kind in _RAW:
            return self._raw_tracepoint(name)
        if kind in ("tracepoint", "tp") or (not kind and re.search("[:/]", name)):
            return self._tracepoint(name)
        if kind == "lsm":
            return self._function(f"bpf_lsm_{name}", traceable=False)
        return self._function(name, traceable=bool(kind))

    def _tracepoint(self, name: str) -> Support:
        category, _, event = name.replace("/", ":").partition(":")
        for place in self._tracefs:
            if (place / "events" / category / event / "id").exists():
                return Support(answer="yes", why=f"{category}/{event} is in tracefs")
            if (place / "events" / category).is_dir():
                return Support(answer="no", why=f"tracefs has the group {category}, without {event}")
            return Support(answer="no", why=f"tracefs has no group {category}")
        found = self._raw_tracepoint(event)
        if found.answer == "yes":
            return found
        return _unknown("tracefs is not mounted, and not every tracepoint has a symbol", _MOUNT)

    def _raw_tracepoint(self, name: str) -> Support:
        symbols = self._symbols
        if symbols is None:
            return _unknown("/proc/kallsyms can't be read")
        if f"__tracepoint_{name}" in symbols or f"__traceiter_{name}" in symbols:
            return Support(answer="yes", why=f"the kernel has the tracepoint {name}")
        if any(symbol.startswith("__traceiter_") for symbol in symbols):
            return Support(answer="no", why=f"the kernel has tracepoints, and none named {name}")
        return _unknown(
            "this kernel's symbols name no tracepoints; mount tracefs",
            _MOUNT,
        )

    def _function(self, name: str, *, traceable: bool) -> Support:
        filtered, symbols = self._filtered, self._symbols
        if filtered is not None and name in filtered:
            return Support(answer="yes", why=f"{name} is in available_filter_functions")
        if symbols is None:
            return _unknown("/proc/kallsyms can't be read")
        if name not in symbols:
            alike = sorted(one for one in symbols if one.startswith(f"{name}."))
            hint = f"; there is {alike[0]}" if alike else ""
            return Support(answer="no", why=f"the kernel has no function {name}{hint}")
        if traceable and filtered is not None:
            return Support(
                answer="no",
                why=f"{name} is there and can't be traced: it is not in available_filter_functions",
            )
        if traceable:
            return _unknown(
                f"{name} is in kallsyms; whether it can be traced can't be read",
                _MOUNT,
            )
        return Support(answer="yes", why=f"{name} is in kallsyms")

    @cached_property
    def _tracefs(self) -> tuple[Path, ...]:
        return tuple(place for path in _TRACEFS if ((place := self._root / path) / "events").is_dir())

    @cached_property
    def _filtered(self) -> frozenset[str] | None:
        for place in self._tracefs:
            try:
                lines = (place / "available_filter_functions").read_text().splitlines()
            except OSError:
                continue
            return frozenset(line.split(" ", 1)[0] for line in lines)
        return None

    @cached_property
    def _symbols(self) -> frozenset[str] | None:
        try:
            lines = (self._root / "proc/kallsyms").read_text().splitlines()
        except OSError:
            return None
        return frozenset(line.split(None, 3)[2] for line in lines) or None


def _unknown(why: str, fix: str = "") -> Support:
    return Support(answer="unknown", why=why, fix=fix)
