"""ansible-rulebook's webhook source, started as its documentation says, with an action that costs least.

``ansible-rulebook`` finds ``ansible-galaxy`` on its PATH or ends at once; it needs Java 17.

Not here: measuring (``figures_webhook.py``).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measure import NotYet
from peers import BUILD, install

from tests.serving import free_port

_RULEBOOK = """\
- name: webhook
  hosts: localhost
  sources:
    - eda.builtin.webhook: {{host: 127.0.0.1, port: {port}, token: "{token}"}}
  rules:
    - name: any alert
      condition: event.payload is defined
      action:
        {action}
"""
_PLAYBOOK = """\
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - {name: a slow action, ansible.builtin.command: sleep 8}
"""


@contextmanager
def webhook(token: str, *, slow: bool = False) -> Iterator[tuple[int, int]]:
    """Its process and its port; ``slow``: its action is a playbook of 8 s, else nothing at all."""
    if shutil.which("java") is None:
        raise NotYet("ansible-rulebook needs Java 17")
    tools, port = install("rulebook"), free_port()
    place = BUILD / "rulebook-work"
    place.mkdir(parents=True, exist_ok=True)
    playbook = place / "slow.yaml"
    playbook.write_text(_PLAYBOOK)
    host = f"{{ansible_connection: local, ansible_python_interpreter: {tools / 'python'}}}"
    (place / "inventory.yaml").write_text(f"all: {{hosts: {{localhost: {host}}}}}\n")
    action = f"run_playbook: {{name: {playbook}}}" if slow else "none: {}"
    (place / "rules.yaml").write_text(_RULEBOOK.format(port=port, token=token, action=action))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}
    with (place / "log").open("wb") as log:
        process = subprocess.Popen(
            [tools / "ansible-rulebook", "-r", "rules.yaml", "-i", "inventory.yaml"],
            cwd=place,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(process, port, place / "log")
        yield process.pid, port
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    import socket  # noqa: PLC0415 - only for this

    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise NotYet(f"ansible-rulebook did not listen: {log.read_text()[-300:]}")
