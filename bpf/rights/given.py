"""What one container is allowed, as its pod's specification says.

One promise: read from the specification alone, by the rules of the kubelet and the container
runtime; what only the image or the node's settings decide is None, never a guess.

Not here: what the running process really has (evidence ``host``), what it needs (``needs``).
Source: Kubernetes API reference, SecurityContext; containerd and CRI-O default capabilities.
"""

from __future__ import annotations

from typing import Any

import msgspec

Object = dict[str, Any]

#: What containerd and Docker give every container.
_CONTAINERD = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
#: What CRI-O gives every container.
_CRIO = frozenset({
    "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "NET_BIND_SERVICE", "SETFCAP", "SETGID",
    "SETPCAP", "SETUID",
})  # fmt: skip
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a container is allowed.

    Attributes:
        capabilities: Of its bounding set; ``ALL`` for all there are.
        user: The uid it starts as; None where the image decides.
        non_root: It starts as another than root, for certain.
        escalation: Whether file capabilities and set-uid work (no ``no_new_privs``).
        seccomp: ``Unconfined``, ``RuntimeDefault``, ``Localhost: FILE``; empty where the kubelet decides.
        apparmor, selinux: Profile and type; empty where the runtime decides.
        host_users: False when it lives in a user namespace of its own.
        mounts: Path in the container → path on the host.
    """

    privileged: bool = False
    capabilities: frozenset[str] = frozenset()
    user: int | None = None
    non_root: bool = False
    escalation: bool = True
    read_only_root: bool = False
    seccomp: str = ""
    apparmor: str = ""
    selinux: str = ""
    host_pid: bool = False
    host_network: bool = False
    host_users: bool = True
    mounts: dict[str, str] = {}

    def has(self, name: str) -> bool:
        """Whether the container's bounding set holds a capability."""
        return self.privileged or bool(self.capabilities & {"ALL", name})

    def sees(self, places: tuple[str, ...]) -> bool:
        """Whether one of these host paths is mounted in it, itself or with what it lies in."""
        return any(
            place == host or place.startswith(f"{host.rstrip('/')}/")
            for host in self.mounts.values()
            for place in places
        )


def given(spec: Object, container: Object, annotations: Object, runtime: str = "") -> Given:
    """What the specification gives.

    Args:
        spec: The pod's specification.
        container: One of its containers.
        annotations: The pod's, where older versions name AppArmor profiles.
        runtime: As the node tells: ``containerd://1.7.2``; for its default capabilities.
    """
    own, pod = container.get("securityContext") or {}, spec.get("securityContext") or {}
    privileged = bool(own.get("privileged"))
    user = own.get("runAsUser", pod.get("runAsUser"))
    non_root = (user is not None and user != 0) or own.get("runAsNonRoot", pod.get("runAsNonRoot")) is True
    added = _names(own, "add")
    return Given(
        privileged=privileged,
        capabilities=_bounding(added, _names(own, "drop"), runtime),
        user=user if isinstance(user, int) else None,
        non_root=non_root,
        escalation=own.get("allowPrivilegeEscalation") is not False or privileged or "SYS_ADMIN" in added,
        read_only_root=bool(own.get("readOnlyRootFilesystem")),
        seccomp="Unconfined" if privileged else _profile(own, pod, "seccompProfile"),
        apparmor=_profile(own, pod, "appArmorProfile")
        or str(annotations.get(f"{_APPARMOR}{container.get('name')}", "")),
        selinux=str((own.get("seLinuxOptions") or pod.get("seLinuxOptions") or {}).get("type") or ""),
        host_pid=bool(spec.get("hostPID")),
        host_network=bool(spec.get("hostNetwork")),
        host_users=spec.get("hostUsers") is not False,
        mounts=_host_mounts(spec, container),
    )


def _bounding(added: frozenset[str], dropped: frozenset[str], runtime: str) -> frozenset[str]:
    """Defaults, minus what is dropped, plus what is added: an added one wins over ``drop: [ALL]``."""
    defaults = _CRIO if runtime.startswith("cri-o") else _CONTAINERD
    left = frozenset() if "ALL" in dropped else defaults - dropped
    return left | added if "ALL" not in added else frozenset({"ALL"})


def _names(context: Object, what: str) -> frozenset[str]:
    listed = (context.get("capabilities") or {}).get(what) or ()
    return frozenset(str(name).upper().removeprefix("CAP_") for name in listed)


def _profile(own: Object, pod: Object, key: str) -> str:
    profile = own.get(key) or pod.get(key) or {}
    kind, file = str(profile.get("type") or ""), str(profile.get("localhostProfile") or "")
    return f"{kind}: {file}" if file else kind


def _host_mounts(spec: Object, container: Object) -> dict[str, str]:
    volumes = {
        str(one.get("name")): str(one["hostPath"].get("path", ""))
        for one in spec.get("volumes") or ()
        if isinstance(one.get("hostPath"), dict)
    }
    return {
        str(one.get("mountPath", "")).rstrip("/") or "/": _joined(volumes[one["name"]], one.get("subPath"))
        for one in container.get("volumeMounts") or ()
        if one.get("name") in volumes
    }


def _joined(path: str, below: object) -> str:
    whole = path.rstrip("/") + (f"/{below}" if below else "")
    return whole or "/"
