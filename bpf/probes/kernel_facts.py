"""What this kernel and this machine allow BPF to do: tried where it can be tried, read elsewhere.

Its promise: every answer is ``yes``, ``no`` or ``unknown`` with the fact behind it; nothing is
guessed from the version. Takes 0.1 s whatever the window, and changes nothing.

Not here: any agent. Source: procfs, sysfs, securityfs, the kernel's own config; and attaching programs
that do nothing (``bpf.probes.kernel_kinds``).
"""

from __future__ import annotations

import mmap
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from bpf.library import is_root
from bpf.probes import kernel_kinds
from engine.contracts import Window
from engine.values import Evidence, Field, Reading, Scalar, Support, Target

_SYSCTLS = {
    "unprivileged_bpf_disabled": "kernel/unprivileged_bpf_disabled",
    "perf_event_paranoid": "kernel/perf_event_paranoid",
    "kptr_restrict": "kernel/kptr_restrict",
    "bpf_stats_enabled": "kernel/bpf_stats_enabled",
    "bpf_jit_enable": "net/core/bpf_jit_enable",
    "bpf_jit_harden": "net/core/bpf_jit_harden",
    "bpf_jit_limit": "net/core/bpf_jit_limit",
}
_CAPABILITIES = {12: "CAP_NET_ADMIN", 19: "CAP_SYS_PTRACE", 21: "CAP_SYS_ADMIN", 24: "CAP_SYS_RESOURCE"}
_CAPABILITIES |= {38: "CAP_PERFMON", 39: "CAP_BPF"}  # linux/capability.h
_NOT_MOUNTED = "securityfs is not mounted"


def _text(help_text: str) -> Field:
    return Field(help=help_text, type="text")


class KernelFacts:
    """The probe ``kernel-facts``."""

    name = "kernel-facts"
    short = "kernel"
    summary = "What this kernel lets BPF do: kinds of programs, helps, settings, rights and mounts"
    fields: Mapping[str, Field] = {
        "release": _text("the running kernel"),
        "machine": _text("architecture"),
        "btf": _text("whether the kernel tells its types (needed by CO-RE): yes or no"),
        **{name: _text("yes, no or unknown: tried") for name in kernel_kinds.NAMES},
        **{name: Field(help=f"sysctl {path.replace('/', '.')}") for name, path in _SYSCTLS.items()},
        "lockdown": _text("kernel lockdown mode"),
        "security_modules": _text("active security modules"),
        "capabilities": _text("ours, of those that BPF needs"),
        "memlock_limit_bytes": Field(help="our locked-memory limit; no value: unlimited", unit="bytes"),
        "bpffs": _text("where the BPF file system is mounted"),
        "tracefs": _text("where the trace file system is mounted"),
        "page_bytes": Field(help="page size", unit="bytes"),
        "cpus": Field(help="CPUs online"),
        "possible_cpus": Field(help="CPUs that per-CPU maps have room for"),
        "config_source": _text("where the kernel's build configuration can be read"),
    }
    options: Mapping[str, str] = {}
    needs_target = False
    cpu_ceiling = 1.0

    def __init__(
        self, root: Path = Path("/"), try_kinds: Callable[[], dict[str, Support]] = kernel_kinds.try_all
    ) -> None:
        self._root = root
        self._try_kinds = try_kinds

    def supported(self, target: Target | None) -> Support:  # noqa: ARG002 - the contract's
        """Always; without root most answers are unknown."""
        if is_root():
            return Support(answer="yes", why="root")
        return Support(answer="yes", why="without root most answers are unknown", fix="sudo runbook …")

    def collect(self, target: Target | None, window: Window) -> Evidence:  # noqa: ARG002 - the contract's
        """Look once; does not use the window up."""
        kinds = self._try_kinds()
        started_at = window.begin()
        rows: list[dict[str, Scalar]] = [
            {"name": name, "answer": found.answer, "why": found.why, "fix": found.fix}
            for name, found in kinds.items()
        ]
        return Evidence(
            probe=self.name,
            short=self.short,
            target="",
            started_at=started_at,
            ended_at=window.clock.now(),
            readings={
                **self._machine(),
                **{name: Reading(value=found.answer, source=found.why) for name, found in kinds.items()},
                **self._sysctls(),
                **self._security(),
                **self._mounts(),
            },
            tables={"kinds": tuple(rows)},
        )

    def _machine(self) -> dict[str, Reading]:
        btf = self._root / "sys/kernel/btf/vmlinux"
        possible = self._read("sys/devices/system/cpu/possible")
        found = {
            "release": Reading(value=platform.release(), source="uname"),
            "machine": Reading(value=platform.machine(), source="uname"),
            "btf": Reading(value="yes" if btf.exists() else "no", source=str(btf)),
            "page_bytes": Reading(value=mmap.PAGESIZE, unit="bytes", source="getpagesize"),
            "cpus": Reading(value=os.cpu_count(), source="sysconf"),
            "config_source": self._config(),
        }
        last = possible.rsplit(",", 1)[-1].rsplit("-", 1)[-1]
        if last.isdigit():
            found["possible_cpus"] = Reading(value=int(last) + 1, source="/sys/devices/system/cpu/possible")
        else:
            found["possible_cpus"] = Reading(missing="sysfs is not mounted")
        return found

    def _config(self) -> Reading:
        for path in ("proc/config.gz", f"boot/config-{platform.release()}"):
            if (self._root / path).exists():
                return Reading(value=f"/{path}", source=f"/{path}")
        return Reading(missing="neither /proc/config.gz nor /boot/config-RELEASE is there")

    def _sysctls(self) -> dict[str, Reading]:
        found = {}
        for name, path in _SYSCTLS.items():
            value = self._read(f"proc/sys/{path}")
            source = f"sysctl {path.replace('/', '.')}"
            if value.lstrip("-").isdigit():
                found[name] = Reading(value=int(value), source=source)
            else:
                found[name] = Reading(source=source, missing="this kernel has no such setting, or hides it")
        return found

    def _security(self) -> dict[str, Reading]:
        lockdown, modules = (self._read(f"sys/kernel/security/{name}") for name in ("lockdown", "lsm"))
        mode = lockdown.partition("[")[2].partition("]")[0]  # none [integrity] confidentiality
        status = dict(line.partition(":\t")[::2] for line in self._read("proc/self/status").splitlines())
        held = int(status.get("CapEff", "0").strip() or "0", 16)
        names = [name for bit, name in _CAPABILITIES.items() if held >> bit & 1]
        lacking = [name for bit, name in _CAPABILITIES.items() if not held >> bit & 1]
        return {
            "lockdown": Reading(value=mode or None, missing="" if mode else _NOT_MOUNTED),
            "security_modules": Reading(value=modules or None, missing="" if modules else _NOT_MOUNTED),
            "capabilities": Reading(
                value=", ".join(names) or "none",
                source=f"/proc/self/status; lacking: {', '.join(lacking) or 'none'}",
            ),
            "memlock_limit_bytes": self._memlock(),
        }

    def _memlock(self) -> Reading:
        for line in self._read("proc/self/limits").splitlines():
            if line.startswith("Max locked memory"):
                soft = line.split()[3]
                if soft.isdigit():
                    return Reading(value=int(soft), unit="bytes", source="/proc/self/limits")
                return Reading(unit="bytes", missing="unlimited")
        return Reading(unit="bytes", missing="/proc/self/limits can't be read")

    def _mounts(self) -> dict[str, Reading]:
        places: dict[str, str] = {}
        for line in self._read("proc/self/mounts").splitlines():
            _, place, kind, *_ = line.split(" ")
            places.setdefault(kind, place)
        found = {}
        for name, kind in (("bpffs", "bpf"), ("tracefs", "tracefs")):
            missing = "" if kind in places else f"{name} is not mounted"
            found[name] = Reading(value=places.get(kind), source="/proc/self/mounts", missing=missing)
        return found

    def _read(self, path: str) -> str:
        """A small file's text; empty when it can't be read."""
        try:
            return (self._root / path).read_text("utf-8", "replace").strip()
        except OSError:
            return ""
