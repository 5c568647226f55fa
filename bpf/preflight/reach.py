"""Which instructions of a program the verifier will look at, once the relocations are written in.

``if (bpf_core_field_exists(…))`` compiles to a constant and a branch: on a kernel without the field the
branch is never taken, the verifier never goes there, and a field that is missing there is no failure.
The same holds for branches on ``.rodata`` settings, ``LINUX_KERNEL_VERSION`` and weak symbols.
So constants are followed through registers and branches, joined where ways meet; what is not known is
taken to be anything, so at worst an instruction counts as reached that is not.

Cost: about 3 µs per instruction and way that changes anything.
Not here: what follows from it (``bpf.preflight.judge``).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bpf.preflight import instructions as op
from bpf.preflight.instructions import Instruction

_U64, _U32 = (1 << 64) - 1, (1 << 32) - 1
_CALLER_SAVED = 6
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
Place = tuple[str, int]


class Address(msgspec.Struct, frozen=True):
    """A pointer into constant data, whose bytes are known: or unknown but not null (no section)."""

    section: str
    offset: int


Value = int | Address | None
Registers = tuple[Value, ...]
_ANYTHING: Registers = (None,) * 11
#: The section of the pointer to a program's own arguments.
CONTEXT = "(context)"


class Program(msgspec.Struct, frozen=True):
    """What is known of the code before it runs.

    Attributes:
        code: Instructions by section.
        values: What relocations write: immediate or offset, by place.
        ends: Places that the verifier refuses at once: nothing after them is looked at.
        addresses: What 64-bit constants are, by place: an address, 0 for a weak symbol that is
            missing; absent for the plain number.
        calls: Where calls of own functions (and function pointers) go, by place.
        constants: Bytes of frozen data by section; absent where they are not to be relied upon.
    """

    code: Mapping[str, list[Instruction]]
    values: Mapping[Place, int]
    ends: frozenset[Place]
    addresses: Mapping[Place, Value]
    calls: Mapping[Place, Place]
    constants: Mapping[str, bytes]


def reached(program: Program, entry: Place) -> dict[Place, Registers]:
    """All places that can be reached from ``entry``, over calls too, with what is known at each."""
    states: dict[Place, Registers] = {}
    waiting: list[Place] = []

    def go(place: Place, registers: Registers) -> None:
        code = program.code.get(place[0])
        if code is None or not 0 <= place[1] < len(code):
            return
        before = states.get(place)
        joined = registers if before is None else _join(before, registers)
        if before is None or joined != before:
            states[place] = joined
            waiting.append(place)

    go(entry, (None, Address(CONTEXT, 0), *_ANYTHING[2:]))
    while waiting:
        place = waiting.pop()
        if place not in program.ends:
            for next_place, registers in _ways(program, place, states[place]):
                go(next_place, registers)
    return states


def reads_context(program: Program, states: Mapping[Place, Registers]) -> dict[Place, int]:
    """Where a program reads its own arguments: the byte offset of each read."""
    found: dict[Place, int] = {}
    for place, registers in states.items():
        one = program.code[place[0]][place[1]]
        pointer = registers[one.source % 11]
        if one.kind == op.LDX and isinstance(pointer, Address) and pointer.section == CONTEXT:
            found[place] = pointer.offset + program.values.get(place, one.offset)
    return found


def _join(one: Registers, other: Registers) -> Registers:
    return tuple(mine if mine == theirs else None for mine, theirs in zip(one, other, strict=True))


def _ways(program: Program, place: Place, registers: Registers) -> list[tuple[Place, Registers]]:
    """Where it can go on from one instruction, with what is known there."""
    section, at = place
    one = program.code[section][at]
    following = (section, at + one.size)
    if one.code == op.EXIT:
        return []
    if one.code == op.CALL:
        after = (None,) * _CALLER_SAVED + registers[_CALLER_SAVED:]
        ways = [(following, after)]
        if place in program.calls:
            ways.append(
                (program.calls[place], (None, *registers[1:_CALLER_SAVED], *_ANYTHING[_CALLER_SAVED:]))
            )
        return ways
    if one.code == op.JUMP:
        return [((section, at + 1 + one.offset), registers)]
    if one.code == op.JUMP_LONG:
        return [((section, at + 1 + one.immediate), registers)]
    if one.kind in (op.JMP, op.JMP32):
        taken = _decides(one, registers)
        ways = []
        if taken is not True:
            ways.append((following, registers))
        if taken is not False:
            ways.append(((section, at + 1 + one.offset), registers))
        return ways
    ways = [(following, _after(program, place, one, registers))]
    if place in program.calls:  # a pointer to a function: a helper will call it
        ways.append((program.calls[place], _ANYTHING))
    return ways


def _after(  # noqa: PLR0911 - one answer per class
    program: Program, place: Place, one: Instruction, registers: Registers
) -> Registers:
    """What is known after an instruction that does not jump."""
    if one.kind in (op.ST, op.STX):
        if one.kind == op.STX and one.code & 0xE0 == op.ATOMIC and one.immediate & 1:
            # the old value comes back in the source register, or in r0 for a compare and swap
            return _set(registers, 0 if one.immediate & 0xF0 == 0xF0 else one.source, None)
        return registers
    if one.code == op.LOAD_IMM64:
        plain = program.values.get(place, one.constant)
        value: Value = program.addresses.get(place, plain)
        return _set(registers, one.target, value)
    if one.kind == op.LDX:
        offset = program.values.get(place, one.offset)
        return _set(registers, one.target, _load(program, registers[one.source % 11], offset, one))
    if one.kind in (op.ALU32, op.ALU64):
        immediate = program.values.get(place, one.immediate)
        return _set(registers, one.target, _compute(one, registers, immediate))
    if one.kind == op.LD:  # packet loads
        return (None,) * _CALLER_SAVED + registers[_CALLER_SAVED:]
    return registers


def _set(registers: Registers, number: int, value: Value) -> Registers:
    number %= 11
    return (*registers[:number], value, *registers[number + 1 :])


def _load(program: Program, pointer: Value, offset: int, one: Instruction) -> Value:
    if not isinstance(pointer, Address) or pointer.section not in program.constants:
        return None
    data, size, start = program.constants[pointer.section], _SIZES[one.code & 0x18], pointer.offset + offset
    if start < 0 or start + size > len(data):
        return None
    return int.from_bytes(data[start : start + size], "little", signed=one.code & 0xE0 == 0x80) & _U64


def _compute(one: Instruction, registers: Registers, immediate: int) -> Value:
    mask = _U64 if one.kind == op.ALU64 else _U32
    operation = one.code & 0xF0
    left = registers[one.target % 11]
    right = registers[one.source % 11] if one.code & op.REGISTER else immediate & _U64
    if operation == 0xB0:
        if one.offset or (isinstance(right, Address) and one.kind == op.ALU32):
            return None
        return right & mask if isinstance(right, int) else right
    if isinstance(left, Address):
        if operation == 0x00 and left.section and isinstance(right, int) and one.kind == op.ALU64:
            return Address(left.section, left.offset + right)
        return None
    if not isinstance(left, int) or not isinstance(right, int):
        return None
    found = _arithmetic(operation, left & mask, right & mask, 64 if one.kind == op.ALU64 else 32)
    return found & mask if found is not None else None


def _arithmetic(operation: int, left: int, right: int, width: int) -> int | None:
    """The common operations on known numbers; None for the others."""
    shift = right & (width - 1)
    signed = left - (1 << width) if left >> (width - 1) else left
    results = {
        0x00: left + right,
        0x10: left - right,
        0x20: left * right,
        0x40: left | right,
        0x50: left & right,
        0x60: left << shift,
        0x70: left >> shift,
        0x80: -left,
        0xA0: left ^ right,
        0xC0: signed >> shift,
    }
    return results.get(operation)


def _decides(one: Instruction, registers: Registers) -> bool | None:
    """Whether a branch is always taken, never, or either."""
    left = registers[one.target % 11]
    right = registers[one.source % 11] if one.code & op.REGISTER else one.immediate & _U64
    operation = one.code & 0xF0
    if isinstance(left, Address):
        if right == 0 and one.kind == op.JMP and operation in (0x10, 0x50):
            return operation == 0x50  # an address is not null
        return None
    if not isinstance(left, int) or not isinstance(right, int):
        return None
    width = 64 if one.kind == op.JMP else 32
    return _compare(operation, left & ((1 << width) - 1), right & ((1 << width) - 1), width)


def _compare(operation: int, left: int, right: int, width: int) -> bool | None:
    half = 1 << (width - 1)
    a, b = left - (left & half) * 2, right - (right & half) * 2
    results = {
        0x10: left == right,
        0x20: left > right,
        0x30: left >= right,
        0x40: bool(left & right),
        0x50: left != right,
        0x60: a > b,
        0x70: a >= b,
        0xA0: left < right,
        0xB0: left <= right,
        0xC0: a < b,
        0xD0: a <= b,
    }
    return results.get(operation)
