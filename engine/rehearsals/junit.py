"""Results of rehearsals as JUnit XML, which every CI system reads.

Not here: the results (``engine.rehearsals.suite``).
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from engine.rehearsals.suite import Result, Suite
from engine.text import plain


def document(suite: Suite) -> str:
    """The whole document."""
    failures = sum(result.result == "differs" for result in suite.results)
    errors = sum(result.result == "wrong" for result in suite.results)
    counts = f'tests="{len(suite.results)}" failures="{failures}" errors="{errors}"'
    head = f'<testsuite name="runbook test" {counts}>'
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', head, *_cases(suite), "</testsuite>"]
    return "\n".join(lines) + "\n"


def _cases(suite: Suite) -> Iterator[str]:
    for result in suite.results:
        name = quoteattr(plain(result.case or result.file))
        group = quoteattr(result.runbook or "cases")
        begin = f"  <testcase classname={group} name={name} file={quoteattr(result.file)}"
        begin += f' time="{result.took_s:.3f}"'
        yield f"{begin}>{_problem(result)}</testcase>" if result.result != "ok" else f"{begin}/>"


def _problem(result: Result) -> str:
    kind = "failure" if result.result == "differs" else "error"
    lines = [str(one) for one in result.differences] or list(result.complaints)
    text = "\n".join(plain(line) for line in lines)
    return f"<{kind} message={quoteattr(plain(lines[0]) if lines else '')}>{escape(text)}</{kind}>"
