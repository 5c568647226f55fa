"""Whatever is wrong with what an operator gives: a clear error with the way out, and nothing changed."""

import contextlib
import os
import socket
import subprocess
import sys

import pytest
from conftest import dumped, falco, spec_of
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cluster import manifest
from engine.cluster.errors import ConfigUnreadable, Forbidden, ManifestWrong, Unreachable
from engine.cluster.ref import Ref, parse
from engine.cluster.targets import find
from engine.errors import RunbookError, TargetAmbiguous, TargetNotFound, UsageError
from engine.trust import NotTrusted


def test_no_such_workload_names_the_nearest(ref):
    """A typing mistake at three in the morning."""
    with pytest.raises(TargetNotFound) as error:
        find(ref.replace("daemonset/falco", "daemonset/flaco"))
    assert "did you mean 'falco'?" in error.value.fix


def test_without_a_kind_all_kinds_are_looked_through(ref, store):
    """``falco`` is enough while there is only one."""
    assert find(ref.replace("daemonset/falco", "falco")).name == "daemonset/falco"
    store.add("deployments", falco())
    with pytest.raises(TargetAmbiguous, match="daemonset, deployment"):
        find(ref.replace("daemonset/falco", "falco"))


@pytest.mark.parametrize(
    "tail",
    [
        "?container=falco&kubeconfig=/tmp/x&kubeconfig=",
        "?kubeconfig=/tmp/x&context=c?container=",
        "?container=fal%3Fco",
        "?container=Falco",
        "?context=a%00b",
        "/daemonset/falco",
        "%3Fkubeconfig=/tmp/x",
    ],
)
def test_a_ref_that_says_more_than_one_thing_is_no_ref(tail):
    """A value that was put into it may not bring parts of its own."""
    with pytest.raises(UsageError):
        parse(f"k8s:falco/daemonset/falco{tail}")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has more rights than whoever wrote the file")
@pytest.mark.parametrize("part", ["kubeconfig", "manifest"])
def test_root_takes_no_file_that_others_can_write(ref, tmp_path, part):
    """A kubeconfig runs programs (`exec`), a manifest is written anew: nobody else may say what."""
    file = tmp_path / "kubeconfig"
    file.chmod(0o666)
    with pytest.raises(NotTrusted, match="can be written by others"):
        find(ref.replace("kubeconfig=", f"{part}="))


def test_two_containers_are_never_guessed_between(ref):
    """Rights for the wrong container would mend nothing and open a hole."""
    with pytest.raises(TargetAmbiguous, match="falco, falcoctl") as error:
        find(ref.replace("container=falco&", ""))
    assert "container=falco" in error.value.fix


def test_the_default_container_of_kubectl_is_taken(ref, store):
    """The author of the workload has said which one is meant."""
    template = store.objects["daemonsets", "falco", "falco"]["spec"]["template"]
    template["metadata"]["annotations"] = {"kubectl.kubernetes.io/default-container": "falcoctl"}

    assert find(ref.replace("container=falco&", "")).facts["container"] == "falcoctl"


def test_no_such_container_names_the_nearest(ref):
    """Charts rename containers."""
    with pytest.raises(TargetNotFound) as error:
        find(ref.replace("container=falco&", "container=falcoctrl&"))
    assert "'falcoctl'" in error.value.fix


def test_rbac_that_forbids_says_what_to_ask_for(ref, store):
    """The server's sentence, and the command that checks it."""
    store.forbidden.add(("get", "daemonsets"))
    with pytest.raises(Forbidden, match='User "tester" cannot get resource "daemonsets"') as error:
        find(ref)
    assert error.value.fix == "check with: kubectl auth can-i get daemonsets -n falco"


def test_a_right_to_read_but_not_to_patch(ref, store):
    """Found out before anything is made, by the server's own rehearsal."""
    from test_security_context import planned  # noqa: PLC0415 - beside its only use

    from remediations.knobs.backend import NotChanged  # noqa: PLC0415
    from remediations.security_context import SecurityContext  # noqa: PLC0415

    store.forbidden.add(("patch", "daemonsets"))
    before = spec_of(store)
    plan, target = planned(ref)
    with pytest.raises(NotChanged, match="may not patch") as error:
        SecurityContext().capture(plan.changes[0], target)
    assert "can-i patch" in error.value.fix
    assert spec_of(store) == before


def test_a_server_that_is_down(tmp_path, server):
    """Nobody listens: said within seconds, not after a dozen tries."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        file = server.kubeconfig(tmp_path / "kubeconfig")
        file.write_text(file.read_text().replace(server.url, f"http://127.0.0.1:{free.getsockname()[1]}"))
        with pytest.raises(Unreachable, match="gives no answer") as error:
            find(f"k8s:falco/daemonset/falco?kubeconfig={file}")
    assert "kubectl" in error.value.fix


def test_a_token_that_the_server_does_not_know(ref, tmp_path):
    """Expired logins are the commonest of all."""
    file = tmp_path / "kubeconfig"
    file.write_text(file.read_text().replace("secret", "expired"))
    with pytest.raises(Forbidden, match="does not know us"):
        find(ref)


@pytest.mark.parametrize(
    "content", ["", "not: [yaml", "{}", "kind: Config\nclusters: 3\n", "\0\1\2", "[]"], ids=range(6)
)
def test_a_kubeconfig_that_can_not_be_used(content, tmp_path):
    """Empty, broken, of another kind: never a traceback."""
    file = tmp_path / "kubeconfig"
    file.write_text(content)
    with pytest.raises(ConfigUnreadable):
        find(f"k8s:falco/ds/falco?kubeconfig={file}")


def test_a_kubeconfig_or_context_that_is_not_there(tmp_path, ref):
    """The path was for another machine."""
    with pytest.raises(ConfigUnreadable):
        find(f"k8s:falco/ds/falco?kubeconfig={tmp_path / 'none'}")
    with pytest.raises(ConfigUnreadable, match="prod"):
        find(f"{ref}&context=prod")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "names no workload"),
        ("falco", "names no workload"),
        ("falco/cronjob/falco", "no kind of workload"),
        ("falco/damonset/falco", "no kind of workload"),
        ("falco/ds/Falco!", "can't be a name"),
        ("falco/ds/falco?kubecfg=x", "no part of"),
    ],
)
def test_refs_that_can_not_be_read(text, problem):
    """What is wrong with it, and how it is written."""
    with pytest.raises(UsageError, match=problem) as error:
        parse(f"k8s:{text}")
    assert error.value.fix


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "does not exist"),
        (b"\xff\xfe\x00kind", "not UTF-8"),
        (b"a: [1,\n", "agent.yaml"),
        (b"kind: DaemonSet\nmetadata: {{ include }}\nname: {{ x }}: y\n", "agent.yaml"),
        (b"kind: ConfigMap\nmetadata: {name: falco}\n", "there is no daemonset/falco"),
        (b"- just\n- a list\n", "there is no daemonset/falco"),
        (b"", "there is no daemonset/falco"),
        (b"kind: DaemonSet\nmetadata: {name: falco}\n", "has no containers"),
        (b"kind: DaemonSet\nmetadata: {name: falco}\nspec: {template: {spec: null}}\n", "has no containers"),
    ],
    ids=[
        "missing",
        "binary",
        "broken",
        "a chart's template",
        "another kind",
        "a list",
        "empty",
        "bare",
        "null",
    ],
)
def test_manifests_that_can_not_be_used(content, problem, tmp_path):
    """A file of another kind, or none: said with the file's name, and left as it is."""
    file = tmp_path / "agent.yaml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises((ManifestWrong, TargetNotFound)) as error:
        find(f"k8s:/ds/falco?manifest={file}")
    assert problem in f"{error.value.problem} {error.value.fix}"
    assert not file.exists() or file.read_bytes() == content


def test_the_same_name_twice_in_one_file(tmp_path):
    """Rendered for two namespaces at once."""
    file = tmp_path / "both.yaml"
    other = falco()
    other["metadata"] = {"name": "falco", "namespace": "staging"}
    file.write_text(dumped(falco(), other))
    with pytest.raises(TargetAmbiguous):
        find(f"k8s:/ds/falco?container=falco&manifest={file}")
    assert find(f"k8s:staging/ds/falco?container=falco&manifest={file}").facts["namespace"] == "staging"


def test_without_the_client_the_extra_is_named(tmp_path):
    """And a manifest still works: it needs no client."""
    code = (
        "import sys; sys.modules['kubernetes'] = None\n"
        "from engine.cluster.targets import find\n"
        "try: find('k8s:falco/ds/falco')\n"
        "except Exception as error: print(error)\n"
        f"print(find('k8s:/ds/falco?container=falco&manifest={tmp_path}/f.yaml').name)\n"
    )
    (tmp_path / "f.yaml").write_text(dumped(falco()))
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'bpf-runbook[kubernetes]'" in said
    assert "daemonset/falco" in said


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_text_as_a_ref_is_read_or_refused(text):
    """Never another error; and what is read is written back as the same."""
    try:
        ref = parse(text)
    except UsageError:
        return
    assert parse(str(ref)) == ref


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=80), st.binary(max_size=80).map(lambda raw: raw.decode("latin-1"))))
def test_any_text_as_a_manifest_is_read_or_refused(text):
    """Fuzzed: noise ends in an error with a way out."""
    with contextlib.suppress(RunbookError):
        manifest.find(text, Ref(name="a", kind="daemonset", manifest="noise.yaml"))
