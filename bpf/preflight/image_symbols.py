"""The symbol table inside an uncompressed kernel: what its ``/proc/kallsyms`` will list.

Distributions ship an empty System.map and no debug symbols, but the kernel carries its own names,
packed: byte → token. Found by the shape of its tables, so it needs no symbols to find symbols.
Cost: 0.1 to 0.2 s. Layouts of kernels 4.20 to 7.0. Source: scripts/kallsyms.c.

Not here: unpacking the kernel (``bpf.preflight.kernel_image``), what can be traced (``image_trace``).
"""

from __future__ import annotations

import struct
from array import array

import msgspec

_DIGITS = b"\0".join(b"%d" % digit for digit in range(10)) + b"\0"
_FIRST_DIGIT = 0x30
_BLOCK = 256  # symbols per marker
_LONGEST = 600  # bytes of one packed name, with its length
_LONGEST_TABLE = 8192  # bytes of all tokens
_SURE = 16  # markers in a row are no accident
_STRAY = 4
_FARTHEST = 2 << 20
_U32, _U64 = (1 << 32) - 1, (1 << 64) - 1


class Symbols(msgspec.Struct, frozen=True):
    """All functions and variables.

    Attributes:
        names: In the order of the table.
        head: Where the table's count of symbols stands in the kernel, in bytes.
        tail: Where its index of tokens ends.
    """

    names: list[str]
    head: int
    tail: int


def find(kernel: bytes) -> Symbols | None:
    """The table; None when it is not found or of another layout."""
    at = kernel.find(_DIGITS)
    while at >= 0:
        start, end, tokens = _tokens(kernel, at)
        if tokens:
            head, names = _names(kernel, start, tokens)
            return Symbols(names, head, end) if names else None
        at = kernel.find(_DIGITS, at + 1)
    return None


def addresses(kernel: bytes, found: Symbols, text: int) -> array[int] | None:
    """Address of each symbol, by number; None where they are stored in another way.

    Args:
        kernel: The same kernel.
        found: Its table.
        text: The address of its first instruction, which tells the two encodings apart.
    """
    count = len(found.names)
    size = count * 4
    behind = -(-found.tail // 8) * 8  # since 6.4 the addresses follow the tokens
    places = [(behind, -(-(behind + size) // 8) * 8)]
    for base_at in (found.head - 8, found.head - 12):  # before, they came first
        places += [(base_at - size - gap, base_at) for gap in (0, 4)]
    start = found.names.index("_text") if "_text" in found.names else -1
    for at, base_at in places:
        if start >= 0 and at > 0 and base_at + 8 <= len(kernel):
            (base,) = struct.unpack_from("<Q", kernel, base_at)
            offsets = array("i", kernel[at : at + size])
            if base + (offsets[start] & _U32) == text:
                return array("Q", [base + (offset & _U32) for offset in offsets])
            if base - 1 - offsets[start] == text:  # per-CPU symbols are absolute, and not negative
                return array("Q", [base - 1 - one if one < 0 else one for one in offsets])
    return _from_themselves(array("i", kernel[behind : behind + size]), start, text)


def _from_themselves(offsets: array[int], start: int, text: int) -> array[int] | None:
    """Since 7.0 each number is the distance from where it stands."""
    if not 0 <= start < len(offsets):
        return None
    table = text - 4 * start - offsets[start]
    if table % 8 or table < text:
        return None
    return array("Q", [table + 4 * at + offset & _U64 for at, offset in enumerate(offsets)])


def _tokens(kernel: bytes, digits: int) -> tuple[int, int, list[bytes]]:
    """Start, end of the index, and the 256 tokens whose entry for "0" is at ``digits``.

    What stands before the first token is another table, so its length is taken from the index.
    """
    second = digits
    for _ in range(_FIRST_DIGIT - 1):
        second = kernel.rfind(b"\0", 0, second - 1) + 1
        if digits - second > _LONGEST_TABLE:
            return 0, 0, []
    parts = kernel[second : second + _LONGEST_TABLE].split(b"\0", 255)
    if len(parts) < 256:
        return 0, 0, []
    offsets = [0]
    for token in parts[:255]:
        offsets.append(offsets[-1] + len(token) + 1)
    end = second + offsets.pop()
    for at in range(end, end + 16):
        if kernel[at : at + 2] == b"\0\0" and at + 512 <= len(kernel):
            index = struct.unpack_from("<256H", kernel, at)
            first = index[1]
            if first and [one - first for one in index[1:]] == offsets:
                start = second - first
                return start, at + 512, [kernel[start : second - 1], *parts[:255]]
    return 0, 0, []


def _names(kernel: bytes, tokens_at: int, tokens: list[bytes]) -> tuple[int, list[str]]:
    """Where the count stands, and all names; none when the table is of another layout."""
    markers_at, markers = _markers(kernel, tokens_at)
    if len(markers) < _SURE:
        return 0, []
    counts = range((len(markers) - _STRAY) * _BLOCK, len(markers) * _BLOCK + 1)
    last = markers_at - markers[-_STRAY]
    for start in range(last & ~3, max(markers_at - markers[-1] - _BLOCK * _LONGEST, 8), -4):
        for before in (8, 4):  # the count of symbols, aligned as its architecture wants
            (count,) = struct.unpack_from("<I", kernel, start - before)
            if count in counts:
                found = _decode(kernel, start, count, markers, tokens, markers_at)
                if found:
                    return start - before, found
    return 0, []


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
) -> list[str]:
    """All names, if the lengths agree with the markers all along."""
    names = []
    at = start
    for number in range(count):
        if number % _BLOCK == 0 and at - start != markers[number // _BLOCK]:
            return []
        size = kernel[at]
        at += 1
        if size & 0x80:  # since 6.1
            size = size & 0x7F | kernel[at] << 7
            at += 1
        if not size or at + size > limit:
            return []
        names.append(b"".join([tokens[byte] for byte in kernel[at : at + size]])[1:])
        at += size
    return [name.decode("ascii", "replace") for name in names]
