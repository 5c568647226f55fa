"""Symbols out of a kernel that was never booted: a small made-up one, in each layout that kernels had."""

from __future__ import annotations

import struct

import pytest

from bpf.preflight import image_symbols, image_trace

COUNT = 5000
TEXT = 0xFFFFFFFF81000000
DATA = 0xFFFFFFFF82000000
NAMES = ["_text", *(f"function_{number}" for number in range(COUNT - 5)), *image_trace._INIT]
NAMES += ["__start_mcount_loc", "__stop_mcount_loc"]


def packed_names() -> tuple[bytes, bytes]:
    """Names and markers, each byte its own token; the type of a symbol goes first."""
    rows, markers = b"", []
    for number, name in enumerate(NAMES):
        if number % 256 == 0:
            markers.append(len(rows))
        rows += bytes([len(name) + 1]) + b"T" + name.encode()
    return rows, struct.pack(f"<{len(markers)}I", *markers)


def tokens() -> bytes:
    """The table of tokens and the index to it."""
    parts = [bytes([byte]) if byte >= 0x20 else b"~%d" % byte for byte in range(256)]
    offsets, at = [], 0
    for part in parts:
        offsets.append(at)
        at += len(part) + 1
    return padded(b"\0".join(parts) + b"\0") + struct.pack("<256H", *offsets)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 8)


def places(calls_at: int) -> list[int]:
    """Address of each symbol: functions 16 bytes apart, then the ends of what is freed and of the calls."""
    found = [TEXT] + [TEXT + 16 * number for number in range(1, COUNT - 4)]
    return [*found, found[-3], found[-1] + 16, calls_at, calls_at + 8 * 2000]


def kernel(layout: str) -> bytes:
    """An ELF file with the tables in one section, and the calls to ftrace in another."""
    rows, markers = packed_names()
    count = struct.pack("<II", len(NAMES), 0)
    head = bytes(64)
    calls_at = DATA
    offsets = [place - TEXT for place in places(calls_at)]
    if layout == "absolute per-CPU":  # to 6.3, before the names
        table = padded(struct.pack(f"<{len(NAMES)}i", *(-1 - one for one in offsets))) + struct.pack(
            "<Q", TEXT
        )
        body = table + padded(count + rows) + padded(markers) + tokens()
    elif layout == "with sequence numbers":  # 6.2: another table between markers and tokens
        table = padded(struct.pack(f"<{len(NAMES)}i", *(-1 - one for one in offsets))) + struct.pack(
            "<Q", TEXT
        )
        numbers = b"".join(number.to_bytes(3, "big") for number in range(len(NAMES)))
        body = table + padded(count + rows) + padded(markers) + padded(numbers) + tokens()
    elif layout == "behind the tokens":  # since 6.4
        table = padded(struct.pack(f"<{len(NAMES)}I", *offsets)) + struct.pack("<Q", TEXT)
        body = padded(count + rows) + padded(markers) + tokens() + table
    else:  # since 7.0, from where each number stands
        before = padded(count + rows) + padded(markers) + tokens()
        start = DATA + 0x100000 + len(before)
        table = [place - (start + 4 * number) for number, place in enumerate(places(calls_at))]
        body = before + struct.pack(f"<{len(NAMES)}i", *table)
    calls = struct.pack("<2000Q", *(TEXT + 16 * number + 4 * (number % 2) for number in range(1, 4000, 2)))
    text_at = len(head)
    strings = b"\0.text\0.data\0.rodata\0.shstrtab\0"
    layout_rows = [
        (1, TEXT, text_at, 0),
        (7, DATA, text_at, len(calls)),
        (13, DATA + 0x100000, text_at + len(calls), len(body)),
        (21, 0, text_at + len(calls) + len(body), len(strings)),
    ]
    table_at = text_at + len(calls) + len(body) + len(strings)
    sections = bytes(64) + b"".join(
        struct.pack("<IIQQQQIIQQ", name, 1, 2, address, at, size, 0, 0, 8, 0)
        for name, address, at, size in layout_rows
    )
    header = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, 0, 0, table_at, 0, 64, 0, 0, 64, 5, 4
    )
    return header + calls + body + strings + sections


@pytest.mark.parametrize(
    "layout", ["absolute per-CPU", "with sequence numbers", "behind the tokens", "from themselves"]
)
def test_symbols_and_what_can_be_traced_are_read_from_the_image(layout):
    """Distributions ship no list of symbols, and without one no kprobe can be judged."""
    data = kernel(layout)
    found = image_symbols.find(data)
    assert found is not None
    assert found.names == NAMES
    traceable = image_trace.traceable(data, found, "vmlinux")
    assert traceable is not None
    assert "function_0" in traceable  # its call is at its very start …
    assert "function_2" in traceable
    assert "function_1" not in traceable  # … this one makes none
    assert f"function_{COUNT - 7}" not in traceable  # freed after the boot


def test_a_kernel_without_the_table_gives_none():
    """An unknown layout is unknown, not an empty kernel."""
    data = kernel("behind the tokens").replace(b"7\x008\x009\x00", b"7\x009\x008\x00")
    assert image_symbols.find(data) is None
    assert image_symbols.find(b"") is None


def test_a_damaged_table_gives_none():
    """Lengths that do not agree with the markers are no names."""
    data = kernel("behind the tokens")
    at = data.index(b"Tfunction_300")
    assert image_symbols.find(data[: at - 1] + b"\x05" + data[at:]) is None
