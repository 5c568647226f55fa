"""The API as it describes itself, fuzzed by schemathesis against the real pair: with a token and without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from tests.serving import Serving, open_directory

schemathesis = pytest.importorskip("schemathesis")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

EXAMPLES = 60


@pytest.fixture(scope="module")
def serving() -> Iterator[Serving]:
    """One pair for all operations."""
    with open_directory() as home, Serving(home) as pair:
        yield pair


def _operations(serving: Serving) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{serving.url}/openapi.json")
    return [found.ok() for found in schema.get_all_operations()]


@pytest.mark.parametrize("known", [True, False], ids=["with-token", "without"])
def test_every_answer_is_one_that_the_description_promises(serving: Serving, known: bool):
    """Status, headers and body of each; and no 5xx but the 503 that tells when to come again."""
    operations = _operations(serving)
    assert operations
    answers = {one.label: _fuzz(one, _token(serving) if known else {}) for one in operations}
    taken = answers["POST /v1/alerts/{sender}"]
    assert {202, 422} <= taken if known else taken <= {401, 413}, taken
    assert all(process.poll() is None for process in serving.processes.values())
    assert "Traceback" not in serving.log()


def _token(serving: Serving) -> dict[str, str]:
    return {"Authorization": f"Bearer {serving.token}"}


def _fuzz(operation: Any, headers: dict[str, str]) -> set[int]:
    """Ask one operation again and again; gives the statuses that came."""
    came: set[int] = set()
    checks = [
        schemathesis.checks.not_a_server_error,
        *(
            getattr(schemathesis.specs.openapi.checks, name)
            for name in (
                "status_code_conformance",
                "content_type_conformance",
                "response_headers_conformance",
                "response_schema_conformance",
            )
        ),
    ]

    @hypothesis.settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
    @hypothesis.given(case=operation.as_strategy())
    def ask(case: Any) -> None:
        case.headers = {**(case.headers or {}), **headers}
        if case.path_parameters and "sender" in case.path_parameters:
            case.path_parameters = {"sender": "alertmanager"}
        answer = case.call()
        came.add(answer.status_code)
        if answer.status_code == 503:
            assert int(answer.headers["retry-after"]) > 0
            return
        case.validate_response(answer, checks=checks)

    ask()
    return came
