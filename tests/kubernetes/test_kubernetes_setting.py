"""Settings of an agent in a cluster: tried on the server first, set, rolled out, taken back exactly."""

import copy
import json

import pytest
from conftest import falco

from engine.cluster import owner
from engine.cluster.ref import Ref, parse
from engine.cluster.targets import find
from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, Process, Reload, Target
from remediations.knobs import workload_of
from remediations.knobs.backend import NotChanged
from remediations.knobs.kubernetes_setting import KubernetesSetting

HANDS = KubernetesSetting()
FALCO_YAML = """\
# Falco's own file.
engine:
  modern_ebpf:
    buf_size_preset: 4  # 8 MiB
outputs_queue: {capacity: 0}
"""
DATA = {
    "falco.yaml": FALCO_YAML,
    "rb-queue-size": "65535",
    "agent.json": '{"ring": {"size": 4096}}\n',
    "agent.toml": "[ring]\nsize = 4_096 # bytes\n",
    "agent.ini": "[ring]\nsize = 4096\n",
}
ROLLS = Reload(by="command", argv=("kubectl", "rollout", "restart"), settle_s=60)


@pytest.fixture
def cluster(store, server, tmp_path):
    """A server whose Falco runs with arguments and variables, and a ConfigMap; the ref of Falco."""
    store.run = lambda spec: "bad flag" if "--crash" in str(spec) else None
    store.add(
        "configmaps", {"metadata": {"name": "falco", "namespace": "falco"}, "data": copy.deepcopy(DATA)}
    )
    container = {
        "args": ["/usr/bin/falco", "-pk", "-o", "engine.kind=modern_ebpf", "--rb-size=64k", "--quiet"],
        "env": [
            {"name": "HOST_ROOT", "value": "/host"},
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "x"}}},
        ],
    }
    store.add("daemonsets", falco(**container))
    file = server.kubeconfig(tmp_path / "kubeconfig")
    return f"k8s:falco/daemonset/falco?container=falco&kubeconfig={file}"


def knob(path, unit="count", reload=ROLLS):
    return Knob(name="k", backend="kubernetes", path=path, unit=unit, reload=reload)


def made(ref, one, after):
    """Read, capture through JSON, write."""
    target = find(ref)
    now = HANDS.read(one, target)
    assert not now.missing, now.missing
    change = Change(knob=one, before=now.value, after=after, before_text="b", after_text="a", why="w")
    captured = json.loads(json.dumps(HANDS.capture(change, target)))
    HANDS.write(change, target, captured)
    return change, target, captured


def everything(store):
    """What an administrator wrote: data and specifications."""
    kinds = ("configmaps", "daemonsets")
    return {
        key: copy.deepcopy([one.get("data"), one.get("spec")])
        for key, one in store.objects.items()
        if key[0] in kinds
    }


PLACES = [
    ("configmap/falco#rb-queue-size", "count", 65535, 100000),
    ("configmap/falco#new-option", "count", None, 7),
    ("configmap/falco#falco.yaml:engine.modern_ebpf.buf_size_preset", "count", 4, 6),
    ("configmap/falco#falco.yaml:outputs_queue.capacity", "count", 0, 1000),
    ("configmap/falco#falco.yaml:engine.modern_ebpf.cpus_for_each_buffer", "count", None, 1),
    ("configmap/falco#agent.json:ring.size", "bytes", 4096, 8192),
    ("configmap/falco#agent.toml:ring.size", "bytes", 4096, 8192),
    ("configmap/falco#agent.ini:ring.size", "bytes", 4096, 8192),
    ("env/HOST_ROOT", "text", "/host", "/x"),
    ("env/NEW", "count", None, 3),
    ("arg/--rb-size", "bytes", "64k", "128k"),
    ("arg/-o engine.kind=", "text", "modern_ebpf", "kmod"),
    ("arg/-o outputs_queue.capacity=", "count", None, 9),
    ("arg/--quiet", "bool", True, False),
    ("arg/--verbose", "bool", None, True),
]


@pytest.mark.parametrize(("path", "unit", "value", "after"), PLACES, ids=[one[0] for one in PLACES])
def test_each_place_is_read_tried_set_rolled_out_and_put_back(
    store, cluster, clock, path, unit, value, after
):
    """And nothing else of any object differs, before or after."""
    before = everything(store)
    one = knob(path, unit)
    assert HANDS.read(one, find(cluster)).value == value
    change, target, captured = made(cluster, one, after)

    tried = [dry for verb, _, dry, *_ in store.requests if verb == "patch"]
    assert tried[0], "the server is asked first"
    assert HANDS.read(one, target).value == after
    assert HANDS.state(change, target, captured) == "after"
    pods = store.objects["daemonsets", "falco", "falco"]["metadata"]["generation"]
    assert pods == 2, "its controller makes the pods anew"
    assert HANDS.follow(change, target, clock, lambda: None) == ""
    with pytest.raises(ChangedSince):
        HANDS.write(change, target, captured)

    assert HANDS.restore(change, target, captured).reload
    assert everything(store) == before
    assert HANDS.state(change, target, captured) == "before"
    assert not HANDS.restore(change, target, captured).reload


def test_a_config_map_that_the_agent_reads_by_itself_restarts_nothing(store, cluster, clock):
    """A restart loses state; only the profile knows that it is not needed."""
    one = knob("configmap/falco#rb-queue-size", reload=Reload(by="none"))
    change, target, captured = made(cluster, one, 7)
    assert store.objects["daemonsets", "falco", "falco"]["metadata"]["generation"] == 1
    assert HANDS.follow(change, target, clock, lambda: None) == ""
    assert not HANDS.restore(change, target, captured).reload


def test_comments_and_others_edits_in_the_same_text_stay(store, cluster):
    """A ConfigMap is a file that somebody looks after."""
    change, target, captured = made(cluster, knob(PLACES[2][0]), 6)
    data = store.objects["configmaps", "falco", "falco"]["data"]
    assert data["falco.yaml"] == FALCO_YAML.replace("preset: 4", "preset: 6")
    data["falco.yaml"] += "# theirs\n"
    HANDS.restore(change, target, captured)
    assert store.objects["configmaps", "falco", "falco"]["data"]["falco.yaml"] == FALCO_YAML + "# theirs\n"


@pytest.mark.parametrize(("path", "unit", "value", "after"), PLACES[:3] + PLACES[8:11], ids=str)
def test_what_somebody_else_has_set_is_left_alone(store, cluster, path, unit, value, after):
    """By undo as by a write."""
    change, target, captured = made(cluster, knob(path, unit), after)
    for one in store.objects.values():
        text = json.dumps(one.get("data") or one.get("spec"))
        theirs = (
            text.replace(f'"{after}"', '"5"').replace(f"preset: {after}", "preset: 5").replace("=128k", "=5")
        )
        one["data" if one.get("data") else "spec"] = json.loads(theirs)
    now = everything(store)
    assert HANDS.state(change, target, captured) == "other"
    with pytest.raises(ChangedSince):
        HANDS.restore(change, target, captured)
    assert everything(store) == now


def test_others_variables_that_came_meanwhile_stay(store, cluster):
    """Ours alone is taken back then."""
    change, target, captured = made(cluster, knob("env/NEW"), 3)
    spec = store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]
    spec["containers"][0]["env"].append({"name": "THEIRS", "value": "1"})
    HANDS.restore(change, target, captured)
    spec = store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]
    assert [one["name"] for one in spec["containers"][0]["env"]] == ["HOST_ROOT", "NODE", "THEIRS"]


def test_pods_that_do_not_come_up_fail_the_change(store, cluster, clock):
    """The run then takes it back."""
    change, target, _ = made(cluster, knob("arg/--crash", "bool"), True)
    with pytest.raises(ChangeFailed, match="bad flag"):
        HANDS.follow(change, target, clock, lambda: None)


def test_killed_between_the_config_map_and_the_restart_it_is_seen_and_taken_back(store, cluster):
    """The pods know nothing of it, and need not."""
    before = everything(store)
    one = knob("configmap/falco#rb-queue-size")
    target = find(cluster)
    change = Change(knob=one, before=65535, after=7, before_text="b", after_text="a", why="w")
    captured = json.loads(json.dumps(HANDS.capture(change, target)))
    store.forbidden.add(("patch", "daemonsets"))
    with pytest.raises(NotChanged):
        HANDS.write(change, target, captured)
    store.forbidden.clear()
    assert HANDS.state(change, target, captured) == "after"
    HANDS.restore(change, target, captured)
    assert everything(store) == before


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("env/NODE", "comes from elsewhere"),
        ("configmap/none#x", "there is no configmap/none"),
        ("configmap/falco#none.yaml:a.b", "no such key"),
        ("configmap/falco", "no place in a ConfigMap"),
        ("secret/x#y", "no place of a setting"),
        ("arg/rb", "no flag"),
    ],
)
def test_what_can_not_be_told_says_why(cluster, path, said):
    """Never a guess, never a silent default."""
    seen = HANDS.read(knob(path), find(cluster))
    assert said in seen.missing
    assert not seen.absent


def test_a_refusal_changes_nothing(store, cluster):
    """No right, pods that nobody would make anew, a ConfigMap that can't be changed."""
    before = everything(store)
    store.forbidden.add(("patch", "configmaps"))
    with pytest.raises(NotChanged, match="may not patch"):
        made(cluster, knob("configmap/falco#rb-queue-size"), 7)
    store.objects["daemonsets", "falco", "falco"]["spec"]["updateStrategy"]["type"] = "OnDelete"
    with pytest.raises(NotChanged, match="OnDelete"):
        made(cluster, knob("env/NEW"), 7)
    store.objects["daemonsets", "falco", "falco"]["spec"]["updateStrategy"]["type"] = "RollingUpdate"
    store.objects["configmaps", "falco", "falco"]["immutable"] = True
    with pytest.raises(NotChanged, match="immutable"):
        made(cluster, knob("configmap/falco#rb-queue-size"), 7)
    assert everything(store) == before


def test_the_process_of_a_pod_is_enough_to_find_its_workload(store, cluster, monkeypatch):
    """An agent that is found on its node is changed where it comes from."""
    where = parse(cluster)
    monkeypatch.setattr(workload_of, "_owner", lambda process: owner.find(process, where, "n1"))
    pods = [one for one in store.objects.values() if one["kind"] == "Pod" and one["spec"]["nodeName"] == "n1"]
    identity = pods[0]["status"]["containerStatuses"][0]["containerID"].rpartition("/")[2]

    def seen(cgroup):
        process = Process(pid=7, cgroup=cgroup)
        return HANDS.read(knob("arg/--rb-size", "bytes"), Target(name="x", ref="x:7", processes=(process,)))

    assert seen(f"/kubepods.slice/kubepods-pod1.slice/cri-containerd-{identity}.scope").value == "64k"
    assert seen("/system.slice/falco.service").absent
    unknown = seen(f"/kubepods/pod2/{'ab' * 32}")
    assert not unknown.absent
    assert "no pod of node n1" in unknown.missing


def test_the_pod_of_a_deployment_leads_to_the_deployment(store, server, tmp_path):
    """Its replica set is made anew by each change."""
    store.add("deployments", falco())
    file = server.kubeconfig(tmp_path / "kubeconfig")
    pod = store.objects["pods", "falco", "falco-0"]
    identity = pod["status"]["containerStatuses"][1]["containerID"].rpartition("/")[2]
    process = Process(pid=7, cgroup=f"/kubepods/pod1/{identity}")
    found = owner.find(process, Ref(name="any", kubeconfig=str(file)), "n1")
    assert (found.kind, found.name, found.container) == ("deployment", "falco", "falcoctl")
