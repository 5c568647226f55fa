"""One BPF instruction, and which kernel knows its kind.

Source: the BPF instruction set (RFC 9669), ``linux/bpf.h``; first kernels from the kernel's history.

Not here: what a program does (``bpf.preflight.reach``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from bpf.preflight.features import Version

_INSTRUCTION = struct.Struct("<BBhi")
LD, LDX, ST, STX, ALU32, JMP, JMP32, ALU64 = range(8)
LOAD_IMM64 = 0x18
CALL, EXIT, JUMP, JUMP_LONG = 0x85, 0x95, 0x05, 0x06
REGISTER = 0x08
ATOMIC = 0xC0
CALL_HELPER, CALL_PROGRAM, CALL_KFUNC = 0, 1, 2
_SIGNED_LOAD = 0x80
_MODE = 0xE0
_FETCH = 0x01


class Instruction(msgspec.Struct, frozen=True):
    """Eight bytes of code (sixteen for a 64-bit constant, whose upper half is in ``wide``)."""

    code: int
    target: int
    source: int
    offset: int
    immediate: int
    wide: int = 0

    @property
    def kind(self) -> int:
        """The class, such as ``LDX``."""
        return self.code & 7

    @property
    def size(self) -> int:
        """How many slots of eight bytes it takes."""
        return 2 if self.code == LOAD_IMM64 else 1

    @property
    def constant(self) -> int:
        """The 64-bit constant of ``LOAD_IMM64``."""
        return (self.immediate & 0xFFFFFFFF) | (self.wide & 0xFFFFFFFF) << 32


def decode(code: bytes) -> list[Instruction]:
    """All instructions of a section; the second slot of a 64-bit constant has a zero code."""
    rows = list(_INSTRUCTION.iter_unpack(code))
    found = []
    for at, (op, registers, offset, immediate) in enumerate(rows):
        wide = rows[at + 1][3] if op == LOAD_IMM64 and at + 1 < len(rows) else 0
        found.append(Instruction(op, registers & 15, registers >> 4, offset, immediate, wide))
    return found


#: What an instruction needs → the first kernel that knows it.
NOVELTIES: dict[str, Version] = {
    "comparing lower halves of registers (JMP32, clang -mcpu=v3)": (5, 1),
    "atomic operations that give the old value back": (5, 12),
    "loads with a sign (clang -mcpu=v4)": (6, 6),
    "signed division (clang -mcpu=v4)": (6, 6),
    "moves with a sign (clang -mcpu=v4)": (6, 6),
    "swapping bytes without a condition (clang -mcpu=v4)": (6, 6),
    "jumps of more than 32,767 instructions (clang -mcpu=v4)": (6, 6),
    "pointers to own functions (callbacks)": (5, 13),
}
_COMPARE, _ATOMIC, _LOAD, _DIVIDE, _MOVE, _SWAP, _LONG, CALLBACK = NOVELTIES


def novelties(one: Instruction) -> Iterator[str]:
    """What an instruction has that older kernels do not know; keys of ``NOVELTIES``."""
    operation = one.code & 0xF0
    if one.code == JUMP_LONG:
        yield _LONG
    elif one.kind == JMP32:
        yield _COMPARE
    elif one.kind == STX and one.code & _MODE == ATOMIC:
        if one.immediate:
            yield _ATOMIC
    elif one.kind == LDX and one.code & _MODE == _SIGNED_LOAD:
        yield _LOAD
    elif one.kind in (ALU32, ALU64):
        if operation in (0x30, 0x90) and one.offset == 1:
            yield _DIVIDE
        elif operation == 0xB0 and one.offset:
            yield _MOVE
        elif one.code == 0xD7:
            yield _SWAP
