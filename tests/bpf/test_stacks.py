"""Stacks named and counted, without a kernel: folding, tables of files, address spaces, kallsyms."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.bcc.symbols import Names
from bpf.stacks import folding, kallsyms
from bpf.stacks.address_space import AddressSpace
from bpf.stacks.elf_symbols import ElfSymbols
from bpf.stacks.folding import Profile
from bpf.stacks.naming import Frame, Naming, Stack
from bpf.stacks.programs import Code
from bpf.stacks.sampler import Sample, online_cpus
from engine.errors import ProbeFailed

PROGRAM = Code(0x5000, 0x5100, 43, "on_event")


# ── folding ─────────────────────────────────────────────────────────────────────


def frames(*names: str) -> tuple[Frame, ...]:
    """``k:schedule`` is the kernel's, ``b:on_event`` a program's, ``?x`` has no name; innermost first."""
    made = []
    for name in names:
        kind, _, word = name.rpartition(":")
        made.append(
            Frame(word.lstrip("?"), "m", {"k": "kernel", "b": "bpf"}.get(kind, "user"), word[0] != "?")
        )
    return tuple(made)


def stack(samples: int, *names: str, pid: int = 7, kernel: tuple[int, ...] = (), user: int = 3) -> Stack:
    return Stack(Sample(pid, pid or 9, "reader", samples, (1,) * user, kernel), frames(*names))


def profile(*stacks: Stack, programs: tuple[Code, ...] = (PROGRAM,)) -> Profile:
    return Profile(stacks, programs, known=bool(programs))


def test_user_kernel_and_programs_make_one_together():
    """Shares that do not add up would let a diagnosis blame two for the same CPU."""
    seen = folding.readings(
        profile(
            stack(50, "parse", "main"),
            stack(30, "k:copy", "k:read", "read", "main", kernel=(0x9000,)),
            stack(20, "k:lookup", "b:on_event", "k:enter", pid=0, kernel=(0x9000, 0x5010), user=0),
        )
    )
    shares = [seen[name].value for name in ("user_share", "kernel_share", "bpf_share")]
    assert shares == [0.5, 0.3, 0.2]
    assert seen["top_program"].value == "on_event (43)"
    assert seen["top_program_share"].value == 0.2
    assert (seen["top_function"].value, seen["top_kernel_function"].value) == ("parse", "copy")


def test_a_recursive_function_counts_once_in_a_stack():
    """Else a total share passes one."""
    rows = folding.functions(profile(stack(10, "walk", "walk", "walk", "main")))
    walk = next(row for row in rows if row["function"] == "walk")
    assert (walk["self_share"], walk["total_share"]) == (1.0, 1.0)


def test_stacks_are_folded_outermost_first_and_names_can_not_break_the_format():
    """Other tools read this file: `;` and line ends are theirs."""
    (row,) = folding.folded(profile(stack(4, "k:copy", "operator;\n()", "main")))
    assert row == {"folded": "reader;main;operator:?();copy_[k]", "samples": 4}


def test_equal_stacks_of_two_samples_are_one_line():
    """The kernel keeps stacks apart by address; people by name."""
    assert folding.folded(profile(stack(4, "parse"), stack(5, "parse"))) == (
        {"folded": "reader;parse", "samples": 9},
    )


def test_rare_stacks_are_put_together_and_none_is_lost():
    """The journal must stay small, and the sum must stay right."""
    many = [stack(1, *(f"f{place}_{depth}" for depth in range(40))) for place in range(3000)]
    rows = folding.folded(profile(*many))
    assert sum(int(row["samples"] or 0) for row in rows) == 3000
    assert any("[rarer stacks]" in str(row["folded"]) for row in rows)
    assert sum(len(str(row["folded"])) for row in rows) < 500_000


def test_others_that_only_pass_near_the_programs_are_left_out():
    """The kernel's filter is a range from the first program to the last; between them lie others'."""
    near = stack(5, "b:somebody_else", pid=0, kernel=(0x5200,))
    inside = stack(6, "b:on_event", pid=0, kernel=(0x5010,))
    assert folding.keep(profile(near, inside)).stacks == [inside]


def test_without_a_sample_every_share_is_unknown_and_says_why():
    """Zero per cent of nothing would read as measured."""
    seen = folding.readings(profile())
    assert all(reading.value is None and "no CPU" in reading.missing for reading in seen.values())


def test_bpf_share_is_unknown_where_the_kernel_hides_the_programs():
    """kptr_restrict=2: zero would acquit the program."""
    seen = folding.readings(profile(stack(5, "parse"), programs=()))
    assert seen["bpf_share"].value is None
    assert seen["bpf_share"].missing


def test_stacks_of_one_frame_are_told():
    """Code without frame pointers has no callers; the reader must know before believing the graph."""
    seen = folding.readings(profile(stack(30, "parse", user=1), stack(10, "parse", "main", user=2)))
    assert seen["one_frame_share"].value == 0.75


# ── files ───────────────────────────────────────────────────────────────────────


def elf(symbols: list[tuple[str, int, int, int]], *, table: int = 2, go: bytes = b"") -> bytes:
    """A small ELF file whose code lies at file offset 0x100 and address 0x1100."""
    strings, rows = b"\0", struct.pack("<IBBHQQ", 0, 0, 0, 0, 0, 0)
    for name, address, size, info in symbols:
        rows += struct.pack("<IBBHQQ", len(strings), info, 0, 1, address, size)
        strings += name.encode() + b"\0"
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0.gopclntab\0"
    parts = [b"", bytes(0x100), rows, strings, names, go]
    at, placed = 0x100, []
    for part in parts:
        placed.append(at)
        at += len(part)
    kinds = ((0, 0, 0), (1, 1, 0), (7, table, 3), (15, 3, 0), (23, 3, 0), *([(33, 1, 0)] if go else []))
    sections = b"".join(
        struct.pack(
            "<IIQQQQIIQQ", name, kind, 0, 0x1100 if index == 1 else 0, placed[index], len(parts[index]), link,
            0, 1, 0,
        )
        for index, (name, kind, link) in enumerate(kinds)
    )  # fmt: skip
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 64, at, 0, 64, 56, 1, 64, len(kinds), 4
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0x100, 0x1100, 0, 0x100, 0x100, 0)
    return (head + load).ljust(0x100, b"\0") + b"".join(parts) + sections


def read(raw: bytes, tmp_path: Path) -> ElfSymbols:
    path = tmp_path / "file"
    path.write_bytes(raw)
    fd = os.open(path, os.O_RDONLY)
    try:
        return ElfSymbols(fd, tmp_path / "no-debug")
    finally:
        os.close(fd)


SYMBOLS = [("parse", 0x1100, 0x20, 0x12), ("main", 0x1140, 0x10, 0x12), ("table", 0x1150, 8, 0x11)]


def test_a_function_is_found_by_its_place_in_the_file(tmp_path):
    """A gap between functions belongs to none of them, and data is no function."""
    found = read(elf(SYMBOLS), tmp_path)
    assert [
        getattr(found.at_offset(offset), "name", None) for offset in (0x100, 0x11F, 0x120, 0x145, 0x152)
    ] == [
        "parse",
        "parse",
        None,
        "main",
        None,
    ]


def test_of_several_names_the_one_that_perf_tells_is_told(tmp_path):
    """Two tools that name one function differently look as if they disagreed."""
    weak, strong, local = (
        ("poll", 0x1100, 8, 0x22),
        ("__poll", 0x1100, 8, 0x12),
        ("__GI___poll", 0x1100, 8, 2),
    )
    assert read(elf([weak, local, strong]), tmp_path).at(0x1104).name == "__poll"
    assert read(elf([("memcpy@@GLIBC_2.14", 0x1100, 8, 0x12)]), tmp_path).at(0x1104).name == "memcpy"


def test_a_stripped_go_program_has_names_all_the_same(tmp_path):
    """Most Go agents ship stripped; the runtime's own table stays."""
    names = b"main.main\0main.work\0"
    head = struct.pack(
        "<IBBBBQQQQQQQQ", 0xFFFFFFF1, 0, 0, 1, 8, 2, 0, 0x1100, 72, 72, 72, 72, 72 + len(names)
    )
    rows = struct.pack("<IIIII", 0, 20, 0x40, 28, 0x80)
    functions = struct.pack("<IIII", 0, 0, 0x40, 10)
    found = read(elf([], go=head + names + rows + functions), tmp_path)
    assert found.go
    assert [found.at_offset(offset).name for offset in (0x100, 0x13F, 0x140)] == [
        "main.main",
        "main.main",
        "main.work",
    ]


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "ELF"),
        (b"#!/bin/sh\n", "ELF"),
        (elf(SYMBOLS)[:0x180], "cut off"),
        (elf([]), "stripped"),
        (elf(SYMBOLS, table=3), "stripped"),
    ],
)
def test_a_file_without_names_says_why(raw, why, tmp_path):
    """`stripped` and `damaged` have different fixes."""
    found = read(raw, tmp_path)
    assert not len(found)
    assert why in found.why
    assert found.at_offset(0x110) is None


@settings(max_examples=300, deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, 2000),
    offset=st.integers(0, 1 << 63),
)
def test_no_bytes_break_the_reader(changes, cut, offset, tmp_path_factory):
    """An agent may be any file at all, half written in the middle of its update."""
    names = b"main.main\0"
    go = (
        struct.pack("<IBBBBQQQQQQQQ", 0xFFFFFFF1, 0, 0, 1, 8, 1, 0, 0x1100, 72, 72, 72, 72, 82)
        + names
        + bytes(32)
    )
    raw = bytearray(elf(SYMBOLS, go=go))
    for place, value in changes:
        raw[place % len(raw)] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed"
    path.write_bytes(bytes(raw[: max(cut, 1)] if cut % 3 == 0 else raw))
    fd = os.open(path, os.O_RDONLY)
    try:
        found = ElfSymbols(fd)
    finally:
        os.close(fd)
    found.at_offset(offset)
    found.at_offset(0x110)


# ── names ───────────────────────────────────────────────────────────────────────


def space(tmp_path: Path, raw: bytes) -> AddressSpace:
    """Process 7, with one file mapped at 0x40000."""
    binary = tmp_path / "agent"
    binary.write_bytes(raw)
    here = tmp_path / "proc" / "7"
    here.mkdir(parents=True)
    (here / "maps").write_text(
        f"40000-41000 r-xp 00000000 00:00 1 {binary}\n50000-51000 rw-p 00000000 00:00 0 [heap]\n"
        "60000-61000 r-xp 00000000 00:00 0 \nbroken\n"
    )
    return AddressSpace.read(7, tmp_path / "proc")


def sample(*user: int) -> Sample:
    return Sample(7, 7, "reader", 1, user, ())


def test_our_own_reader_names_what_bcc_can_not(tmp_path):
    """bcc missing is no reason for a profile without names; that it is missing is told."""

    def missing(_pid: int, _places: object) -> Names:
        raise ProbeFailed("no bcc here", fix="apt-get install python3-bpfcc")

    naming = Naming({7: space(tmp_path, elf(SYMBOLS))}, missing)
    (named,) = naming.name([sample(0x40105, 0x40145)])
    assert [frame.function for frame in named.frames] == ["parse", "main"]
    assert any("python3-bpfcc" in note for note in naming.notes)
    assert "own" in naming.symbolizer


def test_a_call_at_a_functions_end_is_its_own_and_not_the_next_ones(tmp_path):
    """Callers' addresses are one past the call."""
    naming = Naming(
        {7: space(tmp_path, elf([("die", 0x1100, 0x10, 0x12), ("next", 0x1110, 0x10, 0x12)]))}, None
    )
    (named,) = naming.name([sample(0x40110, 0x40110)])
    assert [frame.function for frame in named.frames] == ["next", "die"]


def test_bccs_names_come_first_and_its_gaps_are_filled(tmp_path):
    """bcc knows debug files and perf maps; what it does not know may still have a name."""

    def bcc(_pid: int, places: object) -> Names:
        return Names(user=tuple(["ns::parse(int) [agent]", "[unknown]"][: len(list(places))]), cpu_s=0.1)  # type: ignore[call-overload]

    naming = Naming({7: space(tmp_path, elf(SYMBOLS))}, bcc)
    (named,) = naming.name([sample(0x40105, 0x40145)])
    assert [frame.function for frame in named.frames] == ["ns::parse(int)", "main"]
    assert naming.cpu_s == 0.1


def test_what_has_no_name_keeps_its_place_and_the_note_says_what_mends_it(tmp_path):
    """`agent+0x110` can be looked up elsewhere; `[unknown]` can't."""
    naming = Naming({7: space(tmp_path, elf([]))}, None)
    (named,) = naming.name([sample(0x40110, 0x60010, 0x90000)])
    assert [frame.function for frame in named.frames] == ["[agent+0x110]", "[anonymous+0xf]", "[unknown]"]
    assert not any(frame.named for frame in named.frames)
    assert any("stripped" in note and "debug package" in note for note in naming.notes)


def test_a_process_that_is_gone_is_named_by_what_was_seen_of_it(tmp_path):
    """It may end within the window; its file is still there."""
    seen = space(tmp_path, elf(SYMBOLS))
    (tmp_path / "proc" / "7" / "maps").unlink()
    (named,) = Naming({7: seen}, None).name([sample(0x40105)])
    assert named.frames[0].function == "parse"


def test_kernel_names_are_those_of_the_function_below(tmp_path):
    """Data symbols lie between functions, modules and programs behind them, not in order."""
    listing = tmp_path / "kallsyms"
    listing.write_text(
        "ffffffff81000100 T schedule\nffffffff81000180 D some_data\nffffffff81000200 t copy\n"
        "ffffffffc0000100 t bpf_prog_0123456789abcdef_on_event\t[bpf]\n"
        "ffffffffa0000000 t xfs_read\t[xfs]\nffffffffc0000200 t bpf_trampoline_12\t[bpf]\n"
    )
    wanted = [0xFFFFFFFF81000190, 0xFFFFFFFFA0000004, 0xFFFFFFFFC0000110, 0xFFFFFFFFC0000210, 0x1000]
    found = kallsyms.names_of(wanted, listing)
    assert [found[place].function for place in wanted[:4]] == [
        "schedule",
        "xfs_read",
        "bpf_prog_0123456789abcdef_on_event",
        "bpf_trampoline_12",
    ]
    assert [found[place].is_program for place in wanted[:4]] == [False, False, True, False]
    assert wanted[4] not in found


@pytest.mark.parametrize("text", ["", "0000000000000000 T schedule\n" * 3, "nonsense\n", "zz T x\n"])
def test_a_kernel_that_hides_its_addresses_gives_no_names(text, tmp_path):
    """Everything would be named after the first symbol."""
    listing = tmp_path / "kallsyms"
    listing.write_text(text)
    assert kallsyms.names_of([0xFFFFFFFF81000190], listing) == {}


def test_cpus_are_read_with_their_gaps(tmp_path):
    """A CPU that is off line has no clock to open."""
    listing = tmp_path / "online"
    listing.write_text("0-2,5,7-8\n")
    assert online_cpus(listing) == [0, 1, 2, 5, 7, 8]
