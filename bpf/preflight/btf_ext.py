"""The section .BTF.ext of an object: CO-RE relocations, and lines of the source.

Its promise: damaged bytes give a ``BadFile``. Source: Documentation/bpf/btf.rst.

Not here: resolving a relocation (``bpf.preflight.relocation``).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from bpf.preflight.access import Kind, Request
from bpf.preflight.btf import Btf
from bpf.preflight.problems import BadFile

_HEADER = struct.Struct("<HBBIIIII")
_MAGIC = 0xEB9F
_ROW = struct.Struct("<IIII")  # of a relocation and of a line alike
_KINDS = frozenset(Kind)


class Line(msgspec.Struct, frozen=True):
    """From this instruction on: file and line of the source."""

    at: int
    file: str
    line: int


class BtfExt:
    """A parsed section.

    Attributes:
        requests: CO-RE relocations by section name and instruction.
        lines: By section name, in order.
    """

    def __init__(self, data: bytes, types: Btf, path: str) -> None:
        """Parse.

        Raises:
            BadFile: It is damaged, or of a kind that is not known.
        """
        self._data, self._types, self._path = data, types, path
        self.requests: dict[str, dict[int, Request]] = {}
        self.lines: dict[str, list[Line]] = {}
        if len(data) < 24:
            raise self._damaged()
        head = data[:40].ljust(40, b"\0")
        magic, _, _, size, _, _, lines_at, lines = _HEADER.unpack_from(head)
        core_at, core = struct.unpack_from("<II", head, 24) if size >= 32 else (0, 0)
        if magic != _MAGIC:
            raise self._damaged()
        for where, row in self._rows(size + core_at, core):
            self.requests.setdefault(where, {})[row[0] // 8] = self._request(row)
        for where, row in self._rows(size + lines_at, lines):
            self.lines.setdefault(where, []).append(Line(row[0] // 8, types.text(row[1]), row[3] >> 10))

    def _damaged(self) -> BadFile:
        return BadFile(self._path, "has a damaged section .BTF.ext", fix="copy or build it again")

    def _request(self, row: tuple[int, ...]) -> Request:
        at, type_id, access, kind = row
        if kind not in _KINDS:
            raise BadFile(
                self._path,
                f"has a CO-RE relocation of an unknown kind ({kind})",
                fix="a newer runbook may know it; or build the object with an older clang",
            )
        self._types.kind(type_id)  # a type that is not there is damage
        return Request(at=at, type_id=type_id, access=self._types.text(access), kind=Kind(kind))

    def _rows(self, at: int, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Section name and fields of each record of one part."""
        if not size:
            return
        end = at + size
        if end > len(self._data) or size < 4:
            raise self._damaged()
        (each,) = struct.unpack_from("<I", self._data, at)
        at += 4
        if each < _ROW.size:
            raise self._damaged()
        while at + 8 <= end:
            name, count = struct.unpack_from("<II", self._data, at)
            at += 8
            if at + each * count > end:
                raise self._damaged()
            where = self._types.text(name)
            for start in range(at, at + each * count, each):
                yield where, _ROW.unpack_from(self._data, start)
            at += each * count
