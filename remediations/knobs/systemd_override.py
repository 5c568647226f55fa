"""What settings in a systemd unit have in common: a drop-in of our own, and a restart to take effect.

One promise: the unit's files and others' drop-ins are only read. Ours bears a name that is read last;
it goes when nothing of ours is left in it, and with it the directory that was made for it.

Source: systemd.unit(5), "drop-in": files of all directories are read in the order of their names.

Not here: what stands in the drop-in (``systemd_argument``, ``systemd_environment``).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from engine.contracts import Clock
from engine.errors import ChangedSince, ChangeFailed
from engine.values import Change, Knob, KnobValue, Setting, Target
from remediations.knobs import atomic_file, http, systemd_unit
from remediations.knobs.backend import NotChanged, Restored
from remediations.knobs.plain_file import directory_stamp
from remediations.knobs.systemd_dropin import HEAD, UNITS
from remediations.knobs.systemd_unit import Call, Unit

__all__ = ["HEAD", "UNITS", "UnitOverride"]

_EVERY_S = 0.1
#: A service counts as well when it has run so long: one that ends at once looks like a running one before.
STEADY_S = 2.0


class UnitOverride:
    """The file plumbing of a backend that writes ``UNIT.d/zz-runbook-SUBJECT.conf``."""

    subject: str

    def __init__(self, run: Call = systemd_unit.call, units: Path = UNITS) -> None:
        self._run = run
        self._units = units

    def follow(
        self, change: Change, target: Target, clock: Clock, in_force: Callable[[], bool | None]
    ) -> str:
        """Restart the service, and wait until it runs steadily and is healthy.

        Gives a note where nothing was restarted: somebody had stopped it.

        Raises:
            ChangeFailed: It did not come up, or is not well, within the reload's time.
        """
        name = systemd_unit.name_of(change.knob, target)
        if self._look(name).state == "inactive":
            return f"{name} is stopped, so it was not restarted: it takes the value when it starts"
        self._call("restart", name)
        deadline = clock.monotonic() + max(change.knob.reload.settle_s, 2 * STEADY_S)
        pid, since = 0, clock.monotonic()
        while True:
            unit = self._look(name)
            if unit.state != "active" or unit.pid != pid:
                pid, since = unit.pid, clock.monotonic()
            trouble = _trouble(unit, target, in_force)
            if not trouble and clock.monotonic() - since >= STEADY_S:
                return ""
            if clock.monotonic() >= deadline or unit.state == "failed":
                raise ChangeFailed(
                    f"{name} {trouble or 'does not stay up'} after its restart",
                    fix=f"journalctl -u {name}; the setting is written and will be undone with the run",
                )
            clock.sleep(_EVERY_S)

    def by_hand(self, made: Change, now: KnobValue | None, target: Target) -> str:
        """Edit our drop-in, or the file that held it; then a restart, since a reload does not take it."""
        knob = made.knob
        try:
            name = systemd_unit.name_of(knob, target)
        except NotChanged:
            name = "UNIT"
        source = now.source if now else ""
        ours = self._units / f"{name}.d" / f"zz-runbook-{self.subject}.conf"
        edited = source.rpartition(":")[0] if _is_environment_file(source) else str(ours)
        was = f"set {knob.path} back to {now.raw}" if now and now.raw is not None else f"take {knob.path} out"
        return f"edit {edited}: {was}; systemctl daemon-reload; systemctl restart {name}"

    def _unit(self, knob: Knob, target: Target) -> Unit:
        """The unit with all its files, ours among them before systemd has read it."""
        unit = self._look(systemd_unit.name_of(knob, target))
        ours = str(self._place(unit))
        return unit if ours in unit.files else unit._replace(files=(*unit.files, ours))

    def _look(self, name: str) -> Unit:
        return systemd_unit.look(name, self._run)

    def _place(self, unit: Unit) -> Path:
        return self._units / f"{unit.name}.d" / f"zz-runbook-{self.subject}.conf"

    def _obstacle(self, unit: Unit, sets: str) -> tuple[str, str] | None:
        """Why a drop-in of ours can't be made, or would not count; ``sets``: the file that sets it now."""
        ours = self._place(unit)
        if ours.exists():
            return atomic_file.obstacle(ours)
        if Path(sets).parent.suffix == ".d" and Path(sets).name > ours.name:
            return f"{sets} is read after any drop-in of ours", "change the setting there by hand"
        there = next((each for each in (ours.parent, self._units) if each.is_dir()), None)
        if there is None or not os.access(there, os.W_OK):
            return f"{ours} can't be made", "run as root, on a file system that can be written"
        return None

    def _known(self, unit: Unit) -> dict[str, Setting]:
        """What undo has to know of our file's surroundings."""
        ours = self._place(unit)
        return {
            "file": str(ours),
            "unit": unit.name,
            "directory_is_new": not ours.parent.exists(),
            "stamp": directory_stamp(ours),
        }

    def _put(
        self, place: Path, edit: Callable[[str | None], str | None], captured: Mapping[str, Setting]
    ) -> None:
        """Make, replace or take away our file, and have systemd read its units again."""
        if place.exists():

            def change(seen: bytes) -> bytes:
                new = edit(seen.decode())
                return seen if new is None else new.encode()

            before = place.read_bytes()
            if edit(before.decode()) is None:
                atomic_file.remove(place, before)
                if captured["directory_is_new"] and not any(place.parent.iterdir()):
                    place.parent.rmdir()
            else:
                atomic_file.update(place, change)
        else:
            text = edit(None)
            if text is None:
                raise ChangedSince(f"{place} is gone", fix="nothing was changed; look again")
            try:
                place.parent.mkdir(mode=0o755, exist_ok=True)
            except OSError as error:
                raise NotChanged(
                    f"{place.parent} can't be made: {error.strerror}", fix="run as root"
                ) from None
            atomic_file.make(place, text.encode())
        self._call("daemon-reload")

    def _back_already(self, place: Path, captured: Mapping[str, Setting]) -> Restored:
        """Nothing of ours counts; what a killed write or undo has left goes."""
        if directory_stamp(place) == captured["stamp"]:
            return Restored(reload=False, note=f"{place} was never written")
        atomic_file.sweep(place)
        if captured["directory_is_new"] and place.parent.is_dir() and not any(place.parent.iterdir()):
            place.parent.rmdir()
        self._call("daemon-reload")
        return Restored(reload=True, note="it was back already; the restart was made up for")

    def _call(self, *words: str) -> None:
        try:
            self._run(("systemctl", *words))
        except (OSError, subprocess.SubprocessError) as error:
            by_hand = " ".join(("systemctl", *words))
            raise ChangeFailed(
                f"{by_hand} failed: {systemd_unit.said(error)}", fix=f"by hand: {by_hand}"
            ) from None


def _trouble(unit: Unit, target: Target, in_force: Callable[[], bool | None]) -> str:
    """What is wrong with the service; empty when it is well."""
    if unit.state != "active":
        return f"is {unit.state}"
    if target.health_url and (status := http.status("GET", target.health_url)) != 200:
        return f"is not healthy ({target.health_url}: {status or 'no answer'})"
    return "shows no sign of the new value" if in_force() is False else ""


def _is_environment_file(source: str) -> bool:
    """Whether a value came from a file that is no unit's."""
    file = source.rpartition(":")[0]
    return file.startswith("/") and Path(file).suffix not in (".service", ".conf")
