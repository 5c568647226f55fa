"""Whether this machine can run each part: yes, no or unknown, why, and the command that mends it.

One promise: a "no" comes from a fact that is shown, never from a guess; what could not be
found out is "unknown". Nothing is changed, not even the journal's directory is made.

Not here: whether one agent can be changed (``runbook targets``), the probes' own tests
(their ``supported``).
"""

from __future__ import annotations

import ctypes
import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine import journal
from engine.agents import profiles
from engine.catalog import BrokenPart, Catalog
from engine.errors import RunbookError
from engine.guarding import policy
from engine.values import Support

#: Capability → its bit in ``CapEff`` (include/uapi/linux/capability.h), what it is needed for.
CAPABILITIES = {
    "CAP_BPF": (39, "loading BPF programs"),
    "CAP_PERFMON": (38, "tracing with them"),
    "CAP_SYS_ADMIN": (21, "reading the BPF objects of other processes"),
    "CAP_SYS_PTRACE": (19, "reading other users' /proc"),
}
#: Probes without which the main runbooks see nothing.
_NEEDED_PROBES = frozenset({"event-flow", "process"})
_LIBBPF = ("libbpf.so.1", "libbpf.so")


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One question and its answer.

    Attributes:
        group: ``machine``, ``runbook``, ``probe``, ``diagnosis`` or ``remediation``.
        needed: Without it the main runbooks can't run.
    """

    group: str
    name: str
    support: Support
    needed: bool = False


def examine(catalog: Catalog, state: Path | None = None, root: Path = Path("/")) -> Iterator[Check]:
    """All checks, in the order in which a person would mend them.

    Args:
        catalog: The installed parts.
        state: The journal's directory; the default one when None.
        root: Where ``/proc`` and ``/sys`` are, for tests.
    """
    yield Check(group="machine", name="privileges", support=privileges(root), needed=True)
    yield Check(group="machine", name="kernel BTF", support=btf(root), needed=True)
    yield Check(group="machine", name="libbpf", support=libbpf(), needed=True)
    yield Check(group="runbook", name="journal", support=journal_place(state), needed=True)
    yield Check(group="runbook", name="policy", support=policy_file(), needed=True)
    yield Check(group="runbook", name="agent profiles", support=agent_profiles())
    for kind in ("probe", "diagnosis", "remediation"):
        for name, part in catalog.each(kind):
            needed = kind == "probe" and name in _NEEDED_PROBES
            yield Check(group=kind, name=name, support=_part(kind, part), needed=needed)


def privileges(root: Path = Path("/")) -> Support:
    """The effective capabilities of this process."""
    try:
        status = (root / "proc/self/status").read_text()
        bits = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    except (OSError, StopIteration, ValueError):
        return Support(
            answer="unknown", why="/proc/self/status can't be read", fix="mount -t proc proc /proc"
        )
    missing = [f"{name} ({use})" for name, (bit, use) in CAPABILITIES.items() if not bits >> bit & 1]
    if not missing:
        return Support(answer="yes", why="all capabilities that are needed")
    return Support(answer="no", why=f"missing: {', '.join(missing)}", fix="run as root: sudo runbook doctor")


def btf(root: Path = Path("/")) -> Support:
    """The kernel's own type information, which our prebuilt programs are relocated against."""
    if (root / "sys/kernel/btf/vmlinux").exists():
        return Support(answer="yes", why="/sys/kernel/btf/vmlinux is there")
    if not (root / "sys/kernel").exists():
        return Support(answer="unknown", why="/sys is not mounted", fix="mount -t sysfs sysfs /sys")
    missing = "/sys/kernel/btf/vmlinux is not there"
    match _built_with_btf(root):
        case True:
            why = f"{missing}, though this kernel was built with CONFIG_DEBUG_INFO_BTF: something hides it"
            return Support(answer="no", why=why, fix="give the container the host's /sys (read-only will do)")
        case False:
            why = "this kernel was built without CONFIG_DEBUG_INFO_BTF"
            return Support(answer="no", why=why, fix="boot a kernel that was built with it")
    why = f"{missing}: the kernel was built without CONFIG_DEBUG_INFO_BTF, or a container hides it"
    return Support(answer="no", why=why, fix="look: grep CONFIG_DEBUG_INFO_BTF /boot/config-$(uname -r)")


def _built_with_btf(root: Path) -> bool | None:
    """What the running kernel's own configuration says; None when it can't be read."""
    for place in (root / "proc/config.gz", root / f"boot/config-{os.uname().release}"):
        try:
            raw = place.read_bytes()
        except OSError:
            continue
        lines = (gzip.decompress(raw) if place.suffix == ".gz" else raw).splitlines()
        return b"CONFIG_DEBUG_INFO_BTF=y" in lines
    return None


def libbpf() -> Support:
    """The library that loads BPF programs."""
    for name in _LIBBPF:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        major, minor = library.libbpf_major_version(), library.libbpf_minor_version()
        answer = Support(answer="yes", why=f"{name}, version {major}.{minor}")
        return (
            answer
            if major >= 1
            else Support(
                answer="no",
                why=f"version {major}.{minor} is too old; 1.0 is needed",
                fix="apt-get install libbpf1",
            )
        )
    return Support(answer="no", why="libbpf.so.1 is not installed", fix="apt-get install libbpf1")


def journal_place(state: Path | None = None) -> Support:
    """Whether the journal can be written; without it nothing is changed. Makes nothing."""
    place = state or journal.default_directory()
    there = next(folder for folder in (place, *place.parents) if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        fix = f"run as the owner of {there}, or give another place: --state DIR"
        return Support(answer="no", why=f"{there} can't be written by this user", fix=fix)
    try:
        with journal.Journal.open(place, write=False) as opened:
            count = len(opened.runs())
    except RunbookError as error:
        return Support(answer="no", why=error.problem, fix=error.fix)
    return Support(answer="yes", why=f"{place}: {count} runs")


def policy_file() -> Support:
    """Whether the policy that rules here can be read."""
    try:
        policy.load()
    except RunbookError as error:
        return Support(answer="no", why=error.problem, fix=error.fix)
    own = os.environ.get("RUNBOOK_POLICY") or str(policy.STANDARD_PLACE)
    there = Path(own).exists()
    return Support(
        answer="yes", why=own if there else f"the built-in one, which asks for every change; no {own}"
    )


def agent_profiles() -> Support:
    """Whether all agent profiles can be read."""
    found, complaints = profiles.load_all()
    names = ", ".join(profile.profile for profile in found) or "none"
    if complaints:
        return Support(answer="no", why="; ".join(complaints), fix="runbook check FILE")
    return Support(answer="yes", why=names)


def _part(kind: str, part: object) -> Support:
    """Whether an installed part can be loaded; for a probe, whether it can look here."""
    if isinstance(part, BrokenPart):
        return Support(answer="no", why=part.problem, fix=part.fix)
    if kind != "probe":
        return Support(answer="yes", why=str(getattr(part, "summary", "")))
    try:
        answer = part.supported(None)  # type: ignore[attr-defined]  # the catalog has checked the contract
    except RunbookError as error:
        return Support(answer="unknown", why=error.problem, fix=error.fix)
    except Exception as error:  # noqa: BLE001 - a stranger's probe must not end the examination
        return Support(answer="unknown", why=f"it failed when asked: {type(error).__name__}: {error}")
    return answer if isinstance(answer, Support) else Support(answer="unknown", why="it gave no answer")


def healthy(checks: list[Check]) -> bool:
    """Whether all that is needed is there."""
    return all(check.support.answer == "yes" for check in checks if check.needed)
