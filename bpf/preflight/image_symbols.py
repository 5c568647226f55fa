"""The symbol table inside an uncompressed kernel: what its ``/proc/kallsyms`` will list.

Distributions ship an empty System.map and no debug symbols, but the kernel carries its own names,
packed: byte → token. Found by the shape of its tables, so it needs no symbols to find symbols.
Cost: 0.3 s. Layouts of kernels 4.20 to 7.0. Source: scripts/kallsyms.c.

Not here: unpacking the kernel (``bpf.preflight.kernel_image``).
"""

from __future__ import annotations

import struct

_DIGITS = b"\0".join(b"%d" % digit for digit in range(10)) + b"\0"
_FIRST_DIGIT = 0x30
_BLOCK = 256  # symbols per marker
_LONGEST = 600  # bytes of one packed name, with its length
_SURE = 16  # markers in a row are no accident
_STRAY = 4
_FARTHEST = 2 << 20


def find(kernel: bytes) -> frozenset[str] | None:
    """Names of all functions and variables; None when the table is not found or of another layout."""
    at = kernel.find(_DIGITS)
    while at >= 0:
        start, tokens = _tokens(kernel, at)
        if tokens:
            return _names(kernel, start, tokens)
        at = kernel.find(_DIGITS, at + 1)
    return None


def _tokens(kernel: bytes, digits: int) -> tuple[int, list[bytes]]:
    """The 256 tokens whose entry for "0" is at ``digits``, if the index that must follow is there."""
    start = digits
    for _ in range(_FIRST_DIGIT):
        start = kernel.rfind(b"\0", 0, start - 1) + 1
        if digits - start > 4096:
            return 0, []
    parts = kernel[start : start + 8192].split(b"\0", 256)
    if len(parts) < 257:
        return 0, []
    tokens, offsets = parts[:256], [0]
    for token in tokens:
        offsets.append(offsets[-1] + len(token) + 1)
    if offsets[255] > 0xFFFF:
        return 0, []
    index = struct.pack("<256H", *offsets[:256])
    end = start + offsets[256]
    return (start, tokens) if kernel.find(index, end, end + len(index) + 16) >= 0 else (0, [])


def _names(kernel: bytes, tokens_at: int, tokens: list[bytes]) -> frozenset[str] | None:
    markers_at, markers = _markers(kernel, tokens_at)
    if len(markers) < _SURE:
        return None
    counts = range((len(markers) - _STRAY) * _BLOCK, len(markers) * _BLOCK + 1)
    last = markers_at - markers[-_STRAY]
    for start in range(last & ~3, max(markers_at - markers[-1] - _BLOCK * _LONGEST, 8), -4):
        for before in (8, 4):  # the count of symbols, aligned as its architecture wants
            (count,) = struct.unpack_from("<I", kernel, start - before)
            if count in counts:
                found = _decode(kernel, start, count, markers, tokens, markers_at)
                if found is not None:
                    return found
    return None


def _markers(kernel: bytes, end: int) -> tuple[int, list[int]]:
    """Offsets of each 256th name: growing numbers from 0, before the tokens (6.1: with a table between).

    What follows the last one may look like one or two more; ``_decode`` finds out.
    """
    at = end
    while (at := kernel.rfind(bytes(4), max(end - _FARTHEST, 0), at + 3)) >= 0:
        if at % 4 == 0:
            values, here = [0], at + 4
            while here < end:
                (value,) = struct.unpack_from("<I", kernel, here)
                if not values[-1] + _BLOCK < value < values[-1] + _BLOCK * _LONGEST:
                    break
                values.append(value)
                here += 4
            if len(values) >= _SURE:
                return at, values
    return 0, []


def _decode(  # noqa: PLR0913, PLR0917 - the parts of one table
    kernel: bytes, start: int, count: int, markers: list[int], tokens: list[bytes], limit: int
) -> frozenset[str] | None:
    """All names, if the lengths agree with the markers all along."""
    names = []
    at = start
    for number in range(count):
        if number % _BLOCK == 0 and at - start != markers[number // _BLOCK]:
            return None
        size = kernel[at]
        at += 1
        if size & 0x80:  # since 6.1
            size = size & 0x7F | kernel[at] << 7
            at += 1
        if not size or at + size > limit:
            return None
        names.append(b"".join([tokens[byte] for byte in kernel[at : at + size]])[1:])
        at += size
    return frozenset(name.decode("ascii", "replace") for name in names)
