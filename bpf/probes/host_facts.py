"""What this host and one process on it allow BPF: capabilities, confinement, limits, kernel, mounts.

Its promise: ``yes``, ``no`` or unknown with its reason; what can't be read is never ``no``.
The process is the target's (or the one of the option ``pid``; else our own), as it is at the
end of the window: a process that has ended tells nothing, its executable still does.

Not here: what failed (``load-failures``), what it means (the diagnosis ``load-failure``).
Cost: 0.1 s whatever the window.
"""

from __future__ import annotations

import mmap
import platform
from collections.abc import Callable, Mapping
from pathlib import Path

from bpf.host import attach_targets, capabilities, kernel_config, limits, mounts, security
from bpf.host.files import ROOT, link
from bpf.library import is_root
from bpf.probes import kernel_kinds
from bpf.probes.host_fields import FIELDS, FILE_SYSTEMS, OPTIONS, SYSCTLS, TRIED
from bpf.system.procfs import alive, held_programs
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Reading, Scalar, Support, Target

Readings = dict[str, Reading]
_OUR_OWN = "self"


class HostFacts:
    """The probe ``host-facts``."""

    name = "host-facts"
    short = "host"
    summary = "What the host and the target's process allow BPF: rights, confinement, limits, kernel"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {
        "pid": "another process than the target's",
        "attach_to": "functions or tracepoints to look for, separated by commas",
    }
    needs_target = False
    cpu_ceiling = 1.0

    def __init__(
        self, root: Path = ROOT, try_kinds: Callable[..., dict[str, Support]] = kernel_kinds.try_all
    ) -> None:
        self._root = root
        self._try_kinds = try_kinds

    def supported(self, target: Target | None) -> Support:  # noqa: ARG002 - the contract's
        """Always; without root some answers are unknown."""
        if is_root():
            return Support(answer="yes", why="root")
        return Support(answer="yes", why="without root some answers are unknown", fix="sudo runbook …")

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Try first, wait for the end of the window, then read."""
        kinds = self._try_kinds(tuple(TRIED.values()))
        started_at = window.begin()
        if target is not None:
            window.wait()  # a program that loads within the window is seen
        pid = _pid(target, window)
        config = kernel_config.read(self._root, platform.release())
        wanted = str(window.options.get("attach_to") or "")
        places = self._attach_rows(wanted)
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name if target else "",
            started_at=started_at,
            ended_at=window.clock.now(),
            readings={
                **self._kernel(config),
                **self._process(pid, target),
                **self._host(config),
                **self._mounts(pid),
                **{ours: _tried(kinds.get(kind)) for ours, kind in TRIED.items()},
                "attach_missing": _missing_places(places),
            },
            tables={"attach": tuple(places)} if places else {},
            notes=() if pid or target is None else (f"{target.name} does not run: nothing of its process",),
        )

    def _kernel(self, config: kernel_config.KernelConfig) -> Readings:
        release = platform.release()
        btf = self._root / "sys/kernel/btf/vmlinux"
        options = {
            name: _answer(config.answer(option), config.source, kernel_config.MISSING)
            for name, option in OPTIONS.items()
        }
        return {
            "kernel_release": Reading(value=release, source="uname"),
            "kernel_version": Reading(value=limits.version_number(release), source="uname"),
            "arch": Reading(value=platform.machine(), source="uname"),
            "page_bytes": Reading(value=mmap.PAGESIZE, unit="bytes", source="getpagesize"),
            "btf": Reading(value="yes" if btf.exists() else "no", source="/sys/kernel/btf/vmlinux"),
            "config_source": _answer(config.source or None, config.source, kernel_config.MISSING),
            **options,
        }

    def _process(self, pid: str, target: Target | None) -> Readings:
        held = security.of_process(self._root, pid) if pid else security.Confinement()
        status = self._root / "proc" / pid / "status"
        gone = f"{target.name} does not run" if target and not pid else f"{status} can't be read"
        locked = limits.memlock(self._root, pid) if pid else None
        own = target is not None and bool(pid)
        return {
            "running": Reading(value="yes" if pid else "no", source="/proc"),
            "programs": Reading(
                value=held_programs(int(pid), self._root / "proc") if own else 0 if target else None,
                source=f"/proc/{pid}/fdinfo" if own else "",
                missing="" if target else "no target",
            ),
            **self._capabilities(pid, gone),
            **self._executable(pid, target),
            "uid": _answer(held.uid, str(status), gone),
            "user_namespace": _answer(held.user_namespace, f"/proc/{pid}/ns/user", gone),
            "no_new_privs": _answer(held.no_new_privs, str(status), gone),
            "seccomp": _answer(held.seccomp, str(status), gone),
            "apparmor": _answer(held.label, f"/proc/{pid}/attr", gone if not pid else "no label rules it"),
            "container": _answer(held.container, f"/proc/{pid}/cgroup, ns/pid", gone),
            "memlock_bytes": _answer(locked, f"/proc/{pid}/limits", gone, unit="bytes"),
        }

    def _capabilities(self, pid: str, gone: str) -> Readings:
        path = self._root / "proc" / pid / "status"
        try:
            sets = capabilities.of_status(path.read_text("utf-8", "replace")) if pid else {}
        except OSError:
            sets = {}
        found = {}
        for name in ("effective", "permitted", "bounding", "ambient"):
            words = " ".join(capabilities.names_of(sets[name])) or "none" if name in sets else None
            found[f"caps_{name}"] = _answer(words, str(path), gone)
        return found

    def _executable(self, pid: str, target: Target | None) -> Readings:
        """Of the process as it runs; of a target that does not run, as its profile names it."""
        path = link(self._root, f"proc/{pid}/exe").removesuffix(" (deleted)") if pid else ""
        path = path or (target.facts.get("executable", "") if target else "")
        unknown = "it can't be seen which executable it is"
        # the process may have a root of its own, so its file is reached through it
        inside = self._root / f"proc/{pid}/root" / path.lstrip("/") if pid else Path(path)
        caps: str | None = None
        if path:
            try:
                caps = str(capabilities.of_file(inside) or "none")
            except (OSError, ValueError) as error:
                unknown = f"{path}: {error}"
        return {
            "executable": _answer(path or None, f"/proc/{pid}/exe", unknown),
            "file_caps": _answer(caps, path, unknown),
        }

    def _host(self, config: kernel_config.KernelConfig) -> Readings:
        root = self._root
        found: Readings = {}
        for name, path in SYSCTLS.items():
            value, why = limits.sysctl(root, path)
            found[name] = _answer(value, f"sysctl {path.replace('/', '.')}", why, unit=FIELDS[name].unit)
        used, why_used = limits.jit_used(root)
        lsm, why_lsm = security.modules(root)
        lockdown, why_lockdown = security.lockdown(root, config)
        version = limits.version_number(platform.release())
        accounting = None if version is None else "yes" if version >= limits.MEMCG_ACCOUNTING else "no"
        return {
            **found,
            "bpf_jit_used_bytes": _answer(used, "/proc/vmallocinfo", why_used, unit="bytes"),
            "lsm": _answer(lsm, "/sys/kernel/security/lsm, or lsm_list_modules", why_lsm),
            "lockdown": _answer(
                lockdown, "/sys/kernel/security/lockdown, or the build configuration", why_lockdown
            ),
            "memcg_accounting": _answer(accounting, "uname: kernel 5.11 and later", "no kernel release"),
        }

    def _mounts(self, pid: str) -> Readings:
        seen = mounts.read(self._root, pid or _OUR_OWN)
        source = f"/proc/{pid or _OUR_OWN}/mountinfo"
        found = {}
        for name, kind in FILE_SYSTEMS.items():
            place = mounts.of_kind(seen, kind)
            answer = None if not seen else "yes" if place else "no"
            found[name] = _answer(
                answer, f"{source}: {place}" if place else source, f"{source} can't be read"
            )
        return found

    def _attach_rows(self, wanted: str) -> list[dict[str, Scalar]]:
        there = attach_targets.AttachTargets(self._root)
        rows: list[dict[str, Scalar]] = []
        for name in (word.strip() for word in wanted.split(",")):
            if name:
                found = there.find(name)
                rows.append({"name": name, "answer": found.answer, "why": found.why, "fix": found.fix})
        return rows


def _pid(target: Target | None, window: Window) -> str:
    """The process that is meant; empty when the target does not run."""
    given = window.options.get("pid")
    if given not in (None, ""):
        if not str(given).isdigit() or not Path(f"/proc/{given}").is_dir():
            raise ProbeFailed(f"there is no process {given}", fix="give the pid of one that runs")
        return str(given)
    if target is None:
        return _OUR_OWN
    pids = alive(target)
    return str(pids[0]) if pids else ""


def _answer(value: Scalar, source: str, missing: str, *, unit: str = "") -> Reading:
    if value is None:
        return Reading(unit=unit, source=source, missing=missing)
    return Reading(value=value, unit=unit, source=source)


def _tried(found: Support | None) -> Reading:
    if found is None or found.answer == "unknown":
        return Reading(missing=found.why if found else "it was not tried")
    return Reading(value=found.answer, source=found.why)


def _missing_places(rows: list[dict[str, Scalar]]) -> Reading:
    if not rows:
        return Reading(missing="the option attach_to names nothing")
    lacking = ", ".join(str(row["name"]) for row in rows if row["answer"] == "no")
    unknown = ", ".join(str(row["name"]) for row in rows if row["answer"] == "unknown")
    source = f"kallsyms, tracefs{f'; unknown: {unknown}' if unknown else ''}"
    return Reading(value=lacking or "none", source=source)
