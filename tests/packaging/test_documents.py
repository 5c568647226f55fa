"""What the documents say: the two commands come first, and every example in them is accepted."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from engine.agents import profiles
from engine.catalog import installed
from engine.language import check, loader

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]


def yaml_in(text: str, kind: str) -> dict[str, str]:
    """The documents that begin with ``kind`` (``runbook``, ``profile``) among the YAML blocks, by name."""
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    named = ((re.search(rf"\A(?:#.*\n)*{kind}: *([\w-]+)", block), block) for block in blocks)
    return {found[1]: block for found, block in named if found}


def test_the_readme_opens_with_the_two_commands():
    """Somebody who has ten seconds finds what to type."""
    opening = (ROOT / "README.md").read_text().splitlines()[:25]
    assert any("make demo" in line for line in opening)
    assert any("make test" in line for line in opening)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_runbooks_in_the_documents_pass_the_check(document, tmp_path):
    """A reader copies examples: each must be accepted as it stands."""
    for name, text in yaml_in(document.read_text(), "runbook").items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        findings = check.check(loader.load(path), installed())
        assert not [str(finding) for finding in findings], document


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_profiles_in_the_documents_are_accepted(document, tmp_path):
    """The first profile that somebody writes is copied from here."""
    for name, text in yaml_in(document.read_text(), "profile").items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        assert profiles.load(path).profile == name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_the_documents_name_are_there(document):
    """A path in backticks that starts in this repository leads somewhere."""
    rooms = "|".join(["engine", "bpf", "remediations", "runbooks", "docs", "tools", "tests"])
    named = re.findall(rf"[`(]((?:{rooms})/[\w./-]*\w)[`)]", document.read_text())
    assert not [path for path in named if not (ROOT / path).exists()]


def test_every_dependency_is_pinned_with_hashes_and_no_registry_is_named():
    """The same packages everywhere, from whichever registry the machine uses."""
    lock = (ROOT / "requirements.lock").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    further = [each for extra in project["optional-dependencies"].values() for each in extra]
    wanted = {*project["dependencies"], *further, "hatchling", "editables"}
    for requirement in (each for each in wanted if not each.startswith(project["name"])):
        name = re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")
        assert re.search(rf"^{name}==.*\\\n +--hash=sha256:", lock, re.MULTILINE), name
    assert "://" not in lock
