"""Runbooks from files: found by name, read whole, every complaint at once.

One promise: what ``load`` gives back has the right shape, every step has an id, and every
part knows its file and line. Whether its names mean anything is ``engine.language.check``'s question.

Not here: YAML (``engine.language.documents``), meaning (``engine.language.check``), running.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from engine import trust
from engine.errors import DocumentError, UnknownName, UsageError
from engine.language import documents
from engine.language.documents import Document
from engine.language.inputs import typed_defaults
from engine.language.model import Each, Runbook, Step, Try
from engine.record import RunHead
from engine.redaction import MASK

_SUFFIXES = (".yaml", ".yml")


class LoadedRunbook(msgspec.Struct, frozen=True):
    """A runbook with the text it was read from.

    Attributes:
        path: The file.
        sha256: Of the file's bytes; the journal and the audit name it.
    """

    document: Runbook
    source: Document
    path: Path
    sha256: str

    @property
    def text(self) -> str:
        """The text of the file."""
        return self.source.text

    def where(self, path: str) -> str:
        """``file:line:column`` of a part such as ``steps[0].when``."""
        return self.source.where(path)


def load(path: Path, *, only_looks: bool = False) -> LoadedRunbook:
    """Read a runbook file.

    Args:
        path: The file.
        only_looks: It is only shown or rehearsed: anybody's will do.

    Raises:
        NotTrusted: It would be obeyed as root, and others could have written it.
        DocumentError: It is wrong; all complaints at once.
        UsageError: It can't be read at all.
    """
    return parse(read_bytes(path, trusted=not only_looks), path)


def parse(raw: bytes, path: Path) -> LoadedRunbook:
    """Read a runbook from its text, as a run's journal keeps it; ``path`` is for messages.

    Raises:
        DocumentError: It is wrong; all complaints at once.
    """
    loaded, complaints = parse_partly(raw, path)
    if complaints or loaded is None:
        raise DocumentError(complaints, fix=f"correct {path}; nothing was done")
    return loaded


def recorded(head: RunHead) -> LoadedRunbook:
    """The runbook of an earlier run: from its record; where that had a secret in it, from its file.

    Raises:
        DocumentError: It is wrong; all complaints at once.
        UsageError: A secret was taken out of the record, and the file is another one by now.
    """
    raw, name = head.runbook_text.encode(), Path(f"{head.runbook}.yaml")
    if MASK not in head.runbook_text or hashlib.sha256(raw).hexdigest() == head.runbook_hash:
        return parse(raw, name)
    for suffix in _SUFFIXES:
        path = Path(head.directory or ".") / f"{head.runbook}{suffix}"
        if path.is_file() and hashlib.sha256(read_bytes(path)).hexdigest() == head.runbook_hash:
            return load(path)
    raise UsageError(
        f"the runbook of run {head.id} held a secret, which is never recorded, and its file has changed",
        fix=f"runbook undo {head.id}, then run it anew, with the secret as a secret input",
    )


def parse_partly(raw: bytes, path: Path) -> tuple[LoadedRunbook | None, tuple[str, ...]]:
    """What could be read of a runbook, and all complaints about its shape."""
    runbook, source, complaints = documents.read_partly(Runbook, raw, str(path))
    if runbook is None or source is None:
        return None, complaints
    runbook, wrong = typed_defaults(runbook, source)
    runbook = msgspec.structs.replace(runbook, steps=_with_ids(runbook.steps))
    return LoadedRunbook(runbook, source, path, hashlib.sha256(raw).hexdigest()), (*complaints, *wrong)


def find(name: str, *, environment: Mapping[str, str] = os.environ, here: Path | None = None) -> Path:
    """The file of a runbook: a path as given, or a name looked up in ``search_path``.

    Raises:
        UnknownName: There is none; names the nearest one.
    """
    if "/" in name or name.endswith(_SUFFIXES):
        path = Path(name)
        if not path.is_file():
            other = "is a directory" if path.is_dir() else "is no regular file"
            why = other if path.exists() else "is not there"
            raise UsageError(f"{name} {why}", fix="runbook list shows the runbooks that are there")
        return path
    known = available(environment=environment, here=here)
    if name not in known:
        for refused in passed_over(name, environment=environment, here=here):
            raise refused
        raise UnknownName("runbook", name, known)
    for refused in passed_over(name, environment=environment, here=here):
        import logging  # noqa: PLC0415 - rare

        logging.getLogger("runbook").warning("%s; %s counts instead", refused.problem, known[name])
    return known[name]


def called(name: str, directory: Path, *, only_looks: bool = False) -> LoadedRunbook:
    """The runbook that a ``call`` names: beside the caller's file first, then as ``find`` looks.

    Raises:
        UnknownName, UsageError, DocumentError: There is none, or it is wrong.
    """
    beside = (directory / f"{name}{suffix}" for suffix in _SUFFIXES)
    found = next((path for path in beside if path.is_file()), None) or find(name)
    return load(found, only_looks=only_looks)


def available(*, environment: Mapping[str, str] = os.environ, here: Path | None = None) -> dict[str, Path]:
    """All runbooks by name (the file's), the first place that has a name winning.

    As root, those that others could have written are passed over (``passed_over`` tells why).
    """
    found: dict[str, Path] = {}
    for path in _files(environment, here):
        if path.stem not in found and not trust.trouble(path):
            found[path.stem] = path
    return dict(sorted(found.items()))


def passed_over(
    name: str = "", *, environment: Mapping[str, str] = os.environ, here: Path | None = None
) -> tuple[trust.NotTrusted, ...]:
    """Why runbooks (those of a name, or all) in the search path are not obeyed here."""
    files = (path for path in _files(environment, here) if name in {"", path.stem})
    return tuple(found for path in files if (found := trust.trouble(path)))


def _files(environment: Mapping[str, str], here: Path | None) -> Iterator[Path]:
    for folder in search_path(environment=environment, here=here):
        for path in sorted(folder.glob("*.y*ml")) if os.access(folder, os.R_OK | os.X_OK) else ():
            if path.suffix in _SUFFIXES and path.is_file():
                yield path


def search_path(
    kind: str = "runbooks", *, environment: Mapping[str, str] = os.environ, here: Path | None = None
) -> Iterator[Path]:
    """Where files of a kind are looked for, the first place winning.

    ``./runbooks``, ``$RUNBOOK_PATH`` (several, with ``:``), ``/etc/runbook/runbooks``, the ones
    that came with the program.
    """
    yield (here or Path()) / kind
    for entry in environment.get("RUNBOOK_PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)
    yield Path("/etc/runbook") / kind
    yield shipped()


def shipped() -> Path:
    """The folder of the runbooks that came with the program, beside this package."""
    return Path(__file__).resolve().parents[2] / "runbooks"


def read_bytes(path: Path, *, trusted: bool = False) -> bytes:
    """A file's bytes, no more than are ever read as a document.

    Args:
        path: The file.
        trusted: It will be obeyed, so as root it must be root's (``engine.trust``).

    Raises:
        NotTrusted: It is not.
        UsageError: It can't be read; says why.
    """
    try:
        if trusted:
            return trust.read(path)
        with path.open("rb") as file:
            return file.read(trust.LARGEST + 1)
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror or error}", fix="give a YAML file that can be read"
        ) from error


def _with_ids(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Every step and rung with an id: the author's, or its place counted from 1.

    The ids of steps inside an ``each`` are made whole for each item: ``4[2].1``.
    """
    named: list[Step] = []
    for number, step in enumerate(steps, 1):
        changed = step if step.id else msgspec.structs.replace(step, id=str(number))
        if isinstance(changed, Try):
            rungs = tuple(
                rung if rung.id else msgspec.structs.replace(rung, id=f"{changed.id}.rungs.{place}")
                for place, rung in enumerate(changed.rungs, 1)
            )
            changed = msgspec.structs.replace(changed, rungs=rungs)
        elif isinstance(changed, Each):
            changed = msgspec.structs.replace(changed, steps=_with_ids(changed.steps))
        named.append(changed)
    return tuple(named)
