"""Builds the BPF objects and the lab into the wheel, so that a host needs no compiler.

The wheel is for one machine type (``py3-none-linux_x86_64``): BPF objects are portable, the
lab's two programs are not. An editable install builds nothing: ``make objects`` does.

Not here: how an object is built (``bpf/Makefile``, ``bpf/lab/Makefile``).
"""

from __future__ import annotations

import platform
import subprocess
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ObjectsHook(BuildHookInterface):  # type: ignore[type-arg]
    """Runs the Makefiles before the files are collected, and tags the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build, and let what was built through the list of ignored files."""
        if self.target_name != "wheel" or version == "editable":
            return
        for room in ("bpf", "bpf/lab"):
            subprocess.run(["make", "--no-print-directory", "-C", room], cwd=self.root, check=True)
        build_data["artifacts"] += ["bpf/**/*.bpf.o", "bpf/lab/lab-agent", "bpf/lab/lab-generator"]
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-linux_{platform.machine()}"
