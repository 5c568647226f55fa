"""The patch of a workload on a server: least, tried first, watched, and taken back exactly."""

import copy
import json
from pathlib import Path

import msgspec
import pytest
from conftest import NEEDED, falco, needs, spec_of

from bpf.diagnoses.kubernetes_permission import KubernetesPermission
from bpf.probes.kubernetes import Kubernetes
from engine.cluster.targets import find
from engine.errors import ChangedSince, ChangeFailed
from engine.language import loader
from engine.testing import FakeClock, FakeProbe, FakeWatcher, check_remediation, rehearse
from engine.values import Case
from remediations.security_context import SecurityContext

RUNBOOK = Path(__file__).parents[2] / "runbooks" / "kubernetes-permission.yaml"


class Window:
    def __init__(self, **options):
        self.options, self.seconds, self.directory, self.clock = options, 1.0, "/", FakeClock()

    def begin(self):
        return self.clock.now()


def case_of(target, *, look=None, **options):
    """What the engine plans from."""
    seen = Kubernetes().collect(target, Window(**(look or {})))
    case = Case(target=target, evidence={"kube": seen}, options=options)
    verdict = KubernetesPermission().decide(case)
    knobs = SecurityContext().read(target)
    return msgspec.structs.replace(case, verdict=verdict, knobs=knobs)


def planned(ref, **options):
    remediation, target = SecurityContext(), find(ref)
    plan = remediation.plan(case_of(target, **options))
    return plan, target


def through_json(value):
    """As the journal keeps it."""
    if isinstance(value, dict):
        return json.loads(json.dumps(value))
    return msgspec.json.decode(msgspec.json.encode(value), type=type(value))


@pytest.fixture
def made(ref, store, clock):
    """The change as planned, captured and applied, with the specification from before."""
    before = spec_of(store)
    plan, target = planned(ref)
    (change,) = plan.changes
    remediation = SecurityContext(clock)
    change = through_json(change)
    captured = through_json(remediation.capture(change, target))
    remediation.apply(change, target, captured)
    return remediation, change, target, captured, before


# ── the plan ───────────────────────────────────────────────────────────────────


def test_the_patch_adds_what_is_lacking_and_nothing_else(made, store):
    """Least privilege: each added right is one that was measured to be missing."""
    _, change, _, _, before = made
    after = spec_of(store)
    added = after["containers"][0]["securityContext"]["capabilities"].pop("add")

    assert added == ["SYS_PTRACE", "BPF", "PERFMON", "SYS_RESOURCE"]
    assert set(added) == NEEDED
    before["containers"][0]["securityContext"]["capabilities"].pop("add")
    assert after == before
    assert [json.loads(line)["op"] for line in change.detail.splitlines()] == ["test", "add", "add", "add"]


def test_the_plan_says_everything_an_operator_must_know(ref):
    """Why each right, what is predicted, what a roll-out costs, how to take it back by hand."""
    plan, _ = planned(ref)
    (change,) = plan.changes

    assert plan.risk == "medium"
    assert "PERFMON: tracing programs read kernel memory" in change.why
    assert plan.loses
    assert {one.measure: one.after for one in plan.predictions} == {
        "kube.lacking": 0,
        "kube.pods_not_ready": 0,
    }
    assert plan.undo_by_hand.startswith("kubectl --kubeconfig=")
    assert '"op": "remove"' in plan.undo_by_hand


def test_privileged_is_never_chosen_by_itself(ref, store):
    """Only when the author allows it, when nothing finer is left, and then at high risk."""
    allowed, _ = planned(ref, allow_privileged=True)
    assert "privileged" not in allowed.changes[0].after

    store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]["containers"][0][
        "securityContext"
    ] = {
        "capabilities": {"add": sorted(NEEDED)},
        "allowPrivilegeEscalation": False,
    }
    without, _ = planned(ref)
    assert not without.changes
    assert "given everything" in without.reason

    plan, target = planned(ref, allow_privileged=True)
    after = json.loads(plan.changes[0].after)["securityContext"]
    assert plan.risk == "high"
    assert after["privileged"] is True
    assert after["capabilities"] == {"add": sorted(NEEDED)}
    SecurityContext().capture(plan.changes[0], target)  # the server takes it


def test_what_it_has_is_never_taken_away(ref, store):
    """Rights that we see no need for may be needed for what we do not see."""
    spec = store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"] = {"capabilities": {"add": ["NET_RAW"], "drop": ["ALL"]}}
    spec["hostNetwork"] = True

    plan, _ = planned(ref)
    after = json.loads(plan.changes[0].after)["securityContext"]["capabilities"]

    assert after["drop"] == ["ALL"]
    assert after["add"][0] == "NET_RAW"
    assert set(after["add"]) == {"NET_RAW", *NEEDED}


def test_mounts_and_host_pid_are_added_where_they_are_needed(store, server, tmp_path):
    """The container must see what it pins to and reads; tracefs only to read."""
    store.run = lambda spec: None
    store.add(
        "daemonsets",
        falco(image="in-house/agent:1", securityContext={"capabilities": {"add": ["BPF", "PERFMON"]}}),
    )
    ref = f"k8s:falco/falco?container=falco&kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}"

    plan, _ = planned(ref, look={"programs": "tracepoint", "uses": "pins,host-pid"})
    after = json.loads(plan.changes[0].after)

    assert [one["hostPath"]["path"] for one in after["volumes"]] == [
        "/proc",
        "/sys/fs/bpf",
        "/sys/kernel/tracing",
    ]
    assert [one.get("readOnly") for one in after["volumeMounts"]] == [None, None, True]
    assert after["hostPID"] is True
    assert any("wide right" in one for one in plan.warnings)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda store, made: store.level.update(falco="baseline"),
            "enforces the Pod Security level 'baseline'",
        ),
        (lambda store, made: made["spec"].update(updateStrategy={"type": "OnDelete"}), "OnDelete"),
        (
            lambda store, made: made["spec"]["template"]["spec"]["containers"][0].update(
                securityContext={"runAsUser": 1000, "allowPrivilegeEscalation": False}
            ),
            "run_as_root: true",
        ),
    ],
    ids=["platform", "on-delete", "another user"],
)
def test_what_can_not_help_is_not_tried_and_says_why(change, reason, store, server, tmp_path):
    """An empty plan with the way out is worth more than a failed roll-out."""
    made = falco()
    change(store, made)
    store.add("daemonsets", made)
    plan, _ = planned(
        f"k8s:falco/falco?container=falco&kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}"
    )

    assert not plan.changes
    assert reason in plan.reason


def test_a_pod_is_changed_where_it_was_made(ref, store):
    """A pod's security context can't be changed; its DaemonSet's can."""
    plan, _ = planned(ref.replace("daemonset/falco", "pod/falco-0"))

    assert not plan.changes
    assert "change the DaemonSet falco that made it" in plan.reason


def test_root_where_the_author_allows_it(ref, store):
    """Another user gets no added capability on exec."""
    spec = store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]
    spec["containers"][0]["securityContext"] = {"runAsUser": 1000, "runAsNonRoot": True}

    plain, _ = planned(ref)
    plan, _ = planned(ref, run_as_root=True)

    assert any("setcap" in one for one in plain.warnings)
    after = json.loads(plan.changes[0].after)["securityContext"]
    assert (after["runAsUser"], after["runAsNonRoot"]) == (0, False)


# ── the change ─────────────────────────────────────────────────────────────────


def test_the_server_tries_it_before_it_is_made(made, store):
    """Patch and pod go through everything with dryRun=All, before the one patch that counts."""
    writes = [
        (verb, plural, dry) for verb, plural, dry, _, _ in store.requests if verb in ("patch", "create")
    ]

    assert writes == [("patch", "daemonsets", True), ("create", "pods", True), ("patch", "daemonsets", False)]
    bodies = [body for verb, _, _, _, body in store.requests if verb == "patch"]
    assert bodies[0] == bodies[1]


def test_what_admission_refuses_is_not_made(ref, store):
    """Labels that we could not read, a webhook: the server's own answer counts, before the write."""
    plan, target = planned(ref)
    store.level["falco"] = "restricted"
    before = spec_of(store)

    with pytest.raises(ChangeFailed, match="would refuse its pods") as error:
        SecurityContext().capture(plan.changes[0], target)

    assert not error.value.touched
    assert spec_of(store) == before


def test_a_status_that_changes_all_the_time_is_no_conflict(ref, store, clock):
    """A crash-looping DaemonSet gets a new version every few seconds; its specification does not."""
    plan, target = planned(ref)
    (change,) = plan.changes
    remediation = SecurityContext(clock)
    captured = remediation.capture(change, target)
    touch = lambda: store.keep("daemonsets", store.objects["daemonsets", "falco", "falco"])  # noqa: E731
    store.before_patch = [touch, touch]

    remediation.apply(change, target, captured)

    assert remediation.state(change, target, captured) == "after"


def test_what_somebody_else_sets_in_between_wins(ref, store, clock):
    """Compare and set: theirs stays, ours is not made."""
    plan, target = planned(ref)
    (change,) = plan.changes
    remediation = SecurityContext(clock)
    captured = remediation.capture(change, target)

    def theirs():
        found = store.objects["daemonsets", "falco", "falco"]
        found["spec"]["template"]["spec"]["containers"][0]["securityContext"] = {"privileged": True}
        store.keep("daemonsets", found)

    store.before_patch = [theirs]

    with pytest.raises(ChangedSince):
        remediation.apply(change, target, captured)

    assert spec_of(store)["containers"][0]["securityContext"] == {"privileged": True}


def test_pods_that_do_not_become_ready_are_an_error_with_the_kubelets_words(ref, store, clock):
    """The deadline counts on the run's clock; the reason is the container's own."""
    plan, target = planned(ref, ready_within=30.0)
    (change,) = plan.changes
    store.run = lambda spec: "libbpf: still not permitted"
    remediation = SecurityContext(clock)
    captured = remediation.capture(change, target)

    with pytest.raises(ChangeFailed, match="still not permitted"):
        remediation.apply(change, target, captured)

    assert 30 <= clock.at < 40
    remediation.undo(change, target, captured)


def test_a_controller_that_has_not_seen_it_is_not_success(ref, store, clock):
    """The old pods are all ready, and old: observedGeneration tells."""
    store.run = lambda spec: None
    store.settle("daemonsets", store.objects["daemonsets", "falco", "falco"])
    plan, target = planned(ref, ready_within=20.0)
    (change,) = plan.changes
    remediation = SecurityContext(clock)
    captured = remediation.capture(change, target)
    store.paused = True

    with pytest.raises(ChangeFailed, match="has not seen it"):
        remediation.apply(change, target, captured)


def test_ready_for_a_moment_is_not_ready(ref, store, clock):
    """Without a readiness probe a container counts as ready until it dies: restarts are watched."""
    plan, target = planned(ref, ready_within=30.0)
    (change,) = plan.changes
    remediation = SecurityContext(clock)
    captured = remediation.capture(change, target)
    sleep = clock.sleep

    def restarts(seconds):
        sleep(seconds)
        for pod in [one for key, one in store.objects.items() if key[0] == "pods"]:
            pod["status"]["containerStatuses"][0]["restartCount"] += 1

    clock.sleep = restarts

    with pytest.raises(ChangeFailed, match="restarts"):
        remediation.apply(change, target, captured)


# ── the way back ───────────────────────────────────────────────────────────────


def test_undo_puts_back_the_very_object(made, store, clock):
    """A fresh process, from the journal alone; the whole specification is as it was."""
    _, change, target, captured, before = made
    note = SecurityContext(clock).undo(change, target, captured)

    assert spec_of(store) == before
    assert "as they were" in note
    assert SecurityContext(clock).undo(change, target, captured) is None
    assert spec_of(store) == before


def test_undo_takes_away_a_security_context_that_was_not_there(store, server, tmp_path, clock):
    """Absent before is absent after, not empty."""
    store.run = lambda spec: None
    store.add("daemonsets", falco(securityContext=None))
    ref = f"k8s:falco/falco?container=falco&kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}"
    store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]["containers"][0].pop(
        "securityContext"
    )
    before = spec_of(store)
    plan, target = planned(ref)
    remediation = SecurityContext(clock)
    captured = remediation.capture(plan.changes[0], target)
    remediation.apply(plan.changes[0], target, captured)

    remediation.undo(plan.changes[0], target, captured)

    assert spec_of(store) == before


def test_undo_leaves_alone_what_somebody_else_has_set_since(made, store, clock):
    """Never fight a human, nor a GitOps controller."""
    _, change, target, captured, _ = made
    found = store.objects["daemonsets", "falco", "falco"]
    found["spec"]["template"]["spec"]["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = True
    theirs = copy.deepcopy(found["spec"])

    with pytest.raises(ChangedSince) as error:
        SecurityContext(clock).undo(change, target, captured)

    assert error.value.fix
    assert found["spec"] == theirs


def test_undo_keeps_what_others_changed_elsewhere(made, store, clock):
    """A new image since is none of our business."""
    _, change, target, captured, before = made
    spec = store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]
    spec["containers"][0]["image"] = before["containers"][0]["image"] = "docker.io/falcosecurity/falco:0.42.0"

    SecurityContext(clock).undo(change, target, captured)

    assert spec_of(store) == before


def test_it_passes_the_check_that_strangers_are_given(ref, store, clock):
    """Pure plans, no write before apply, nothing applied twice, undo twice is undo once."""
    target = find(ref)
    check_remediation(SecurityContext(clock), target, case_of(target))
    assert needs(spec_of(store)) is not None


# ── the whole run ──────────────────────────────────────────────────────────────


class Holder:
    """What ``rehearse`` takes a target from."""

    def __init__(self, ref):
        self.target = find(ref)


def run(ref, clock, inputs=None, **further):
    parts = [
        Kubernetes(),
        KubernetesPermission(),
        SecurityContext(clock),
        FakeProbe("host-facts", "host"),
        FakeProbe("load-failures", "loads"),
    ]
    return rehearse(
        loader.load(RUNBOOK).document,
        parts,
        Holder(ref),
        given={"workload": "falco", **(inputs or {})},
        find=find,
        clock=clock,
        **further,
    )


def test_the_runbook_mends_a_workload_and_proves_it(ref, store):
    """From two crash-looping pods to two ready ones, with the goal measured."""
    done = run(ref, FakeClock())

    assert done.head.outcome == "fixed"
    assert needs(spec_of(store)) is None


def test_the_runbook_takes_back_what_pods_do_not_become_ready_with(ref, store):
    """Undone exactly when the cause was another one."""
    before = spec_of(store)
    store.run = lambda spec: "Error: something else entirely"

    done = run(ref, FakeClock())

    assert done.head.outcome == "unfixed"
    assert spec_of(store) == before
    assert any(
        plural == "daemonsets" and not dry for verb, plural, dry, *_ in store.requests if verb == "patch"
    )


def test_privileged_waits_for_a_human_even_with_yes(ref, store):
    """The last resort: allowed by the operator's input, and then still asked for."""
    found = store.objects["daemonsets", "falco", "falco"]
    context = {"capabilities": {"add": sorted(NEEDED)}}
    found["spec"]["template"]["spec"]["containers"][0]["securityContext"] = context
    store.run = lambda spec: (
        None if spec["containers"][0]["securityContext"].get("privileged") else "still not permitted"
    )
    store.settle("daemonsets", found)
    before = spec_of(store)

    assert run(ref, FakeClock()).head.outcome == "unfixed"
    assert run(ref, FakeClock(), {"allow_privileged": True}).head.outcome == "waiting"
    assert spec_of(store) == before

    watcher = FakeWatcher(answer=True)
    assert run(ref, FakeClock(), {"allow_privileged": True}, watcher=watcher).head.outcome == "fixed"
    assert [plan.risk for plan in watcher.asked] == ["high"]
    assert spec_of(store)["containers"][0]["securityContext"] == context | {"privileged": True}


def test_a_dry_run_writes_nothing(ref, store):
    """Hands tied: not even the server's own rehearsal is asked for."""
    before = spec_of(store)

    run(ref, FakeClock(), dry_run=True)

    assert spec_of(store) == before
    assert not [verb for verb, *_ in store.requests if verb in ("patch", "create")]


def test_a_healthy_workload_is_left_alone(ref, store):
    """The goal is measured first."""
    store.objects["daemonsets", "falco", "falco"]["spec"]["template"]["spec"]["containers"][0][
        "securityContext"
    ] = {"capabilities": {"add": sorted(NEEDED)}}
    store.settle("daemonsets", store.objects["daemonsets", "falco", "falco"])

    assert run(ref, FakeClock()).head.outcome == "healthy"


@pytest.mark.parametrize("kind", ["deployment", "statefulset"])
def test_other_kinds_of_workloads(kind, store, server, tmp_path, clock):
    """Their roll-outs are told by other numbers."""
    made = falco()
    made["spec"].pop("updateStrategy")
    made["spec"]["replicas"] = 2
    store.add(f"{kind}s", made)
    ref = f"k8s:falco/{kind}/falco?container=falco&kubeconfig={server.kubeconfig(tmp_path / 'kubeconfig')}"
    before = spec_of(store, f"{kind}s")

    plan, target = planned(ref)
    remediation = SecurityContext(clock)
    captured = remediation.capture(plan.changes[0], target)
    remediation.apply(plan.changes[0], target, captured)
    assert needs(spec_of(store, f"{kind}s")) is None

    remediation.undo(plan.changes[0], target, captured)
    assert spec_of(store, f"{kind}s") == before
