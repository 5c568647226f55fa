"""A child process that has bcc, held at arm's length: time and memory ceilings, JSON over pipes.

Importing bcc costs 60 to 170 MB and up to 0.8 s; a compiler run on an author's program can cost
more. Both happen in the child, which the kernel stops at its memory ceiling and we at its
time ceiling.

Not here: what the child does (``bpf.bcc.bcc_child``).
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.errors import ProbeFailed

_CHILD = Path(__file__).with_name("bcc_child.py")
#: Tells bcc from PyPI's program of the same name, which has no libbcc.
_HAS_BCC = (
    "import importlib.util as u, os, sys; s = u.find_spec('bcc'); "
    "sys.exit(not (s and s.origin and os.path.exists(os.path.join(os.path.dirname(s.origin), 'libbcc.py'))))"
)
_OUT_OF_MEMORY = ("bad_alloc", "MemoryError", "out of memory", "Cannot allocate memory")


class BccMissing(ProbeFailed):
    """No interpreter on this machine can import bcc."""

    def __init__(self, interpreters: Sequence[str]) -> None:
        super().__init__(
            f"none of {', '.join(interpreters)} can import bcc, so no BCC program can run",
            fix="apt-get install python3-bpfcc (pip's 'bcc' is another program)",
        )


def interpreter(candidates: Sequence[str] = (sys.executable, "/usr/bin/python3")) -> str:
    """The first interpreter that has bcc. Cost: about 20 ms for each that is asked.

    Raises:
        BccMissing: None has it.
    """
    for candidate in candidates:
        if candidate and shutil.which(candidate):
            asked = subprocess.run([candidate, "-I", "-c", _HAS_BCC], capture_output=True, check=False)
            if asked.returncode == 0:
                return candidate
    raise BccMissing(candidates)


class BccChild:
    """One child, from its request to its last answer.

    Args:
        python: An interpreter that has bcc.
        request: What ``bpf.bcc.bcc_child`` is to do.
        memory_bytes: Its ceiling, kept by the kernel.
        directory: A directory of its own, for the time it lives.
        headers: Kernel headers it is to compile with; None lets bcc find the running kernel's.
    """

    def __init__(
        self,
        python: str,
        request: Mapping[str, object],
        *,
        memory_bytes: int,
        directory: Path,
        headers: Path | None = None,
    ) -> None:
        self._memory_bytes = memory_bytes
        environment = {name: value for name, value in os.environ.items() if name != "BCC_KERNEL_SOURCE"}
        if headers is not None:
            environment["BCC_KERNEL_SOURCE"] = str(headers)
        self._complaints = (directory / "complaints").open("w+b")
        self._process = subprocess.Popen(
            [python, "-I", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            # bcc 0.26 may run `rm -rf` on words of a message, in the current directory: an own one.
            cwd=directory,
            env=environment,
        )
        self.send({**request, "memory_bytes": memory_bytes})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the child, whatever it does, and what it attached with it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    continue  # it went before it read what we had sent

    def send(self, command: Mapping[str, object]) -> None:
        """Hand the child its next command. A child that is gone shows at the next ``answer``."""
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        try:
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return

    def answer(self, within_s: float) -> dict[str, Any]:
        """The next answer.

        Raises:
            ProbeFailed: It did not come in time, or the child ended: with what it complained of.
        """
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        ready, _, _ = select.select([self._process.stdout], [], [], within_s)
        if not ready:
            raise ProbeFailed(
                f"the BCC program was not ready after {within_s:g} s and was stopped",
                fix="give it more with `timeout:`, or make the program smaller",
            )
        line = self._process.stdout.readline()
        if line:
            reply: dict[str, Any] = json.loads(line)
            return reply
        raise self._why_it_ended()

    def _why_it_ended(self) -> ProbeFailed:
        """The compiler's errors, the ceiling, or the last lines it wrote."""
        code = self._process.wait()
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").splitlines()
        if code < 0 or any(word in line for word in _OUT_OF_MEMORY for line in lines):
            return ProbeFailed(
                f"the BCC program ended at its memory ceiling of {self._memory_bytes >> 20} MiB",
                fix="give it more with `memory:`; compiling alone takes about 100 MiB",
            )
        errors = [line for line in lines if "error:" in line] or lines[-3:]
        return ProbeFailed(
            "the BCC program could not be compiled, loaded or attached:\n    " + "\n    ".join(errors[:5]),
            fix="mend the program; /virtual/main.c is your source, with its own line numbers",
        )
