"""Which processes of this machine are a pod's: by the container's id, never by a name."""

import pytest

from engine.cluster import admission, here

ID = "7c9c" * 16
POD = {"status": {"containerStatuses": [{"name": "falco", "containerID": f"containerd://{ID}"}]}}
STAT = "{pid} (fal co) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {ticks} 0 0\n"


def process(proc, pid, cgroup, ticks=100):
    place = proc / str(pid)
    place.mkdir(parents=True)
    (place / "cgroup").write_text(cgroup)
    (place / "stat").write_text(STAT.format(pid=pid, ticks=ticks))
    (place / "cmdline").write_bytes(b"/usr/bin/falco\0-o\0x\0")


@pytest.mark.parametrize(
    "cgroup",
    [
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-pod1_2.slice/cri-containerd-{ID}.scope\n",
        f"5:cpu,cpuacct:/kubepods/burstable/pod1-2/{ID}\n1:name=systemd:/kubepods/pod1-2/{ID}\n",
    ],
    ids=["cgroup v2, systemd", "cgroup v1"],
)
def test_processes_of_the_container_are_found(cgroup, tmp_path):
    """Both versions of cgroups, the oldest process first."""
    process(tmp_path, 11, cgroup, ticks=300)
    process(tmp_path, 12, cgroup, ticks=200)
    process(tmp_path, 13, "0::/system.slice/falco.service\n")

    found = here.processes([POD], "falco", tmp_path)

    assert [one.pid for one in found] == [12, 11]
    assert (found[0].comm, found[0].argv[0]) == ("fal co", "/usr/bin/falco")
    assert ID in found[0].cgroup
    assert not here.processes([POD], "falcoctl", tmp_path)


def test_a_pod_that_has_no_container_yet_has_no_processes(tmp_path):
    """An empty id must not match everybody."""
    process(tmp_path, 11, "0::/\n")
    assert not here.processes([{"status": {}}], "falco", tmp_path)
    assert not here.processes(
        [{"status": {"containerStatuses": [{"name": "falco", "containerID": ""}]}}], "falco", tmp_path
    )


@pytest.mark.parametrize(
    ("spec", "level", "forbidden"),
    [
        ({}, "baseline", []),
        ({"securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE", "CAP_CHOWN"]}}}, "baseline", []),
        ({"securityContext": {"capabilities": {"add": ["BPF"]}}}, "baseline", ["capability BPF"]),
        ({"securityContext": {"privileged": True}}, "baseline", ["privileged: true"]),
        ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "baseline", ["seLinuxOptions spc_t"]),
        (
            {"securityContext": {"seccompProfile": {"type": "Unconfined"}}},
            "baseline",
            ["seccompProfile Unconfined"],
        ),
        ({"securityContext": {"privileged": True}}, "privileged", []),
        ({"securityContext": {"privileged": True}}, "", []),
        (
            {
                "securityContext": {
                    "capabilities": {"drop": ["ALL"]},
                    "allowPrivilegeEscalation": False,
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                }
            },
            "restricted",
            [],
        ),
    ],
)
def test_what_the_pod_security_standards_forbid(spec, level, forbidden):
    """As the Kubernetes documentation says, control by control."""
    assert admission.forbids(level, {"containers": [{"name": "a", **spec}]}) == forbidden


def test_host_namespaces_and_host_paths_are_forbidden_from_baseline_on():
    """Of the whole pod, not of a container."""
    spec = {
        "hostPID": True,
        "volumes": [{"name": "bpffs", "hostPath": {"path": "/sys/fs/bpf"}}],
        "containers": [{"name": "a"}],
    }
    assert admission.forbids("baseline", spec) == ["hostPID: true", "a hostPath volume (bpffs)"]
    assert len(admission.forbids("restricted", spec)) > 2
