"""What docs/senders.md shows is read as it stands."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from engine.server import settings
from engine.server.alerts.generic import Form

PAGE = (Path(__file__).parents[3] / "docs" / "senders.md").read_text()


def test_its_settings_are_read_and_its_mapping_reads(tmp_path: Path) -> None:
    """The file that it shows is right, and its generic sender's body becomes an alert."""
    place = tmp_path / "serve.yaml"
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    place.write_text(block)
    mapping = settings.load(place).senders[-1].mapping
    assert mapping is not None
    incident = {"rule": {"name": "drops"}, "state": "open", "id": "7", "tags": {"a": "b"}, "title": "lost"}
    body = json.dumps({"source": {"host": "n1"}, "incidents": [incident]}).encode()
    (alert,) = Form(mapping).read(body, now=1.0).alerts
    assert (alert.name, alert.labels) == ("drops", {"node": "n1", "a": "b"})


def test_the_alertmanager_snippet_fits_the_settings() -> None:
    """Path and way of authentication are those of the sender that there is without settings."""
    (text,) = re.findall(r"```\n(receivers:.*?)```", PAGE, re.DOTALL)
    block = yaml.safe_load(text)
    (hook,) = block["receivers"][0]["webhook_configs"]
    assert hook["url"].endswith("/v1/alerts/alertmanager")
    assert hook["http_config"]["authorization"]["credentials_file"]
    assert hook["send_resolved"] is True
