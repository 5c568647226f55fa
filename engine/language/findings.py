"""What is found while a runbook is checked: findings, and the names that are there so far.

One promise: every finding has a place, and a name that the catalog does not have is said once,
with the nearest one, and does not cause a trail of further findings.

Not here: what the parts of a runbook must be (``engine.language.check``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from engine.catalog import BrokenPart, Catalog
from engine.errors import ExpressionError, UnknownName, nearest
from engine.language import scope, shapes
from engine.language.loader import LoadedRunbook
from engine.language.shapes import ANY, BOOL, LIST, NUMBER, TEXT, Shape
from engine.language.syntax import parse, parse_template, quote
from engine.values import Setting

INPUT_SHAPES = {"text": TEXT, "bool": BOOL, "list": LIST}
_FIELD_SHAPES = {"number": NUMBER, "text": TEXT, "bool": BOOL, "rows": LIST}


class Finding(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong, or looks it, with its place."""

    line: int
    column: int
    level: Literal["error", "warning"]
    what: str
    file: str = ""

    def __str__(self) -> str:
        mark = "" if self.level == "error" else "warning: "
        return f"{self.file}:{self.line}:{self.column}: {mark}{self.what}"


class Findings:
    """Collects findings about one runbook, and the names that its steps have given so far.

    Attributes:
        names: Name → shape, as an expression at this point may read it.
        reserved: Names that no step can give.
        seen: Probes looked with so far.
        used_inputs: Inputs that some expression reads.
        partial: Some of the document could not be read: what is missing may stand there.
    """

    def __init__(self, loaded: LoadedRunbook, catalog: Catalog, *, partial: bool = False) -> None:
        self.loaded = loaded
        self.runbook = loaded.document
        self.catalog = catalog
        self.findings: list[Finding] = []
        self.used_inputs: set[str] = set()
        self.seen: set[str] = set()  # probes looked with so far
        inputs = {name: INPUT_SHAPES.get(one.type, NUMBER) for name, one in self.runbook.inputs.items()}
        self.names: dict[str, Shape] = {
            "inputs": Shape("record", inputs, open=partial),
            "target": _record(scope.TARGET, numbers=("pid",)),
            "host": _record(scope.HOST, numbers=scope.HOST),
            "outcome": _record(scope.OUTCOME),
            "run": Shape("record", {**dict.fromkeys(scope.RUN, TEXT), "dry_run": BOOL}),
        }
        self.reserved = frozenset(self.names) | {"alert"}
        self.partial = self._blind = partial

    def error(self, path: str, what: str) -> None:
        """The runbook would fail, or could never do what it says."""
        self._find(path, "error", what)

    def warn(self, path: str, what: str) -> None:
        """It looks wrong, but it would run."""
        self._find(path, "warning", what)

    def _find(self, path: str, level: Literal["error", "warning"], what: str) -> None:
        place = self.loaded.source.place(path)
        self.findings.append(Finding(place.line, place.column, level, what, self.loaded.source.file))

    def part(self, kind: str, name: str, path: str) -> Any:  # noqa: ANN401 - a part of that kind, or None
        """The part of this name, else the nearest one after an error, else None."""
        try:
            return self.catalog.part(kind, name)
        except UnknownName as error:
            self.error(path, f"{error.problem} ({error.fix})")
            return self.catalog.part(kind, error.nearest) if error.nearest else None
        except BrokenPart as error:
            self.error(path, f"{error.problem} ({error.fix})")
            return None

    def looks(self, probes: Iterable[str], path: str, label: str = "") -> None:
        """Add the evidence of these probes to the names that are there."""
        for index, name in enumerate(probes):
            self.seen.add(name)
            part = self.part("probe", name, f"{path}[{index}]")
            if part is None:
                self._blind = True
                continue
            fields = {field: _FIELD_SHAPES[one.type] for field, one in part.fields.items()}
            is_open = getattr(part, "open_fields", False)
            self.names[label or part.short] = Shape("record", fields, open=is_open)

    def probe_options(self, probes: Iterable[str]) -> dict[str, str]:
        """The options that any of these probes knows."""
        known = {"window": "How long to watch."}
        for name in probes:
            if name in self.catalog.names("probe"):
                try:
                    known |= self.catalog.probe(name).options
                except BrokenPart:
                    continue  # said at the probe's own place
        return known

    def options(self, given: Mapping[str, Setting], known: Mapping[str, str], path: str) -> None:
        """A `with`: its names, and the templates in its values."""
        for name, value in given.items():
            if name not in known:
                self.error(f"{path}.{name}", f"there is no option {name!r} here ({hint(name, known)})")
            if name == "window" and not (isinstance(value, int | float) or "{{" in str(value)):
                self.error(f"{path}.{name}", f"{value!r} is no duration (write it without quotes: 10s)")
            self._value(value, f"{path}.{name}")

    def gives(self, name: str, shape: Shape, path: str) -> None:
        """A step's result under a name of its own."""
        if name in self.reserved:
            self.error(f"{path}.as", f"{name!r} means something else already")
        self.names[name] = shape

    def provable(self, keep: str, path: str) -> None:
        """A change that stays if it helped needs something that measures whether it did."""
        if self.runbook.goal is None and not self.partial:
            says = "a change without a goal can't be proven (write goal: look, until)"
            (self.error if keep == "if-better" else self.warn)(path, says)

    def items(self, text: str, path: str) -> None:
        """An expression that must give something to go through."""
        shape = self._expression(text, path, self.names, bare=True, what=shapes.whatever)
        if shape is not None and shape.kind not in {"list", "record", "any"}:
            self.error(path, f"there is nothing to go through in a {shape.kind}, in {quote(text)}")

    def settings(self, given: Mapping[str, Setting], path: str) -> None:
        """The templates in a mapping whose names somebody else judges."""
        for name, value in given.items():
            self._value(value, f"{path}.{name}")

    # ── expressions ─────────────────────────────────────────────────────────────

    def _value(self, value: Setting, path: str) -> None:
        """Every template in a setting."""
        items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        for item in items:
            if isinstance(item, str):
                self.template(item, path)

    def durations(self, part: Any, path: str, *names: str) -> None:  # noqa: ANN401 - any part of the document
        """Fields that may hold a template in place of a duration."""
        for name in names:
            value = getattr(part, name)
            if isinstance(value, str):
                self.template(value, f"{path}.{'for' if name == 'seconds' else name}")

    def condition(self, text: str, path: str) -> None:
        """A bare expression that must be true, false or unknown; empty is none."""
        if text:
            self._expression(text, path, self.names, bare=True, what=shapes.condition)

    def template(self, text: str, path: str, names: Mapping[str, Shape] | None = None) -> None:
        """A text that may hold templates."""
        if "{{" in text:
            known = self.names if names is None else names
            self._expression(text, path, known, bare=False, what=shapes.template)

    def _expression(
        self, text: str, path: str, names: Mapping[str, Shape], *, bare: bool, what: shapes.Judge
    ) -> Shape | None:
        """Judge an expression; gives the shape of its value, None after a complaint."""
        try:
            parsed = parse(text) if bare else parse_template(text)
        except ExpressionError as error:
            self.error(path, f"{error.problem} ({error.fix})")
            return None
        if self._blind:  # a probe is missing, and with it the name it would have given
            names = {**{name.split(".")[0]: ANY for name in parsed.names()}, **names}
        shape, wrong = what(parsed, names)
        for one in wrong:
            self.error(path, f"{one}, in {quote(text)}")
        self.used_inputs |= {name.split(".")[1] for name in parsed.names() if name.startswith("inputs.")}
        return None if wrong else shape


def _record(fields: Iterable[str], numbers: Iterable[str] = ()) -> Shape:
    return Shape("record", {**dict.fromkeys(fields, TEXT), **dict.fromkeys(numbers, NUMBER)})


def hint(word: str, known: Iterable[str]) -> str:
    """What to write instead of a word that is not known."""
    words = list(known)
    near = nearest(word, words)
    return f"did you mean {near!r}?" if near else f"one of: {', '.join(words) or '-'}"
