"""Facts worked out from a whole text, which no phrase can hold: versions, stack offsets, young helpers.

Each is a label, such as ``@stack-over-512`` or ``@kernel<5.8``, with the line it was seen in.

Not here: what the labels speak for (``rules_*``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: Kernels by which rules ask, ascending: major * 1000 + minor.
VERSIONS = (4014, 5004, 5008, 5011)

#: Helper → kernel that introduced it. Source: history of Linux include/uapi/linux/bpf.h.
HELPERS = {
    "bpf_probe_read_kernel": 5005,
    "bpf_probe_read_user": 5005,
    "bpf_probe_read_kernel_str": 5005,
    "bpf_probe_read_user_str": 5005,
    "bpf_ktime_get_boot_ns": 5008,
    "bpf_ringbuf_output": 5008,
    "bpf_ringbuf_reserve": 5008,
    "bpf_ringbuf_submit": 5008,
    "bpf_ringbuf_discard": 5008,
    "bpf_get_current_task_btf": 5011,
    "bpf_for_each_map_elem": 5013,
    "bpf_get_attach_cookie": 5015,
    "bpf_get_func_ip": 5015,
    "bpf_loop": 5017,
    "bpf_strncmp": 5017,
    "bpf_get_func_arg": 5017,
    "bpf_jiffies64": 5005,
    "bpf_get_current_cgroup_id": 4018,
    "bpf_get_ns_current_pid_tgid": 5007,
    "bpf_d_path": 5010,
    "bpf_snprintf": 5013,
    "bpf_dynptr_from_mem": 5019,
}

_RELEASE = re.compile(
    r"(?:linux(?: version| kernel)?|uname -\w+|kernel(?: version)?|kernelversion|release)[ :=\"'`*v]{0,6}"
    r"(\d)\.(\d{1,2})(?:\.\d{1,3})?(?=[^.\d]|\.(?:\D|$)|$)"
)
_FULL = re.compile(
    r"(?<![\d.v=~])([2-7])\.(\d{1,2})\.(\d{1,3})[-.+][\w.+~-]{0,60}(?:el\d|amd64|generic|x86_64|aarch64|arm64|cloud|azure|aws|gcp|microsoft|amzn|raspi|v8)"
)
#: One of these stands in a line that tells a kernel.
_BEFORE_A_VERSION = ("linux", "kernel", "uname", "release", "-")
_WANTED = re.compile(r"require|least|minimum|newer|or later|since|>=|need|introduced|\d\+|support")
_STACK = re.compile(r"(?:stack(?: r\d+)? off=?|\(r10 ?|r10 off=|fp) ?-(\d{3,9})")
_HELPER = re.compile(r"(?:unknown func|invalid func|cannot use helper) (bpf_\w{1,40})")
_MODULE = (
    "(?:capability|lockdown|landlock|yama|safesetid|selinux|ima|evm|integrity|apparmor|tomoyo|smack|loadpin"
    "|ipe|bpf)"
)
_LSM_LIST = re.compile(rf"{_MODULE}(?:,{_MODULE}){{1,14}}")
_PROBES = re.compile(
    r"(?:attach\w{0,4}|more than|maximum of|limit of|trace|enable\w?|exceed\w{0,5}) (\d{3,7}) (?:\w{1,12} )?"
    r"[ku]?(?:probes?|syscalls|functions|symbols)"
)
_TRACING = re.compile(r"/sys/kernel/(?:debug/)?tracing\b([\w/]*)|/sys/kernel/debug(?=[\s:'\"),]|$)")
_ABSENT = re.compile(r"no such file|not found|not exist|enoent|cannot find")
_NO_BTF = re.compile(r"find kernel btf(?! (?:type )?id| type)")
_FALCO = re.compile(r"n_drops_(buffer\w{0,40}|pf)\W{1,4}(\d{1,12})")
#: From how many probes a line speaks of a limit.
_MANY = 200
_LIMIT = 512


def features(lines: Iterable[str], kernel: int | None = None) -> dict[str, int]:
    """Label → index of the line that shows it; -1 where the host showed it.

    Args:
        lines: In lower case.
        kernel: The running kernel, major * 1000 + minor; None where the text must say.
    """
    found: dict[str, int] = {}
    version, at = kernel, -1
    helper: tuple[str, int] | None = None
    for index, line in enumerate(lines):
        for label in _labels(line):
            found.setdefault(label, index)
        if version is None and any(word in line for word in _BEFORE_A_VERSION):
            version, at = _version(line), index
        if "invalid" in line and any(int(below) > _LIMIT for below in _STACK.findall(line)):
            found.setdefault("@stack-over-512", index)
        if helper is None and (match := _HELPER.search(line)):
            helper = match[1], index
    if version is not None:
        found.update({f"@kernel<{asked // 1000}.{asked % 1000}": at for asked in VERSIONS if version < asked})
        if helper and version < HELPERS.get(helper[0], 0):
            found["@helper-newer-than-kernel"] = helper[1]
    return found


def _labels(line: str) -> Iterator[str]:
    """The labels that one line alone shows."""
    if "," in line and (listed := _LSM_LIST.search(line)) and "bpf" not in listed[0].split(","):
        yield "@lsm-list-without-bpf"
    if "find kernel btf" in line and _NO_BTF.search(line):
        yield "@no-kernel-btf"
    if "/sys/kernel/" in line and (path := _TRACING.search(line)) and _ABSENT.search(line):
        yield "@no-event" if (path[1] or "").count("/") >= 2 else "@no-tracefs"
    if "n_drops" in line:
        drops = {name: int(count) for name, count in _FALCO.findall(line)}
        if drops.get("pf", 0) and not any(
            count for name, count in drops.items() if name.startswith("buffer")
        ):
            yield "@page-fault-drops"
    if (many := _PROBES.search(line)) and int(many[1]) >= _MANY:
        yield "@many-probes"


def _version(line: str) -> int | None:
    """The kernel that a line says is running, or None: one that is only asked for doesn't count."""
    match = _FULL.search(line) or (None if _WANTED.search(line) else _RELEASE.search(line))
    if match is None or not 2 <= int(match[1]) <= 9:
        return None
    return int(match[1]) * 1000 + int(match[2])
