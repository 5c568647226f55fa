"""A kernel's build configuration: read, asked, and two compared where it matters to BPF.

Its promise: what is not in the file is ``n`` only when the file is a whole configuration.
Source: /proc/config.gz, /boot/config-RELEASE; Documentation/kbuild.

Not here: which option a program needs (``bpf.preflight.needs``).
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bpf.preflight.problems import BadFile

_SET = re.compile(r"^(CONFIG_\w+)=(.*)$", re.MULTILINE)
_MOST_BYTES = 16 << 20
#: What operators of BPF agents miss when it changes, with what it is for.
MATTERS = {
    "CONFIG_BPF": "BPF at all",
    "CONFIG_BPF_SYSCALL": "the bpf() system call",
    "CONFIG_BPF_JIT": "compiled programs; fentry, struct_ops and kernel functions need it",
    "CONFIG_BPF_JIT_ALWAYS_ON": "no interpreter to fall back to",
    "CONFIG_BPF_UNPRIV_DEFAULT_OFF": "unprivileged BPF is off from boot",
    "CONFIG_BPF_LSM": "programs at security hooks",
    "CONFIG_BPF_EVENTS": "programs at kprobes, tracepoints and perf events",
    "CONFIG_BPF_KPROBE_OVERRIDE": "bpf_override_return",
    "CONFIG_BPF_STREAM_PARSER": "sockmap stream parsers",
    "CONFIG_CGROUP_BPF": "programs at cgroups",
    "CONFIG_DEBUG_INFO_BTF": "CO-RE: the kernel tells its types",
    "CONFIG_DEBUG_INFO_BTF_MODULES": "CO-RE with types of modules",
    "CONFIG_MODULE_ALLOW_BTF_MISMATCH": "modules whose types differ are still loaded",
    "CONFIG_KPROBES": "kprobes",
    "CONFIG_KPROBE_EVENTS": "kprobes by name",
    "CONFIG_KRETPROBES": "kretprobes",
    "CONFIG_UPROBES": "uprobes",
    "CONFIG_UPROBE_EVENTS": "uprobes by file and offset",
    "CONFIG_FPROBE": "kprobe.multi",
    "CONFIG_FUNCTION_TRACER": "fentry, kprobe.multi",
    "CONFIG_DYNAMIC_FTRACE": "fentry",
    "CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS": "fentry and fexit",
    "CONFIG_FTRACE_SYSCALLS": "tracepoints of single system calls",
    "CONFIG_FUNCTION_ERROR_INJECTION": "fmod_ret, bpf_override_return, sleepable fentry",
    "CONFIG_PERF_EVENTS": "perf events, perf buffers",
    "CONFIG_KALLSYMS": "kprobes by name, kernel stacks with names",
    "CONFIG_KALLSYMS_ALL": "variables of the kernel by name",
    "CONFIG_IKCONFIG_PROC": "the configuration in /proc/config.gz",
    "CONFIG_IKHEADERS": "the kernel's headers for BCC",
    "CONFIG_LSM": "which security modules start (BPF LSM must be among them)",
    "CONFIG_SECURITY": "security hooks",
    "CONFIG_SECURITY_LOCKDOWN_LSM": "lockdown, which can forbid reading kernel memory",
    "CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY": "lockdown from boot",
    "CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY": "lockdown from boot: BPF can't read kernel memory",
    "CONFIG_NET_CLS_BPF": "tc programs",
    "CONFIG_NET_ACT_BPF": "tc actions",
    "CONFIG_NET_CLS_ACT": "tc actions",
    "CONFIG_NET_SCH_INGRESS": "tc at ingress (clsact)",
    "CONFIG_NET_XGRESS": "tcx",
    "CONFIG_NETKIT": "netkit",
    "CONFIG_XDP_SOCKETS": "AF_XDP",
    "CONFIG_LWTUNNEL_BPF": "programs at tunnels",
    "CONFIG_IPV6_SEG6_BPF": "programs at SRv6",
    "CONFIG_LIRC": "programs at infrared receivers",
    "CONFIG_NETFILTER_BPF_LINK": "netfilter programs",
    "CONFIG_HID_BPF": "programs at input devices",
    "CONFIG_SCHED_CLASS_EXT": "schedulers in BPF",
}


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One option that is not the same in two kernels."""

    option: str
    before: str
    after: str
    matters: str


class Config:
    """The options of one kernel.

    Attributes:
        where: The file.
    """

    def __init__(self, values: dict[str, str], where: str) -> None:
        self._values = values
        self.where = where

    def value(self, option: str) -> str:
        """``y``, ``m``, a text or number; ``n`` when it is not set."""
        return self._values.get(option, "n")

    def on(self, option: str) -> bool:
        """Built in or as a module."""
        return self.value(option) not in {"n", ""}


def read(path: Path) -> Config:
    """Read a configuration, plain or gzipped.

    Raises:
        BadFile: It can't be read, or is no kernel configuration.
    """
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = zlib.decompressobj(31).decompress(data, _MOST_BYTES)
    except OSError as error:
        raise BadFile(str(path), f"can't be read: {error.strerror}", fix="check the path") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise BadFile(str(path), f"is damaged: {error}", fix="copy it again") from None
    values = {name: text.strip('"') for name, text in _SET.findall(data.decode("utf-8", "replace"))}
    if "CONFIG_BPF" not in values and len(values) < 100:
        raise BadFile(
            str(path), "is no kernel configuration", fix="give /boot/config-RELEASE or /proc/config.gz"
        )
    return Config(values, str(path))


def differences(before: Config, after: Config) -> Iterator[Difference]:
    """The options that matter to BPF and are not the same."""
    for option, matters in MATTERS.items():
        old, new = before.value(option), after.value(option)
        if old != new:
            yield Difference(option=option, before=old, after=new, matters=matters)
