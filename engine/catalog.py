"""The parts that are installed: probes, diagnoses, remediations, knobs, guards, notifiers, commands.

One promise: ours and strangers' come through the same door, an entry point; asking for a name
that is not there names the nearest one, and a part that can't be loaded names the
distribution that is to blame. Nothing is imported before it is asked for by name.

Not here: what the parts must offer (``engine.contracts``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from typing import Any, cast

from engine import contracts, entry_points
from engine.entry_points import EntryPoint
from engine.errors import RunbookError, UnknownName
from engine.values import Inventory

#: Kind of part → the group of its entry points.
GROUPS = {
    "probe": "runbook.probes",
    "meter": "runbook.meters",
    "diagnosis": "runbook.diagnoses",
    "remediation": "runbook.remediations",
    "knob backend": "runbook.knobs",
    "guard": "runbook.guards",
    "notifier": "runbook.notifiers",
    "inventory": "runbook.inventory",
    "kind of target": "runbook.targets",
    "command": "runbook.commands",
    "reader": "runbook.readers",
}
_CONTRACTS: dict[str, tuple[str, ...]] = {
    "probe": ("name", "short", "summary", "fields", "options", "supported", "collect"),
    "meter": ("name", "families", "read", "glance", "close"),
    "diagnosis": ("name", "summary", "causes", "wants", "decide"),
    "remediation": (
        *("name", "summary", "knob", "options", "risk", "read", "plan"),
        *("capture", "apply", "state", "undo"),
    ),
    "knob backend": ("name", "read"),
    "guard": ("name", "judge"),
    "notifier": ("name", "tell"),
}


class BrokenPart(RunbookError):
    """An installed part that can't be loaded, or does not offer what its kind must."""


class Catalog:
    """Finds parts by kind and name; each is loaded once, when first asked for."""

    def __init__(self, points: Iterable[EntryPoint]) -> None:
        self._found: dict[str, dict[str, EntryPoint]] = {group: {} for group in GROUPS.values()}
        for point in points:
            if point.group in self._found:
                self._found[point.group].setdefault(point.name, point)
        self._loaded: dict[tuple[str, str], Any] = {}

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of all parts of a kind, sorted. Imports none of them."""
        return tuple(sorted(self._found[GROUPS[kind]]))

    def probe(self, name: str) -> contracts.Probe:
        """The probe of this name."""
        return cast(contracts.Probe, self.part("probe", name))

    def diagnosis(self, name: str) -> contracts.Diagnosis:
        """The diagnosis of this name."""
        return cast(contracts.Diagnosis, self.part("diagnosis", name))

    def remediation(self, name: str) -> contracts.Remediation:
        """The remediation of this name; hand a dry-run only its ``contracts.Planner`` side."""
        return cast(contracts.Remediation, self.part("remediation", name))

    def knob_backend(self, name: str) -> contracts.KnobBackend:
        """The way to read settings of this name."""
        return cast(contracts.KnobBackend, self.part("knob backend", name))

    def read_inventory(self) -> Inventory | None:
        """All BPF objects of the machine; None when nothing installed can read them."""
        reader = self.inventory_reader()
        if reader is None:
            return None
        with closing(reader):
            return reader.read()

    def inventory_reader(self) -> contracts.InventoryReader | None:
        """A reader for repeated reads; None when nothing installed can read them. Close it."""
        for name in self.names("inventory"):
            return cast(contracts.InventoryReader, self.load("inventory", name)())
        return None

    def part(self, kind: str, name: str) -> Any:  # noqa: ANN401 - the callers above say which
        """A part, made and checked against its contract; the same object each time.

        Raises:
            UnknownName: There is none of this name.
            BrokenPart: It can't be loaded, or lacks something.
        """
        key = (kind, name)
        if key not in self._loaded:
            made = self.load(kind, name)
            point = self._found[GROUPS[kind]][name]
            try:
                one = made() if callable(made) else made
            except Exception as error:
                raise _broken(kind, point, f"{type(error).__name__}: {error}") from error
            lacks = [word for word in _CONTRACTS.get(kind, ()) if not hasattr(one, word)]
            if lacks:
                raise _broken(kind, point, f"it has no {', '.join(lacks)}")
            self._loaded[key] = one
        return self._loaded[key]

    def load(self, kind: str, name: str) -> Any:  # noqa: ANN401 - whatever the entry point names
        """The object behind an entry point, as it is.

        Raises:
            UnknownName, BrokenPart: As for ``part``.
        """
        points = self._found[GROUPS[kind]]
        if name not in points:
            raise UnknownName(kind, name, points)
        try:
            return points[name].load()
        except Exception as error:
            raise _broken(kind, points[name], f"{type(error).__name__}: {error}") from error

    def each(self, kind: str) -> Iterator[tuple[str, Any | BrokenPart]]:
        """Every part of a kind with its name; a broken one as its error."""
        for name in self.names(kind):
            try:
                yield name, self.part(kind, name)
            except BrokenPart as error:
                yield name, error

    def origin(self, kind: str, name: str) -> str:
        """Which distribution a part came with: ``bpf-runbook 0.1.0``."""
        return self._found[GROUPS[kind]][name].origin


@functools.cache
def installed() -> Catalog:
    """The catalog of this environment. Cost: 1 ms, once."""
    return Catalog(entry_points.read(GROUPS.values()))


def of(parts: Mapping[str, Mapping[str, Any]]) -> Catalog:
    """A catalog of parts that are already made, by kind and name: for rehearsals and tests."""
    catalog = Catalog(())
    for kind, by_name in parts.items():
        for name, part in by_name.items():
            catalog._found[GROUPS[kind]][name] = cast(Any, _Ready(name, GROUPS[kind], part))
    return catalog


class _Ready:
    """Stands for an entry point whose object is already there."""

    origin = ""

    def __init__(self, name: str, group: str, part: Any) -> None:  # noqa: ANN401
        self.name, self.group, self.value = name, group, repr(part)
        self._part = part

    def load(self) -> Any:  # noqa: ANN401
        part = self._part
        plain = ("runbook.inventory", "runbook.targets", "runbook.commands")
        return part if self.group in plain else lambda: part


def _broken(kind: str, point: EntryPoint, why: str) -> BrokenPart:
    origin = point.origin or "an unknown distribution"
    return BrokenPart(
        f"the {kind} {point.name!r} of {origin} can't be loaded from {point.value}: {why}",
        fix=f"reinstall or remove {origin.split()[0] if point.origin else 'it'}",
    )
