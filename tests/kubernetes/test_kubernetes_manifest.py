"""A manifest keeps everything but the lines that are added; kubectl makes the same of it."""

import json
import shlex
import shutil
import subprocess

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_security_context import case_of, through_json

from engine.cluster.targets import find
from engine.errors import ChangedSince
from remediations.knobs import manifest_text, pod_parts
from remediations.knobs.backend import NotChanged
from remediations.security_context import SecurityContext

FALCO = """\
# Rendered by helm template; reviewed by the platform team.
apiVersion: v1
kind: ServiceAccount
metadata: {name: falco, namespace: falco}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: falco      # the sensor
  namespace: falco
spec:
  selector:
    matchLabels: {app: falco}
  template:
    metadata:
      labels: {app: falco}
    spec:
      serviceAccountName: falco
      containers:
        - name: falco
          image: "docker.io/falcosecurity/falco:0.41.0"
          # least privilege: ask security before adding here
          securityContext:
            capabilities:
              drop: ['ALL']   # everything
              add:
                - SYS_PTRACE  # for /proc
          args: [/usr/bin/falco, -o, engine.kind=modern_ebpf]
        - name: falcoctl-artifact-follow
          image: docker.io/falcosecurity/falcoctl:0.11.0

      # the end of the pod
---
apiVersion: v1
kind: ConfigMap
metadata: {name: falco, namespace: falco}
data: {falco.yaml: "engine: {kind: modern_ebpf}"}
"""

TETRAGON = """\
kind: DaemonSet
apiVersion: apps/v1
metadata:
  name: tetragon
spec:
  selector: {matchLabels: {app: tetragon}}
  template:
    metadata: {labels: {app: tetragon}}
    spec:
      containers:
      - name: export-stdout
        image: quay.io/cilium/hubble-export-stdout:v1.1.0
      - name: tetragon
        image: quay.io/cilium/tetragon:v1.5.0
        securityContext: {}
        volumeMounts:
        - mountPath: /procRoot
          name: host-proc
      volumes:
      - name: host-proc
        hostPath:
          path: /proc
          type: Directory
"""

FLOW = """\
{apiVersion: apps/v1, kind: DaemonSet, metadata: {name: agent}, spec: {selector: {matchLabels: {a: b}},
  template: {metadata: {labels: {a: b}}, spec: {containers: [
    {name: agent, image: "in-house/agent:1", securityContext: {capabilities: {add: [NET_RAW]}}}]}}}}
"""

NULLS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: agent}
spec:
    template:
        spec:
            hostPID: false
            containers:
                -   name: agent
                    image: in-house/agent:1
                    securityContext:
                    volumeMounts: []
            volumes: []"""

#: Text, ref, options of the look.
MANIFESTS = {
    "falco": (FALCO, "falco/ds/falco?container=falco", {}),
    "falco, written on Windows": (FALCO.replace("\n", "\r\n"), "falco/ds/falco?container=falco", {}),
    "tetragon": (TETRAGON, "/ds/tetragon?container=tetragon", {}),
    "flow style": (FLOW, "/ds/agent", {"programs": "kprobe xdp", "uses": "pins,host-pid"}),
    "nulls and empty lists, no line break at the end": (
        NULLS, "/deploy/agent", {"programs": "tracepoint", "uses": "pins,host-pid"},
    ),
}  # fmt: skip

kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")


@pytest.fixture(params=MANIFESTS)
def manifest(request, tmp_path, clock):
    """A file, and the planned change of it."""
    text, ref, look = MANIFESTS[request.param]
    file = tmp_path / "agent.yaml"
    file.write_bytes(text.encode())
    target = find(f"k8s:{ref}{'&' if '?' in ref else '?'}manifest={file}")
    remediation = SecurityContext(clock)
    plan = remediation.plan(case_of(target, look=look))
    assert plan.changes, plan.reason
    return file, remediation, plan, target


def test_only_lines_are_added_and_every_comment_stays(manifest):
    """The diff that a reviewer sees is the change, and nothing else."""
    file, remediation, plan, target = manifest
    before = file.read_bytes()
    (change,) = plan.changes
    remediation.apply(change, target, remediation.capture(change, target))
    after = file.read_bytes()

    comments = [line for line in before.splitlines() if b"#" in line]
    assert all(line in after.splitlines() for line in comments)
    assert after.count(b"\r\n") == (after.count(b"\n") if b"\r\n" in before else 0)
    shown = [
        line[1:] for line in change.detail.splitlines() if line.startswith("+") and not line.startswith("+++")
    ]
    assert all(line.encode() in after for line in shown)
    documents = list(yaml.safe_load_all(after))
    whole = next(one for one in documents if one["kind"] in ("DaemonSet", "Deployment"))
    container = find(target.ref).facts["container"]
    assert pod_parts.taken(whole, container) == json.loads(change.after)


def test_undo_gives_the_very_bytes_back(manifest):
    """From what was captured alone, through JSON."""
    file, remediation, plan, target = manifest
    before = file.read_bytes()
    change = through_json(plan.changes[0])
    captured = through_json(remediation.capture(change, target))
    assert remediation.state(change, target, captured) == "before"
    remediation.apply(change, target, captured)
    assert remediation.state(change, target, captured) == "after"

    SecurityContext().undo(change, target, captured)

    assert file.read_bytes() == before
    assert remediation.undo(change, target, captured) is None


@kubectl
def test_kubectl_makes_the_same_of_it(manifest):
    """The distribution's kubectl, without a server: it takes the patch, and reads our text alike."""
    file, remediation, plan, target = manifest
    (change,) = plan.changes
    before = next(
        one for one in yaml.safe_load_all(file.read_text()) if one["kind"] in ("DaemonSet", "Deployment")
    )
    container = target.facts["container"]
    patch = pod_parts.patch(before, container, json.loads(change.before), json.loads(change.after))
    alone = file.parent / "alone.json"
    alone.write_text(json.dumps(before))

    theirs = local(alone, "--type=json", "-p", json.dumps(patch))
    remediation.apply(change, target, remediation.capture(change, target))
    ours = next(
        one for one in yaml.safe_load_all(file.read_text()) if one["kind"] in ("DaemonSet", "Deployment")
    )
    alone.write_text(json.dumps(ours))
    read_back = local(alone, "--type=merge", "-p", "{}")

    assert theirs == read_back
    assert pod_parts.taken(theirs, container) == json.loads(change.after)


@kubectl
def test_kubectl_takes_the_undo_by_hand_too(tmp_path, store, ref):
    """What the report prints can be pasted."""
    plan = SecurityContext().plan(case_of(find(ref)))
    words = shlex.split(plan.undo_by_hand)
    found = {
        key: value for key, value in store.objects["daemonsets", "falco", "falco"].items() if key != "status"
    }
    after = pod_parts.put(found, "falco", json.loads(plan.changes[0].after))
    file = tmp_path / "after.json"
    file.write_text(json.dumps(after))

    back = local(file, "--type=json", "-p", words[words.index("-p") + 1])

    assert back["spec"] == found["spec"]


def local(file, *patch):
    """``kubectl patch --local``: no server, no kubeconfig."""
    command = ["kubectl", "patch", "--local", "-f", str(file), *patch, "-o", "json"]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        env={"PATH": "/usr/bin:/bin", "HOME": "/"},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_edits_of_others_elsewhere_stay_and_ours_still_goes(tmp_path, clock):
    """Somebody raised the image meanwhile: their line stays, our lines go."""
    file, remediation, change, target, captured = applied(tmp_path, clock)
    theirs = (
        file.read_text()
        .replace("falco:0.41.0", "falco:0.42.0")
        .replace("# Rendered", "# Hand-made, once rendered")
    )
    file.write_text(theirs)

    remediation.undo(change, target, captured)

    assert file.read_text() == FALCO.replace("0.41.0", "0.42.0").replace(
        "# Rendered", "# Hand-made, once rendered"
    )


def test_what_somebody_else_made_of_our_lines_is_left(tmp_path, clock):
    """They took PERFMON out: it is theirs now."""
    file, remediation, change, target, captured = applied(tmp_path, clock)
    theirs = file.read_text().replace("                - PERFMON\n", "")
    file.write_text(theirs)

    assert remediation.state(change, target, captured) == "other"
    with pytest.raises(ChangedSince) as error:
        remediation.undo(change, target, captured)

    assert error.value.fix
    assert file.read_text() == theirs


def applied(tmp_path, clock):
    file = tmp_path / "falco.yaml"
    file.write_text(FALCO)
    target = find(f"k8s:falco/ds/falco?container=falco&manifest={file}")
    remediation = SecurityContext(clock)
    (change,) = remediation.plan(case_of(target)).changes
    captured = remediation.capture(change, target)
    remediation.apply(change, target, captured)
    return file, remediation, change, target, captured


def test_what_can_not_be_added_alone_is_refused(tmp_path):
    """An anchor would give another container the same rights: nothing is written."""
    text = FALCO.replace("securityContext:\n", "securityContext: &rights\n").replace(
        "falcoctl:0.11.0", "falcoctl:0.11.0\n          securityContext: *rights"
    )
    file = tmp_path / "agent.yaml"
    file.write_text(text)
    plan = SecurityContext().plan(case_of(find(f"k8s:/ds/falco?container=falco&manifest={file}")))

    assert not plan.changes
    assert "without touching something else" in plan.reason
    assert file.read_text() == text


names = st.sampled_from(["BPF", "PERFMON", "NET_ADMIN", "SYS_PTRACE", "SYS_RESOURCE"])
contexts = st.fixed_dictionaries(
    {},
    optional={
        "capabilities": st.fixed_dictionaries(
            {}, optional={"add": st.lists(names, max_size=3), "drop": st.just(["ALL"])}
        ),
        "runAsUser": st.integers(0, 5),
        "readOnlyRootFilesystem": st.booleans(),
        "seccompProfile": st.just({"type": "RuntimeDefault"}),
    },
)
styles = st.fixed_dictionaries(
    {
        "indent": st.integers(2, 6),
        "default_flow_style": st.sampled_from([None, False, True]),
        "width": st.just(4096),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(contexts, st.lists(names, min_size=1, max_size=3, unique=True), styles, st.booleans())
def test_any_context_in_any_style_reads_back_as_wanted(context, add, style, mounts):
    """Refused, or exactly what was wanted and nothing else; and back to the very text."""
    content = {
        "kind": "DaemonSet",
        "metadata": {"name": "a"},
        "spec": {
            "template": {"spec": {"containers": [{"name": "a", "image": "i", "securityContext": context}]}}
        },
    }
    text = "# first\n---\nkind: Other\n---\n" + yaml.safe_dump(content, **style)
    after = json.loads(json.dumps({"securityContext": context}))
    listed = after["securityContext"].setdefault("capabilities", {}).setdefault("add", [])
    listed += [name for name in add if name not in listed]
    if mounts:
        after |= {"hostPID": True, "volumes": [{"name": "b", "hostPath": {"path": "/sys/fs/bpf"}}]}
        after["volumeMounts"] = [{"name": "b", "mountPath": "/sys/fs/bpf", "readOnly": True}]
    try:
        result = manifest_text.edited("a.yaml", text, 1, "a", after)
    except NotChanged:
        return

    other, made = yaml.safe_load_all(result)
    assert other == {"kind": "Other"}
    assert made == pod_parts.put(content, "a", after)
    assert result.startswith("# first\n---\nkind: Other\n---\n")
    assert manifest_text.reverted(result, manifest_text.hunks(text, result)) == text


def test_most_styles_are_not_refused():
    """The property above must not be true by refusing everything."""
    content = {
        "kind": "DaemonSet",
        "metadata": {"name": "a"},
        "spec": {"template": {"spec": {"containers": [{"name": "a"}]}}},
    }
    wanted = {"securityContext": {"capabilities": {"add": ["BPF"]}}}
    for indent in (2, 4):
        for flow in (None, False, True):
            text = yaml.safe_dump(content, indent=indent, default_flow_style=flow)
            assert "BPF" in manifest_text.edited("a.yaml", text, 0, "a", wanted)


def test_a_change_survives_the_journal(tmp_path):
    """What is planned is what is undone, in another process."""
    file = tmp_path / "falco.yaml"
    file.write_text(FALCO)
    target = find(f"k8s:falco/ds/falco?container=falco&manifest={file}")
    plan = SecurityContext().plan(case_of(target))
    assert msgspec.json.decode(msgspec.json.encode(plan), type=type(plan)) == plan
