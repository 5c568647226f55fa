"""What somebody pastes into the configuration that an agent is set up from."""

from __future__ import annotations

import pytest

from engine.values import Change, Knob, Reload, Setting
from remediations.knobs.lines import lines

ENVIRONMENT = '[Service]\nEnvironment="RING=a \\"b\\""'
LIMIT = "[Service]\nLimitMEMLOCK=infinity"
MAP = "kind: ConfigMap\nmetadata: {name: cilium}\ndata:\n  "
#: The backend, where it stands, the value; the place as the head tells it, the lines.
PLACES: list[tuple[str, dict[str, str], Setting, str, str]] = [
    (
        "yaml-file",
        {"file": "/etc/a.yaml", "path": "reader.ring.size"},
        "2MiB",
        "/etc/a.yaml: reader.ring.size",
        "reader:\n  ring:\n    size: 2MiB",
    ),
    ("toml-file", {"file": "/a.toml", "path": "r.size"}, 4, "/a.toml: r.size", "[r]\nsize = 4"),
    ("ini-file", {"file": "/a.ini", "path": "r.size"}, 4, "/a.ini: r.size", "[r]\nsize = 4"),
    ("json-file", {"file": "/a.json", "path": "r.size"}, 4, "/a.json: r.size", '{"r": {"size": 4}}'),
    ("env-file", {"file": "/etc/default/a", "path": "RING"}, 4, "/etc/default/a: RING", "RING=4"),
    ("option-directory", {"file": "/etc/a.d", "path": "rb-size"}, "4M", "/etc/a.d/rb-size", "4M"),
    ("systemd-environment", {"path": "RING", "unit": "a"}, 'a "b"', "a: RING", ENVIRONMENT),
    (
        "systemd-argument",
        {"path": "--ring", "unit": "a.service"},
        8,
        "a.service: --ring",
        "# in ExecStart=, in place of what stands there:\n--ring=8",
    ),
    ("systemd-dropin", {"file": "/etc/a.service.d/x.conf"}, LIMIT + "\n", "/etc/a.service.d/x.conf", LIMIT),
    ("systemd-memory", {"path": "a"}, 1048576, "a: MemoryMax", "[Service]\nMemoryMax=1048576"),
    (
        "kubernetes",
        {"path": "configmap/cilium#conf.yaml:ring.size"},
        "8",
        "configmap/cilium#conf.yaml:ring.size",
        MAP + 'conf.yaml: |\n    ring:\n      size: "8"',
    ),
    ("kubernetes", {"path": "configmap/cilium#ring"}, "8", "configmap/cilium#ring", MAP + 'ring: "8"'),
    ("kubernetes", {"path": "env/RING"}, "8", "env/RING", 'env:\n- name: RING\n  value: "8"'),
    ("kubernetes", {"path": "k8s:x", "detail": "--- a\n+++ b"}, "8", "k8s:x", "--- a\n+++ b"),
    (
        "bpf-variable",
        {"path": "sample"},
        8,
        "bpf-variable: sample",
        "# it stands in no file, and is lost when what holds it ends:\nring-buffer-size: 8",
    ),
]


@pytest.mark.parametrize(("backend", "at", "after", "place", "said"), PLACES, ids=[one[3] for one in PLACES])
def test_lines_are_what_a_human_pastes(
    backend: str, at: dict[str, str], after: Setting, place: str, said: str
) -> None:
    """In the format of the place, down the whole path; the head says where, and what stood there."""
    knob = Knob(
        name="ring-buffer-size",
        backend=backend,
        file=at.get("file", ""),
        path=at.get("path", ""),
        unit="text",
        reload=Reload(unit=at.get("unit", "")),
    )
    made = Change(
        knob=knob,
        before=1,
        after=after,
        before_text="256KiB",
        after_text=str(after),
        why="",
        detail=at.get("detail", ""),
    )

    assert lines(made) == f"# {place} (was: 256KiB)\n{said}"
