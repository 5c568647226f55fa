"""What a case tells of one look of one probe, and the evidence that the engine gets of it.

One promise: a reading that the probe can't give, or of another type than it gives, is told with
file and line and the nearest right name; what is not told stays unknown, with that as its reason.

Not here: which look comes when (``engine.rehearsals.stage``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from engine.contracts import Probe
from engine.errors import nearest
from engine.language.documents import Document
from engine.language.yaml_nodes import Complaints
from engine.text import unit_of
from engine.values import Evidence, Reading, Scalar, Series

_LONG = frozenset({"value", "unit", "source", "missing"})
#: Field type → what a value of it is, in words.
_TYPES = {"number": "a number", "text": "a text (in quotes)", "bool": "true or false"}


class Sight(msgspec.Struct, frozen=True, kw_only=True):
    """One look of one probe, as a case tells it.

    Attributes:
        series: Times are seconds from the start of the window.
        fails: Why the probe could not look; empty when it could.
        gone: What ended the target within the window; empty when it lived.
    """

    readings: dict[str, Reading] = {}
    tables: dict[str, tuple[dict[str, Scalar], ...]] = {}
    series: dict[str, Series] = {}
    notes: tuple[str, ...] = ()
    fails: str = ""
    gone: str = ""

    def over(self, base: Sight | None) -> Sight:
        """The same look with all that it does not tell as in ``base``."""
        if base is None or self.fails or self.gone or base.fails or base.gone:
            return self
        return Sight(
            readings={**base.readings, **self.readings},
            tables={**base.tables, **self.tables},
            series={**base.series, **self.series},
            notes=self.notes or base.notes,
        )

    def evidence(self, probe: Probe, target: str, began: float, ended: float) -> Evidence:
        """As the probe would have given it."""
        series = {
            name: msgspec.structs.replace(each, times=tuple(began + time for time in each.times))
            for name, each in self.series.items()
        }
        silent = {
            name: Reading(unit=field.unit, missing="the case does not tell it")
            for name, field in probe.fields.items()
            if field.type != "rows" and name not in self.readings
        }
        return Evidence(
            probe=probe.name,
            short=probe.short,
            target=target,
            started_at=began,
            ended_at=ended,
            readings={**self.readings, **silent},
            tables=self.tables,
            series=series,
            notes=self.notes,
        )


class SightReader:
    """Reads the looks of one case, collecting complaints."""

    def __init__(self, source: Document, complaints: Complaints) -> None:
        self._source = source
        self._complaints = complaints

    def looks(self, tree: object, path: str, probe: Probe) -> tuple[Sight, ...]:
        """Successive looks of one probe: a mapping, or a list of mappings."""
        if not isinstance(tree, list):
            return (self._sight(tree, path, probe),)
        if not tree:
            self._wrong(path, "an empty list tells no look")
        found: list[Sight] = []
        for place, one in enumerate(tree):
            sight = self._sight(one, f"{path}[{place}]", probe)
            found.append(sight.over(found[-1] if found else None))
        return tuple(found)

    def _sight(self, tree: object, path: str, probe: Probe) -> Sight:
        if not isinstance(tree, dict):
            self._wrong(path, f"expected readings of {probe.name} by name, found {_say(tree)}")
            return Sight()
        if (nothing := self._nothing(tree, path, probe)) is not None:
            return nothing
        readings: dict[str, Reading] = {}
        tables: dict[str, tuple[dict[str, Scalar], ...]] = {}
        series: dict[str, Series] = {}
        notes: tuple[str, ...] = ()
        for name, value in tree.items():
            at = f"{path}.{name}"
            if name == "notes" and isinstance(value, list):
                notes = tuple(str(one) for one in value)
            elif isinstance(value, list):
                tables[name] = self._table(value, at)
            elif isinstance(value, dict) and _several(value):  # a reading, a table and a series of one name
                if isinstance(value.get("rows"), list):
                    tables[name] = self._table(value["rows"], f"{at}.rows")
                if isinstance(value.get("series"), dict):
                    series[name] = self._series(name, value["series"], f"{at}.series")
                rest = {key: one for key, one in value.items() if key not in {"rows", "series"}}
                if rest or name not in series:
                    readings[name] = self._reading(name, rest, at, probe)
            elif isinstance(value, dict) and "times" in value:
                series[name] = self._series(name, value, at)
            else:
                readings[name] = self._reading(name, value, at, probe)
        return Sight(readings=readings, tables=tables, series=series, notes=notes)

    def _nothing(self, tree: Mapping[str, Any], path: str, probe: Probe) -> Sight | None:
        """A look that gives no readings; None of one that does."""
        word = next((one for one in ("fails", "gone") if one in tree and one not in probe.fields), "")
        if not word:
            return None
        if len(tree) > 1:
            self._wrong(f"{path}.{word}", f"{word!r} stands alone: such a look gives no readings")
        why = str(tree[word] or "the case says so")
        return Sight(fails=why) if word == "fails" else Sight(gone=why)

    def _reading(self, name: str, value: object, path: str, probe: Probe) -> Reading:
        field = probe.fields.get(name)
        if field is None and not getattr(probe, "open_fields", False):
            near = nearest(name, probe.fields)
            known = f"did you mean {near!r}?" if near else f"one of: {', '.join(sorted(probe.fields))}"
            self._wrong(path, f"{probe.name} gives no {name!r} ({known})")
        long: Mapping[str, Any] = value if isinstance(value, dict) else {"value": value}
        for key in long.keys() - _LONG:
            self._wrong(
                f"{path}.{key}", f"a reading has no {key!r} (value, unit, source, missing, rows, series)"
            )
        given = long.get("value")
        if isinstance(given, list | dict):
            self._wrong(path, f"a reading is one value, found {_say(given)}")
            given = None
        if field is not None and given is not None and not _fits(given, field.type):
            wanted = _TYPES.get(field.type, "a table")
            self._wrong(path, f"{name} of {probe.name} is {wanted}, found {_say(given)}")
        return Reading(
            value=given,
            unit=str(long.get("unit") or (field.unit if field else "") or unit_of(name)),
            source=str(long.get("source") or "the case"),
            missing=str(long.get("missing") or ("the case says so" if given is None else "")),
        )

    def _table(self, rows: list[object], path: str) -> tuple[dict[str, Scalar], ...]:
        found = []
        for place, row in enumerate(rows):
            if not isinstance(row, dict) or any(isinstance(cell, list | dict) for cell in row.values()):
                self._wrong(f"{path}[{place}]", f"expected a row of plain values, found {_say(row)}")
                continue
            found.append(row)
        return tuple(found)

    def _series(self, name: str, value: Mapping[str, Any], path: str) -> Series:
        times, values = value.get("times"), value.get("values")
        good = (
            isinstance(times, list)
            and isinstance(values, list)
            and len(times) == len(values)
            and all(_fits(one, "number") for one in (*times, *values))
        )
        if not good or value.keys() - {"times", "values", "label", "unit"}:
            self._wrong(path, "a series is {times: […], values: […]} with as many numbers in each")
            return Series(label=name)
        return Series(
            label=str(value.get("label") or name),
            unit=str(value.get("unit") or ""),
            times=tuple(map(float, times or ())),
            values=tuple(map(float, values or ())),
        )

    def _wrong(self, path: str, what: str) -> None:
        self._complaints.add(self._source.place(path), what)


def _several(value: Mapping[str, Any]) -> bool:
    """Whether more than a reading is told under one name."""
    return isinstance(value.get("rows"), list) or isinstance(value.get("series"), dict)


def _fits(value: object, kind: str) -> bool:
    """Whether a value is of a field's type; one value is never a table."""
    if kind == "rows":
        return False
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool if kind == "bool" else str)


def _say(value: object) -> str:
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else "nothing" if value is None else repr(value)
