"""The parts of a pod's specification with what is lacking added, and nothing else.

One promise: rights are only added, each for a lack that was measured; what the workload has
already stays. ``privileged`` is never among them.

Not here: judging whether it may be done (``security_context``).
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import msgspec

from engine.cluster.workload import Object

#: Host directory → name of its volume, and whether it may only be read.
_VOLUMES = {"/sys/fs/bpf": ("bpffs", False), "/sys/kernel/tracing": ("tracefs", True)}


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is added: as an operator reads it, and the risk of it."""

    words: str
    risky: bool = False


class Draft:
    """Parts that grow step by step."""

    def __init__(self, parts: Object) -> None:
        self.parts: Object = copy.deepcopy(parts)
        self.steps: list[Step] = []

    def capabilities(self, names: Iterable[str]) -> None:
        """Add them to the container's; in the way they are written there."""
        wanted = list(names)
        if not wanted:
            return
        listed = self._context().setdefault("capabilities", {}).setdefault("add", [])
        lead = "CAP_" if any(str(one).startswith("CAP_") for one in listed) else ""
        listed += [lead + name for name in wanted]
        self.steps.append(Step(words=f"add {', '.join(wanted)}", risky="SYS_ADMIN" in wanted))

    def mount(self, path: str) -> None:
        """Show a host directory to the container, where the host has it; to read where that is enough."""
        name, read_only = _VOLUMES[path]
        taken = {str(one.get("name")) for one in self.parts.get("volumes") or ()}
        while name in taken:
            name = f"host-{name}"
        volume = {"name": name, "hostPath": {"path": path, "type": "Directory"}}
        place: Object = {"name": name, "mountPath": path}
        self.parts["volumes"] = [*(self.parts.get("volumes") or ()), volume]
        self.parts["volumeMounts"] = [
            *(self.parts.get("volumeMounts") or ()),
            place | ({"readOnly": True} if read_only else {}),
        ]
        self.steps.append(Step(words=f"mount {path}{' (read-only)' if read_only else ''}"))

    def host_pid(self) -> None:
        """Let it see the processes of the host."""
        self.parts["hostPID"] = True
        self.steps.append(Step(words="hostPID: true", risky=True))

    def root(self) -> None:
        """Start it as root of the container: only root gets the added capabilities on exec."""
        context = self._context()
        context["runAsUser"] = 0
        context["runAsNonRoot"] = False
        self.steps.append(Step(words="runAsUser: 0", risky=True))

    def seccomp(self, profile: str) -> None:
        """Another seccomp profile: a file of the node, or ``Unconfined``."""
        free = profile.lower() == "unconfined"
        value = {"type": "Unconfined"} if free else {"type": "Localhost", "localhostProfile": profile}
        self._context()["seccompProfile"] = value
        self.steps.append(Step(words=f"seccomp profile {profile}", risky=free))

    def privileged(self) -> None:
        """Withhold nothing from it."""
        context = self._context()
        context["privileged"] = True
        if context.get("allowPrivilegeEscalation") is False:  # the server refuses both together
            context["allowPrivilegeEscalation"] = True
        self.steps.append(Step(words="privileged: true", risky=True))

    def _context(self) -> Object:
        context = dict(self.parts.get("securityContext") or {})
        if context.get("capabilities") is None:
            context.pop("capabilities", None)
        elif context["capabilities"].get("add") is None:
            context["capabilities"].pop("add", None)
        self.parts["securityContext"] = context
        return context
