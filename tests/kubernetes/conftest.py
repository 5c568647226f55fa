"""A cluster on loopback with one agent that is allowed too little, and the same agent as a manifest."""

import copy
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))  # importmode=importlib: the server is no package
from api_server import ApiServer, Store

NEEDED = {"BPF", "PERFMON", "SYS_RESOURCE", "SYS_PTRACE"}


class FakeClock:
    """Time that passes only by sleeping."""

    def __init__(self):
        self.at = 0.0

    def now(self):
        return 1_700_000_000.0 + self.at

    def monotonic(self):
        return self.at

    def sleep(self, seconds):
        self.at += seconds


def falco(**container):
    """A DaemonSet of the shape that Falco's chart makes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "falco", "namespace": "falco", "labels": {"app.kubernetes.io/name": "falco"}},
        "spec": {
            "selector": {"matchLabels": {"app": "falco"}},
            "updateStrategy": {"type": "RollingUpdate"},
            "template": {
                "metadata": {"labels": {"app": "falco"}},
                "spec": {
                    "containers": [
                        {
                            "name": "falco",
                            "image": "docker.io/falcosecurity/falco:0.41.0",
                            "securityContext": {"capabilities": {"add": ["SYS_PTRACE"]}},
                            "volumeMounts": [{"name": "proc", "mountPath": "/host/proc"}],
                            **container,
                        },
                        {"name": "falcoctl", "image": "docker.io/falcosecurity/falcoctl:0.11.0"},
                    ],
                    "volumes": [{"name": "proc", "hostPath": {"path": "/proc", "type": ""}}],
                },
            },
        },
    }


def needs(spec):
    """What the kernel of the test's nodes says to Falco's container."""
    context = spec["containers"][0].get("securityContext") or {}
    held = set((context.get("capabilities") or {}).get("add") or ())
    if context.get("privileged") or held >= NEEDED:
        return None
    return "libbpf: prog 'sys_exit': operation not permitted (MEMLOCK may be too low)"


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store():
    return Store(run=needs)


@pytest.fixture
def server(store):
    running = ApiServer(store)
    yield running
    running.close()


@pytest.fixture
def ref(server, store, tmp_path):
    """A target's ref of Falco on that server."""
    store.add("daemonsets", falco())
    file = server.kubeconfig(tmp_path / "kubeconfig")
    return f"k8s:falco/daemonset/falco?container=falco&kubeconfig={file}"


def spec_of(store, plural="daemonsets", name="falco"):
    """The pod specification as it stands on the server."""
    return copy.deepcopy(store.objects[plural, "falco", name]["spec"]["template"]["spec"])


def dumped(*documents):
    return yaml.safe_dump_all(documents, sort_keys=False)
