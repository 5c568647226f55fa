"""Capabilities that an executable gives to whoever runs it: its extended attribute, byte for byte.

Undo puts back the very bytes that stood there, or takes the attribute away.

Source: capabilities(7), "File capabilities"; linux/capability.h (``struct vfs_cap_data``).

Not here: which capabilities are needed (``file_capabilities``), starting the agent (``start``).
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.errors import ChangedSince
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs.backend import NotChanged, Restored, State

ATTRIBUTE = "security.capability"
#: Bit numbers, linux/capability.h: those that agents are given.
BITS = {
    "cap_dac_override": 1,
    "cap_dac_read_search": 2,
    "cap_net_bind_service": 10,
    "cap_net_admin": 12,
    "cap_net_raw": 13,
    "cap_ipc_lock": 14,
    "cap_sys_ptrace": 19,
    "cap_sys_admin": 21,
    "cap_sys_resource": 24,
    "cap_syslog": 34,
    "cap_perfmon": 38,
    "cap_bpf": 39,
    "cap_checkpoint_restore": 40,
}
_NAMES = {bit: name for name, bit in BITS.items()}
_REVISION_2, _EFFECTIVE = 0x02000000, 1
_V2 = struct.Struct("<5I")  # magic; permitted, inheritable of bits 0-31; the same of bits 32-63
_INTERPRETER = re.compile(r"(python|perl|ruby|node|java|bash|dash|sh|busybox|php|lua)[\d.]*$")
_WAYS_OUT = {
    errno.EPERM: "run as root with CAP_SETFCAP, outside a user namespace",
    errno.EOPNOTSUPP: "its file system has no extended attributes: give them through systemd, or in the pod",
    errno.EROFS: "its file system is read-only: give them where the image is built, or through systemd",
}


class FileCapability:
    """Backend ``file-capability``: the executable ``Knob.file``; as text: ``cap_bpf,cap_perfmon=ep``."""

    name = "file-capability"

    def read(self, knob: Knob, target: Target) -> KnobValue:
        """What stands there; ``missing`` also says why giving some would be of no use."""
        path = Path(knob.file)
        try:
            value = spelled(_attribute(path))
        except (OSError, ValueError) as error:
            return KnobValue(source=knob.file, missing=f"{path}: {error}")
        blocked = obstacle(path, target)
        return KnobValue(
            value=value,
            raw=value,
            effective=value,
            source=knob.file,
            missing=f"{blocked[0]} ({blocked[1]})" if blocked else "",
        )

    def capture(self, change: Change, target: Target) -> dict[str, Setting]:
        """The attribute's bytes, and the moment of the file's last change."""
        path = Path(change.knob.file)
        blocked = obstacle(path, target)
        if blocked:
            raise NotChanged(blocked[0], fix=blocked[1])
        now = _attribute(path)
        if spelled(now) != change.before:
            raise _since(change, now)
        return {"attribute": None if now is None else now.hex(), "changed_ns": path.stat().st_ctime_ns}

    def write(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> None:  # noqa: ARG002
        """Set the attribute; inheritable capabilities that stand there stay."""
        path = Path(change.knob.file)
        now = _attribute(path)
        if spelled(now) != change.before:
            raise _since(change, now)
        _set(path, encode(parse_words(str(change.after)), keep=now))

    def state(self, change: Change, target: Target, captured: Mapping[str, Setting]) -> State:  # noqa: ARG002
        """By the bytes before, and by what they say after."""
        return _state(change, _attribute(Path(change.knob.file)), captured)

    def restore(
        self,
        change: Change,
        target: Target,  # noqa: ARG002 - the file is in the knob
        captured: Mapping[str, Setting],
    ) -> Restored:
        """Put the captured bytes back, or take the attribute away."""
        path = Path(change.knob.file)
        try:
            now, changed_ns = _attribute(path), path.stat().st_ctime_ns
        except FileNotFoundError:
            return Restored(reload=False, note=f"{path} is gone, and its capabilities with it")
        match _state(change, now, captured):
            case "other":
                raise _since(change, now)
            case "after":
                before = captured["attribute"]
                _set(path, None if before is None else bytes.fromhex(str(before)))
                return Restored(reload=True)
        return Restored(reload=changed_ns != captured["changed_ns"])


def obstacle(path: Path, target: Target) -> tuple[str, str] | None:
    """Why capabilities of this file would be of no use or of too much, with the way out."""
    instead = "give them through systemd (AmbientCapabilities) or the container's manifest"
    if _INTERPRETER.search(path.name):
        return f"{path} is an interpreter: every script would get them", instead
    if path.is_symlink() or not path.is_file():
        return f"{path} is no regular file", "name the executable itself in the agent's profile"
    if os.statvfs(path).f_flag & os.ST_NOSUID:
        return (
            f"{path} lies on a file system mounted nosuid, where capabilities of files do not count",
            instead,
        )
    try:
        seen = Path(f"/proc/{target.pid}/exe").stat() if target.pid else path.stat()
    except OSError:
        return None  # it ended just now
    here = path.stat()
    if (seen.st_dev, seen.st_ino) != (here.st_dev, here.st_ino):
        return f"{target.name} runs another file than {path}: it lives in a container", instead
    return None


def spelled(attribute: bytes | None) -> str | None:
    """The attribute as setcap writes it; None where there is none.

    Raises:
        ValueError: It is damaged.
    """
    if attribute is None:
        return None
    magic, permitted, inheritable = _decode(attribute)
    words = [f"{','.join(names(mask))}={'e' * (magic & _EFFECTIVE)}{flag}"
             for mask, flag in ((permitted, "p"), (inheritable, "i")) if mask]  # fmt: skip
    return " ".join(words) or "="


def names(mask: int) -> tuple[str, ...]:
    """The capabilities of a mask; one without a name here is ``cap_NN``."""
    return tuple(_NAMES.get(bit, f"cap_{bit}") for bit in range(mask.bit_length()) if mask >> bit & 1)


def bits(words: Iterable[str]) -> int:
    """The mask of names.

    Raises:
        ValueError: One is not known.
    """
    mask = 0
    for word in words:
        number = word.removeprefix("cap_")
        bit = BITS.get(word, int(number) if number.isdigit() else -1)
        if not 0 <= bit < 64:
            raise ValueError(f"{word!r} is no capability known here ({', '.join(sorted(BITS))})")
        mask |= 1 << bit
    return mask


def parse_words(spelling: str) -> int:
    """The permitted capabilities of ``cap_bpf,cap_perfmon=ep``, as a mask."""
    for word in spelling.split():
        listed, _, flags = word.partition("=")
        if "p" in flags:
            return bits(name for name in listed.split(",") if name)
    return 0


def encode(permitted: int, *, keep: bytes | None) -> bytes:
    """An attribute that gives these at once; the inheritable ones of ``keep`` stay."""
    inheritable = _decode(keep)[2] if keep else 0
    low, high = 0xFFFFFFFF, 32
    return _V2.pack(
        _REVISION_2 | _EFFECTIVE, permitted & low, inheritable & low, permitted >> high, inheritable >> high
    )


def _decode(attribute: bytes) -> tuple[int, int, int]:
    """(magic, permitted, inheritable) of revisions 2 and 3; the latter's root user is not looked at."""
    if len(attribute) < _V2.size:
        raise ValueError("its security.capability is of an old kind or damaged")
    magic, permitted, inheritable, permitted_high, inheritable_high = _V2.unpack_from(attribute)
    return magic, permitted | permitted_high << 32, inheritable | inheritable_high << 32


def _attribute(path: Path) -> bytes | None:
    try:
        return os.getxattr(path, ATTRIBUTE)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def _set(path: Path, attribute: bytes | None) -> None:
    try:
        if attribute is None:
            os.removexattr(path, ATTRIBUTE)
        else:
            os.setxattr(path, ATTRIBUTE, attribute)
    except OSError as error:
        raise NotChanged(
            f"{path}: its capabilities can't be set: {error.strerror}",
            fix=_WAYS_OUT.get(error.errno or 0, "mend that, then try again"),
        ) from None


def _state(change: Change, now: bytes | None, captured: Mapping[str, Setting]) -> State:
    if (None if now is None else now.hex()) == captured["attribute"]:
        return "before"
    gives = now is not None and _decode(now)[0] & _EFFECTIVE and _decode(now)[1]
    return "after" if gives == parse_words(str(change.after)) else "other"


def _since(change: Change, now: bytes | None) -> ChangedSince:
    return ChangedSince(
        f"{change.knob.file} has {spelled(now) or 'no capabilities'}; expected {change.before_text} or"
        f" {change.after_text}. Left as it is",
        fix=f"if nobody meant it: setcap {change.before or '-r'} {change.knob.file}",
    )
