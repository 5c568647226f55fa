"""A Kubernetes API server for tests: one process, on loopback, with the manners of the real one.

Written from the API's own description (Kubernetes API reference and API concepts): objects bear uid,
resourceVersion and generation; JSON, merge and strategic-merge patches by their content types (415 for
others); ``dryRun=All`` goes through everything and keeps nothing; a stale resourceVersion is 409 Conflict,
a failed ``test`` 422, an object that breaks the schema 422 Invalid, no right 403 Forbidden, each as a
``Status`` object; lists take label and field selectors; a changed pod template raises the generation, and a
controller makes its pods anew, which run as the node lets them. Pod Security admission is enforced on pods
and warned of on workloads.
"""

import copy
import datetime
import json
import re
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

APPS, CORE = "/apis/apps/v1", "/api/v1"
KINDS = {
    "daemonsets": (APPS, "DaemonSet"),
    "deployments": (APPS, "Deployment"),
    "statefulsets": (APPS, "StatefulSet"),
    "replicasets": (APPS, "ReplicaSet"),
    "pods": (CORE, "Pod"),
    "events": (CORE, "Event"),
    "nodes": (CORE, "Node"),
    "namespaces": (CORE, "Namespace"),
    "configmaps": (CORE, "ConfigMap"),
}
PATH = re.compile(
    r"(?P<group>/api/v1|/apis/apps/v1)(/namespaces/(?P<space>[^/]+))?/(?P<plural>[a-z]+)(/(?P<name>[^/]+))?$"
)
#: What the schema allows in a container's security context (core/v1 SecurityContext).
CONTEXT = {
    "allowPrivilegeEscalation": bool,
    "appArmorProfile": dict,
    "capabilities": dict,
    "privileged": bool,
    "procMount": str,
    "readOnlyRootFilesystem": bool,
    "runAsGroup": int,
    "runAsNonRoot": bool,
    "runAsUser": int,
    "seLinuxOptions": dict,
    "seccompProfile": dict,
    "windowsOptions": dict,
}
BASELINE = {
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE"),
    *("SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
}


class Refusal(Exception):
    """An answer that is no object: code, reason, message."""


class Store:
    """All objects, and what happens to them by themselves.

    Args:
        run: Given a pod's specification: None when its container runs, else why not (the kubelet's words).
    """

    def __init__(self, run=lambda spec: None):
        self.run = run
        self.objects = {}
        self.version = 100
        self.forbidden = set()  # (verb, plural)
        self.requests = []
        self.before_patch = []  # called once each, before a patch that is no dry-run
        self.level = {}  # namespace → enforced level
        self.paused = False
        self.lock = threading.RLock()
        self.add("nodes", {"metadata": {"name": "n1"}, "status": node_info("6.1.0-13-amd64")})
        self.add("nodes", {"metadata": {"name": "n2"}, "status": node_info("6.1.0-13-amd64")})

    # ── objects ────────────────────────────────────────────────────────────────

    def add(self, plural, content):
        """Put an object there, as an administrator would have."""
        group, kind = KINDS[plural]
        whole = copy.deepcopy(content)
        whole["kind"], whole["apiVersion"] = kind, group.removeprefix("/apis/").removeprefix("/api/")
        metadata = whole.setdefault("metadata", {})
        if plural not in ("nodes", "namespaces"):
            metadata.setdefault("namespace", "default")
        metadata.setdefault("uid", str(uuid.uuid4()))
        metadata["generation"] = 1
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        metadata["managedFields"] = [{"manager": "helm", "operation": "Update"}]
        defaults(whole)
        self.keep(plural, whole)
        space = metadata.get("namespace")
        if space and ("namespaces", None, space) not in self.objects:
            labels = {"kubernetes.io/metadata.name": space}
            if space in self.level:
                labels["pod-security.kubernetes.io/enforce"] = self.level[space]
            self.add("namespaces", {"metadata": {"name": space, "labels": labels}})
        if plural in ("daemonsets", "deployments", "statefulsets"):
            self.settle(plural, whole)
        return whole

    def keep(self, plural, whole):
        self.version += 1
        whole["metadata"]["resourceVersion"] = str(self.version)
        self.objects[plural, whole["metadata"].get("namespace"), whole["metadata"]["name"]] = whole

    def get(self, plural, space, name):
        found = self.objects.get((plural, space, name))
        if found is None:
            group = (
                KINDS[plural][0].removeprefix("/apis/").partition("/")[0] if plural in ("daemonsets",) else ""
            )
            raise Refusal(404, "NotFound", f'{plural}{"." + group if group else ""} "{name}" not found')
        return found

    def list(self, plural, space, labels, fields):
        found = [
            one
            for (kind, where, _), one in self.objects.items()
            if kind == plural and (space is None or where == space) and fits(one, labels, fields)
        ]
        group, kind = KINDS[plural]
        return {
            "kind": f"{kind}List",
            "apiVersion": group.rpartition("/apis/")[2],
            "metadata": {"resourceVersion": str(self.version)},
            "items": found,
        }

    def patch(self, plural, space, name, body, kind, dry):
        if not dry and self.before_patch:
            self.before_patch.pop(0)()
        old = self.get(plural, space, name)
        new = patched(copy.deepcopy(old), body, kind)
        asked = new["metadata"].get("resourceVersion")
        if asked != old["metadata"]["resourceVersion"]:
            text = (
                f'Operation cannot be fulfilled on {plural}.apps "{name}": the object has been modified; '
                "please apply your changes to the latest version and try again"
            )
            raise Refusal(409, "Conflict", text)
        if plural == "configmaps":
            if old.get("immutable") or not all(
                isinstance(one, str) for one in (new.get("data") or {}).values()
            ):
                raise Refusal(422, "Invalid", f'ConfigMap "{name}" is invalid: data: Invalid value')
            if not dry and new != old:
                self.keep(plural, new)
            return new, []
        validate(new, plural, name)
        defaults(new)
        if new["spec"] != old["spec"]:
            new["metadata"]["generation"] += 1
        warnings = [
            f'would violate PodSecurity "{self.level[space]}:latest": {one}'
            for one in violations(self.level.get(space), new["spec"]["template"]["spec"])
        ]
        if not dry and new != old:
            self.keep(plural, new)
            if new["spec"] != old["spec"] and not self.paused:
                self.settle(plural, new)
        return new, warnings

    def create_pod(self, space, pod, dry):
        assert dry, "nobody but a controller makes pods here"
        broken = violations(self.level.get(space), pod["spec"])
        if broken:
            name = pod["metadata"].get("generateName", "") + "x"
            rule = f'violates PodSecurity "{self.level[space]}:latest": {"; ".join(broken)}'
            text = f'pods "{name}" is forbidden: {rule}'
            raise Refusal(403, "Forbidden", text)
        return pod

    # ── what happens by itself ─────────────────────────────────────────────────

    def settle(self, plural, whole):
        """The controller: make all pods anew from the template; a DaemonSet stops at the first bad one."""
        metadata, spec = whole["metadata"], whole["spec"]
        space, name = metadata["namespace"], metadata["name"]
        template = spec["template"]
        nodes = ["n1", "n2"] if plural == "daemonsets" else ["n1"] * spec.get("replicas", 1)
        owner = {"kind": whole["kind"], "name": name, "uid": metadata["uid"], "controller": True}
        if plural == "deployments":
            owner = self.replica_set(whole, owner)
        broken = violations(self.level.get(space), template["spec"])
        made = 0
        for number, node in enumerate(nodes):
            key = ("pods", space, f"{name}-{number}")
            self.objects.pop(key, None)
            if broken:
                self.event(
                    space,
                    owner["uid"],
                    f'Error creating: pods "{name}-{number}" is forbidden: {"; ".join(broken)}',
                )
                continue
            made += 1
            pod = self.pod(key[2], space, template, owner, node)
            if (
                not ready(pod)
                and plural == "daemonsets"
                and spec.get("updateStrategy", {}).get("type") != "OnDelete"
            ):
                made = number + 1
        pods = [
            self.objects[key]
            for key in self.objects
            if key[0] == "pods" and key[1] == space and owned(self.objects[key], owner)
        ]
        well = sum(map(ready, pods))
        whole["status"] = {"observedGeneration": metadata["generation"]} | (
            {
                "desiredNumberScheduled": len(nodes),
                "currentNumberScheduled": len(pods),
                "updatedNumberScheduled": made,
                "numberReady": well,
                "numberAvailable": well,
                "numberUnavailable": len(nodes) - well,
            }
            if plural == "daemonsets"
            else {"replicas": made, "updatedReplicas": made, "readyReplicas": well, "availableReplicas": well}
        )
        self.keep(plural, whole)

    def replica_set(self, whole, owner):
        name = f"{whole['metadata']['name']}-{whole['metadata']['generation']}"
        made = self.add(
            "replicasets",
            {
                "metadata": {
                    "name": name,
                    "namespace": whole["metadata"]["namespace"],
                    "labels": whole["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [owner],
                }
            },
        )
        return {"kind": "ReplicaSet", "name": name, "uid": made["metadata"]["uid"], "controller": True}

    def pod(self, name, space, template, owner, node):
        why = self.run(template["spec"])
        state = (
            {"running": {}} if why is None else {"waiting": {"reason": "CrashLoopBackOff", "message": why}}
        )
        statuses = [
            {
                "name": one["name"],
                "ready": why is None,
                "restartCount": 0 if why is None else 7,
                "containerID": f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}",
                "state": state,
                "lastState": {}
                if why is None
                else {"terminated": {"reason": "Error", "exitCode": 1, "message": why}},
            }
            for one in template["spec"]["containers"]
        ]
        return self.add(
            "pods",
            {
                "metadata": {
                    "name": name,
                    "namespace": space,
                    "labels": template["metadata"]["labels"],
                    "ownerReferences": [owner],
                },
                "spec": {**copy.deepcopy(template["spec"]), "nodeName": node},
                "status": {
                    "phase": "Running",
                    "conditions": [{"type": "Ready", "status": "True" if why is None else "False"}],
                    "containerStatuses": statuses,
                },
            },
        )

    def event(self, space, uid, message):
        self.add(
            "events",
            {
                "metadata": {"name": uuid.uuid4().hex, "namespace": space},
                "reason": "FailedCreate",
                "type": "Warning",
                "count": 1,
                "message": message,
                "involvedObject": {"uid": uid},
                "lastTimestamp": datetime.datetime.now(datetime.UTC).isoformat(),
            },
        )


# ── the API's rules ────────────────────────────────────────────────────────────


def node_info(kernel, runtime="containerd://1.7.2"):
    return {
        "nodeInfo": {"kernelVersion": kernel, "containerRuntimeVersion": runtime, "architecture": "amd64"}
    }


def ready(pod):
    return pod["status"]["conditions"][0]["status"] == "True"


def owned(pod, owner):
    return any(one["uid"] == owner["uid"] for one in pod["metadata"].get("ownerReferences", ()))


def fits(one, labels, fields):
    for term in filter(None, (labels or "").split(",")):
        key, _, value = term.partition("=")
        if one["metadata"].get("labels", {}).get(key) != value:
            return False
    for term in filter(None, (fields or "").split(",")):
        path, _, value = term.partition("=")
        node = one
        for key in path.split("."):
            node = node.get(key, {}) if isinstance(node, dict) else {}
        if node != value:
            return False
    return True


def defaults(whole):
    """What the server fills in, of what a client may leave out (core/v1 defaults)."""
    template = whole.get("spec", {}).get("template")
    if not template:
        return
    spec = template["spec"]
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("securityContext", {})
    for volume in spec.get("volumes") or ():
        if "hostPath" in volume:
            volume["hostPath"].setdefault("type", "")


def validate(whole, plural, name):
    """422 Invalid, with the server's way of naming the place."""
    spec = whole["spec"]["template"]["spec"]
    names = {one.get("name") for one in spec.get("volumes") or ()}
    for number, one in enumerate(spec["containers"]):
        place = f"spec.template.spec.containers[{number}]"
        context = one.get("securityContext") or {}
        for key, value in context.items():
            if key not in CONTEXT or not isinstance(value, CONTEXT[key]):
                raise Refusal(
                    422,
                    "Invalid",
                    f'{whole["kind"]}.apps "{name}" is invalid: {place}.securityContext.{key}: Invalid value',
                )
        if context.get("privileged") and context.get("allowPrivilegeEscalation") is False:
            text = f"{place}.securityContext: Invalid value: cannot set `allowPrivilegeEscalation` to false"
            text += " and `privileged` to true"
            raise Refusal(422, "Invalid", f'{whole["kind"]}.apps "{name}" is invalid: {text}')
        for index, mount in enumerate(one.get("volumeMounts") or ()):
            if mount["name"] not in names:
                text = f'{place}.volumeMounts[{index}].name: Not found: "{mount["name"]}"'
                raise Refusal(422, "Invalid", f'{whole["kind"]}.apps "{name}" is invalid: {text}')


def violations(level, spec):
    """Pod Security, the part of it that agents meet."""
    if level not in ("baseline", "restricted"):
        return []
    broken = []
    for one in spec["containers"]:
        context = one.get("securityContext") or {}
        added = [
            name for name in (context.get("capabilities") or {}).get("add") or () if name not in BASELINE
        ]
        if added:
            broken.append(
                f"non-default capabilities (container {one['name']!r} must not include {', '.join(added)})"
            )
        if context.get("privileged"):
            broken.append(
                f"privileged (container {one['name']!r} must not set securityContext.privileged=true)"
            )
    if spec.get("hostPID"):
        broken.append("host namespaces (hostPID=true)")
    if any("hostPath" in volume for volume in spec.get("volumes") or ()):
        broken.append("hostPath volumes")
    return broken


def patched(whole, body, kind):
    """The three kinds of patch, by content type."""
    if kind == "application/json-patch+json":
        for one in body:
            operate(whole, one)
        return whole
    if kind == "application/merge-patch+json":
        return merged(whole, body, strategic=False)
    if kind == "application/strategic-merge-patch+json":
        return merged(whole, body, strategic=True)
    raise Refusal(415, "UnsupportedMediaType", f"the body of the request was in an unknown format: {kind}")


def operate(whole, one):
    """One operation of RFC 6902."""
    parts = [part.replace("~1", "/").replace("~0", "~") for part in one["path"].split("/")[1:]]
    node = whole
    try:
        for part in parts[:-1]:
            node = node[int(part)] if isinstance(node, list) else node[part]
        last = parts[-1]
        if isinstance(node, list):
            place = len(node) if last == "-" else int(last)
            if one["op"] == "add":
                node.insert(place, one["value"])
                return
            there = node[place]
        else:
            place, there = last, node[last] if one["op"] != "add" else None
    except (KeyError, IndexError, ValueError) as error:
        text = f"{one['op']} operation does not apply: doc is missing path: {one['path']}: {error}"
        raise Refusal(422, "", text) from None
    if one["op"] == "test":
        if there != one["value"]:
            raise Refusal(422, "", f"testing value {one['path']} failed: test failed")
    elif one["op"] == "remove":
        del node[place]
    else:
        node[place] = one["value"]


def merged(whole, body, strategic):
    """RFC 7386; strategic: lists of named things are merged by name."""
    if not isinstance(body, dict):
        return body
    result = dict(whole) if isinstance(whole, dict) else {}
    for key, value in body.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif strategic and key in ("containers", "volumes") and isinstance(old, list):
            by_name = {one["name"]: one for one in old}
            for one in value:
                by_name[one["name"]] = merged(by_name.get(one["name"], {}), one, strategic)
            result[key] = list(by_name.values())
        else:
            result[key] = merged(old, value, strategic) if isinstance(value, dict) else value
    return result


# ── HTTP ───────────────────────────────────────────────────────────────────────


class ApiServer:
    """Serves a store until it is closed; gives a kubeconfig for it."""

    def __init__(self, store):
        self.store = store
        handler = type("Handler", (Handler,), {"store": store})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._http.server_port}"

    def kubeconfig(self, file, namespace="falco"):
        """Write a kubeconfig that speaks with this server."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}],
            "users": [{"name": "tester", "user": {"token": "secret"}}],
            "contexts": [
                {"name": "test", "context": {"cluster": "test", "user": "tester", "namespace": namespace}}
            ],
        }
        file.write_text(json.dumps(content))
        return file

    def close(self):
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # headers and body in one segment, else each answer waits 40 ms for an ACK
    store: Store

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer("get")

    def do_PATCH(self):
        self.answer("patch")

    def do_POST(self):
        self.answer("create")

    def answer(self, verb):
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length)
        warnings, code = (), 200
        with self.store.lock:
            try:
                content, warnings = self.serve(verb, raw)
            except Refusal as refusal:
                code, reason, message = refusal.args
                content = {
                    "kind": "Status",
                    "apiVersion": "v1",
                    "metadata": {},
                    "status": "Failure",
                    "message": message,
                    "reason": reason,
                    "code": code,
                }
            body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for one in warnings:
            self.send_header("Warning", f'299 - "{one}"')
        self.end_headers()
        self.wfile.write(body)

    def serve(self, verb, raw):
        if self.headers.get("Authorization") != "Bearer secret":
            raise Refusal(401, "Unauthorized", "Unauthorized")
        parts = urlsplit(self.path)
        asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
        match = PATH.match(unquote(parts.path))
        plural = match and match["plural"]
        if match is None or plural not in KINDS or KINDS[plural][0] != match["group"]:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        space, name = match["space"], match["name"]
        word = "list" if verb == "get" and not name else verb
        dry = asked.get("dryRun") == "All"
        body = json.loads(raw) if raw else None
        kind = (self.headers.get("Content-Type") or "").partition(";")[0]
        self.store.requests.append((word, plural, dry, kind, body))
        if (word, plural) in self.store.forbidden:
            text = (
                f'{plural} is forbidden: User "tester" cannot {word} resource "{plural}" in API group "apps"'
            )
            raise Refusal(403, "Forbidden", text + (f' in the namespace "{space}"' if space else ""))
        if word == "list":
            return self.store.list(plural, space, asked.get("labelSelector"), asked.get("fieldSelector")), ()
        if word == "get":
            return self.store.get(plural, space, name), ()
        if word == "create":
            return self.store.create_pod(space, body, dry), ()
        return self.store.patch(plural, space, name, body, kind, dry)
