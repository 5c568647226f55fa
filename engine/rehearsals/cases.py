"""Cases from files: found, read whole, with their runbook, every complaint at once.

One promise: what ``load`` gives back can be run: its runbook is right, its inputs are typed, every
probe, change and reading that it names is there. What a case says is judged before it is run.

Not here: YAML (``engine.language.documents``), running (``engine.rehearsals.play``).
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from engine import units
from engine.catalog import Catalog
from engine.errors import DocumentError, RunbookError, UsageError, nearest
from engine.language import documents, inputs, loader
from engine.language.check import require
from engine.language.documents import Document
from engine.language.loader import LoadedRunbook
from engine.language.model import Run, Runbook
from engine.language.yaml_nodes import Complaints
from engine.rehearsals.agent import agent_of
from engine.rehearsals.expectations import judge
from engine.rehearsals.finding import FOLDER, SUFFIXES
from engine.rehearsals.model import Command, Rehearsal
from engine.rehearsals.sights import Sight, SightReader
from engine.rehearsals.stage import BEFORE
from engine.rehearsals.steps import placed
from engine.values import Host, KnobValue, Setting, Target


class LoadedCase(msgspec.Struct, frozen=True, kw_only=True):
    """A case that can be run.

    Attributes:
        inputs: Complete and typed.
        looks: Phase → probe → successive looks.
        knobs: Present values by knob.
        available_bytes: Memory that is left on the machine.
        runs: How commands end, by the whole command.
    """

    document: Rehearsal
    source: Document
    path: Path
    runbook: LoadedRunbook
    inputs: dict[str, Setting]
    target: Target
    knobs: dict[str, KnobValue]
    host: Host
    available_bytes: int
    looks: dict[str, dict[str, tuple[Sight, ...]]]
    runs: dict[str, tuple[Command, ...]] = {}


def load(path: Path, catalog: Catalog, *, runbook: Path | None = None) -> LoadedCase:
    """Read a case.

    Args:
        path: Its file.
        catalog: The installed parts.
        runbook: Another runbook than the one that it names.

    Raises:
        DocumentError: It is wrong, or its runbook is; all complaints at once.
        UsageError: It can't be read at all.
    """
    return parse(loader.read_bytes(path), path, catalog, runbook=runbook)


def parse(raw: bytes, path: Path, catalog: Catalog, *, runbook: Path | None = None) -> LoadedCase:
    """Read a case from its text; ``path`` is for messages and for finding its runbook.

    Raises:
        DocumentError: It is wrong, or its runbook is; all complaints at once.
    """
    document, source = documents.read(Rehearsal, raw, str(path))
    complaints = Complaints(source.file)
    loaded = _runbook(source, runbook or _named(document.runbook, path, source), catalog)
    given: dict[str, Setting] = {}
    try:
        given = inputs.resolve(loaded.document, document.inputs)
    except UsageError as error:
        for line in error.problem.splitlines():
            complaints.add(source.place("inputs"), f"{line} ({error.fix})")
    target, knobs = agent_of(document.target, source, complaints, document.host.page_bytes)
    runs = _commands(document, source, complaints)
    looks = _Phases(document, source, complaints, loaded.document, catalog).read()
    host, available = _machine(document, source, complaints)
    judge(document, source, complaints, loaded.document, catalog)
    if complaints:
        raise DocumentError(complaints, fix=f"correct {path}; nothing was run")
    return LoadedCase(
        document=document, source=source, path=path, runbook=loaded, inputs=given, target=target,
        knobs=knobs, host=host, available_bytes=available, looks=looks, runs=runs,
    )  # fmt: skip


class _Phases:
    """Reads the evidence of all phases."""

    def __init__(
        self,
        document: Rehearsal,
        source: Document,
        complaints: Complaints,
        runbook: Runbook,
        catalog: Catalog,
    ) -> None:
        self._document, self._source, self._complaints = document, source, complaints
        self._catalog = catalog
        self._reader = SightReader(source, complaints)
        self._names = _by_word(catalog)
        self._commands = {one.changes for one in placed(runbook) if isinstance(one.step, Run)}

    def _phase_of(self, change: str) -> str:
        """The change that a phase belongs to: of a command its words as they are joined."""
        return shlex.join(shlex.split(change)) if change in self._document.runs else change

    def read(self) -> dict[str, dict[str, tuple[Sight, ...]]]:
        """Phase → probe → looks."""
        found = {BEFORE: self._phase(self._document.before, "before")}
        for change, told in self._document.after.items():
            found[self._phase_of(change)] = self._phase(told, f"after.{change}")
        for section in ("after", "guards", "breaks"):
            for change in getattr(self._document, section):
                if change in (self._document.runs if section == "after" else self._commands):
                    continue
                self._known("remediation", change, self._catalog.names("remediation"), f"{section}.{change}")
        return found

    def _phase(self, told: Mapping[str, object], path: str) -> dict[str, tuple[Sight, ...]]:
        found = {}
        for word, tree in told.items():
            name = self._names.get(word, "")
            if self._known("probe", word, self._names, f"{path}.{word}"):
                found[name] = self._reader.looks(tree, f"{path}.{word}", self._catalog.probe(name))
        return found

    def _known(self, kind: str, name: str, known: Iterable[str], path: str) -> bool:
        words = tuple(known)
        if name in words:
            return True
        near = nearest(name, words)
        hint = f"did you mean {near!r}?" if near else f"one of: {', '.join(sorted(words))}"
        self._complaints.add(self._source.place(path), f"there is no {kind} {name!r} ({hint})")
        return False


def _by_word(catalog: Catalog) -> dict[str, str]:
    """A probe's short name, and its full one → its full name."""
    words: dict[str, str] = {}
    for name, probe in catalog.each("probe"):
        if not isinstance(probe, RunbookError):
            words.setdefault(probe.short, name)
    return words | {name: name for name in catalog.names("probe")}


def _commands(
    document: Rehearsal, source: Document, complaints: Complaints
) -> dict[str, tuple[Command, ...]]:
    """How each command ends, one time after the other, by its text as it is joined from its words."""
    found = {}
    for text, told in document.runs.items():
        try:
            words = shlex.split(text)
        except ValueError as error:
            complaints.add(source.place(f"runs.{text}"), f"no command: {error}")
            continue
        if not words or not words[0].startswith("/"):
            complaints.add(source.place(f"runs.{text}"), f"{text!r} names no program by its whole path")
            continue
        ends = (Command(stdout=told),) if isinstance(told, str) else told
        found[shlex.join(words)] = ends if isinstance(ends, tuple) else (ends,)
    return found


def _machine(document: Rehearsal, source: Document, complaints: Complaints) -> tuple[Host, int]:
    machine, sizes = document.host, {}
    for name in ("memory_bytes", "available_bytes"):
        try:
            sizes[name] = units.size(getattr(machine, name))
        except UsageError as error:
            complaints.add(source.place(f"host.{name}"), f"{error.problem} ({error.fix})")
            sizes[name] = 0
    host = Host(
        cpus=machine.cpus,
        possible_cpus=machine.cpus,
        page_bytes=machine.page_bytes,
        memory_bytes=sizes["memory_bytes"],
    )
    return host, sizes["available_bytes"]


# ── its runbook ─────────────────────────────────────────────────────────────────


def _runbook(source: Document, path: Path, catalog: Catalog) -> LoadedRunbook:
    """The runbook of a case, checked."""
    try:
        loaded = loader.load(path, only_looks=True)
    except DocumentError:
        raise
    except UsageError as error:
        raise _not_there(source, error) from error
    require(loaded, catalog)
    return loaded


def _named(name: str, case: Path, source: Document) -> Path:
    """The file of a case's runbook: the one beside ``rehearsals/``, else as everywhere.

    Raises:
        DocumentError: There is none.
    """
    if "/" in name or name.endswith(SUFFIXES):
        return case.parent / name
    for folder in case.absolute().parents:
        if folder.name == FOLDER and (beside := _file(folder.parent, name)):
            return beside
    try:
        return loader.find(name)
    except UsageError as error:
        raise _not_there(source, error) from error


def _not_there(source: Document, error: UsageError) -> DocumentError:
    line = f"{source.where('runbook')}: {error.problem} ({error.fix})"
    return DocumentError([line], fix=f"correct {source.file}; nothing was run")


def _file(folder: Path, name: str) -> Path | None:
    return next((path for suffix in SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)
