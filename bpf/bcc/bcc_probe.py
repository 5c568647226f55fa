"""An author's own probe: a BCC program beside the runbook, its maps returned as evidence.

    - look: bcc
      with: {source: slow_opens.c, maps: [by_process], reads_kernel: false, window: 10s}

Each map becomes a table: the fields of its key, then those of its value, the greatest first. The
first map also serves as numbers: ``bcc.total``, ``bcc.per_s``, ``bcc.entries``, ``bcc.top_key`` …
``TARGET_PID`` is defined for the compiler: the target's main process, 0 without a target.

Compiling and attaching happen in a child under a time and a memory ceiling.

Not here: importing bcc (``bpf.bcc.bcc_child``), choosing headers (``bpf.bcc.headers``).
"""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bpf.bcc import headers
from bpf.bcc.bcc_host import BccChild, BccMissing, interpreter
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Cost, Evidence, Field, Reading, Scalar, Setting, Support, Target

_TIMEOUT_S = 30.0
_MEMORY_BYTES = 512 << 20
_NAME = re.compile(r"[A-Za-z_]\w*")


class BccProbe:
    """Runs a BCC program over the window and returns its maps."""

    name = "bcc"
    short = "bcc"
    summary = "An author's own BCC program, its maps as evidence."
    needs_target = False
    cpu_ceiling = 0.5
    open_fields = True  # each map is a table of its own name: bcc.failures
    fields: Mapping[str, Field] = {
        "entries": Field(
            help="Elements in the first map; of an array, those that are not zero.", unit="count"
        ),
        "total": Field(
            help="Sum over the first map's values (the first field of a structure).", unit="count"
        ),
        "per_s": Field(help="That sum, a second of the window.", unit="1/s"),
        "top_key": Field(help="Key of the greatest value, its fields with spaces between.", type="text"),
        "top_value": Field(help="The greatest value in the first map.", unit="count"),
        "top_share": Field(help="Its share of the sum.", unit="share"),
    }
    open_fields = True  # each map of the author is a table under its own name
    options: Mapping[str, str] = {
        "source": "The program: a file, relative to the runbook.",
        "maps": "Names of the maps to return, the one that counts first; all when left out.",
        "reads_kernel": "False when the program reads no kernel structure: then headers of any kernel do.",
        "cflags": "Further arguments for the compiler, as a list.",
        "memory": "Memory ceiling of compiler and program together (512 MiB).",
        "timeout": "Longest time until it is attached (30 s).",
    }

    def supported(self, target: Target | None) -> Support:  # noqa: ARG002 - any target, or none
        """Root, an interpreter with bcc, and headers of some kernel."""
        if os.geteuid() != 0:
            return Support(answer="no", why="BPF programs are loaded by root", fix="run it with sudo")
        try:
            interpreter()
        except BccMissing as missing:
            return Support(answer="no", why=missing.problem, fix=missing.fix)
        release = platform.release()
        if headers.runs_everything(release):
            return Support(answer="yes", why=f"headers of {release} are here")
        if headers.any_halves():
            why = f"only for programs with `reads_kernel: false`: the headers here are not of {release}"
            return Support(answer="yes", why=why, fix=f"apt-get install linux-headers-{release}")
        return Support(
            answer="no",
            why="bcc compiles nothing without kernel headers",
            fix=f"apt-get install linux-headers-{release}",
        )

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Compile, attach, watch for the window, read the maps.

        Raises:
            ProbeFailed: The program could not be read, compiled or attached, or passed a ceiling.
        """
        wish = _Wish(window.options, Path(window.directory))
        clock = window.clock
        asked = clock.monotonic()
        with tempfile.TemporaryDirectory(prefix="runbook-bcc-") as directory:
            scratch = Path(directory)
            request = {
                "do": "watch",
                "text": wish.text,
                "maps": wish.maps,
                "cflags": [*wish.cflags, f"-DTARGET_PID={target.pid if target else 0}"],
            }
            chosen = headers.choose(
                wish.text,
                reads_kernel=wish.reads_kernel,
                release=platform.release(),
                given=os.environ.get("BCC_KERNEL_SOURCE", ""),
                scratch=scratch,
            )
            python = interpreter()
            with BccChild(
                python, request, memory_bytes=wish.memory_bytes, directory=scratch, headers=chosen
            ) as child:
                wish.check(child.answer(wish.timeout_s)["maps"])
                window.begin()
                child.send({"do": "begin"})
                began = float(child.answer(wish.timeout_s)["began"])
                window.wait()
                child.send({"do": "end"})
                seen = child.answer(wish.timeout_s)
        return _evidence(target, wish, began, seen, clock.monotonic() - asked)


class _Wish:
    """The step's options, read and checked before anything is started."""

    def __init__(self, options: Mapping[str, Setting], directory: Path) -> None:
        source = options.get("source")
        if not isinstance(source, str) or not source:
            raise ProbeFailed("a bcc probe needs its program", fix="with: {source: my_probe.c}")
        path = directory / source
        try:
            self.text = path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ProbeFailed(
                f"the BCC program {path} can't be read: {error}",
                fix="`source` is relative to the runbook's file",
            ) from None
        self.maps = _words(options, "maps")
        self.cflags = _words(options, "cflags")
        self.reads_kernel = options.get("reads_kernel", True) is not False
        self.memory_bytes = int(_number(options, "memory", _MEMORY_BYTES))
        self.timeout_s = _number(options, "timeout", _TIMEOUT_S)

    def check(self, present: Sequence[str]) -> None:
        """Every map that is asked for must be in the program."""
        for name in self.maps:
            if name not in present:
                raise ProbeFailed(
                    f"the BCC program has no map {name!r}",
                    fix=f"it has: {', '.join(present) or 'none at all'}",
                )


def _words(options: Mapping[str, Setting], name: str) -> list[str]:
    """A list of words, or one word alone."""
    given = options.get(name) or []
    return [str(item) for item in given] if isinstance(given, list) else [str(given)]


def _number(options: Mapping[str, Setting], name: str, otherwise: float) -> float:
    """A number, as the engine made it of ``10s`` or ``64MiB``."""
    given = options.get(name)
    if given is None:
        return otherwise
    if isinstance(given, bool) or not isinstance(given, int | float) or given <= 0:
        raise ProbeFailed(f"`{name}: {given}` is no size or time", fix=f"for example {name}: {otherwise:g}")
    return float(given)


# ── evidence ────────────────────────────────────────────────────────────────────


def _evidence(
    target: Target | None, wish: _Wish, began: float, seen: Mapping[str, Any], wall_s: float
) -> Evidence:
    """Maps made into tables; the first that has rows also into readings."""
    tables: dict[str, tuple[dict[str, Scalar], ...]] = {}
    notes: list[str] = []
    readings: dict[str, Reading] = {}
    ended = float(seen["ended"])
    for name, found in seen["maps"].items():
        if "rows" not in found:
            notes.append(f"map {name} ({found['kind']}) {found['skipped']}")
            continue
        tables[name] = tuple(
            _row(key, values, name in _histograms(wish.text)) for key, values in found["rows"]
        )
        if len(found["rows"]) < found["entries"]:
            notes.append(f"map {name}: the {len(found['rows'])} greatest of {found['entries']} entries")
        readings = readings or _readings(name, found, ended - began)
    if not readings:
        readings = {name: Reading(missing="no map of the program holds rows") for name in BccProbe.fields}
    return Evidence(
        probe=BccProbe.name,
        short=BccProbe.short,
        target=target.name if target else "",
        started_at=began,
        ended_at=ended,
        readings=readings,
        tables=tables,
        notes=tuple(notes),
        cost=Cost(cpu_s=seen["cpu_s"], memory_bytes=int(seen["peak_bytes"]), wall_s=wall_s),
    )


def _readings(name: str, found: Mapping[str, Any], seconds: float) -> dict[str, Reading]:
    """The numbers of one map."""
    source = f"map {name}"
    total = found["total"]
    readings = {
        "entries": Reading(value=found["entries"], unit="count", source=source),
        "total": Reading(value=total, unit="count", source=source),
        "per_s": Reading(value=total / seconds if seconds > 0 else 0.0, unit="1/s", source=source),
    }
    if not found["rows"]:
        empty = Reading(source=source, missing="the map is empty")
        return readings | {"top_key": empty, "top_value": empty, "top_share": empty}
    key, values = found["rows"][0]
    greatest = next((cell for cell in values.values() if not isinstance(cell, str)), 0)
    return readings | {
        "top_key": Reading(value=" ".join(str(cell) for cell in key.values()), source=source),
        "top_value": Reading(value=greatest, unit="count", source=source),
        "top_share": Reading(value=greatest / total if total else 0.0, unit="share", source=source),
    }


def _row(key: Mapping[str, Scalar], values: Mapping[str, Scalar], histogram: bool) -> dict[str, Scalar]:
    """One row. Of a histogram over powers of two, the bounds of the slot instead of its number."""
    slot = key.get("key")
    if histogram and isinstance(slot, int):
        return {"from": (1 << slot) >> 1, "to": (1 << slot) - 1, **values}
    return {**key, **{name if name not in key else f"value.{name}": cell for name, cell in values.items()}}


def _histograms(text: str) -> frozenset[str]:
    """Names of the program's histograms, when its slots are powers of two (``bpf_log2l``)."""
    if "bpf_log2" not in text:
        return frozenset()
    return frozenset(found.group(0) for found in map(_NAME.search, text.split("BPF_HISTOGRAM(")[1:]) if found)
