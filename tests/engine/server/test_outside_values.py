"""What alerts and the page bring along stays data: no query of a target, no file, no program."""

from __future__ import annotations

import string
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import UsageError
from engine.language import loader
from engine.launch import Wish, launch
from engine.running.scene import Silent
from engine.server import messages
from engine.server.alerts.alert import Alert
from engine.server.worker import triggers
from engine.server.worker.candidates import consider
from engine.server.worker.triggers import Ready
from tests.engine.server.working import Worker, working

SHIPPED = [one for path in loader.available().values() for one in triggers.read(path)]
#: Runs a program when it is used: whoever can name a kubeconfig can do so.
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: "https://127.0.0.1:1"}}}}]
contexts: [{{name: c, context: {{cluster: c, user: u}}}}]
current-context: c
users:
  - name: u
    user:
      exec:
        apiVersion: client.authentication.k8s.io/v1
        command: /bin/sh
        args: [-c, "touch {canary}"]
        interactiveMode: Never
"""
HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="?&=#%/:. \n\x00k" + string.ascii_lowercase, max_size=40),
    st.sampled_from(
        ["falco?kubeconfig=/tmp/x&container=x", "falco?kubeconfig=/tmp/x&context=x", "a&b", "a#b"]
    ),
)


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(canary=tmp_path / "canary"))
    return tmp_path / "canary"


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    with working(tmp_path, cooldown="0s") as started:
        yield started


def not_permitted(fingerprint: str, /, **labels: str) -> Alert:
    name = "eBPFPodNotPermitted"
    return Alert(name=name, status="firing", fingerprint=fingerprint, starts_at=1.0, labels=labels)


def test_no_label_of_an_alert_names_a_kubeconfig(worker: Worker, canary: Path) -> None:
    """Else whoever may post an alert runs programs with the worker's rights."""
    into = f"falco?kubeconfig={canary.parent}/kubeconfig&container=x"
    bodies = [{"namespace": "falco", "daemonset": into}, {"namespace": into, "daemonset": "falco"}]
    for number, labels in enumerate(bodies):
        (taking,) = worker.offer(not_permitted(str(number), **labels))
        assert taking.fate == "unmatched"

    assert worker.runs() == {}
    assert not canary.exists()


@pytest.mark.parametrize(
    ("inputs", "target"),
    [
        ({"workload": "falco", "kubeconfig": "FILE"}, ""),
        ({"workload": "falco", "manifest": "FILE"}, ""),
        ({"workload": "falco"}, "k8s:falco/falco?kubeconfig=FILE"),
    ],
)
def test_nobody_names_a_file_from_the_page(
    worker: Worker, canary: Path, inputs: dict[str, str], target: str
) -> None:
    """Neither as an input nor within the target: it is said, and nothing is queued."""
    file = f"{canary.parent}/kubeconfig"
    request = messages.StartRun(
        runbook="kubernetes-permission",
        target=target.replace("FILE", file),
        inputs={name: value.replace("FILE", file) for name, value in inputs.items()},
    )
    no = worker.ask(request)

    assert isinstance(no, messages.No)
    assert no.why == "wrong"
    assert worker.runs() == {}


def test_what_is_put_into_a_target_brings_no_part_of_its_own(tmp_path: Path, canary: Path) -> None:
    """The last wall: the run itself refuses, had it been queued all the same."""
    place = f"{canary.parent}/kubeconfig"
    for tail in (
        f"?kubeconfig={place}&container=x",
        f"?kubeconfig={place}&context=c",
        f"?kubeconfig={place}",
    ):
        wish = Wish(
            runbook="kubernetes-permission",
            inputs={"workload": f"daemonset/falco{tail}"},
            state=tmp_path / "state",
            outside=True,
        )
        with pytest.raises(UsageError):
            launch(wish, Silent())

    assert not canary.exists()


def test_a_run_from_outside_is_given_no_local_input(tmp_path: Path) -> None:
    """Whatever was queued: also the child that carries it asks."""
    wish = Wish(runbook="load-failure", inputs={"btf_file": "/tmp/x"}, state=tmp_path / "state", outside=True)
    with pytest.raises(UsageError, match="set at this host only"):
        launch(wish, Silent())


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 1e308])
def test_a_lease_is_given_a_sensible_time_from_the_page(worker: Worker, seconds: float) -> None:
    """Before anything is looked up or written."""
    no = worker.ask(messages.ChangeLease(run="r", attempt=1, do="extend", seconds=seconds))

    assert isinstance(no, messages.No)
    assert "can't be given" in no.problem


@pytest.mark.parametrize("ready", SHIPPED, ids=lambda one: f"{one.runbook}-{one.trigger.alert}")
@given(values=st.data())
def test_no_label_parts_a_target_or_an_input_of_a_shipped_runbook(
    ready: Ready, values: st.DataObject
) -> None:
    """Whatever labels hold, what is made of them has no query and no control character."""
    names = ("target", "job", "namespace", "daemonset", "map")
    labels = {name: values.draw(HOSTILE, label=name) for name in names} | {"severity": "critical"}
    alert = Alert(name=ready.trigger.alert, status="firing", fingerprint="f", starts_at=1.0, labels=labels)
    (found,) = consider(alert, [ready])
    if found.wanted is not None:
        for value in (found.wanted.target, *found.wanted.inputs.values()):
            assert not set("?&=#") & set(value)
            assert value.isprintable()


def test_workloads_are_causes_of_their_own() -> None:
    """Two namespaces in trouble are two runs, not one that the other joins."""
    ready = [one for one in SHIPPED if one.trigger.alert == "eBPFPodNotPermitted"]
    targets = [
        found.wanted.target
        for space in ("a", "b")
        for found in consider(not_permitted(space, namespace=space, daemonset="falco"), ready)
        if found.wanted
    ]

    assert targets == ["k8s:a/daemonset/falco", "k8s:b/daemonset/falco"]
