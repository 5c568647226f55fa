"""The name of one workload: ``k8s:NAMESPACE/KIND/NAME?container=…&manifest=…&kubeconfig=…&context=…``.

One promise: a ``Ref`` as text holds everything that a fresh process needs to find the same
workload again, in the same cluster or file; two different workloads never share one.

Not here: looking whether it exists (``engine.cluster.targets``).
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import parse_qsl, quote

import msgspec

from engine.errors import UsageError, nearest

SCHEME = "k8s"
_EXAMPLE = "write k8s:NAMESPACE/KIND/NAME, such as k8s:falco/daemonset/falco"
_PARTS = ("container", "manifest", "kubeconfig", "context")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # RFC 1123, as the API server wants it
#: What people write → the kind as it stands in a ref.
_KINDS = {
    "daemonset": ("ds", "daemonsets"),
    "deployment": ("deploy", "deployments"),
    "statefulset": ("sts", "statefulsets"),
    "pod": ("po", "pods"),
}
KINDS = tuple(_KINDS)
_KIND_OF = {word: kind for kind, others in _KINDS.items() for word in (kind, *others)}


class Ref(msgspec.Struct, frozen=True, kw_only=True):
    """Which container of which workload, and where its object stands.

    Attributes:
        namespace: Empty: the one that the kubeconfig's context or the manifest says.
        kind: ``daemonset``, ``deployment``, ``statefulset``, ``pod``; empty: any of them.
        container: Empty where there is only one.
        manifest: Absolute path of a YAML file; then no server is asked.
        kubeconfig, context: Empty: the ones that kubectl would take.
    """

    name: str
    kind: str = ""
    namespace: str = ""
    container: str = ""
    manifest: str = ""
    kubeconfig: str = ""
    context: str = ""

    @property
    def shown(self) -> str:
        """As an operator reads it: ``daemonset/falco in namespace falco``."""
        where = f" in {self.manifest}" if self.manifest else ""
        space = f" in namespace {self.namespace}" if self.namespace and not self.manifest else ""
        return f"{self.kind or 'workload'}/{self.name}{space}{where}"

    def __str__(self) -> str:
        given = [(part, getattr(self, part)) for part in _PARTS]
        query = "&".join(f"{part}={quote(value, safe='/:@')}" for part, value in given if value)
        path = "/".join(filter(None, (self.kind, self.name)))
        return f"{SCHEME}:{self.namespace}/{path}{'?' if query else ''}{query}"


def parse(text: str) -> Ref:
    """A ref from its text; ``falco`` and ``daemonset/falco`` after the namespace are both enough.

    Raises:
        UsageError: It can't be read.
    """
    path, _, query = text.removeprefix(f"{SCHEME}:").partition("?")
    namespace, _, rest = path.partition("/")
    kind, _, name = rest.rpartition("/")
    if not name:
        raise UsageError(f"{text!r} names no workload", fix=_EXAMPLE)
    if kind and kind.lower() not in _KIND_OF:
        near = nearest(kind.lower(), _KIND_OF)
        hint = f"did you mean {near!r}?" if near else f"one of: {', '.join(KINDS)}"
        raise UsageError(f"{kind!r} is no kind of workload that runs pods", fix=hint)
    for word in filter(None, (namespace, name)):
        if not _NAME.fullmatch(word):
            raise UsageError(f"{word!r} can't be a name in Kubernetes", fix=_EXAMPLE)
    pairs = parse_qsl(query, keep_blank_values=True)
    if "?" in query or len(pairs) > len(dict(pairs)):  # a value that was put in brought parts of its own
        raise UsageError(f"{text!r} says a part twice", fix="each of them once, after one question mark")
    given = {part: value for part, value in pairs if value}
    for part in given:
        if part not in _PARTS:
            near = nearest(part, _PARTS)
            raise UsageError(
                f"{part!r} is no part of a workload's name", fix=f"one of: {', '.join(_PARTS)}; {near or ''}"
            )
    if (container := given.get("container")) and not _NAME.fullmatch(container):
        raise UsageError(f"{container!r} can't be a container's name", fix="kubectl get pod POD -o yaml")
    if not all(value.isprintable() for value in given.values()):
        raise UsageError(f"{text!r} holds control characters", fix=_EXAMPLE)
    for part in ("manifest", "kubeconfig"):
        if given.get(part):
            given[part] = str(Path(given[part]).expanduser().absolute())
    kind = _KIND_OF[kind.lower()] if kind else ""
    return Ref(namespace=namespace, kind=kind, name=name, **given)
