"""What the listener answers: real HTTP over loopback, a worker on a real socket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.server.listener.counters import Counters
from engine.server.log import Log
from engine.server.messages import Busy, Offer, Stats
from engine.server.settings import Limits, Listen, Sender, Settings
from tests.engine.server.listening import TOKEN, Listening, notification

HERE = Settings(listen=Listen(port=0), limits=Limits(body=20_000))
OWN = ("/healthz", "/readyz", "/metrics", "/openapi.json")


@pytest.fixture
def there(tmp_path: Path) -> Iterator[Listening]:
    made = Listening(tmp_path, HERE)
    yield made
    made.close()


def test_a_notification_is_taken(there: Listening) -> None:
    """202 once the worker has it, with what became of each alert; the worker knows who sent it."""
    answer = there.post(notification("A", "B"))
    assert answer.status == 202
    assert [one["fate"] for one in answer.json["alerts"]] == ["started", "started"]
    (offer,) = there.worker.offers
    assert offer.sender == "alertmanager"
    assert [alert.name for alert in offer.alerts] == ["A", "B"]
    assert [one["alert"] for one in answer.json["alerts"]] == [alert.key for alert in offer.alerts]


def test_an_empty_notification_is_right(there: Listening) -> None:
    """Nothing in it, nothing to store: 202, and the worker is not asked."""
    assert there.post(notification()).json == {"alerts": [], "refused": [], "left_out": 0}
    assert there.worker.offers == []


def test_an_alert_that_is_too_much_is_told_beside_those_taken(there: Listening) -> None:
    """One alert with a thousand labels does not cost its group: the answer names it."""
    body = json.loads(notification("A", "B"))
    body["alerts"][0]["labels"] |= {f"l{n}": "" for n in range(1000)}
    answer = there.post(json.dumps(body).encode())
    assert answer.status == 202
    assert len(answer.json["alerts"]) == 1
    assert answer.json["refused"][0].startswith("alert 1")


def test_what_a_sender_leaves_out_is_told_in_the_answer_and_counted(there: Listening) -> None:
    """Alertmanager cuts groups at ``max_alerts``: nobody here knows the rest, and that must be seen."""
    assert there.post(notification("A", truncatedAlerts=7)).json["left_out"] == 7
    assert there.post(notification("A", truncatedAlerts=10**400)).json["left_out"] == 1_000_000

    families = {
        one.name: one for one in text_string_to_metric_families(there.ask("GET", "/metrics").body.decode())
    }
    (sample,) = families["runbook_listener_alerts_left_out"].samples
    assert (sample.labels, sample.value) == ({"sender": "alertmanager"}, 1_000_007)


def test_what_a_sender_leaves_out_is_logged_once_a_minute(capfd: pytest.CaptureFixture[str]) -> None:
    """With how many there were."""
    counters = Counters(Log("listener", "json"))
    for _ in range(3):
        counters.left_out_by("alertmanager", 7)

    (line,) = capfd.readouterr().err.splitlines()
    assert (json.loads(line)["sender"], json.loads(line)["alerts"]) == ("alertmanager", 7)


def test_a_notification_of_which_nothing_can_be_taken_is_refused(there: Listening) -> None:
    """422 where the only alert is too much."""
    body = json.loads(notification("A"))
    body["alerts"][0]["labels"] = {f"l{n}": "" for n in range(1000)}
    assert there.post(json.dumps(body).encode()).status == 422


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"\xff", {}, 400),
        (b'{"x": ' + b"[" * 5000, {}, 400),
        (b"[]", {}, 422),
        (b'{"alerts": 3}', {}, 422),
        (b" " * 20_001, {}, 413),
        (b"{}", {"Content_Encoding": "gzip"}, 415),
        (b"{}", {"Content_Type": "text/html"}, 415),
    ],
)
def test_what_can_never_be_right_is_4xx(
    there: Listening, body: bytes, headers: dict[str, str], status: int
) -> None:
    """Problem and way out, as JSON; nothing reaches the worker."""
    answer = there.post(body, **headers)
    assert answer.status == status
    assert answer.json["problem"]
    assert answer.json["fix"]
    assert there.worker.offers == []


@pytest.mark.parametrize(
    "kind", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/x+json"]
)
def test_jsons_other_names_are_json(there: Listening, kind: str) -> None:
    """Senders write the type in several ways."""
    assert there.post(notification("A"), Content_Type=kind).status == 202


def test_a_full_worker_is_503_with_its_time(there: Listening) -> None:
    """The sender is told when to send it again."""
    there.worker.answer = lambda do: (
        Busy(because="full", retry_after_s=6.5) if isinstance(do, Offer) else None
    )
    answer = there.post(notification("A"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "7")
    assert answer.json["problem"] == "full"


def test_a_worker_that_goes_and_comes_again(there: Listening) -> None:
    """503 while it is gone, 202 when it is back, without a restart of the listener."""
    assert there.post(notification("A")).status == 202
    there.do(there.worker.end())
    answer = there.post(notification("A"))
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) >= 1
    there.do(there.worker.begin())
    assert there.post(notification("A")).status == 202


def test_too_many_requests_are_told_to_come_later(tmp_path: Path) -> None:
    """503 and not 429, after which Alertmanager gives up."""
    (tmp_path / "token").write_text(TOKEN)
    sender = Sender(name="slow", kind="alertmanager", token_file=str(tmp_path / "token"), at_most=1)
    there = Listening(tmp_path, Settings(listen=Listen(port=0), senders=(sender,)))
    statuses = [there.post(notification("A"), "slow").status for _ in range(8)]
    there.close()
    assert statuses[:2] == [202, 202]
    assert 503 in statuses[2:]
    assert set(statuses) == {202, 503}


def test_paths_that_are_not_there(there: Listening) -> None:
    """404, also for a sender's name with a slash, or none."""
    for path in ("/v1/alerts/", "/v1/alerts/a/b", "/v2", "/v1/alerts"):
        assert there.ask("POST", path, b"{}").status == 404


def test_other_methods_are_refused(there: Listening) -> None:
    """405 with those that are allowed."""
    assert there.ask("GET", "/v1/alerts/alertmanager").headers["allow"] == "POST"
    for path in OWN:
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"):
            answer = there.ask(method, path)
            assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_a_head_is_a_get_without_its_body(there: Listening) -> None:
    """Probes of load balancers ask so."""
    answer = there.ask("HEAD", "/healthz")
    assert (answer.status, answer.body) == (200, b"")


def test_every_answer_bears_the_safe_headers(there: Listening) -> None:
    """No guessing of types, no keeping, nothing runs, and no word of the software."""
    answers = [there.ask("GET", path) for path in (*OWN, "/nothing", "/login")]
    answers += [there.post(b"{"), there.post(b"{}", token=None), there.ask("POST", "/healthz")]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "no-store" in answer.headers["cache-control"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers


def test_ready_means_that_an_alert_would_be_taken(there: Listening) -> None:
    """And when it would not, why."""
    assert there.ask("GET", "/readyz").status == 200


@pytest.mark.parametrize(
    ("stats", "why"),
    [
        (Stats(stopping=True), "stops"),
        (Stats(queued=3, queue_limit=3), "full"),
        (Stats(problem="the disk is full"), "disk"),
    ],
)
def test_not_ready_says_why(there: Listening, stats: Stats, why: str) -> None:
    """503, in the worker's words; alive all the same."""
    there.worker.stats = stats
    answer = there.ask("GET", "/readyz")
    assert answer.status == 503
    assert why in answer.json["problem"]
    assert there.ask("GET", "/healthz").json == {"alive": True}


def test_not_ready_without_a_worker(tmp_path: Path) -> None:
    """The listener starts before the worker, says so, and still gives its own numbers."""
    there = Listening(tmp_path, HERE, worker=False)
    ready, metrics = there.ask("GET", "/readyz"), there.ask("GET", "/metrics")
    there.close()
    assert ready.status == 503
    assert b"runbook_worker_up 0.0" in metrics.body


def test_the_numbers_are_prometheuss(there: Listening) -> None:
    """What worker and listener count, in the form that Prometheus reads."""
    there.worker.stats = Stats(
        alerts={"joined": 4},
        runs={"events-dropped/fixed": 2},
        seconds={"events-dropped/fixed": {"+Inf": 2, "10": 1, "60": 2, "sum": 35.5}},
        refusals={"budget": 1},
        probe_cpu_s={"event-flow": 0.25},
        queue_limit=200,
    )
    there.post(notification("A"))
    there.post(b"{}", token="wrong")
    text = there.ask("GET", "/metrics").body.decode()
    found = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["runbook_alerts_total", "joined"] == 4
    assert found["runbook_runs_total", "events-dropped", "fixed"] == 2
    assert found["runbook_run_seconds_bucket", "10", "events-dropped", "fixed"] == 1
    assert found["runbook_run_seconds_sum", "events-dropped", "fixed"] == 35.5
    assert found["runbook_guard_refusals_total", "budget"] == 1
    assert found["runbook_probe_cpu_seconds_total", "event-flow"] == 0.25
    assert found["runbook_listener_requests_total", "202", "alertmanager"] == 1
    assert found["runbook_listener_requests_total", "", "401"] == 1
    assert found["runbook_listener_refusals_total", "unknown"] == 1
    assert found["runbook_listener_answer_seconds_count",] == 2
    assert found["runbook_listener_process_resident_memory_bytes",] > 0


def test_strangers_make_no_labels(there: Listening) -> None:
    """Whatever names are tried, the numbers do not grow."""
    for name in ("x", "y", "z"):
        there.post(b"{}", f"stranger-{name}", token="wrong")
    assert b"stranger" not in there.ask("GET", "/metrics").body


def test_the_description_tells_every_answer(there: Listening) -> None:
    """OpenAPI: paths, statuses and forms, which the answers really have; no sender's name."""
    described = there.ask("GET", "/openapi.json").json
    assert described["openapi"] == "3.1.0"
    assert set(described["paths"]) == {*OWN, "/v1/alerts/{sender}"}
    assert "/alertmanager" not in json.dumps(described)
    told = described["paths"]["/v1/alerts/{sender}"]["post"]
    assert set(told["responses"]) >= {"202", "400", "401", "408", "413", "415", "422", "431", "503"}
    answers = [
        there.post(notification("A")),
        there.post(b"{"),
        there.post(b"[]"),
        there.post(b"", token=None),
    ]
    for answer in answers:
        form = told["responses"][str(answer.status)]["content"]["application/json"]["schema"]
        jsonschema.validate(answer.json, {**form, "components": described["components"]})


def test_the_described_body_is_the_one_that_is_read(there: Listening) -> None:
    """A real notification's form fits the description."""
    described = there.ask("GET", "/openapi.json").json
    told = described["paths"]["/v1/alerts/{sender}"]["post"]["requestBody"]["content"]["application/json"]
    schema = {**told["schema"], "components": described["components"]}
    jsonschema.validate(json.loads(notification("A", truncatedAlerts=3)), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"alerts": [{"labels": {"a": 1}}]}, schema)


def test_the_page_is_there(there: Listening) -> None:
    """All other paths are the page's, and need a login."""
    assert there.ask("GET", "/login").status == 200
    assert there.ask("GET", "/runs/x").status in (302, 303, 307, 401)
