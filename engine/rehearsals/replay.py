"""Past runs and live targets as cases: made, tried at once, and told as YAML or compared.

One promise: a case that is given out has been rehearsed: what it expects is what came of it here.

Not here: what a case of a run holds (``engine.rehearsals.recording``).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from engine.catalog import Catalog
from engine.errors import UnknownName, UsageError
from engine.language import loader
from engine.language.loader import LoadedRunbook
from engine.record import Run
from engine.rehearsals import cases, recording, suite
from engine.rehearsals.cases import LoadedCase
from engine.rehearsals.coverage import coverage
from engine.rehearsals.live import see
from engine.rehearsals.play import play
from engine.rehearsals.suite import Suite
from engine.rehearsals.thinning import Thinner
from engine.rehearsals.writing import text_of
from engine.values import Setting, Target

_JUDGE = "What it expects is what came of it when it was recorded: judge whether it is right.\n"
_READ = (
    "Secrets and other processes' names were left out where they could be told: read it before you share it."
)


def of_past(run: Run, catalog: Catalog, runbook: str = "") -> Suite:
    """Would the runbook, as it is now, do what this run did?

    Args:
        run: As the journal has it.
        catalog: The installed parts.
        runbook: Another runbook or file; else the one of that name, else the text that ran.
    """
    _must_have_ended(run)
    with tempfile.TemporaryDirectory(prefix="runbook-replay-") as directory:
        path = _runbook_now(run, runbook, Path(directory))
        ran = _as_it_ran(run)
        document = recording.of_run(run, ran.document, thin=False)
        document["case"] = f"run {run.head.id}, replayed"
        raw = text_of(document).encode()
        case = cases.parse(raw, Path(f"run {run.head.id}"), catalog, runbook=path)
        result, again = suite.run_one(case, catalog)
        return Suite((result,), (coverage(case.runbook, [again]),), (again,))


def case_of_run(run: Run, catalog: Catalog, *, schema: str = "") -> str:
    """A past run as a case, thinned, for keeping.

    Raises:
        UsageError: The run has not ended, or what it saw leads to another end when it is played again.
    """
    _must_have_ended(run)
    with tempfile.TemporaryDirectory(prefix="runbook-replay-") as directory:
        path = _runbook_now(run, "", Path(directory))
        document = recording.of_run(run, _as_it_ran(run).document)
        case, again = _played(document, Path("case.yaml"), catalog, path)
        if again.head.outcome != run.head.outcome:
            ended, now = run.head.outcome, again.head
            raise UsageError(
                f"run {run.head.id} ended {ended}, and what it saw, played again, ends {now.outcome}"
                f" ({now.sentence}): a case of it would be untrue",
                fix=f"see what differs: runbook test --replay {run.head.id}",
            )
        return _written(document, case, again, schema)


def case_of_target(  # noqa: PLR0913 - two of them are for the text alone
    loaded: LoadedRunbook,
    inputs: Mapping[str, Setting],
    target: Target | None,
    catalog: Catalog,
    *,
    word: str,
    schema: str = "",
) -> str:
    """What a live target shows now as a case of a dry-run.

    Args:
        loaded: The runbook.
        inputs: Complete and typed.
        target: Where it looks.
        catalog: The installed parts.
        word: What the case calls the runbook.
        schema: Where editors find the schema of cases.
    """
    seen = see(loaded, inputs, target, catalog)
    hidden = {name for name, spec in loaded.document.inputs.items() if spec.secret}
    secrets = [str(inputs[name]) for name in hidden]
    thinner = Thinner(seen.evidence, target, secrets)
    document = recording.of_sights(
        word,
        {name: value for name, value in inputs.items() if name not in hidden},
        recording.target_of(target, seen.knobs),
        map(thinner.evidence, seen.evidence),
    )
    document["before"] |= {probe: {"fails": thinner.text(why)} for probe, why in seen.missed.items()}
    return _written(document, *_played(document, Path("case.yaml"), catalog, loaded.path), schema)


def _played(
    document: recording.Document, path: Path, catalog: Catalog, runbook: Path
) -> tuple[LoadedCase, Run]:
    """A case, and what comes of it."""
    case = cases.parse(text_of(document).encode(), path, catalog, runbook=runbook)
    return case, play(case, catalog).run


def _written(document: recording.Document, case: LoadedCase, run: Run, schema: str) -> str:
    """A case whose expectations are what came of it."""
    told = {**document, "expect": recording.expected(run, case.runbook.document)}
    return text_of(told, comment=_JUDGE + _READ, schema=schema)


def _must_have_ended(run: Run) -> None:
    if run.state != "ended" or run.head.outcome == "interrupted":
        raise UsageError(f"run {run.head.id} has not come to its end", fix=f"runbook resume {run.head.id}")


def _runbook_now(run: Run, word: str, directory: Path) -> Path:
    """The file of the runbook as it is now; the text that ran where there is none any more."""
    try:
        return loader.find(word or run.head.runbook)
    except UnknownName:
        if word:
            raise
    path = directory / f"{run.head.runbook}.yaml"
    path.write_text(run.head.runbook_text, encoding="utf-8")
    return path


def _as_it_ran(run: Run) -> LoadedRunbook:
    """The runbook that ran, from the record."""
    return loader.parse(run.head.runbook_text.encode(), Path(f"{run.head.runbook}.yaml"))
