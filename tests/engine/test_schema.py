"""The schemas that editors read."""

import jsonschema
import pytest
import yaml

from engine.errors import UnknownName
from engine.language import loader, schema
from tests.engine.parts import GOOD

PLACES = {"runbook": "runbook.schema.json", "profile": "profile.schema.json", "case": "case.schema.json"}


def validator(kind):
    made = schema.schema(kind)
    jsonschema.Draft202012Validator.check_schema(made)
    return jsonschema.Draft202012Validator(made)


@pytest.mark.parametrize("kind", PLACES)
def test_the_committed_schema_is_the_models(kind):
    """Editors must not lag behind the language. Renew with: runbook schema KIND > runbooks/…"""
    assert (loader.shipped() / PLACES[kind]).read_bytes() == schema.as_json(schema.schema(kind))


def test_what_the_loader_takes_the_schema_takes():
    """An editor that underlines a right line is not believed the next time."""
    for path in (loader.shipped() / "events-dropped.yaml", *loader.shipped().glob("examples/*.yaml")):
        if "\nsteps:" in path.read_text():
            validator("runbook").validate(yaml.safe_load(path.read_text()))
    validator("runbook").validate(yaml.safe_load(GOOD))
    for path in loader.shipped().glob("agents/*.yaml"):
        validator("profile").validate(yaml.safe_load(path.read_text()))
    for path in loader.shipped().glob("rehearsals/*/*.yaml"):
        validator("case").validate(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize(
    "text",
    [
        "runbook: x\n",
        "runbook: x\nsteps: [{lok: a}]\n",
        "runbook: x\nsteps: [{look: a, whn: b}]\n",
        "runbook: x\nsteps: [{wait: a, for: soon}]\n",
        "runbook: x\nsteps: [{change: a, keep: sometimes}]\n",
        "runbook: x\ninputs: {a: {type: thing}}\nsteps: []\n",
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(text):
    """Mistakes of shape are seen while they are typed."""
    assert not validator("runbook").is_valid(yaml.safe_load(text))


def test_every_field_is_described():
    """The words on hover are the documentation most authors see."""
    parts = schema.schema("runbook")
    for part in (parts, *parts["$defs"].values()):
        assert part["description"]
        assert all(field["description"] for field in part["properties"].values())


def test_shipped_documents_name_their_schema():
    """An editor finds the schema without being told."""
    for path, name in (
        ("events-dropped.yaml", "./runbook.schema.json"),
        ("agents/lab.yaml", "../profile.schema.json"),
    ):
        first = (loader.shipped() / path).read_text().splitlines()[0]
        assert first == f"# yaml-language-server: $schema={name}"


def test_an_unknown_kind_is_answered_with_those_there_are():
    """`runbook schema runbok`."""
    with pytest.raises(UnknownName) as error:
        schema.schema("runbok")
    assert error.value.nearest == "runbook"
