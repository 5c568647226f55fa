"""Small made-up parts for tests of the language: no machine, no BPF."""

from pathlib import Path
from types import SimpleNamespace

from engine import catalog
from engine.language import loader
from engine.values import Field


def probe(name, short, fields, options=()):
    return SimpleNamespace(
        name=name,
        short=short,
        summary="",
        fields={field: Field(help="", type=kind) for field, kind in fields.items()},
        options=dict.fromkeys(options, ""),
        needs_target=True,
        cpu_ceiling=0.5,
        supported=None,
        collect=None,
    )


def remediation(name, options=(), **more):
    words = dict.fromkeys(("read", "plan", "capture", "apply", "state", "undo"))
    return SimpleNamespace(
        name=name, summary="", knob=name, options=dict.fromkeys(options, ""), risk="low", **words, **more
    )


FLOW = probe(
    "event-flow",
    "flow",
    {
        "dropped_per_s": "number",
        "in_per_s": "number",
        "drop_source": "text",
        "steady": "bool",
        "rings": "rows",
    },
)
PROCESS = probe("process", "process", {"cpu_quota_left": "number"}, options=("threads",))
LOSS = SimpleNamespace(
    name="event-loss",
    summary="",
    causes={"burst-exceeds-buffer": "", "reader-cpu-bound": ""},
    wants=("event-flow",),
    decide=None,
)
PARTS = catalog.of(
    {
        "probe": {"event-flow": FLOW, "process": PROCESS},
        "diagnosis": {"event-loss": LOSS},
        "remediation": {
            "ring-buffer-size": remediation("ring-buffer-size", ("at_most",)),
            "sampling": remediation("sampling", temporary=True),
        },
    }
)

GOOD = """\
runbook: good
inputs:
  window: {type: duration, default: 10s}
goal:
  look: event-flow
  with: {window: "{{ inputs.window }}"}
  until: flow.dropped_per_s == 0
  hold: 20s
steps:
  - look: [event-flow, process]
    with: {window: "{{ inputs.window }}"}
  - decide: event-loss
  - try:
      - change: ring-buffer-size
        when: cause.is("burst-exceeds-buffer")
      - change: sampling
        lease: 2h
  - tell: "{{ outcome.sentence }}"
"""


def load(tmp_path: Path, text: str | bytes, name: str = "good.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return loader.load(path)
