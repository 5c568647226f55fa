"""Runs an author's BCC program, or names addresses, in a process of its own.

Started by ``bpf.bcc.bcc_host`` with an interpreter that has bcc; imports nothing of ours. Speaks
one JSON object per line: commands on standard input, one answer each on standard output.
It holds the one import of bcc in the house, keeps itself under a memory ceiling set by the
kernel, and ends, with all it attached, when its input ends.

Not here: which headers may be used (``bpf.bcc.headers``), what the rows mean (``bpf.bcc.bcc_probe``).
"""

# ruff: noqa: ANN401 - bcc has no types
from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CLONE_NEWNS = 0x00020000
_MS_PRIVATE_RECURSIVE = (1 << 18) | (1 << 14)
_TRACEFS = Path("/sys/kernel/tracing")
#: Tables that hold stacks, buffers or other programs: nothing to return as rows.
_NO_ROWS = {
    "StackTrace",
    "PerfEventArray",
    "RingBuf",
    "ProgArray",
    "CgroupArray",
    "QueueStack",
    "MapInMapArray",
}
_MOST_ROWS = 1000

Row = dict[str, Any]


def own_tracefs() -> None:
    """Mount tracefs for this process alone, where the machine has none: nothing outside sees it."""
    if (_TRACEFS / "events").exists() or Path("/sys/kernel/debug/tracing/events").exists():
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) == 0:
        libc.mount(b"none", b"/", None, ctypes.c_ulong(_MS_PRIVATE_RECURSIVE), None)
        libc.mount(b"tracefs", str(_TRACEFS).encode(), b"tracefs", ctypes.c_ulong(0), None)


# ── decoding ────────────────────────────────────────────────────────────────────


def cells(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """A key or value as named cells: a structure gives one per field, nested ones dotted."""
    fields = getattr(value, "_fields_", None)
    if fields is not None:
        prefix = "" if name in ("key", "value") else f"{name}."
        for field in fields:
            yield from cells(getattr(value, field[0]), prefix + field[0])
    elif isinstance(value, bytes):
        yield name, value.split(b"\0", 1)[0].decode(errors="replace")
    elif isinstance(value, ctypes.Array):
        yield name, " ".join(str(item) for item in value)
    else:
        yield name, getattr(value, "value", value)


def summed(per_cpu: Any) -> Row:
    """One value per CPU made into one: numbers added up, text from the first CPU that has any."""
    total: Row = {}
    for value in per_cpu:
        for name, cell in cells(value, "value"):
            if isinstance(cell, str):
                total[name] = total.get(name) or cell
            else:
                total[name] = total.get(name, 0) + cell
    return total


def rows(table: Any) -> Iterator[tuple[Row, Row]]:
    """Key cells and value cells of each element."""
    per_cpu = type(table).__name__.startswith(("PerCpu", "LruPerCpu"))
    for key, value in table.items():
        yield dict(cells(key, "key")), summed(value) if per_cpu else dict(cells(value, "value"))


def first_number(values: Row) -> float:
    """What a row is ranked and summed by: its first numeric value cell."""
    return next((cell for cell in values.values() if isinstance(cell, int | float)), 0)


def collected(table: Any) -> dict[str, Any]:
    """The table's rows, the greatest first, without the empty slots of arrays."""
    kind = type(table).__name__
    if kind in _NO_ROWS:
        return {"kind": kind, "skipped": "holds no rows"}
    pairs = list(rows(table))
    slots = len(pairs)
    if "Array" in kind and slots > 1:
        pairs = [pair for pair in pairs if any(pair[1].values())]
    pairs.sort(key=lambda pair: first_number(pair[1]), reverse=True)
    return {
        "kind": kind,
        "slots": slots,
        "entries": len(pairs),
        "total": sum(first_number(values) for _, values in pairs),
        "rows": [[key, values] for key, values in pairs[:_MOST_ROWS]],
    }


# ── the two things it can do ────────────────────────────────────────────────────


def watch(bcc: Any, request: dict[str, Any], commands: Iterator[Any]) -> Iterator[Any]:
    """Compile and attach; then empty the maps when the window begins, and read them at its end."""
    own_tracefs()
    program = bcc.BPF(text=request["text"], cflags=request["cflags"])
    module = ctypes.c_void_p(program.module)
    bcc.lib.bpf_table_name.restype = ctypes.c_char_p  # which bcc leaves undeclared
    names = [bcc.lib.bpf_table_name(module, i).decode() for i in range(bcc.lib.bpf_num_tables(module))]
    yield {"maps": names}
    wanted = request["maps"] or names
    tables = {name: program[name] for name in wanted if name in names}
    next(commands)  # the window begins: what was counted while others armed themselves is not ours
    for table in tables.values():
        if type(table).__name__ not in _NO_ROWS:
            table.clear()
    yield {"began": time.time()}
    next(commands)  # the window ends
    ended = time.time()
    yield {"ended": ended, "maps": {name: collected(table) for name, table in tables.items()}, **spent()}
    program.cleanup()


def symbols(bcc: Any, request: dict[str, Any]) -> dict[str, Any]:
    """Names for addresses of a living process and of the kernel; what has none keeps its address."""
    user = [
        bcc.BPF.sym(address, request["pid"], show_module=True, show_offset=False).decode(errors="replace")
        for address in request["user"]
    ]
    kernel = [bcc.BPF.ksym(address).decode(errors="replace") for address in request["kernel"]]
    return {"user": user, "kernel": kernel, **spent()}


def spent() -> dict[str, float]:
    """What this process has cost so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}


def main() -> None:
    """Read one request, answer until the work is done or the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the compiler may write to standard output; the answers stay alone
    commands = (json.loads(line) for line in sys.stdin)
    request = next(commands)
    ceiling = int(request["memory_bytes"])
    # The data segment and private memory, not the address space: LLVM maps far more than it uses.
    resource.setrlimit(resource.RLIMIT_DATA, (ceiling, ceiling))
    import bcc  # noqa: PLC0415 - under the ceiling

    answering = watch(bcc, request, commands) if request["do"] == "watch" else iter([symbols(bcc, request)])
    try:
        for answer in answering:
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    except (StopIteration, RuntimeError):
        return  # the input ended: the engine is gone, and so are we


if __name__ == "__main__":
    main()
