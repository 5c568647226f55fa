"""Every way in which a pod may be kept from loading BPF programs, told by its name."""

from pathlib import Path

import msgspec
import pytest
from api_server import node_info
from conftest import dumped, falco

import bpf
from bpf.diagnoses.kubernetes_permission import KubernetesPermission
from bpf.probes.kubernetes import Kubernetes
from engine.cluster.targets import find
from engine.testing import FakeClock, check_probe
from engine.values import Case, Evidence, Process, Reading

WELL = ["SYS_PTRACE", "BPF", "PERFMON", "SYS_RESOURCE"]


class Window:
    """A window that is over at once."""

    def __init__(self, **options):
        self.options, self.seconds, self.directory, self.clock = options, 1.0, "/", FakeClock()

    def begin(self):
        return self.clock.now()


def agent(image="docker.io/falcosecurity/falco:0.41.0", pod=None, add=WELL, **context):
    """A DaemonSet with one container of that image, and what its pod says besides."""
    made = falco(image=image)
    spec = made["spec"]["template"]["spec"]
    spec["containers"] = spec["containers"][:1]
    capabilities = {"capabilities": {"add": list(add)}} if add else {}
    spec["containers"][0]["securityContext"] = {**capabilities, **context}
    spec |= pod or {}
    return made


def host(**readings):
    """What ``host-facts`` saw of a process of the pod."""
    usual = {"running": "yes", "caps_effective": " ".join(f"cap_{name.lower()}" for name in WELL)}
    found = {name: Reading(value=value) for name, value in (usual | readings).items()}
    return Evidence(probe="host-facts", short="host", target="x", started_at=0, ended_at=1, readings=found)


def loads(seccomp=0, **row):
    rows = ({"errno": "EPERM", **row},) if row or seccomp else ()
    readings = {"refused_by_seccomp": Reading(value=seccomp), "failures": Reading(value=len(rows))}
    return Evidence(
        probe="load-failures",
        short="loads",
        target="x",
        started_at=0,
        ended_at=1,
        readings=readings,
        tables={"failures": rows},
    )


MOUNTED = {
    "volumes": [{"name": "bpf", "hostPath": {"path": "/sys/fs/bpf"}}],
}
TETRAGON = "quay.io/cilium/tetragon:v1.5.0"
SYSADMIN = ["SYS_ADMIN", "SYS_PTRACE"]

#: What is wrong → the pod, options of the look, what its process shows, and the first cause.
CASES = {
    "no capability at all": (agent(add=()), {}, (), "missing_capability"),
    "only SYS_PTRACE": (agent(add=["SYS_PTRACE"]), {}, (), "missing_capability"),
    "the memlock text, and really a capability": (
        agent(add=["SYS_RESOURCE", "SYS_PTRACE"]),
        {},
        (host(memlock_bytes=65536), loads(name="x")),
        "missing_capability",
    ),
    "networking programs without NET_ADMIN": (
        agent(image="in-house/net:1", add=["BPF"]),
        {"programs": "sched_cls xdp"},
        (),
        "missing_capability",
    ),
    "SYS_ADMIN before 5.8": (
        agent(image="in-house/a:1", add=["BPF", "PERFMON", "SYS_RESOURCE"]),
        {"programs": "kprobe", "kernel": "5.4"},
        (),
        "missing_capability",
    ),
    "an unknown agent without any right": (agent(image="in-house/a:1", add=()), {}, (), "missing_capability"),
    "another user, and no_new_privs": (
        agent(runAsUser=1000, allowPrivilegeEscalation=False),
        {},
        (),
        "missing_capability",
    ),
    "a user namespace of its own": (agent(pod={"hostUsers": False}), {}, (), "missing_capability"),
    "ids of others' objects": (
        agent(image="in-house/a:1", add=["BPF", "PERFMON"]),
        {"programs": "tracing", "uses": "object-ids"},
        (),
        "missing_capability",
    ),
    "RuntimeDefault of a runtime that knows nothing of CAP_BPF": (
        agent(seccompProfile={"type": "RuntimeDefault"}),
        {"runtime": "containerd://1.5.9"},
        (),
        "seccomp_or_container_policy",
    ),
    "RuntimeDefault of the whole pod": (
        agent(pod={"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}),
        {"runtime": "docker://20.10.7"},
        (),
        "seccomp_or_container_policy",
    ),
    "a profile of its own": (
        agent(seccompProfile={"type": "Localhost", "localhostProfile": "strict.json"}),
        {},
        (),
        "seccomp_or_container_policy",
    ),
    "a filter of its process": (
        agent(),
        {},
        (host(seccomp="filter"), loads(seccomp=3)),
        "seccomp_or_container_policy",
    ),
    "SELinux container_t": (agent(seLinuxOptions={"type": "container_t"}), {}, (), "lockdown_or_lsm"),
    "SELinux on the node": (agent(), {}, (host(lsm="lockdown,capability,selinux"),), "lockdown_or_lsm"),
    "an AppArmor profile": (
        agent(appArmorProfile={"type": "Localhost", "localhostProfile": "k8s-strict"}),
        {},
        (),
        "lockdown_or_lsm",
    ),
    "lockdown": (agent(), {}, (host(lockdown="confidentiality"),), "lockdown_or_lsm"),
    "pins without bpffs": (
        agent(image="in-house/a:1"),
        {"programs": "tracing", "uses": "pins"},
        (),
        "pin_path_or_bpffs",
    ),
    "tracepoints without tracefs": (
        agent(image="in-house/a:1"),
        {"programs": "tracepoint"},
        (),
        "tracefs_debugfs_not_mounted",
    ),
    "locked memory on 5.10": (
        agent(image="in-house/a:1", add=["BPF", "PERFMON"]),
        {"programs": "tracing", "kernel": "5.10"},
        (),
        "memlock_rlimit",
    ),
    "no BTF": (agent(), {}, (host(btf="no"),), "btf_missing"),
    "the host's process ids": (
        agent(
            image="aquasec/tracee:0.23",
            add=["BPF", "PERFMON", "SYS_RESOURCE", "SYS_PTRACE", "NET_ADMIN", "SYSLOG"],
        ),
        {},
        (),
        "host-pid-missing",
    ),
    "a namespace that enforces baseline": (agent(), {"level": "baseline"}, (), "platform-refusal"),
    "a namespace that enforces restricted": (
        agent(add=["SYS_PTRACE"]),
        {"level": "restricted"},
        (),
        "platform-refusal",
    ),
    "nothing": (agent(), {}, (host(), loads()), None),
    "nothing: privileged": (agent(image=TETRAGON, add=(), privileged=True), {}, (), None),
    "nothing: SYS_ADMIN for all of BPF": (
        agent(image="in-house/a:1", add=SYSADMIN),
        {"programs": "kprobe"},
        (),
        None,
    ),
    "nothing: /sys holds bpffs and tracefs": (
        agent(
            image="in-house/a:1",
            add=WELL,
            pod={
                "volumes": [{"name": "proc", "hostPath": {"path": "/sys"}}],
            },
        ),
        {"programs": "tracepoint", "uses": "pins"},
        (),
        None,
    ),
    "nothing: an unprivileged sysctl that does not matter": (
        agent(),
        {},
        (host(unprivileged_bpf_disabled=2),),
        None,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_each_cause_is_named(name, store, server, tmp_path):
    """One errno has a dozen causes; each of these has one, and a healthy pod has none."""
    content, options, beside, expected = CASES[name]
    options = dict(options)
    if level := options.pop("level", None):
        store.level["falco"] = level
    if runtime := options.pop("runtime", None):
        for node in ("n1", "n2"):
            store.objects["nodes", None, node]["status"] = node_info("6.1.0-13-amd64", runtime)
    store.add("daemonsets", content)
    target = find(f"k8s:falco/daemonset/falco?kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}")
    if any(one.short == "host" for one in beside):
        target = msgspec.structs.replace(target, processes=(Process(pid=2**22 - 1),))

    seen = Kubernetes().collect(target, Window(**options))
    verdict = KubernetesPermission().decide(
        Case(target=target, evidence={one.short: one for one in (seen, *beside)})
    )

    check_probe(Kubernetes(), seen)
    found = verdict.causes[0].name if verdict.causes else None
    assert found == expected, [(one.name, one.confidence) for one in verdict.causes]
    for cause in verdict.causes:
        assert cause.name in KubernetesPermission.causes
        assert cause.speaks_for
        assert cause.settles


def test_a_manifest_is_judged_without_any_server(tmp_path):
    """In review, before anything was applied."""
    file = tmp_path / "falco.yaml"
    file.write_text(dumped(agent(add=["SYS_PTRACE"])))

    seen = Kubernetes().collect(find(f"k8s:falco/falco?manifest={file}"), Window(kernel="5.10"))

    assert seen.text("missing_capabilities") == "BPF PERFMON SYS_RESOURCE"
    assert seen.number("pods_ready") is None
    assert any("nothing of pods" in note for note in seen.notes)


def test_what_an_agent_loads_is_read_from_its_objects(tmp_path, store, server):
    """The object's sections say the types; nobody has to be asked."""
    built = Path(bpf.__file__).parent / "probes" / "event_sources.bpf.o"
    if not built.exists():
        pytest.skip("objects are not built: make objects")
    store.add("daemonsets", agent(image="in-house/a:1", add=()))
    target = find(f"k8s:falco/falco?kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}")

    seen = Kubernetes().collect(target, Window(objects=str(built)))

    assert "tracing" in seen.text("program_types") or "tracepoint" in seen.text("program_types")
    assert "BPF PERFMON" in seen.text("missing_capabilities")


def test_what_the_server_does_not_let_us_see_is_unknown(store, server, ref):
    """A service account without the right to list nodes still gets an answer."""
    store.forbidden |= {("list", "nodes"), ("list", "events"), ("get", "namespaces")}

    seen = Kubernetes().collect(find(ref), Window())

    assert seen.readings["kernel_release"].value is None
    assert "nodes" in seen.readings["kernel_release"].missing
    assert seen.readings["refusals"].value is None
    assert seen.number("lacking") == 3
    assert any("5.11" in note for note in seen.notes)


def test_a_mixed_fleet_is_judged_for_each_of_its_kernels(store, server, ref):
    """SYS_ADMIN for the old node; it brings CAP_BPF and CAP_PERFMON along on the new one."""
    store.objects["nodes", None, "n1"]["status"] = node_info("5.4.0-42-generic")

    seen = Kubernetes().collect(find(ref), Window())

    assert set(seen.text("missing_capabilities").split()) == {"SYS_ADMIN", "SYS_RESOURCE"}
