"""What a case expects, judged before the run, and compared with the run.

One promise: every difference is told with file and line of the expectation, what was expected,
and what was seen instead; a case that holds gives none.

Not here: what happened (``engine.rehearsals.happened``).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator

import msgspec

from engine.catalog import Catalog
from engine.errors import RunbookError, nearest
from engine.guarding.amounts import in_base_units
from engine.language.documents import Document
from engine.language.model import Call, Decide, Runbook
from engine.language.yaml_nodes import Complaints
from engine.record import Run
from engine.rehearsals import happened
from engine.rehearsals.happened import Turn
from engine.rehearsals.model import Expected, PlanExpected, Rehearsal
from engine.rehearsals.steps import meant, placed
from engine.values import Change as PlannedChange
from engine.values import Setting

#: How near a prediction must come to the expected one.
NEAR = 0.01


class Difference(msgspec.Struct, frozen=True):
    """One thing that came out otherwise.

    Attributes:
        where: ``file:line:column`` of the expectation.
        what: Which expectation: ``outcome``, ``plans[0].to``.
    """

    where: str
    what: str
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}: expected {self.expected}; seen: {self.seen}"


# ── before the run ──────────────────────────────────────────────────────────────


def judge(
    document: Rehearsal, source: Document, complaints: Complaints, runbook: Runbook, catalog: Catalog
) -> None:
    """Complain of expectations that no run of the runbook could meet: unknown steps, changes, causes."""
    expected = document.expect

    def known(path: str, kind: str, word: str, words: Iterable[str]) -> None:
        listed = tuple(dict.fromkeys(words))
        if word not in listed:
            near = nearest(word, listed)
            hint = f"did you mean {near!r}?" if near else f"one of: {', '.join(listed) or '-'}"
            complaints.add(source.place(path), f"{runbook.runbook} has no {kind} {word!r} ({hint})")

    steps = [word for one in placed(runbook) for word in one.words]
    for section in ("taken", "skipped"):
        for place, word in enumerate(getattr(expected, section)):
            known(f"expect.{section}[{place}]", "step", word, steps)
    for word in document.answers:
        known(f"answers.{word}", "step or change", word, steps)
    changes = [one.changes for one in placed(runbook) if one.changes]
    for place, plan in enumerate(expected.plans or ()):
        known(f"expect.plans[{place}].change", "change", plan.change, changes)
    called = [one.step.runbook for one in placed(runbook) if isinstance(one.step, Call)]
    for section, words in (("calls", document.calls), ("expect.calls", expected.calls)):
        for word in words:
            known(f"{section}.{word}", "call of", word, called)
    causes = _causes(runbook, catalog)
    for place, word in enumerate(expected.causes or ()):
        if causes is not None:
            known(f"expect.causes[{place}]", "diagnosis that could name", word, causes)
    for path, pattern in _patterns(expected):
        try:
            re.compile(pattern)
        except re.error as error:
            complaints.add(source.place(path), f"{pattern!r} is no regular expression ({error})")


def _causes(runbook: Runbook, catalog: Catalog) -> list[str] | None:
    """Every cause that some step may name; None when that can't be known."""
    found: list[str] = []
    for one in placed(runbook):
        if isinstance(one.step, Decide) and one.step.cases:
            found += [case.cause for case in one.step.cases]
        elif isinstance(one.step, Decide):
            try:
                found += catalog.diagnosis(one.step.diagnosis).causes
            except RunbookError:
                return None
    return found


def _patterns(expected: Expected) -> Iterator[tuple[str, str]]:
    yield "expect.sentence", expected.sentence
    yield from ((f"expect.tells[{place}]", text) for place, text in enumerate(expected.tells))
    yield from (
        (f"expect.plans[{place}].reason", one.reason) for place, one in enumerate(expected.plans or ())
    )


# ── after the run ───────────────────────────────────────────────────────────────


def differences(document: Rehearsal, source: Document, runbook: Runbook, run: Run) -> list[Difference]:
    """All that came out otherwise than the case expects."""
    return list(_Comparison(document.expect, source, runbook, run).all())


class _Comparison:
    """Compares one run with what was expected of it."""

    def __init__(self, expected: Expected, source: Document, runbook: Runbook, run: Run) -> None:
        self._expected, self._source, self._runbook, self._run = expected, source, runbook, run

    def _differs(self, path: str, expected: str, seen: str) -> Difference:
        return Difference(self._source.where(f"expect.{path}"), path, expected, seen)

    def all(self) -> Iterator[Difference]:
        """Every difference, in the order of what decides most."""
        head = self._run.head
        if head.outcome != self._expected.outcome:
            yield self._differs("outcome", self._expected.outcome, f"{head.outcome}: {head.sentence}")
        if not re.search(self._expected.sentence, head.sentence):
            yield self._differs("sentence", f"/{self._expected.sentence}/", head.sentence)
        yield from self._steps()
        yield from self._causes()
        yield from self._plans()
        yield from self._told()

    def _steps(self) -> Iterator[Difference]:
        taken, skipped = happened.taken(self._run), happened.skipped(self._run)
        for section in ("taken", "skipped"):
            for place, word in enumerate(getattr(self._expected, section)):
                ids = [one.step.id for one in meant(self._runbook, word)]
                began = [id_ for id_ in ids if id_ in taken]
                because = [skipped[id_] for id_ in ids if id_ in skipped]
                if section == "taken" and not began:
                    seen = f"skipped: {because[0]}" if because else "not reached"
                    yield self._differs(f"taken[{place}]", f"step {word} taken", seen)
                elif section == "skipped" and (began or not because):
                    seen = f"taken ({', '.join(began)})" if began else "not reached"
                    yield self._differs(f"skipped[{place}]", f"step {word} skipped", seen)

    def _causes(self) -> Iterator[Difference]:
        wanted, seen = self._expected.causes, happened.causes(self._run)
        if wanted is None:
            return
        if seen is None or tuple(seen[: len(wanted)]) != wanted or (not wanted and seen):
            shown = "nothing was decided" if seen is None else _listed(seen)
            yield self._differs("causes", _listed(wanted), shown)

    def _plans(self) -> Iterator[Difference]:
        """The plans that change something one by one; empty ones only where they are named."""
        if self._expected.plans is None:
            return
        left = happened.turns(self._run)
        for place, wanted in enumerate(self._expected.plans):
            path, empty = f"plans[{place}]", ""
            while left and not left[0].plan.changes and not _means(wanted, left[0]):
                plan = left.pop(0).plan
                empty = f" ({plan.reason})" if plan.remediation == wanted.change else empty
            if not left or left[0].plan.remediation != wanted.change:
                seen = f"a plan of {left[0].plan.remediation}" if left else "no further plan"
                yield self._differs(path, f"a plan of {wanted.change}", f"{seen}{empty}")
                return
            yield from self._plan(path, wanted, left.pop(0))
        for turn in left:
            if turn.plan.changes:
                seen = f"{turn.plan.remediation}: {turn.plan.reason} ({turn.ends})"
                yield self._differs("plans", "no further plan that changes something", seen)

    def _plan(self, path: str, wanted: PlanExpected, turn: Turn) -> Iterator[Difference]:
        plan = turn.plan
        if wanted.ends and turn.ends != wanted.ends:
            yield self._differs(f"{path}.ends", wanted.ends, f"{turn.ends}: {plan.reason}")
        if wanted.risk and plan.risk != wanted.risk:
            yield self._differs(f"{path}.risk", wanted.risk, plan.risk)
        if not re.search(wanted.reason, plan.reason):
            yield self._differs(f"{path}.reason", f"/{wanted.reason}/", plan.reason)
        if wanted.to is not None and not _reaches(wanted.to, plan.changes):
            seen = "; ".join(f"{one.knob.name} {one.after_text}" for one in plan.changes) or "no change"
            yield self._differs(f"{path}.to", str(wanted.to), seen)
        foretold = {one.measure: one.after for one in plan.predictions}
        for measure, value in wanted.predicts.items():
            seen_value = foretold.get(measure)
            if seen_value is None:
                seen = f"no prediction of it ({_listed(foretold)})"
                yield self._differs(f"{path}.predicts.{measure}", f"{value}", seen)
            elif not _near(value, seen_value):
                yield self._differs(f"{path}.predicts.{measure}", f"{value}", f"{seen_value:g}")

    def _told(self) -> Iterator[Difference]:
        told = happened.sentences(self._run)
        for place, pattern in enumerate(self._expected.tells):
            if not any(re.search(pattern, sentence) for sentence in told):
                yield self._differs(f"tells[{place}]", f"/{pattern}/ in a sentence told", _listed(told))
        calls = iter(happened.calls(self._run))
        for name, outcome in self._expected.calls.items():
            if (name, outcome) not in calls:  # in this order: the iterator goes on from here
                seen = _listed(f"{one}: {how}" for one, how in happened.calls(self._run))
                yield self._differs(f"calls.{name}", f"{name}: {outcome}", seen)
        missed = happened.misses(self._run)
        for place, probe in enumerate(self._expected.misses):
            if probe not in missed:
                yield self._differs(f"misses[{place}]", f"{probe} could not look", _listed(missed))


def _means(wanted: PlanExpected, turn: Turn) -> bool:
    """Whether an empty plan is the one that is expected."""
    return turn.plan.remediation == wanted.change and wanted.ends in {"nothing", "blocked"}


def _reaches(wanted: Setting, changes: tuple[PlannedChange, ...]) -> bool:
    """Whether the changes set what is wanted: of each knob in a mapping, else of the first change."""
    if isinstance(wanted, dict) and wanted.keys() <= {one.knob.name for one in changes}:
        by_knob = {one.knob.name: one for one in changes}
        return all(_same(value, by_knob[name]) for name, value in wanted.items())
    return bool(changes) and _same(wanted, changes[0])


def _same(wanted: Setting, change: PlannedChange) -> bool:
    if wanted == change.after or str(wanted) in (change.after_text, str(change.after)):
        return True
    amounts = [in_base_units(one, change.knob) for one in (wanted, change.after)]
    return None not in amounts and math.isclose(amounts[0] or 0.0, amounts[1] or 0.0, rel_tol=1e-6)


def _near(wanted: object, seen: float) -> bool:
    return isinstance(wanted, int | float) and math.isclose(wanted, seen, rel_tol=NEAR, abs_tol=1e-9)


def _listed(words: Iterable[str]) -> str:
    return ", ".join(words) or "none"
