"""The API server: objects as plain dicts, errors as ours.

One promise: what the server says is handed on as it is (no field of a newer version is lost in a
typed model), every refusal becomes an error with a way out, and nothing waits longer than
``TIMEOUT_S``. Only ``patch`` writes, and not when it is told to rehearse.

Not here: which object is meant (``engine.cluster.targets``), what to patch (``remediations``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from engine import trust
from engine.cluster import errors
from engine.cluster.ref import Ref
from engine.cluster.workload import Object

#: To connect, and for the answer, in seconds.
TIMEOUT_S = (3.0, 15.0)
MANAGER = "runbook"
_JSON_PATCH = "application/json-patch+json"
_SNAKE = {
    "daemonset": "daemon_set",
    "deployment": "deployment",
    "statefulset": "stateful_set",
    "pod": "pod",
    "configmap": "config_map",
}


class Answer(NamedTuple):
    """An object, and the warnings that the server gave with it (header ``Warning``)."""

    content: Object
    warnings: tuple[str, ...] = ()


class Cluster:
    """One API server, as one user. Made by ``connect``."""

    def __init__(self, client: Any, namespace: str, host: str) -> None:  # noqa: ANN401 - untyped across versions
        from kubernetes import client as kinds  # noqa: PLC0415 - optional, 0.25 s

        self.namespace = namespace
        self._host = host
        self._apps, self._core = kinds.AppsV1Api(client), kinds.CoreV1Api(client)
        self._failed: type[Exception] = kinds.ApiException

    def get(self, kind: str, namespace: str, name: str) -> Object:
        """One workload, or one ConfigMap."""
        what = f"{kind}/{name}"
        return self._ask(self._call(kind, "read"), what, name=name, namespace=namespace).content

    def every(self, kind: str, namespace: str, selector: str = "") -> list[Object]:
        """All objects of a kind in a namespace that a label selector fits."""
        given = {"label_selector": selector} if selector else {}
        found = self._ask(self._call(kind, "list"), f"{kind}s", namespace=namespace, **given).content
        return list(found.get("items") or ())

    def pods_on(self, node: str) -> list[Object]:
        """All pods of a node, of any namespace."""
        call = self._core.list_pod_for_all_namespaces
        return list(
            self._ask(call, "pods", field_selector=f"spec.nodeName={node}").content.get("items") or ()
        )

    def replica_sets(self, namespace: str, selector: str) -> list[Object]:
        """The replica sets of a deployment."""
        call = self._apps.list_namespaced_replica_set
        found = self._ask(call, "replicasets", namespace=namespace, label_selector=selector).content
        return list(found.get("items") or ())

    def nodes(self) -> list[Object]:
        """All nodes."""
        return list(self._ask(self._core.list_node, "nodes").content.get("items") or ())

    def space(self, name: str) -> Object:
        """One namespace."""
        return self._ask(self._core.read_namespace, f"namespace/{name}", name=name).content

    def events(self, namespace: str, uid: str) -> list[Object]:
        """What was said about an object lately (the server keeps an hour)."""
        call = self._core.list_namespaced_event
        chosen = f"involvedObject.uid={uid}"
        found = self._ask(call, "events", namespace=namespace, field_selector=chosen).content
        return list(found.get("items") or ())

    def patch(self, ref: Ref, operations: Sequence[Object], *, rehearse: bool = False) -> Answer:
        """Change an object by a JSON patch (RFC 6902); with ``rehearse`` only on the server's paper.

        Raises:
            Conflict: It is no longer the version that the patch was made for.
            Rejected: It is not valid, or an admission controller refuses it.
            Forbidden, Unreachable, NotThere: As they say.
        """
        given: dict[str, Any] = {"dry_run": "All"} if rehearse else {}
        return self._ask(
            self._call(ref.kind, "patch"),
            f"{ref.kind}/{ref.name}",
            name=ref.name,
            namespace=ref.namespace,
            body=list(operations),
            field_manager=MANAGER,
            _content_type=_JSON_PATCH,
            **given,
        )

    def try_pod(self, namespace: str, pod: Object) -> Answer:
        """Let every admission controller judge a pod; none is made.

        Raises:
            Rejected, Forbidden: One refuses it; or we may not make pods, which says nothing about it.
        """
        call = self._core.create_namespaced_pod
        return self._ask(
            call,
            "pods",
            namespace=namespace,
            body=pod,
            dry_run="All",
            field_manager=MANAGER,
            _content_type="application/json",
        )

    def _call(self, kind: str, verb: str) -> Callable[..., Any]:
        api = self._core if kind in ("pod", "configmap") else self._apps
        call: Callable[..., Any] = getattr(api, f"{verb}_namespaced_{_SNAKE[kind]}")
        return call

    def _ask(self, call: Callable[..., Any], what: str, **given: Any) -> Answer:  # noqa: ANN401
        """One request; the body as it came."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - comes with the client

        verb = call.__name__.partition("_")[0]
        try:
            answer = call(**given, _preload_content=False, _request_timeout=TIMEOUT_S)
            status, body, headers = answer.status, answer.data, answer.headers
        except self._failed as error:
            status, body, headers = error.status, error.body, error.headers or {}  # type: ignore[attr-defined]
        except (HTTPError, OSError) as error:
            raise errors.Unreachable(
                f"{self._host} gives no answer: {_reason(error)}", fix="check it with: kubectl cluster-info"
            ) from None
        if not 200 <= (status or 0) < 300:
            raise _refusal(status, _said(body), f"{verb} {what}", given.get("namespace", ""))
        return Answer(json.loads(body), _warnings(headers))


def connect(ref: Ref) -> Cluster:
    """The server that kubectl would speak with: a kubeconfig, else the pod's own service account.

    Raises:
        ClientMissing: The extra is not installed.
        ConfigUnreadable: No kubeconfig, a broken one, or no such context.
        NotTrusted: Others than root could have written it, and this is root.
    """
    try:
        from kubernetes import client, config  # noqa: PLC0415 - optional, 0.25 s
    except ImportError:
        raise errors.ClientMissing from None
    _check_files(ref)
    settings = client.Configuration()
    settings.retries = False
    try:
        space = _configure(config, settings, ref)
    except config.ConfigException as error:
        raise _unreadable(ref, str(error)) from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise _unreadable(ref, f"{type(error).__name__}: {error}") from None
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "yaml":
            raise
        raise _unreadable(ref, "it is no YAML") from None
    return Cluster(client.ApiClient(settings), ref.namespace or space, settings.host)


def _check_files(ref: Ref) -> None:
    """A kubeconfig may name programs to run (``exec``, ``auth-provider``): root takes one from root alone.

    Raises:
        NotTrusted: Others could have written it.
    """
    import os  # noqa: PLC0415 - beside its only use

    named = ref.kubeconfig or os.environ.get("KUBECONFIG") or "~/.kube/config"
    for file in (Path(one).expanduser() for one in named.split(os.pathsep) if one):
        if file.exists() and (trouble := trust.trouble(file)) is not None:
            raise trouble


def _configure(config: Any, settings: Any, ref: Ref) -> str:  # noqa: ANN401 - the client's own modules
    """Fill ``settings``; gives the namespace of the context."""
    import os  # noqa: PLC0415 - beside its only use

    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ and not (ref.kubeconfig or os.environ.get("KUBECONFIG"))
    if in_pod and not Path("~/.kube/config").expanduser().exists():
        config.load_incluster_config(client_configuration=settings)
        space = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
        return space.read_text().strip() if space.exists() else "default"
    file, context = ref.kubeconfig or None, ref.context or None
    config.load_kube_config(
        config_file=file, context=context, client_configuration=settings, persist_config=False
    )
    everything, current = config.list_kube_config_contexts(config_file=file)
    chosen = next((one for one in everything if one["name"] == context), current)
    return str((chosen.get("context") or {}).get("namespace") or "default")


def _unreadable(ref: Ref, why: str) -> errors.ConfigUnreadable:
    place = ref.kubeconfig or "the kubeconfig"
    return errors.ConfigUnreadable(
        f"{place} can't be used: {why.splitlines()[0] if why else 'unknown reason'}",
        fix="see what there is: kubectl config get-contexts; then kubeconfig=FILE and context=NAME",
    )


def _refusal(status: int | None, said: str, request: str, namespace: str) -> Exception:
    """The server's no, as one of our errors."""
    verb, _, what = request.partition(" ")
    space = f" -n {namespace}" if namespace else ""
    kind = what.partition("/")[0]
    match status:
        case 401:
            return errors.Forbidden(
                f"the server does not know us: {said}", fix="log in again, as for kubectl"
            )
        case 403 if "violates PodSecurity" in said or "denied" in said or "security context" in said:
            return errors.Rejected(
                f"{what} is refused: {said}", fix="ask who runs the cluster for an exception"
            )
        case 403:
            plural = kind if kind.endswith("s") else f"{kind}s"
            ours = {"read": "get", "create": "create"}.get(verb, verb)
            check = f"kubectl auth can-i {ours} {plural}{space}"
            return errors.Forbidden(f"we may not {verb} {what}: {said}", fix=f"check with: {check}")
        case 404:
            return errors.NotThere(f"there is no {what}: {said}", fix=f"kubectl get {kind}{space}")
        case 409:
            return errors.Conflict(f"{what} was changed meanwhile: {said}", fix="look again, then try again")
    return errors.Rejected(f"{what} is refused ({status}): {said}", fix=f"kubectl describe {what}{space}")


def _said(body: bytes | str | None) -> str:
    """The message of a ``Status`` object, or what else the body says."""
    try:
        return str(json.loads(body or "{}").get("message") or "no reason given")
    except (ValueError, AttributeError):
        text = body.decode(errors="replace") if isinstance(body, bytes) else body or ""
        return text.strip()[:200] or "no reason given"


def _warnings(headers: Any) -> tuple[str, ...]:  # noqa: ANN401 - urllib3's or a dict
    """The texts of ``Warning: 299 - "text"`` headers (RFC 7234)."""
    found = headers.getlist("Warning") if hasattr(headers, "getlist") else [headers.get("Warning") or ""]
    return tuple(one.partition('"')[2].rpartition('"')[0] or one for line in found for one in [line] if line)


def _reason(error: BaseException) -> str:
    cause = getattr(error, "reason", None) or error
    words = str(cause)
    return words.rpartition(": ")[2] or type(cause).__name__
