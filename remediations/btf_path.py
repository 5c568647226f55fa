"""Point an agent to a BTF file, where the kernel carries none and its profile names the knob.

Touches: one setting, and a start of the agent. The file must be of the running kernel.
Source: libbpf, ``bpf_object_open_opts.btf_custom_path``; the BTFHub archive.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from engine.values import Plan
from remediations import load_proof
from remediations.options import says
from remediations.planning import KnobPlanner, Question, change, nothing, plan
from remediations.start_change import StartChange


class Options(msgspec.Struct, frozen=True):
    """Options of ``with``."""

    file: Annotated[str, says("text", "The BTF file of the running kernel; an absolute path.")] = ""


class BtfPathPlanner(KnobPlanner[Options]):
    """Decides on the file that it was given."""

    name = "btf-path"
    summary = "Point an agent to a BTF file where the kernel carries none."
    knob = "btf-path"
    risk = "medium"
    kind = Options

    def decide(self, asked: Question[Options]) -> Plan:
        """Only where the kernel has no BTF of its own, and a file was named."""
        if asked.case.text("host.btf") != "no":
            nothing("the kernel has BTF of its own, or whether it has was not seen")
        file = asked.options.file
        release = asked.case.text("host.kernel_release") or "the running kernel"
        if not file.startswith("/"):
            nothing(f"no BTF file was named: get the one of {release} (BTFHub) and give it as file")
        return plan(
            self.name,
            asked,
            (change(asked, file, f"{release} carries no BTF, which the agent's programs need"),),
            f"read the types of {release} from {file}",
            load_proof.predictions(asked),
            risk="medium",
            warnings=("types of another kernel may load and read wrong fields",),
        )


class BtfPath(StartChange):
    """Remediation ``btf-path``."""

    planner = BtfPathPlanner()
