"""A systemd unit as it stands in its files: what is assigned where, in the order that systemd reads it.

One promise: the files are those that systemd itself names, and they are only read here.

Source: systemd.syntax(7); systemd.unit(5), "drop-in"; ``systemctl show``.

Not here: what the values mean (``command_line``), drop-ins of ours (``systemd_override``).
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from engine.values import Knob, Target
from remediations.knobs.backend import NotChanged

Call = Callable[[Sequence[str]], str]
_SHOWN = ("Id", "LoadState", "ActiveState", "FragmentPath", "DropInPaths", "MainPID")
_TIMEOUT_S = 60
_BOOTED = Path("/run/systemd/system")


class Unit(NamedTuple):
    """A loaded unit: its name, its files in the order of reading, systemd's ``ActiveState``, its main pid."""

    name: str
    files: tuple[str, ...]
    state: str
    pid: int


class Assignment(NamedTuple):
    """One ``Key=value`` of a unit file, its continued lines joined; lines count from 1."""

    file: str
    line: int
    section: str
    key: str
    value: str


class NoUnit(NotChanged):
    """There is no such unit here: the setting stands elsewhere, if anywhere."""


def call(argv: Sequence[str]) -> str:
    """Run ``systemctl``; its output. Where systemd does not run (sd_booted(3)) it is as good as not there."""
    if not _BOOTED.is_dir():
        raise FileNotFoundError(_BOOTED)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
    )
    return done.stdout


def name_of(knob: Knob, target: Target) -> str:
    """The unit that a knob belongs to: by its reload, the profile's facts, or the process's cgroup.

    Raises:
        NoUnit: None of them says.
    """
    named = knob.reload.unit or target.start.unit or target.facts.get("unit", "")
    if not named and target.processes:
        last = target.processes[0].cgroup.rpartition("/")[2]
        named = last if last.endswith(".service") else ""
    if not named:
        raise NoUnit(
            f"{target.name} is no systemd service that we know of", fix="name reload.unit in its profile"
        )
    return named if "." in named else f"{named}.service"


def look(name: str, run: Call = call) -> Unit:
    """What systemd says of a unit.

    Raises:
        NoUnit: There is none of this name.
        NotChanged: systemd does not answer, or the unit is masked or broken.
    """
    argv = ("systemctl", "show", *(f"--property={key}" for key in _SHOWN), name)
    try:
        lines = run(argv).splitlines()
    except FileNotFoundError:
        raise NoUnit("systemd does not run on this machine", fix="use it where the agent runs") from None
    except (OSError, subprocess.SubprocessError) as error:
        raise NotChanged(
            f"systemd does not tell what {name} is: {said(error)}", fix=f"see why: systemctl show {name}"
        ) from None
    shown = dict(line.partition("=")[::2] for line in lines)
    state = shown.get("LoadState", "")
    if state == "not-found":
        raise NoUnit(f"there is no unit {name} here", fix="systemctl list-units lists what there is")
    if state != "loaded" or not shown.get("FragmentPath"):
        raise NotChanged(f"{name} is {state or 'unknown'}", fix=f"see why: systemctl status {name}")
    files = (shown["FragmentPath"], *shown.get("DropInPaths", "").split())
    pid = shown.get("MainPID", "0")
    return Unit(
        shown.get("Id") or name,
        files,
        shown.get("ActiveState", ""),
        int(pid) if pid.isdigit() else 0,
    )


def assignments(files: Sequence[str], key: str, section: str = "Service") -> list[Assignment]:
    """What the files assign to a key; an empty value, which takes back all before it, counts too.

    Raises:
        NotChanged: A file can't be read.
    """
    found: list[Assignment] = []
    for file in files:
        try:
            text = Path(file).read_text()
        except FileNotFoundError:
            continue  # a drop-in that went since systemd read it
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "not UTF-8"
            raise NotChanged(f"{file} can't be read: {why}", fix="check its permissions") from None
        found += [one for one in parsed(text, file) if (one.section, one.key) == (section, key)]
    for at in range(len(found) - 1, -1, -1):
        if not found[at].value:
            return found[at + 1 :]
    return found


def parsed(text: str, file: str) -> Iterator[Assignment]:
    """Every assignment of a unit file, in order."""
    section, begun, number = "", 0, 0
    joined = ""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped[:1] in ("#", ";") or (not stripped and not joined):
            continue  # also between the lines of a continued one
        begun = begun if joined else number
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1] + " "
            continue
        whole, joined = (joined + line).strip(), ""
        if whole.startswith("["):
            section = whole.strip("[]")
        elif "=" in whole:
            key, _, value = whole.partition("=")
            yield Assignment(file, begun, section, key.strip(), value.strip())


def said(error: Exception) -> str:
    """What a command said when it failed."""
    if isinstance(error, subprocess.CalledProcessError):
        return str(error.stderr or error.stdout or error).strip().splitlines()[-1]
    return str(error)
