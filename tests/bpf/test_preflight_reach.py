"""Which code the verifier will look at: constants and branches, on programs assembled by hand."""

from __future__ import annotations

import struct

import pytest

from bpf.preflight.instructions import Instruction, decode, novelties
from bpf.preflight.reach import CONTEXT, Address, Program, reached, reads_context

EXIT = (0x95, 0, 0, 0)


def code(*rows: tuple[int, int, int, int]) -> bytes:
    """Instructions of code, registers, offset and immediate."""
    return b"".join(struct.pack("<BBhi", *row) for row in rows)


def program(*rows: tuple[int, int, int, int], **known: object) -> Program:
    defaults: dict = {"values": {}, "ends": frozenset(), "addresses": {}, "calls": {}, "constants": {}}
    return Program(code={"p": decode(code(*rows))}, **{**defaults, **known})


def places(built: Program) -> list[int]:
    return sorted(at for section, at in reached(built, ("p", 0)) if section == "p")


def mov(register: int, value: int) -> tuple[int, int, int, int]:
    return (0xB7, register, 0, value)


def unless(register: int, value: int, by: int) -> tuple[int, int, int, int]:
    """Jump over ``by`` instructions when the register equals the value."""
    return (0x15, register, by, value)


def test_a_branch_on_a_known_number_goes_one_way():
    """``if (bpf_core_field_exists(…))`` with the answer 0 written in."""
    rows = [mov(1, 1), unless(1, 0, 1), mov(2, 7), EXIT]
    assert places(program(*rows)) == [0, 1, 2, 3]
    assert places(program(*rows, values={("p", 0): 0})) == [0, 1, 3]


def test_an_unknown_number_goes_both_ways():
    """What a map or a helper gives may be anything."""
    load = (0x79, 0x13, 0, 0)  # r3 = *(u64 *)(r1 + 0)
    assert places(program(load, unless(3, 0, 1), mov(2, 7), EXIT)) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("operation", "left", "right", "expected"),
    [
        (0x07, 5, 3, 8),
        (0x17, 5, 3, 2),
        (0x27, 5, 3, 15),
        (0x47, 5, 3, 7),
        (0x57, 5, 3, 1),
        (0x67, 5, 3, 40),
        (0x77, -1, 60, 15),
        (0xC7, -8, 1, (1 << 64) - 4),
        (0xA7, 5, 3, 6),
        (0x04, -1, 1, 0),  # on the lower half
    ],
)
def test_arithmetic_on_known_numbers_is_the_kernels(operation, left, right, expected):
    """Shifts of bit fields and versions put together decide branches."""
    value = struct.unpack("<i", struct.pack("<I", expected & 0xFFFFFFFF))[0]
    same = (0x15, 1, 1, value)
    assert places(program(mov(1, left), (operation, 1, 0, right), same, mov(2, 0), EXIT)) == [0, 1, 2, 4]


@pytest.mark.parametrize(
    ("operation", "left", "right", "taken"),
    [
        (0x25, 2, 1, True),
        (0x35, 1, 1, True),
        (0x45, 6, 1, False),
        (0x55, 1, 1, False),
        (0x65, -1, 1, False),  # signed …
        (0x25, -1, 1, True),  # … and not
        (0xA5, 1, 2, True),
        (0xB5, 3, 2, False),
        (0xC5, -1, 0, True),
        (0xD5, 1, 0, False),
        (0x26, 2, 1, True),  # on the lower half
    ],
)
def test_comparisons_of_known_numbers_are_the_kernels(operation, left, right, taken):
    """The kernel's version is compared in all of these ways."""
    rows = [mov(1, left), (operation, 1, 1, right), mov(2, 0), EXIT]
    assert places(program(*rows)) == ([0, 1, 3] if taken else [0, 1, 2, 3])


def test_ways_that_meet_again_keep_only_what_they_agree_on():
    """A variable set on both sides is unknown after them; one never set on a dead side is known."""
    load = (0x79, 0x13, 0, 0)
    rows = [load, mov(4, 1), unless(3, 0, 1), mov(4, 2), unless(4, 1, 1), mov(5, 0), EXIT]
    assert places(program(*rows)) == [0, 1, 2, 3, 4, 5, 6]
    dead = [mov(3, 0), mov(4, 1), unless(3, 0, 1), mov(4, 2), unless(4, 1, 1), mov(5, 0), EXIT]
    assert places(program(*dead)) == [0, 1, 2, 4, 6]


def test_constants_of_the_object_are_read_where_they_may_be_relied_upon():
    """``const volatile`` settings: their built-in value, or anything."""
    rows = [(0x18, 1, 0, 0), (0, 0, 0, 0), (0x61, 0x12, 4, 0), unless(2, 0, 1), mov(3, 0), EXIT]
    where = {("p", 0): Address(".rodata", 0)}
    off = program(*rows, addresses=where, constants={".rodata": bytes(8)})
    assert places(off) == [0, 2, 3, 5]
    assert places(program(*rows, addresses=where)) == [0, 2, 3, 4, 5]


def test_a_missing_weak_symbol_is_null_and_a_present_one_is_not():
    """``if (bpf_new_function)`` asks the loader."""
    rows = [(0x18, 1, 0, 0), (0, 0, 0, 0), unless(1, 0, 1), mov(3, 0), EXIT]
    assert places(program(*rows, addresses={("p", 0): 0})) == [0, 2, 4]
    assert places(program(*rows, addresses={("p", 0): Address("", 0)})) == [0, 2, 3, 4]
    assert places(program(*rows, addresses={("p", 0): None})) == [0, 2, 3, 4]


def test_nothing_follows_an_instruction_that_is_refused():
    """libbpf writes an invalid one where a field is missing; the verifier ends there."""
    assert places(program(mov(1, 0), mov(2, 0), EXIT, ends=frozenset({("p", 1)}))) == [0, 1]


def test_called_functions_are_reached_with_what_they_are_passed():
    """A question asked by the caller decides in the callee."""
    rows = [mov(1, 0), (0x85, 0x10, 0, 0), EXIT, unless(1, 0, 1), mov(2, 0), EXIT]
    assert places(program(*rows, calls={("p", 1): ("p", 3)})) == [0, 1, 2, 3, 5]


def test_reads_of_a_programs_own_arguments_are_seen_through_copies():
    """The pointer to them is kept in another register across calls."""
    copy, read = (0xBF, 0x16, 0, 0), (0x79, 0x62, 24, 0)
    built = program(copy, (0x85, 0, 0, 5), read, EXIT)
    states = reached(built, ("p", 0))
    assert states[("p", 2)][6] == Address(CONTEXT, 0)
    assert reads_context(built, states) == {("p", 2): 24}


def test_a_jump_out_of_the_code_is_no_place():
    """Damaged code must not lead anywhere."""
    assert places(program((0x05, 0, 500, 0))) == [0]


@pytest.mark.parametrize(
    ("row", "needs"),
    [
        ((0x16, 1, 0, 0), "lower halves"),
        ((0xDB, 0x21, 0, 1), "give the old value back"),
        ((0xDB, 0x21, 0, 0), ""),
        ((0x81, 0x21, 0, 0), "loads with a sign"),
        ((0x3F, 0x21, 1, 0), "signed division"),
        ((0xBF, 0x21, 8, 0), "moves with a sign"),
        ((0xD7, 1, 0, 16), "swapping bytes"),
        ((0x06, 0, 0, 7), "jumps of more"),
    ],
)
def test_kinds_of_instructions_that_are_younger_than_bpf_are_known(row, needs):
    """A clang with another default makes an object that old kernels refuse."""
    found = list(novelties(Instruction(row[0], row[1] & 15, row[1] >> 4, row[2], row[3])))
    assert (needs in found[0]) if needs else not found
