"""Where the code of BPF programs lies in the kernel, so that a stack tells which one it is in.

Not here: their run times (the ``program-cost`` probe).
Source: ``struct bpf_prog_info`` (``jited_ksyms``, kernel 4.18); a program without JIT has no code.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from typing import NamedTuple

from bpf.libbpf import BpfError
from bpf.objects.names import text
from bpf.syscall import ProgramInfo, ask, opened


class Code(NamedTuple):
    """The code of one program, or of one of its functions: from ``start`` to before ``end``."""

    start: int
    end: int
    program: int
    name: str

    @property
    def label(self) -> str:
        """``on_enter (43)``: as ``program-cost`` tells it."""
        return f"{self.name} ({self.program})"


def code_of(programs: Iterable[int]) -> list[Code]:
    """The code of programs, ascending; nothing for those that are gone. 8 µs each.

    Empty for all when the kernel hides addresses (``kernel.kptr_restrict`` is 2) or has no JIT.
    """
    found: list[Code] = []
    for program in programs:
        try:
            found += _pieces(program)
        except BpfError:
            continue  # it ended
    return sorted(found)


def _pieces(program: int) -> list[Code]:
    with opened("prog", program) as fd:
        sizes = ask(fd, ProgramInfo())
        count = min(sizes.nr_jited_ksyms, sizes.nr_jited_func_lens)
        starts, lengths = (ctypes.c_uint64 * count)(), (ctypes.c_uint32 * count)()
        info = ProgramInfo(
            nr_jited_ksyms=count,
            jited_ksyms=ctypes.addressof(starts),
            nr_jited_func_lens=count,
            jited_func_lens=ctypes.addressof(lengths),
        )
        ask(fd, info)
    name = text(info.name)
    return [
        Code(start, start + length, program, name)
        for start, length in zip(starts, lengths, strict=True)
        if start and length
    ]
