"""Capabilities by name: of a process, and of the executable that gives them to it.

One promise: a set that can't be read is None, never empty; a bit that has no name yet is
``cap_NN``.

Source: linux/capability.h, capabilities(7) ("File capabilities"), proc(5).

Not here: which of them a program needs.
"""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import msgspec

#: By bit number, linux/capability.h up to kernel 6.18.
NAMES = (
    "cap_chown", "cap_dac_override", "cap_dac_read_search", "cap_fowner", "cap_fsetid", "cap_kill",
    "cap_setgid", "cap_setuid", "cap_setpcap", "cap_linux_immutable", "cap_net_bind_service",
    "cap_net_broadcast", "cap_net_admin", "cap_net_raw", "cap_ipc_lock", "cap_ipc_owner", "cap_sys_module",
    "cap_sys_rawio", "cap_sys_chroot", "cap_sys_ptrace", "cap_sys_pacct", "cap_sys_admin", "cap_sys_boot",
    "cap_sys_nice", "cap_sys_resource", "cap_sys_time", "cap_sys_tty_config", "cap_mknod", "cap_lease",
    "cap_audit_write", "cap_audit_control", "cap_setfcap", "cap_mac_override", "cap_mac_admin", "cap_syslog",
    "cap_wake_alarm", "cap_block_suspend", "cap_audit_read", "cap_perfmon", "cap_bpf",
    "cap_checkpoint_restore",
)  # fmt: skip
ATTRIBUTE = "security.capability"
#: VFS_CAP_REVISION_n and its flag: linux/capability.h; revision 3 adds the root user of a namespace.
_REVISIONS = {0x01000000: (1, 0), 0x02000000: (2, 0), 0x03000000: (2, 1)}
_EFFECTIVE = 1
#: /proc/PID/status → the set's name here.
_SETS = {
    "CapInh": "inheritable",
    "CapPrm": "permitted",
    "CapEff": "effective",
    "CapBnd": "bounding",
    "CapAmb": "ambient",
}


class FileCapabilities(msgspec.Struct, frozen=True):
    """What an executable gives to whoever runs it.

    Attributes:
        effective: Whether they are in force at once.
        root_uid: The user that is root in the namespace they count in; 0 for all.
    """

    permitted: tuple[str, ...] = ()
    inheritable: tuple[str, ...] = ()
    effective: bool = False
    root_uid: int = 0

    def __str__(self) -> str:
        """As setcap writes it: ``cap_bpf,cap_perfmon=ep``."""
        said = []
        for names, flags in ((self.permitted, "p"), (self.inheritable, "i")):
            if names:
                said.append(f"{','.join(names)}={'e' * self.effective}{flags}")
        return " ".join(said)


def names_of(mask: int) -> tuple[str, ...]:
    """The names of the bits that are set, in their order."""
    return tuple(
        NAMES[bit] if bit < len(NAMES) else f"cap_{bit}"
        for bit in range(mask.bit_length())
        if mask >> bit & 1
    )


def of_status(status: str) -> dict[str, int]:
    """Bit masks by set name out of the text of ``/proc/PID/status``; those it lacks are absent."""
    found = {}
    for line in status.splitlines():
        key, _, value = line.partition(":")
        if key in _SETS:
            found[_SETS[key]] = int(value.strip(), 16)
    return found


def parse(attribute: bytes) -> FileCapabilities:
    """The extended attribute ``security.capability``, revisions 1 to 3.

    Raises:
        ValueError: It is none.
    """
    if len(attribute) < 4:
        raise ValueError(f"{len(attribute)} bytes are too few for file capabilities")
    (magic,) = struct.unpack_from("<I", attribute)
    words, roots = _REVISIONS.get(magic & 0xFF000000, (0, 0))
    if not words or len(attribute) != 4 + 8 * words + 4 * roots:
        raise ValueError(f"file capabilities of revision {magic >> 24} can't have {len(attribute)} bytes")
    fields = struct.unpack_from(f"<{2 * words + roots}I", attribute, 4)
    permitted = sum(word << 32 * place for place, word in enumerate(fields[0 : 2 * words : 2]))
    inheritable = sum(word << 32 * place for place, word in enumerate(fields[1 : 2 * words : 2]))
    return FileCapabilities(
        permitted=names_of(permitted),
        inheritable=names_of(inheritable),
        effective=bool(magic & _EFFECTIVE),
        root_uid=fields[-1] if roots else 0,
    )


def of_file(path: Path) -> FileCapabilities | None:
    """The capabilities of an executable; None when it has none.

    Raises:
        OSError: The file can't be read.
        ValueError: The attribute is damaged.
    """
    try:
        return parse(os.getxattr(path, ATTRIBUTE))
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise
