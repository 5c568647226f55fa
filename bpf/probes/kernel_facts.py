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

from bpf.host import capabilities, kernel_config, limits, mounts, security
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
_CAPABILITIES = (
    "cap_net_admin",
    "cap_sys_ptrace",
    "cap_sys_admin",
    "cap_sys_resource",
    "cap_perfmon",
    "cap_bpf",
)


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
        "kinds": Field(help="one row per kind of program, map or help: the answer, and why", type="rows"),
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
        place = kernel_config.place(self._root, platform.release())
        return Reading(value=place, source=place) if place else Reading(missing=kernel_config.MISSING)

    def _sysctls(self) -> dict[str, Reading]:
        found = {}
        for name, path in _SYSCTLS.items():
            value, missing = limits.sysctl(self._root, path)
            found[name] = Reading(value=value, source=f"sysctl {path.replace('/', '.')}", missing=missing)
        return found

    def _security(self) -> dict[str, Reading]:
        mode, no_mode = security.lockdown(self._root, kernel_config.KernelConfig())
        modules, no_modules = security.modules(self._root)
        held = capabilities.names_of(
            capabilities.of_status(self._read("proc/self/status")).get("effective", 0)
        )
        names = [name.upper() for name in _CAPABILITIES if name in held]
        lacking = [name.upper() for name in _CAPABILITIES if name not in held]
        return {
            "lockdown": Reading(value=mode, missing=no_mode),
            "security_modules": Reading(value=modules, missing=no_modules),
            "capabilities": Reading(
                value=", ".join(names) or "none",
                source=f"/proc/self/status; lacking: {', '.join(lacking) or 'none'}",
            ),
            "memlock_limit_bytes": self._memlock(),
        }

    def _memlock(self) -> Reading:
        soft = limits.memlock(self._root, "self")
        if soft is None:
            return Reading(unit="bytes", missing="/proc/self/limits can't be read")
        if soft == limits.UNLIMITED:
            return Reading(unit="bytes", missing="unlimited")
        return Reading(value=soft, unit="bytes", source="/proc/self/limits")

    def _mounts(self) -> dict[str, Reading]:
        seen = mounts.read(self._root)
        found = {}
        for name, kind in (("bpffs", "bpf"), ("tracefs", "tracefs")):
            place = mounts.of_kind(seen, kind) or None
            missing = "" if place else f"{name} is not mounted"
            found[name] = Reading(value=place, source="/proc/self/mountinfo", missing=missing)
        return found

    def _read(self, path: str) -> str:
        """A small file's text; empty when it can't be read."""
        try:
            return (self._root / path).read_text("utf-8", "replace").strip()
        except OSError:
            return ""
