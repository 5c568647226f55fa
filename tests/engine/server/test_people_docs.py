"""The YAML that docs/people.md, docs/notifications.md and docs/tracing.md show is read as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.server import settings
from engine.server.worker import users

DOCS = Path(__file__).parents[3] / "docs"
BLOCKS = [
    pytest.param(block, id=f"{name}-{number}")
    for name in ("people", "notifications", "tracing")
    for number, block in enumerate(
        re.findall(r"```yaml\n(.*?)```", (DOCS / f"{name}.md").read_text(), re.DOTALL)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_what_the_documentation_shows_is_read(block: str, tmp_path: Path) -> None:
    """An example that is refused helps nobody."""
    path = tmp_path / "example.yaml"
    path.write_text(block)
    path.chmod(0o600)
    if block.startswith("users:"):
        assert users.load(path)
    else:
        assert settings.load(path)
