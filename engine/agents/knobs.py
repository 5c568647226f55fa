"""A profile's knobs, maps, counters and reloads, filled in for one running process.

One promise: every file is absolute and every bound is in the knob's own unit.

Not here: reading or writing a knob (remediations), which process it is (``engine.agents.targets``).
"""

from __future__ import annotations

import mmap
from pathlib import PurePosixPath

import msgspec

from engine import units
from engine.agents.knob_spec import KnobSpec, ReloadSpec
from engine.agents.placeholders import Placeholders
from engine.agents.profile import MapSpec, Profile
from engine.errors import UsageError
from engine.guarding.amounts import lettered
from engine.values import Knob, KnownMap, Reload, Setting

#: Backends whose settings are in force as soon as they are written.
_AT_ONCE = ("bpf-variable", "cgroup", "cgroup-memory")
#: Base units in one of a knob's own unit.
_FACTORS = {
    "bytes": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30,
    "ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0,
}  # fmt: skip


def resolve(profile: Profile, fill: Placeholders, config_file: str) -> dict[str, Knob]:
    """All knobs of a profile for one process.

    Raises:
        UsageError: A bound is no quantity.
    """
    return {name: _knob(name, spec, profile, fill, config_file) for name, spec in profile.knobs.items()}


def reload_of(spec: ReloadSpec, fill: Placeholders) -> Reload:
    """A reload for one process."""
    return Reload(
        by=spec.by,
        signal=spec.signal,
        unit=fill.fill(spec.unit),
        argv=tuple(fill.fill(word) for word in spec.argv),
        url=fill.fill(spec.url),
        settle_s=units.seconds(spec.settle),
        confirm=spec.confirm,
        loses=spec.loses,
    )


def known_maps(profile: Profile) -> dict[str, KnownMap]:
    """What a profile says of its agent's maps."""
    return {name: _known_map(spec) for name, spec in profile.maps.items()}


def _known_map(spec: MapSpec) -> KnownMap:
    known = KnownMap(time_at=spec.value.time_at, clean=spec.clean, refused=spec.refused)
    if spec.key is None:
        return known
    return msgspec.structs.replace(
        known, pid_at=spec.key.pid_at, pid_size=spec.key.size, owner=spec.key.owner
    )


def absolute(path: str, cwd: str) -> str:
    """A path of the process as an absolute one; links are left as they are."""
    return str(PurePosixPath(cwd) / path) if path else ""


def _knob(name: str, spec: KnobSpec, profile: Profile, fill: Placeholders, config_file: str) -> Knob:
    live = _knob(name, spec.live, profile, fill, config_file) if spec.live else None
    reload = spec.reload or (ReloadSpec() if spec.backend in _AT_ONCE else profile.reload)
    file = fill.fill(spec.file) or (config_file if spec.backend.endswith("-file") else "")
    return Knob(
        name=name,
        backend=spec.backend,
        file=file,
        path=fill.fill(spec.path),
        unit=spec.unit,
        default=spec.default,
        minimum=bound(name, spec.minimum, spec.unit, fill.page_bytes),
        maximum=bound(name, spec.maximum, spec.unit, fill.page_bytes),
        choices=spec.choices,
        presets={key: amount(name, value) for key, value in spec.presets.items()},
        base=amount(name, spec.base),
        rounding=spec.rounding,
        misfit=spec.misfit,
        per=spec.per,
        cpus_each=_cpus_each(name, spec.cpus_each, fill),
        unbounded=spec.unbounded,
        reload=reload_of(reload, fill),
        live=live,
        map=spec.map,
        in_force=spec.in_force,
        verified=spec.verified and profile.verified == "live",
        warns=spec.warns,
        otherwise=tuple(_knob(name, one, profile, fill, config_file) for one in spec.otherwise),
        source=spec.source or "; ".join(profile.sources),
        help=f"{spec.help} Needs {spec.needs}.".strip() if spec.needs else spec.help,
    )


def amount(name: str, written: Setting) -> float:
    """What a preset amounts to, in base units: ``8MiB`` is 8388608; 0 when nothing is written.

    Raises:
        UsageError: It is no quantity.
    """
    return bound(name, written, "") or 0.0


def _cpus_each(name: str, written: int | str, fill: Placeholders) -> int:
    """How many CPUs share one; a placeholder may give it."""
    filled = fill.fill(written) if isinstance(written, str) else str(written)
    if not filled.isdigit():
        raise UsageError(f"{name}: cpus_each is {filled!r}, no number of CPUs", fix="write a number")
    return int(filled)


def bound(name: str, written: Setting, unit: str, page_bytes: int = mmap.PAGESIZE) -> float | None:
    """A bound in the knob's own unit: ``4KiB`` of a knob in pages is 1.

    Raises:
        UsageError: It is no quantity.
    """
    if written is None:
        return None
    if isinstance(written, int | float) and not isinstance(written, bool):
        return float(written)
    text = written if isinstance(written, str) else ""
    parsed = units.parse(text)
    quantity = parsed[0] if parsed else lettered(text)
    if quantity is None:
        raise UsageError(f"{name}: {written!r} is no quantity", fix="write it as 4KiB, 10s or a number")
    return quantity / (page_bytes if unit == "pages" else _FACTORS.get(unit, 1.0))
