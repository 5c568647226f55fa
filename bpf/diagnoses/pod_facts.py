"""What the rules about pods read, taken out of the evidence once.

Not here: the rules (``pod_rules``).
"""

from __future__ import annotations

import msgspec

from engine.values import Case, Scalar

_EPERM = ("EPERM", "EACCES")


class PodFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One pod's container: what it lacks, what it is given, what really is.

    Attributes:
        lacking: Number of rights it lacks; None when what it needs is unknown.
        missing, given: Capabilities, as Kubernetes writes them.
        mounts: Host directories that it needs and does not see.
        needs: Rows of the probe's table.
        here: One of its processes runs on this host, so ``host`` is about it.
        held: What that process has in force; None when unknown.
        refused: Failed loads with EPERM or EACCES; by_seccomp: those that a filter refused.
    """

    lacking: int | None
    missing: tuple[str, ...]
    given: frozenset[str]
    mounts: tuple[str, ...]
    host_pid_missing: bool
    privileged: bool
    non_root: bool
    escalation: bool
    read_only_root: bool
    host_users: bool
    seccomp: str
    apparmor: str
    selinux: str
    runtime: str
    kernel: int | None
    level: str
    forbidden: str
    refusals: int
    refusal: str
    pods_wanted: float | None
    pods_ready: float | None
    trouble: str
    needs: tuple[dict[str, Scalar], ...]
    here: bool
    host: dict[str, str]
    held: frozenset[str] | None
    loads_seen: bool
    refused: int
    by_seccomp: int

    def reason(self, what: str) -> str:
        """Why something is needed, and who says so."""
        row = next((one for one in self.needs if one.get("needs") == what), {})
        return f"{row.get('why', 'its programs need it')} [{row.get('source', 'unknown')}]"

    def host_is(self, name: str, *values: str) -> bool:
        """Whether the process's host or the process itself reads so; False where it does not run here."""
        return self.here and self.host.get(name) in values


def facts_of(case: Case) -> PodFacts:
    """Read the case once."""
    kube, host, loads = (case.evidence.get(name) for name in ("kube", "host", "loads"))
    assert kube is not None  # noqa: S101 - the diagnosis has looked

    def said(name: str) -> str:
        return kube.text(name) or ""

    def words(name: str) -> tuple[str, ...]:
        return () if said(name) in ("", "none") else tuple(said(name).split())

    here = said("on_this_host") == "yes" and host is not None and host.text("running") != "no"
    held = host.text("caps_effective") if host is not None and here else None
    rows = loads.tables.get("failures", ()) if loads is not None else ()
    return PodFacts(
        lacking=None if kube.number("lacking") is None else int(kube.number("lacking") or 0),
        missing=words("missing_capabilities"),
        given=frozenset(words("capabilities")),
        mounts=words("missing_mounts"),
        host_pid_missing=said("host_pid_missing") == "yes",
        privileged=said("privileged") == "yes",
        non_root=said("non_root") == "yes",
        escalation=said("escalation") != "no",
        read_only_root=said("read_only_root") == "yes",
        host_users=said("host_users") != "no",
        seccomp=said("seccomp"),
        apparmor=said("apparmor"),
        selinux=said("selinux"),
        runtime=said("runtime"),
        kernel=None if kube.number("kernel_version") is None else int(kube.number("kernel_version") or 0),
        level=said("admission_level"),
        forbidden=said("forbidden") if said("forbidden") != "none" else "",
        refusals=int(kube.number("refusals") or 0),
        refusal=said("refusal"),
        pods_wanted=kube.number("pods_wanted"),
        pods_ready=kube.number("pods_ready"),
        trouble=said("trouble") or said("last_exit"),
        needs=kube.tables.get("needs", ()),
        here=here,
        host={
            name: str(one.value)
            for name, one in (host.readings if host else {}).items()
            if one.value is not None
        },
        held=None if held is None else _names(held),
        loads_seen=loads is not None,
        refused=sum(1 for row in rows if str(row.get("errno", "")).partition(" ")[0] in _EPERM),
        by_seccomp=int((loads.number("refused_by_seccomp") if loads else 0) or 0),
    )


def _names(text: str) -> frozenset[str]:
    """``cap_bpf cap_perfmon`` as Kubernetes writes them."""
    words = text.replace(",", " ").upper().split()
    return frozenset(word.removeprefix("CAP_") for word in words if word not in ("NONE", "=", "=EP"))
