"""What the Pod Security Standards forbid, by level.

One promise: each entry names a rule of the standard that a pod breaks; a level that we do not know
forbids nothing here, and the server's own dry-run then speaks.

Not here: webhooks and other platforms' rules (OpenShift's constraints, GKE Autopilot): only the
server knows those, and a dry-run asks it.
Source: Kubernetes documentation, "Pod Security Standards" (v1.25 and later).
"""

from __future__ import annotations

from engine.cluster.workload import Object

ENFORCE = "pod-security.kubernetes.io/enforce"
#: Capabilities that ``baseline`` lets a container add.
_BASELINE = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SELINUX = frozenset(("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"))
#: Kinds of volumes that ``restricted`` allows.
_VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
})  # fmt: skip


def level(namespace: Object) -> str:
    """``privileged``, ``baseline`` or ``restricted``, as the namespace's label says; else empty."""
    labels = (namespace.get("metadata") or {}).get("labels") or {}
    return str(labels.get(ENFORCE, ""))


def forbids(wanted: str, spec: Object) -> list[str]:
    """What of a pod's specification a level forbids; each in words."""
    if wanted not in ("baseline", "restricted"):
        return []
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    broken = [f"{name}: true" for name in ("hostPID", "hostIPC", "hostNetwork") if spec.get(name)]
    broken += [
        f"a hostPath volume ({volume.get('name')})"
        for volume in spec.get("volumes") or ()
        if volume.get("hostPath")
    ]
    for one in containers:
        broken += _baseline(one, spec)
    if wanted == "restricted":
        broken += [
            f"a volume that is no plain one ({volume.get('name')})"
            for volume in spec.get("volumes") or ()
            if not (_VOLUMES & volume.keys() or volume.get("hostPath"))
        ]
        for one in containers:
            broken += _restricted(one, spec)
    return list(dict.fromkeys(broken))


def _baseline(container: Object, spec: Object) -> list[str]:
    context, whole = container.get("securityContext") or {}, spec.get("securityContext") or {}
    added = (context.get("capabilities") or {}).get("add") or ()
    broken = [f"capability {name}" for name in map(_bare, added) if name not in _BASELINE]
    if context.get("privileged"):
        broken.append("privileged: true")
    if (context.get("seccompProfile") or whole.get("seccompProfile") or {}).get("type") == "Unconfined":
        broken.append("seccompProfile Unconfined")
    if (context.get("appArmorProfile") or whole.get("appArmorProfile") or {}).get("type") == "Unconfined":
        broken.append("appArmorProfile Unconfined")
    label = context.get("seLinuxOptions") or whole.get("seLinuxOptions") or {}
    if label.get("type", "") not in _SELINUX or label.get("user") or label.get("role"):
        broken.append(f"seLinuxOptions {label.get('type', '')}".strip())
    if context.get("procMount", "Default") != "Default":
        broken.append(f"procMount {context['procMount']}")
    return broken


def _restricted(container: Object, spec: Object) -> list[str]:
    context, whole = container.get("securityContext") or {}, spec.get("securityContext") or {}
    capabilities = context.get("capabilities") or {}
    broken = []
    if "ALL" not in map(_bare, capabilities.get("drop") or ()):
        broken.append("capabilities that are not all dropped")
    if context.get("allowPrivilegeEscalation") is not False:
        broken.append("allowPrivilegeEscalation that is not false")
    if context.get("runAsNonRoot", whole.get("runAsNonRoot")) is not True:
        broken.append("runAsNonRoot that is not true")
    if context.get("runAsUser", whole.get("runAsUser")) == 0:
        broken.append("runAsUser: 0")
    seccomp = (context.get("seccompProfile") or whole.get("seccompProfile") or {}).get("type")
    if seccomp not in ("RuntimeDefault", "Localhost"):
        broken.append("a seccompProfile that is not set")
    return broken


def _bare(name: object) -> str:
    return str(name).upper().removeprefix("CAP_")
