"""docs/remediations.md says what the code does."""

from importlib.metadata import entry_points
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs" / "remediations.md"


def rows():
    """One row of the table for each option of each remediation."""
    for entry in sorted(entry_points(group="runbook.remediations")):
        remediation = entry.load()()
        for option, text in remediation.options.items():
            meaning, _, rest = text.rpartition(" (unit ")
            unit, _, default = rest.removesuffix(")").partition(", default ")
            yield f"| `{entry.name}` | `{option}` | {unit} | {default or '-'} | {meaning} |"


def test_every_option_stands_in_the_docs_with_its_default():
    """Printed on failure: the rows to paste."""
    text = DOCS.read_text()
    missing = [row for row in rows() if row not in text]
    assert not missing, "\n".join(missing)
