"""What a kernel image holds for us: its release, and the uncompressed kernel with BTF and symbols.

Its promise: a file in /boot answers for the kernel that the next boot starts, without booting it.
zstd and lz4 images are unpacked by the system's own libzstd and liblz4, found at first use.
Cost: 0.1 s (zstd, lz4) to 2 s (xz) and 60 MB for a distribution's image of 12 MB.
Source: Documentation/arch/x86/boot.rst (the header of a bzImage); the LZ4 legacy frame.

Not here: reading the BTF (``bpf.preflight.btf``) and the symbols (``bpf.preflight.image_symbols``).
"""

from __future__ import annotations

import bz2
import ctypes
import ctypes.util
import lzma
import struct
import zlib
from collections.abc import Callable

from bpf.preflight.problems import BadFile

_BZ_MAGIC = b"HdrS"
_BTF_HEAD = b"\x9f\xeb\x01\x00\x18\x00\x00\x00"
_LZ4_LEGACY = b"\x02\x21\x4c\x18"
_LZ4_BLOCK = 8 << 20
_MOST_BYTES = 1 << 30
_EXTRACT = "extract-vmlinux (kernel sources) or bpftool btf dump on that kernel gives a plain file"


def is_image(data: bytes) -> bool:
    """Whether this is a bzImage, or a compressed kernel as arm64 boots it."""
    return data[0x202:0x206] == _BZ_MAGIC or data[:2] == b"\x1f\x8b"


def release(data: bytes) -> str:
    """The release that ``uname -r`` will say; empty when the image does not tell."""
    if data[0x202:0x206] != _BZ_MAGIC or len(data) < 0x250:
        return ""
    (at,) = struct.unpack_from("<H", data, 0x20E)
    words = data[at + 0x200 : at + 0x300].split(b"\0", 1)[0].split()
    return words[0].decode("ascii", "replace") if at and words else ""


def unpack(data: bytes, path: str) -> bytes:
    """The uncompressed kernel.

    Raises:
        BadFile: Cut off, damaged, or packed in a way that can't be undone here.
    """
    packed = _payload(data, path) if data[0x202:0x206] == _BZ_MAGIC else data
    for mark, undo in _UNPACKERS.items():
        if packed.startswith(mark):
            try:
                return undo(packed)
            except (lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, struct.error) as error:
                raise BadFile(path, f"holds a damaged kernel: {error}", fix=_EXTRACT) from None
    raise BadFile(path, f"is packed in an unknown way ({packed[:4].hex()})", fix=_EXTRACT)


def find_btf(kernel: bytes) -> bytes | None:
    """The BTF inside an uncompressed kernel, of an ELF file or a raw image alike."""
    at = kernel.find(_BTF_HEAD)
    while at >= 0:
        if at + 24 <= len(kernel):
            head, type_at, types, text_at, texts = struct.unpack_from("<IIIII", kernel, at + 4)
            size = head + text_at + texts
            if type_at == 0 and types and text_at == types and at + size <= len(kernel):
                return kernel[at : at + size]
        at = kernel.find(_BTF_HEAD, at + 1)
    return None


def _payload(data: bytes, path: str) -> bytes:
    if len(data) < 0x250:
        raise BadFile(path, "is cut off within the kernel's boot header", fix="copy it again")
    setup = data[0x1F1] or 4
    offset, size = struct.unpack_from("<II", data, 0x248)
    start = (setup + 1) * 512 + offset
    if start + size > len(data) or not size:
        raise BadFile(path, "is cut off within the packed kernel", fix="copy it again")
    return data[start : start + size]


def _shared(name: str) -> ctypes.CDLL:
    """The system's library; ``OSError`` with the package to install when it is not there."""
    try:
        return ctypes.CDLL(f"lib{name}.so.1")
    except OSError:
        raise OSError(f"lib{name}.so.1 is not installed, and the kernel is packed with {name}") from None


def _zstd(packed: bytes) -> bytes:
    (size,) = struct.unpack("<I", packed[-4:])  # the build appends the unpacked size
    if not 0 < size < _MOST_BYTES:
        raise ValueError("its size is not told")
    call = _shared("zstd").ZSTD_decompress
    call.restype = ctypes.c_size_t
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    room = ctypes.create_string_buffer(size)
    if call(room, size, packed, len(packed) - 4) != size:
        raise ValueError("zstd can't unpack it")
    return room.raw


def _lz4(packed: bytes) -> bytes:
    call = _shared("lz4").LZ4_decompress_safe
    call.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    room = ctypes.create_string_buffer(_LZ4_BLOCK)
    at, parts = 4, []
    while at + 4 <= len(packed):
        (size,) = struct.unpack_from("<I", packed, at)
        if not 0 < size <= len(packed) - at - 4:
            break  # the unpacked size, which the build appends
        got = call(packed[at + 4 : at + 4 + size], room, size, _LZ4_BLOCK)
        if got < 0:
            raise ValueError("lz4 can't unpack it")
        parts.append(ctypes.string_at(room, got))
        at += 4 + size
    return b"".join(parts)


_UNPACKERS: dict[bytes, Callable[[bytes], bytes]] = {
    b"\x1f\x8b": lambda packed: zlib.decompressobj(31).decompress(packed, _MOST_BYTES),
    b"\xfd7zXZ\x00": lambda packed: lzma.LZMADecompressor().decompress(packed, _MOST_BYTES),
    b"\x5d\x00\x00": lambda packed: lzma.LZMADecompressor().decompress(packed, _MOST_BYTES),
    b"BZh": lambda packed: bz2.BZ2Decompressor().decompress(packed, _MOST_BYTES),
    b"\x28\xb5\x2f\xfd": _zstd,
    _LZ4_LEGACY: _lz4,
}
