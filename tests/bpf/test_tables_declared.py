"""Every table that a probe gives is declared, so that a runbook may go through it."""

from __future__ import annotations

import pytest

from engine.catalog import installed
from engine.language.check import complaints
from engine.testing import check_probe
from engine.values import Evidence, Reading

#: Short name of a probe → the tables that it gives.
TABLES = {
    "alloc": {"sites"},
    "cost": {"programs"},
    "flow": {"rings"},
    "heap": {"sites"},
    "host": {"attach"},
    "kernel": {"kinds"},
    "kube": {"needs", "pods"},
    "maps": {"maps", "stale"},
    "memory": {"maps"},
    "metrics": {"values"},
    "profile": {"functions", "stacks", "threads"},
    "sources": {"points", "processes", "syscalls"},
    "unit": {"last_lines"},
    "upgrade": {"config"},
    "work": {"syscalls", "threads"},
}
#: Tables that share their name with a reading: an expression reads the reading.
SHARED = {
    "klog": {"errors", "kills"},
    "loads": {"failures"},
    "memory": {"processes"},
    "objects": {"maps", "programs"},
    "process": {"threads"},
    "upgrade": {"needs", "programs"},
}
PROBES = [installed().probe(name) for name in installed().names("probe")]
RUNBOOK = """\
runbook: through
summary: Goes through a table.
steps:
  - look: {probe}
    with: {{window: 1s}}
  - each:
      - tell: "{{{{ row }}}}"
    in: {short}.{table}
    as: row
"""


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_tables_are_declared_as_rows(probe):
    """And nothing else is."""
    declared = {name for name, field in probe.fields.items() if field.type == "rows"}
    assert declared == TABLES.get(probe.short, set())
    assert SHARED.get(probe.short, set()) <= set(probe.fields) - declared


@pytest.mark.parametrize(
    "probe", [one for one in PROBES if one.short in TABLES], ids=lambda probe: probe.name
)
def test_a_runbook_may_go_through_each_table(probe, tmp_path):
    """As docs/language.md shows with `in: maps.maps`."""
    for table in TABLES[probe.short]:
        path = tmp_path / "through.yaml"
        path.write_text(RUNBOOK.format(probe=probe.name, short=probe.short, table=table))
        assert [line for line in complaints(path, installed()) if "warning" not in line] == []


def test_a_table_that_is_not_declared_breaks_the_contract():
    """So does a table that is given as a reading."""
    probe = installed().probe("map-fill")
    seen = {"probe": probe.name, "short": probe.short, "target": "", "started_at": 0.0, "ended_at": 1.0}
    check_probe(probe, Evidence(**seen, tables={"maps": ()}))
    with pytest.raises(AssertionError, match=r"tables it does not declare .*'others'"):
        check_probe(probe, Evidence(**seen, tables={"others": ()}))
    with pytest.raises(AssertionError, match=r"as readings what it declares as tables: .*'maps'"):
        check_probe(probe, Evidence(**seen, readings={"maps": Reading(value=1)}))
