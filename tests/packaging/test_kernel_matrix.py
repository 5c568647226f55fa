"""Where the kernels of ``make test-kernels`` come from; the kernels themselves are its own matter."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

TOOL = Path(__file__).parents[2] / "tools/kernels/packages.py"


@pytest.fixture(scope="module")
def packages() -> dict[str, Any]:
    return runpy.run_path(str(TOOL))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "sources.list.d/ours.sources",
            "Types: deb\n# a snapshot\nURIs: http://mirror.example/debian\nSuites: bookworm x-updates\n"
            "Components: main\n\nTypes: deb\nURIs: http://mirror.example/security\nSuites: x-security\n"
            "Components: main\n",
        ),
        (
            "sources.list",
            "# ours\ndeb [signed-by=/x.gpg] http://mirror.example/debian bookworm main contrib\n",
        ),
    ],
    ids=["deb822", "one line"],
)
def test_kernels_come_from_the_mirror_that_the_machine_uses(
    name: str, text: str, tmp_path: Path, packages: dict[str, Any]
) -> None:
    """A site with a mirror of its own may reach no other."""
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    assert packages["mirror"](tmp_path) == "http://mirror.example/debian"


def test_a_machine_without_such_a_mirror_is_told_so(tmp_path: Path, packages: dict[str, Any]) -> None:
    """Another distribution's archive has no such kernels."""
    with pytest.raises(packages["NoKernel"], match="no source"):
        packages["mirror"](tmp_path)
