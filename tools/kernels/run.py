"""``make test-kernels``: what is promised of the eyes, kept on each kernel of the distribution.

    make test-kernels                        all kernels
    make test-kernels KERNELS="5.10 6.12"    only these

Every kernel is booted in QEMU and runs ``tests/vm``; printed is a table promise × kernel. Exit code 1
when a promise is broken, 2 when nothing could be run.

Not here: packages (``packages.py``), the archive (``image.py``), QEMU (``machine.py``).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import image
import machine
import packages

ROOT = Path(__file__).parents[2]
BUILD = ROOT / "build/kernels"
_SIDE_BY_SIDE = 2
#: Program → the package that has it.
NEEDS = {machine.PROGRAM: "qemu-system-x86", "busybox": "busybox-static", "clang": "clang"}
REFUSALS = (
    "null_check",
    "bounds",
    "uninitialised",
    "endless_loop",
    "wrong_helper",
    "deep_stack",
    "no_licence",
)


class Result(NamedTuple):
    """One kernel's answers.

    Attributes:
        answers: Promise → ``yes``, ``no`` or ``n/a``, and the detail.
    """

    release: str
    seconds: float
    answers: Mapping[str, tuple[str, str]]
    problem: str = ""


def tools_are_here() -> bool:
    """Install what is missing, when root; say so."""
    missing = [package for program, package in NEEDS.items() if shutil.which(program) is None]
    if not missing:
        return True
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        print(f"kernels: missing: {' '.join(missing)}\n  fix: sudo apt-get install {' '.join(missing)}")
        return False
    print(f"kernels: installing with apt-get: {' '.join(missing)}", flush=True)
    argv = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
    return subprocess.run(argv, stdout=subprocess.DEVNULL, check=False).returncode == 0


def objects() -> list[tuple[Path, str]]:
    """BPF objects of the tests, compiled here, and where they go."""
    made = BUILD / "objects"
    made.mkdir(parents=True, exist_ok=True)
    headers = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    wanted = [("sample.bpf.c", "sample.bpf.o", ())]
    wanted += [("refused.bpf.c", f"{kind}.bpf.o", (f"-D{kind.upper()}",)) for kind in REFUSALS]
    for source, name, defines in wanted:
        headers = f"-I/usr/include/{os.uname().machine}-linux-gnu"
        argv = ["clang", "-O2", "-g", "-target", "bpf", headers, *defines, "-o", str(made / name)]
        subprocess.run([*argv, "-c", str(ROOT / "tests/kernel" / source)], check=True)
    return [(made / name, f"tests/vm/{name}") for _, name, _ in wanted] + list(_small_objects(made, headers))


def _small_objects(made: Path, headers: str) -> Iterator[tuple[Path, str]]:
    """The objects that preflight is held against."""
    for source in sorted((ROOT / "tests/preflight").glob("*.bpf.c")):
        name = f"{source.name.removesuffix('.c')}.o"
        cpu = "-mcpu=v3" if source.name.startswith("fetch") else "-mcpu=v2"
        argv = ["clang", "-O2", "-g", "-target", "bpf", "-D__TARGET_ARCH_x86", cpu, headers]
        subprocess.run([*argv, "-c", str(source), "-o", str(made / name)], check=True)
        yield made / name, f"tests/vm/preflight/{name}"


def run_on(kernel: packages.Kernel, archive: Path) -> Result:
    """Boot once and read the answers."""
    said = machine.boot(kernel.image, archive)
    (BUILD / f"{kernel.release}.log").write_text("\n".join(said.lines))
    answers: dict[str, tuple[str, str]] = {}
    finished = False
    for line in said.lines:
        _, found, rest = line.partition('{"promise"')  # the first one stands behind the firmware's greeting
        if found:
            told = json.loads(found + rest)
            answers[told["promise"]] = told["kept"], told["detail"]
        finished = finished or line.startswith("all promises were tried")
    problem = "" if finished else f"it did not finish ({'ended' if said.ended else 'stopped'}); see its log"
    return Result(kernel.release, said.seconds, answers, problem)


def table(results: Mapping[str, Result]) -> str:
    """Promise × kernel."""
    promises = dict.fromkeys(name for result in results.values() for name in result.answers)
    width = max(map(len, promises), default=7)
    lines = ["  ".join(["PROMISE".ljust(width), *(name.rjust(7) for name in results)])]
    for promise in promises:
        kept = (result.answers.get(promise, ("-", ""))[0].rjust(7) for result in results.values())
        lines.append("  ".join([promise.ljust(width), *kept]))
    lines.append("  ".join(["seconds".ljust(width), *(f"{one.seconds:7.1f}" for one in results.values())]))
    return "\n".join(lines)


def run_all(known: Mapping[str, packages.Kernel | packages.NoKernel], archive: Path) -> dict[str, Result]:
    """Every kernel that is there, two at a time."""
    here = {name: kernel for name, kernel in known.items() if isinstance(kernel, packages.Kernel)}
    for name, kernel in known.items():
        if name not in here:
            print(f"kernels: {name} is left out: {kernel}", flush=True)
    with ThreadPoolExecutor(max_workers=min(_SIDE_BY_SIDE, os.cpu_count() or 1)) as pool:
        results = dict(
            zip(here, pool.map(lambda kernel: run_on(kernel, archive), here.values()), strict=True)
        )
    for name, result in results.items():
        print(f"kernels: {name} is {result.release}", flush=True)
    return results


def main(names: list[str]) -> int:
    """Run all, print the table and every broken promise."""
    began = time.monotonic()
    if not tools_are_here():
        return 2
    known = packages.kernels(BUILD)
    archive = BUILD / "machine.cpio"
    archive.write_bytes(image.build(objects()))
    print(f"kernels: machine of {archive.stat().st_size / 2**20:.0f} MiB", flush=True)
    results = run_all({name: kernel for name, kernel in known.items() if not names or name in names}, archive)
    print(table(results))
    broken = [
        f"{name}: {promise}: {detail}"
        for name, result in results.items()
        for promise, (kept, detail) in result.answers.items()
        if kept == "no"
    ]
    broken += [f"{name}: {result.problem}" for name, result in results.items() if result.problem]
    for line in broken:
        print(f"broken: {line}")
    for name, result in results.items():
        for promise, (kept, detail) in result.answers.items():
            if kept == "n/a":
                print(f"n/a: {name}: {promise}: {detail}")
    print(f"kernels: {len(results)} kernels, {len(broken)} broken, {time.monotonic() - began:.0f} s")
    return 2 if not results else 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
