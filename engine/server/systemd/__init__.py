"""systemd units for both parts of ``runbook serve``, with the paths of this installation.

One promise: what is written passes ``systemd-analyze verify``, and starts what is installed here.

Not here: what the parts do (``engine.server.starting``), why each line stands in a unit (the unit).
"""

from __future__ import annotations

import sys
from pathlib import Path

from engine import trust
from engine.errors import UsageError

#: File here → where it belongs.
PLACES = {
    "runbook-worker.service": "/etc/systemd/system/runbook-worker.service",
    "runbook-listener.service": "/etc/systemd/system/runbook-listener.service",
    "runbook.sysusers": "/etc/sysusers.d/runbook.conf",
    "runbook.tmpfiles": "/etc/tmpfiles.d/runbook.conf",
}
#: The listener sees nothing of these: ``ProtectHome=`` and ``PrivateTmp=``.
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - compared with, not written to
_TOKEN = "/etc/runbook/alertmanager.token"  # noqa: S105 - a path


def texts(program: str) -> dict[str, str]:
    """All files with their contents, by name."""
    here = Path(__file__).parent
    return {name: (here / name).read_text().replace("{program}", program) for name in PLACES}


def units(directory: Path) -> list[str]:
    """Write all files into a directory; gives the commands that put them in force.

    Raises:
        UsageError: They can't be written, or could not start this installation.
    """
    program = _program()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in texts(program).items():
            (directory / name).write_text(content)
    except OSError as error:
        raise UsageError(
            f"{directory} can't be written: {error.strerror}", fix="name another directory"
        ) from error
    copies = [f"install -D -m 644 {directory / name} {place}" for name, place in PLACES.items()]
    return [
        *copies,
        "systemd-sysusers && systemd-tmpfiles --create",
        f"test -e {_TOKEN} || (umask 077; openssl rand -hex 32 > {_TOKEN})",
        "systemctl daemon-reload",
        "systemctl enable --now runbook-worker runbook-listener",
    ]


def _program() -> str:
    """The command of this installation: absolute, and such as root may start and the listener can see."""
    script = Path(sys.executable).with_name("runbook")
    if any(script.is_relative_to(place) for place in _HIDDEN):
        raise UsageError(
            f"{script} can't be started by systemd: the listener sees nothing below {', '.join(_HIDDEN)}",
            fix="install it below /opt, as docs/install.md shows",
        )
    if not script.exists():
        return f"{sys.executable} -P -m engine.cli"
    if refused := trust.trouble(script):
        raise refused
    return str(script)
