"""A new runbook: a commented skeleton that passes ``runbook check``, with its first cases beside it.

One promise: what is given out was checked and rehearsed first; nothing that is there is overwritten.

Not here: writing files for people (``engine.rehearsals.files``).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from engine.catalog import Catalog
from engine.contracts import Probe
from engine.errors import UsageError
from engine.language import loader
from engine.language.check import require
from engine.language.expressions import names_in
from engine.rehearsals import cases, recording
from engine.rehearsals.finding import FOLDER
from engine.rehearsals.play import play
from engine.rehearsals.writing import text_of

#: What a reading is called that should be zero.
_BAD = re.compile(r"dropped|lost|fail|error|kills|lacking|refused")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]*")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the skeleton is to hold.

    Attributes:
        probes: What it looks with; the first one shows the symptom.
        until: When the trouble is over; made from the first probe when empty.
        diagnosis: What names the causes; empty for cases of its own.
        changes: The rungs of its ladder, in order.
    """

    name: str
    probes: tuple[str, ...]
    until: str = ""
    diagnosis: str = ""
    changes: tuple[str, ...] = ()


def make(wanted: Wanted, catalog: Catalog) -> dict[str, str]:
    """The files of a new runbook: path from its directory → text.

    Raises:
        UnknownName: There is no such probe, diagnosis or change.
        UsageError: The name can't be one.
        DocumentError: The condition is wrong.
    """
    if not _SLUG.fullmatch(wanted.name):
        raise UsageError(
            f"{wanted.name!r} can't be a runbook's name",
            fix="lower-case letters, digits and '-', by the symptom",
        )
    wanted = _with_all_it_reads(wanted, catalog)
    probes = [catalog.probe(name) for name in wanted.probes]
    for change in wanted.changes:
        catalog.remediation(change)
    reading = _symptom(probes[0])
    until = wanted.until or _until(probes[0], reading)
    runbook = "\n".join(_runbook(wanted, until, catalog)) + "\n"
    files = {f"{wanted.name}.yaml": runbook}
    with tempfile.TemporaryDirectory(prefix="runbook-new-") as directory:
        path = Path(directory) / f"{wanted.name}.yaml"
        path.write_text(runbook, encoding="utf-8")
        require(loader.load(path, only_looks=True), catalog)
        for name, document in _cases(wanted, probes, reading):
            file = f"{FOLDER}/{wanted.name}/{name}.yaml"
            files[file] = _tried(document, Path(directory) / file, path, catalog)
    return files


def _with_all_it_reads(wanted: Wanted, catalog: Catalog) -> Wanted:
    """The diagnosis's own probes besides."""
    wants = catalog.diagnosis(wanted.diagnosis).wants if wanted.diagnosis else ()
    return msgspec.structs.replace(wanted, probes=tuple(dict.fromkeys((*wanted.probes, *wants))))


def _symptom(probe: Probe) -> str:
    """The reading that most likely shows the symptom: one that should be zero, else the first number."""
    numbers = [name for name, field in probe.fields.items() if field.type == "number"]
    return next((name for name in numbers if _BAD.search(name)), numbers[0] if numbers else "")


def _until(probe: Probe, reading: str) -> str:
    if not reading:
        raise UsageError(
            f"{probe.name} gives no number to judge by", fix="say when it is over: --until CONDITION"
        )
    return f"{probe.short}.{reading} {'== 0' if _BAD.search(reading) else '< inputs.threshold'}"


def _runbook(wanted: Wanted, until: str, catalog: Catalog) -> Iterator[str]:
    """The document, line by line."""
    looks = ", ".join(wanted.probes)
    yield f"runbook: {wanted.name}"
    yield "summary: What people see when this trouble is there, in one sentence."
    yield "version: 1 # raise it when its meaning changes"
    yield ""
    yield "# triggers: # the alerts that start it"
    yield "#   - alert: NameOfTheAlert"
    yield '#     target: "{{ alert.labels.job }}"'
    yield ""
    yield f"inputs: # what whoever starts it may set: runbook run {wanted.name} -i window=30s"
    yield "  window: {type: duration, default: 10s, minimum: 1s, help: How long to watch.}"
    if "inputs.threshold" in names_in(until):
        yield "  threshold: {type: number, default: 1, help: From which value on it is a trouble.}"
    yield ""
    yield "goal: # when the trouble is over: measured first, after each change, and at the end"
    yield f"  look: {wanted.probes[0]}"
    yield '  with: {window: "{{ inputs.window }}"}'
    yield f"  until: {until}"
    yield "  hold: 20s # for so long without a break"
    yield ""
    yield "steps:"
    yield f"  - look: [{looks}] # side by side, in one window; runbook look PROBE shows what one gives"
    yield '    with: {window: "{{ inputs.window }}"}'
    yield ""
    yield from _decide(wanted, until, catalog)
    yield from _try(wanted)
    yield '  - tell: "{{ outcome.sentence }}"'
    yield '    when: outcome.name != "healthy"'


def _decide(wanted: Wanted, until: str, catalog: Catalog) -> Iterator[str]:
    if wanted.diagnosis:
        causes = catalog.diagnosis(wanted.diagnosis).causes
        yield f"  - decide: {wanted.diagnosis} # one of: {', '.join(causes)}"
    else:
        yield f"  - decide: {wanted.name} # causes by conditions; a diagnosis in Python can do more"
        yield "    cases:"
        yield "      - cause: the-first-cause"
        yield f"        when: not ({until})"
        yield "        sentence: Why it is so, in one sentence with its numbers."
        yield "        fix: What mends it."
    yield ""


def _try(wanted: Wanted) -> Iterator[str]:
    if not wanted.changes:
        yield "  # - try: # a ladder, from the least to the most costly change; it stops when the goal holds"
        yield "  #     - change: NAME # runbook doctor lists them"
        yield '  #       when: cause.is("the-first-cause")'
        yield ""
        return
    yield "  - try: # from the least to the most costly; stops when the goal holds"
    for change in wanted.changes:
        yield f"      - change: {change}"
        yield '        when: cause.name is known # say for which cause: cause.is("…")'
    yield ""


def _cases(wanted: Wanted, probes: Sequence[Probe], reading: str) -> Iterator[tuple[str, recording.Document]]:
    """The first cases: the trouble is there, and it is not."""
    others: recording.Document = {probe.short: {} for probe in probes[1:]}
    ours = bool(reading) and not wanted.until
    for name, sentence, value in (
        ("trouble", "The trouble is there.", 100),
        ("all-right", "Nothing is wrong.", 0),
    ):
        if name == "all-right" and not ours:
            continue  # what makes a condition of the author's own hold is for the author to say
        told = {reading: value} if ours else {}
        yield (
            name,
            {
                "case": sentence,
                "runbook": wanted.name,
                "target": {"name": "agent"},
                "before": {probes[0].short: told, **others},
                "expect": {"outcome": "unfixed"},
            },
        )


def _tried(document: recording.Document, path: Path, runbook: Path, catalog: Catalog) -> str:
    """A case that expects what comes of it."""
    case = cases.parse(text_of(document).encode(), path, catalog, runbook=runbook)
    run = play(case, catalog).run
    told = recording.expected(run, case.runbook.document)
    document["expect"] = {key: told[key] for key in ("outcome", "taken", "skipped", "causes") if key in told}
    return text_of(
        document, comment="Tell more of what is seen, and what must come of it: docs/rehearsals.md"
    )
