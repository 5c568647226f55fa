"""From an agent that loses events to a run, with the real Prometheus and Alertmanager between.

The practice agent, ``runbook exporter``, Prometheus with the shipped rule on a short window,
Alertmanager with a bearer token, ``runbook serve``; each as a person would start it, on loopback.

Not here: what is expected of it (``test_alert_to_run.py``), the table of times (``tools/alert_path.py``).
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import yaml

from bpf.lab import lab
from engine.server.messages import AlertRow, Alerts, GetAlerts, GetRun, RunFound
from tests.serving import RUNBOOK, Serving, eventually, free_port

ROOT = Path(__file__).parents[2]
SERVERS = ROOT / "build/servers/usr/bin"
RULES = ROOT / "runbooks/alerts/ebpf-agents.rules.yaml"
ALERT = "eBPFHighEventDropRate"

#: Alertmanager wants its templates below /usr/share: there they are, for it alone, in a mount namespace.
WITH_ITS_TEMPLATES = (
    *("unshare", "--mount", "sh", "-c"),
    f'mount -t overlay overlay -o lowerdir={SERVERS.parent / "share"}:/usr/share /usr/share && exec "$@"',
    "alertmanager",
)

Row = dict[str, Any]


def missing() -> str:
    """Which server is not there; empty when all are."""
    names = ("prometheus", "prometheus-alertmanager")
    return ", ".join(name for name in names if not (SERVERS / name).exists())


def short_rules() -> Row:
    """The shipped rule and the series that it asks for, with windows of seconds."""
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    chosen = []
    for rule in rules:
        if rule.get("record") == "target:bpf_events_dropped:rate5m":
            chosen.append(rule | {"expr": rule["expr"].replace("[5m]", "[5s]")})
        if rule.get("alert") == ALERT:
            chosen.append(rule | {"for": "2s"})
    assert [one["expr"].count("[5s]") for one in chosen] == [1, 0], "the shipped rule is written otherwise"
    return {"groups": [{"name": "short", "interval": "1s", "rules": chosen}]}


class AlertPath:
    """All of it, in a directory of its own; nothing is left running.

    Args:
        home: Where everything writes.
        policy: The policy that rules the runs.
        settings: Parts of ``serve.yaml``.
    """

    def __init__(self, home: Path, policy: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        self.home, self._open = home, ExitStack()
        policy_file = home / "policy.yaml"
        policy_file.write_text(yaml.safe_dump({"policy": 1, **policy}))
        environment = {"RUNBOOK_POLICY": str(policy_file), "RUNBOOK_LAB": str(home / "lab")}
        self.serving = Serving(home / "serve", settings=settings, environment=environment)
        self.began = 0.0

    def __enter__(self) -> AlertPath:
        with ExitStack() as stack:
            stack.enter_context(self.serving)
            exporter = free_port()
            command = [str(RUNBOOK), "exporter", "--listen", f"127.0.0.1:{exporter}"]
            stack.enter_context(self._running("exporter", command, f"http://127.0.0.1:{exporter}/metrics"))
            self.agent = lab.start(fault="burst", name="path", directory=self.home / "lab")
            stack.callback(lambda: lab.stop(self.agent))
            self.began = time.time()
            alertmanager = stack.enter_context(self._alertmanager())
            stack.enter_context(self._prometheus(exporter, alertmanager))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    # ── the servers ─────────────────────────────────────────────────────────────

    @contextmanager
    def _running(self, name: str, command: list[str], url: str) -> Any:
        with (self.home / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.home
            )
        try:
            eventually(lambda: answers(url), why=f"{name} did not answer")
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @contextmanager
    def _alertmanager(self) -> Any:
        port = free_port()
        hook = {
            "url": f"{self.serving.url}/v1/alerts/alertmanager",
            "send_resolved": True,
            "http_config": {"authorization": {"credentials": self.serving.token}},
        }
        route = {"receiver": "runbook", "group_by": ["alertname", "target"]}
        route |= {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
        config = self.home / "alertmanager.yaml"
        config.write_text(
            yaml.safe_dump({"route": route, "receivers": [{"name": "runbook", "webhook_configs": [hook]}]})
        )
        command = [*WITH_ITS_TEMPLATES, str(SERVERS / "prometheus-alertmanager"), f"--config.file={config}"]
        command += [f"--storage.path={self.home / 'alertmanager'}", "--cluster.listen-address="]
        command.append(f"--web.listen-address=127.0.0.1:{port}")
        with self._running("alertmanager", command, f"http://127.0.0.1:{port}/-/ready"):
            yield port

    @contextmanager
    def _prometheus(self, exporter: int, alertmanager: int) -> Any:
        port, rules = free_port(), self.home / "rules.yaml"
        rules.write_text(yaml.safe_dump(short_rules()))
        config = self.home / "prometheus.yaml"
        scrape = {"job_name": "runbook-exporter", "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}]}
        scrape["metric_relabel_configs"] = self._only_ours()
        there = [{"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}]
        document = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": there},
            "scrape_configs": [scrape],
        }
        config.write_text(yaml.safe_dump(document))
        command = [str(SERVERS / "prometheus"), f"--config.file={config}", "--log.level=warn"]
        command += [f"--storage.tsdb.path={self.home / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"]
        with self._running("prometheus", command, f"http://127.0.0.1:{port}/-/ready"):
            yield port

    def _only_ours(self) -> list[Row]:
        """Other practice agents may come and go on this machine: only our series, by its full name.

        The exporter names an agent `lab` while it is the only one of that name, else `lab:FILE`.
        """
        ours = {"source_labels": ["target"], "regex": f"lab|.*{self.home}.*", "action": "keep"}
        return [ours, {"target_label": "target", "replacement": f"lab:{self.agent.config_file}"}]

    # ── what came of it ─────────────────────────────────────────────────────────

    def alert(self, within: float = 180) -> AlertRow:
        """The alert that fires, once it has been taken in with a run."""
        return eventually(self._firing, within=within, why="no alert with a run arrived")

    def _firing(self) -> AlertRow | None:
        found = self.serving.ask(GetAlerts(name=ALERT))
        assert isinstance(found, Alerts)
        return next((row for row in found.rows if row.run and row.alert.status == "firing"), None)

    def events(self, run: str) -> tuple[str, list[Row]]:
        """A run's state and all its events so far."""
        found = self.serving.ask(GetRun(run=run))
        assert isinstance(found, RunFound), found
        head = {"kind": "head", "at": found.head.started_at}
        return found.state, [head, *(json.loads(bytes(event)) for event in found.events)]

    def comes_to(self, run: str, *states: str, within: float = 240) -> list[Row]:
        """The run's events once it is in one of these states."""

        def there() -> list[Row] | None:
            with suppress(AssertionError):
                state, events = self.events(run)
                return events if state in states else None
            return None

        return eventually(there, within=within, why=f"run {run} did not come to {' or '.join(states)}")

    def hears(self, run: str, kind: str, after: float = 0.0, **fields: object) -> list[Row]:
        """The run's events once one of this kind, later than ``after``, is among them.

        Short windows on a busy machine miss scrapes: an alert may resolve, and fire again, before its change.
        """

        def heard() -> list[Row] | None:
            _, events = self.events(run)
            found = any(event["at"] > after and matches(event, kind, fields) for event in events)
            return events if found else None

        return eventually(heard, within=180, why=f"run {run} heard of no {kind} {fields}")

    def stages(self, row: AlertRow, events: Iterable[Row]) -> dict[str, float]:
        """Seconds from the first loss to each stage that was reached."""
        events = list(events)
        looked = [one["evidence"]["started_at"] for one in events if one["kind"] == "seen"]
        holds = [one["at"] for one in events if one["kind"] == "goal-measured" and one.get("holds") is True]
        moments = {
            "alert fires": row.alert.starts_at,
            "posted, on disk": row.received_at,
            "run begun": first(events, "head"),
            "first sample": min(looked, default=None),
            "cause": first(events, "decided"),
            "asked": first(events, "requested"),
            "answered": first(events, "ruled"),
            "changed": first(events, "applied"),
            "resolved": first(events, "alerted", did="resolved"),
            "goal held": holds[-1] if holds else None,
            "ended": last(events, "ended"),
        }
        return {name: at - self.began for name, at in moments.items() if at is not None}


def first(events: Iterable[Row], kind: str, **fields: object) -> float | None:
    """When the first event of a kind was."""
    return next((one["at"] for one in events if matches(one, kind, fields)), None)


def last(events: Iterable[Row], kind: str) -> float | None:
    """When the last event of a kind was."""
    return first(reversed(list(events)), kind)


def matches(event: Row, kind: str, fields: Mapping[str, object]) -> bool:
    """Whether an event is of a kind and holds these values."""
    return event["kind"] == kind and all(event.get(name) == value for name, value in fields.items())


def answers(url: str) -> bool:
    """Whether the page is there."""
    with suppress(OSError), urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False
