"""Reloading: only the process we mean, and not done before it is well."""

import http.server
import os
import subprocess
import sys
import threading

import msgspec
import pytest

from engine.errors import ChangeFailed
from engine.values import Process, Reload
from remediations.knobs import http as agent_http
from remediations.knobs import processes
from remediations.knobs.reload import by_hand, take_effect

HUP = Reload(by="signal", settle_s=3)


class Pages(http.server.BaseHTTPRequestHandler):
    """Serves what the test put on the server; counts what it was asked."""

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        status, body = self.server.answers(self.path, len(self.server.asked))
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())

    do_POST = do_GET  # noqa: N815 - the name that http.server calls

    def log_message(self, *_):
        """Quiet."""


@pytest.fixture
def server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages) as serving:
        serving.asked = []
        serving.answers = lambda path, count: (200, "")
        serving.url = f"http://127.0.0.1:{serving.server_address[1]}"
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield serving
        serving.shutdown()
        thread.join()


def unknown():
    return None


def test_a_signal_without_a_sign_of_success_waits_the_settling_time(agent, clock):
    """A signal only asks; returning at once would measure the old setting."""
    take_effect(HUP, agent.target, clock, unknown)
    assert agent.heard() == "reloaded"
    assert clock.at == pytest.approx(3, abs=0.01)


def test_it_returns_as_soon_as_the_value_is_in_force(agent, clock):
    """No second is wasted where the agent says so."""
    answers = iter([False, False, True])
    take_effect(HUP, agent.target, clock, lambda: next(answers))
    assert clock.at < 1


def test_a_metric_that_changes_with_the_reload_ends_the_wait(agent, clock, server):
    """A counter of configurations taken is proof enough."""
    server.answers = lambda path, count: (200, f"generation {1 if count < 4 else 2}\n")
    target = msgspec.structs.replace(agent.target, metrics_url=server.url + "/metrics")
    take_effect(msgspec.structs.replace(HUP, confirm="generation"), target, clock, unknown)
    assert len(server.asked) == 4
    assert clock.at < 1


def test_an_unhealthy_agent_is_a_failed_change_with_the_status(agent, clock, server):
    """Written is not yet working."""
    server.answers = lambda path, count: (503, "")
    target = msgspec.structs.replace(agent.target, health_url=server.url + "/healthz")
    with pytest.raises(ChangeFailed, match=r"not healthy.*503"):
        take_effect(HUP, target, clock, lambda: True)


def test_health_that_comes_back_is_waited_for(agent, clock, server):
    """An agent that is exchanging its ring may answer 503 for a moment."""
    server.answers = lambda path, count: (503 if count < 3 else 200, "")
    target = msgspec.structs.replace(agent.target, health_url=server.url + "/healthz")
    take_effect(HUP, target, clock, lambda: True)
    assert len(server.asked) == 3


def test_a_process_that_dies_of_the_reload_is_told_at_once(agent, clock):
    """Nobody should wait for the dead."""
    with pytest.raises(ChangeFailed, match="has ended"):
        take_effect(Reload(by="signal", signal="SIGKILL", settle_s=1e9), agent.target, RealClock(), unknown)


class RealClock:
    """The machine's; with a short sleep, since the kernel needs a moment to kill."""

    def now(self):
        return 0.0

    def monotonic(self):
        return 0.0

    def sleep(self, seconds):
        threading.Event().wait(0.01)


def test_a_reused_pid_is_never_signalled(agent, clock):
    """Another process may have got the number."""
    (process,) = agent.target.processes
    stranger = msgspec.structs.replace(process, started_ticks=process.started_ticks - 1)
    assert not processes.send(stranger, "SIGKILL")
    assert agent.process.poll() is None


def test_a_command_that_fails_gives_its_last_words(agent, clock):
    """The operator needs the tool's message, not a number."""
    reload = Reload(by="command", argv=("sh", "-c", "echo no such unit >&2; exit 5"))
    with pytest.raises(ChangeFailed, match="ended with 5: no such unit"):
        take_effect(reload, agent.target, clock, unknown)


def test_a_command_with_a_living_target_is_done_at_once(agent, clock):
    """A command ends when its work is done."""
    take_effect(Reload(by="command", argv=("true",)), agent.target, clock, unknown)
    assert clock.at == 0


def test_a_unit_that_only_reloads_is_given_its_time(agent, clock, tmp_path, monkeypatch):
    """systemd returns at once when ExecReload is a kill: the agent may not have looked yet."""
    systemctl = tmp_path / "systemctl"
    systemctl.write_text('#!/bin/sh\ntest "$1" = reload-or-restart\n')
    systemctl.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    take_effect(Reload(by="systemd", unit="agent.service", settle_s=3), agent.target, clock, unknown)
    assert clock.at == pytest.approx(3, abs=0.01)


def test_http_posts_and_takes_a_refusal_seriously(agent, clock, server):
    """An endpoint that answers 405 has reloaded nothing."""
    reload = Reload(by="http", url=server.url + "/-/reload")
    take_effect(reload, agent.target, clock, unknown)
    assert server.asked == [("POST", "/-/reload")]
    server.answers = lambda path, count: (405, "")
    with pytest.raises(ChangeFailed, match="answered 405"):
        take_effect(reload, agent.target, clock, unknown)


def test_a_restarted_agent_is_found_by_its_command_line(agent):
    """After a restart the old pid is gone for good."""
    argv = tuple(agent.process.args)
    (process,) = agent.target.processes
    known = msgspec.structs.replace(process, argv=argv, pid=1, started_ticks=1)
    assert processes.successor(known) == agent.process.pid
    assert processes.successor(msgspec.structs.replace(known, argv=(*argv, "--more"))) is None


def test_a_number_in_the_command_line_may_be_the_setting_that_was_changed():
    """A tool that was started with ``-b 64`` is the same tool with ``-b 256``."""
    mark = f"successor-of-{os.getpid()}"
    code = "import time; print(flush=True); time.sleep(60)"  # says that its new program is there
    argv = [sys.executable, "-c", code, mark, "-b", "256"]
    child = subprocess.Popen(argv, stdout=subprocess.PIPE)
    try:
        child.stdout.readline()
        known = Process(pid=1, started_ticks=1, argv=(*child.args[:-1], "64"))
        assert processes.successor(known) == child.pid
    finally:
        child.kill()
        child.communicate()


def test_a_metric_is_found_with_its_labels_or_without(server):
    """The series as the profile writes it."""
    server.answers = lambda path, count: (200, '# HELP a b\nother 1\nsize{ring="a b"} 4096\n')
    assert agent_http.metric(server.url, "size") == 4096
    assert agent_http.metric(server.url, 'size{ring="a b"}') == 4096
    assert agent_http.metric(server.url, 'size{ring="x"}') is None
    assert agent_http.metric("file:///etc/passwd", "size") is None


def test_the_way_by_hand_is_a_command(agent):
    """It stands in the report and must work when pasted."""
    assert by_hand(HUP, agent.target) == f"kill -HUP {agent.process.pid}"
    assert (
        by_hand(Reload(by="systemd", unit="a.service"), agent.target)
        == "systemctl reload-or-restart a.service"
    )
