"""Heap profiles as agents give them: pprof's compressed protocol buffer, and its older text.

Its promise: whatever the bytes, a profile or ``BadProfile`` that says what is wrong, within bounds of
bytes, samples and depth. Only what a heap profile needs is decoded: live bytes and objects, and what
was allocated ever, by stack.

Go counts the sampled allocations of its text as they are; they are scaled here as its own tool does it.
In the protocol buffer they are scaled already.

Not here: fetching, and growth between two (``bpf.probes.heap_profile``).
Source: google/pprof, proto/profile.proto; Go's runtime/pprof, ``writeHeapInternal``; gperftools' heap
profile. Cost: 0.2 µs a byte.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MOST_BYTES = 16 << 20
_MOST_SAMPLES, _MOST_FRAMES = 100_000, 256
_GZIP = b"\x1f\x8b"
_TEXT = re.compile(rb"heap profile:\s*\d+:\s*\d+\s*\[\s*\d+:\s*\d+\]\s*@\s*(\w+)(?:/(\d+))?")
_TEXT_SAMPLE = re.compile(r"\s*(\d+):\s*(\d+)\s*\[\s*(\d+):\s*(\d+)\]\s*@((?:\s*0x[0-9a-f]+)*)")
_TEXT_FRAME = re.compile(r"#\s+0x[0-9a-f]+\s+(\S.*?)\+0x[0-9a-f]+")
_MEMSTAT = re.compile(r"# (\w+) = (\d+)$")
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


class BadProfile(Exception):
    """What is wrong with it."""


class Sample(NamedTuple):
    """One stack: functions (``0x…`` where there is no name), innermost first, and what is live of it.

    ``allocated`` is all bytes ever allocated there; None where it is not told.
    """

    stack: tuple[str, ...]
    bytes: int
    objects: int
    allocated: int | None


class Profile(NamedTuple):
    """A heap profile.

    Attributes:
        format: ``pprof`` or ``text``.
        sample_bytes: One allocation in so many bytes is sampled; 0 when not told.
        statistics: Go's own account of its memory, in the text only.
    """

    samples: tuple[Sample, ...]
    format: str
    sample_bytes: int
    statistics: dict[str, int]


def read(raw: bytes) -> Profile:
    """A profile from what an address gave.

    Raises:
        BadProfile: It is none, is damaged, or passes a bound.
    """
    if raw[:2] == _GZIP:
        raw = _unpacked(raw)
    head = _TEXT.match(raw.lstrip()[:200])
    return _text(raw, head[1].decode(), int(head[2] or 0)) if head else _message(raw)


def _unpacked(raw: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        plain = unpacker.decompress(raw, MOST_BYTES)
    except zlib.error as error:
        raise BadProfile(f"its compression is damaged ({error})") from None
    if not unpacker.eof:
        full = len(plain) >= MOST_BYTES
        raise BadProfile(f"it is larger than {MOST_BYTES >> 20} MiB" if full else "it is cut off")
    return plain


# ── protocol buffer ─────────────────────────────────────────────────────────────


def _fields(raw: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of one message; a value is a number or bytes."""
    at, end = 0, len(raw)
    while at < end:
        key, at = _varint(raw, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(raw, at)
            yield key >> 3, value
            continue
        size = 8 if kind == _EIGHT else 4
        if kind == _BYTES:
            size, at = _varint(raw, at)
        elif kind not in (_EIGHT, _FOUR):
            raise BadProfile("it is no pprof profile")
        if at + size > end:
            raise BadProfile("it is cut off")
        yield key >> 3, raw[at : at + size]
        at += size


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 70:
        byte = raw[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, at
        shift += 7
    raise BadProfile("it is cut off or damaged")


def _numbers(value: int | bytes) -> list[int]:
    """A repeated number: packed, or one alone."""
    if isinstance(value, int):
        return [value]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(number)
    return found


def _part(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise BadProfile("it is no pprof profile")
    return value


def _number(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise BadProfile("it is no pprof profile")
    return value


class _Message:
    """The parts of a profile, as they come."""

    def __init__(self, raw: bytes) -> None:
        self.types: list[int] = []
        self.samples: list[bytes] = []
        self.strings: list[str] = []
        self.locations: dict[int, tuple[int, list[int]]] = {}
        self.functions: dict[int, int] = {}
        self.period = 0
        for field, value in _fields(raw):
            self._take(field, value)

    def _take(self, field: int, value: int | bytes) -> None:
        if field == 1:
            self.types.append(_single(_part(value), 1))
        elif field == 2:
            self.samples.append(_part(value))
            if len(self.samples) > _MOST_SAMPLES:
                raise BadProfile(f"it has more than {_MOST_SAMPLES} stacks")
        elif field == 4:
            self._location(_part(value))
        elif field == 5:
            function = _part(value)
            self.functions[_single(function, 1)] = _single(function, 2)
        elif field == 6:
            self.strings.append(_part(value).decode("utf-8", "replace"))
        elif field == 12:
            self.period = _number(value)

    def _location(self, raw: bytes) -> None:
        """Id → address, and its functions: several where they were inlined, the innermost first."""
        number = address = 0
        functions: list[int] = []
        for field, value in _fields(raw):
            if field == 1:
                number = _number(value)
            elif field == 3:
                address = _number(value)
            elif field == 4:
                functions.append(_single(_part(value), 1))
        self.locations[number] = (address, functions)

    def text(self, index: int) -> str:
        """A string of the table."""
        return self.strings[index] if 0 <= index < len(self.strings) else ""

    def frames(self, places: list[int]) -> tuple[str, ...]:
        """Functions of a stack."""
        names: list[str] = []
        for place in places[:_MOST_FRAMES]:
            address, functions = self.locations.get(place, (0, []))
            told = [name for one in functions if (name := self.text(self.functions.get(one, 0)))]
            names += told or [f"{address:#x}"]
        return tuple(names)


def _single(raw: bytes, wanted: int) -> int:
    """One number of a message; 0 when it is not there."""
    return next((_number(value) for field, value in _fields(raw) if field == wanted), 0)


def _message(raw: bytes) -> Profile:
    message = _Message(raw)
    kinds = [message.text(kind) for kind in message.types]
    if "inuse_space" not in kinds:
        told = ", ".join(kind for kind in kinds if kind)
        raise BadProfile(f"it is no heap profile (it holds: {told})" if told else "it is no pprof profile")
    at = {kind: place for place, kind in enumerate(kinds)}
    samples = []
    for raw_sample in message.samples:
        places: list[int] = []
        values: list[int] = []
        for field, value in _fields(raw_sample):
            if field in (1, 2):
                (places if field == 1 else values).extend(_numbers(value))
        if len(values) != len(kinds):
            raise BadProfile("it is damaged: a stack without its values")
        signed = [value - (1 << 64) if value >> 63 else value for value in values]
        samples.append(
            Sample(
                message.frames(places),
                signed[at["inuse_space"]],
                signed[at["inuse_objects"]] if "inuse_objects" in at else 0,
                signed[at["alloc_space"]] if "alloc_space" in at else None,
            )
        )
    return Profile(tuple(samples), "pprof", message.period, {})


# ── text ────────────────────────────────────────────────────────────────────────


def _text(raw: bytes, kind: str, number: int) -> Profile:
    """The older form, of Go (``heap/RATE*2``) and gperftools (``heap_v2/RATE``, ``heapprofile``)."""
    if len(raw) > MOST_BYTES:
        raise BadProfile(f"it is larger than {MOST_BYTES >> 20} MiB")
    rate = {"heap": number // 2, "heap_v2": number}.get(kind, 0)
    samples: list[Sample] = []
    statistics: dict[str, int] = {}
    frames: list[str] = []
    for line in raw.decode("utf-8", "replace").splitlines()[1:]:
        if found := _TEXT_SAMPLE.match(line):
            samples = _named(samples, frames)
            frames = []
            samples.append(_scaled(found, rate))
            if len(samples) > _MOST_SAMPLES:
                raise BadProfile(f"it has more than {_MOST_SAMPLES} stacks")
        elif (frame := _TEXT_FRAME.match(line)) and len(frames) < _MOST_FRAMES:
            frames.append(frame[1].strip())
        elif stat := _MEMSTAT.match(line):
            statistics[stat[1]] = int(stat[2])
    return Profile(tuple(_named(samples, frames)), "text", rate, statistics)


def _named(samples: list[Sample], frames: list[str]) -> list[Sample]:
    """The last sample with the names that followed it."""
    if samples and frames:
        samples[-1] = samples[-1]._replace(stack=tuple(frames))
    return samples


def _scaled(found: re.Match[str], rate: int) -> Sample:
    objects, size, all_objects, all_bytes = (int(found[group]) for group in (1, 2, 3, 4))
    live, ever = _scale(objects, size, rate), _scale(all_objects, all_bytes, rate)
    return Sample(
        tuple(found[5].split()[:_MOST_FRAMES]),
        round(size * live),
        round(objects * live),
        round(all_bytes * ever),
    )


def _scale(objects: int, size: int, rate: int) -> float:
    """How many allocations one sampled one stands for: of this mean size, one in 1 - e^(-size/rate) is."""
    if not objects or not size or rate <= 1:
        return 1.0
    return 1.0 / -math.expm1(-(size / objects) / rate)
