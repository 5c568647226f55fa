"""Whether the knobs of a profile make sense: backends, units, bounds, defaults.

Not here: the rest of a profile (``engine.agents.profile_check``).
"""

from __future__ import annotations

import math
import signal

from engine import units
from engine.agents import knobs
from engine.agents.judge import Judge
from engine.agents.knob_spec import KnobSpec, ReloadSpec
from engine.agents.profile import Config, Profile
from engine.catalog import BrokenPart, Catalog
from engine.errors import UsageError, nearest
from engine.guarding.amounts import WORDS, in_base_units
from engine.values import Knob, Setting

SIZES = {"bytes", "KiB", "MiB", "GiB", "pages", "preset", "doublings"}
TIMES = {"ns", "us", "ms", "s", "preset", "doublings"}
COUNTS = {"count", "preset", "doublings"}
#: Common knob names → the units that make sense; what remediations read and write.
UNITS = {
    "ring-buffer-size": SIZES,
    "poll-interval": TIMES,
    "workers": COUNTS,
    "batch-size": COUNTS,
    "queue-size": COUNTS | SIZES,
    "sampling": {"one-in-n"},
    "event-filter": {"list", "text"},
    "wakeup-policy": {"text"},
    "cpu-quota": {"cores"},
    "memory-limit": {"bytes", "KiB", "MiB", "GiB"},
    "map-capacity": COUNTS,
    "map-kind": {"text"},
    "optional-program": {"bool"},
}
_DIMENSIONS = {
    **dict.fromkeys(("bytes", "KiB", "MiB", "GiB", "pages"), "bytes"),
    **dict.fromkeys(("ns", "us", "ms", "s"), "duration"),
}


def check(profile: Profile, judge: Judge, catalog: Catalog) -> None:
    """All knobs, with their live doors and other places."""
    backends = catalog.names("knob backend")
    turned = {one.knob for _, one in catalog.each("remediation") if not isinstance(one, BrokenPart)}
    for name, spec in profile.knobs.items():
        common = name.partition(".")[0]
        if common not in {*UNITS, *turned}:
            near = nearest(common, UNITS)
            hint = f"; did you mean {near!r}?" if near else ""
            judge.warn(f"knobs.{name}", f"no remediation turns {name!r}: it is only shown{hint}")
        places = {"": spec} | {f".otherwise[{n}]": one for n, one in enumerate(spec.otherwise)}
        for at, one in (places | ({".live": spec.live} if spec.live else {})).items():
            _knob(common, one, f"knobs.{name}{at}", profile, judge)
            if one.backend not in backends:
                judge.unknown(
                    f"knobs.{name}{at}.backend", "way to read and write settings", one.backend, backends
                )
            else:
                _place(one, f"knobs.{name}{at}", profile, judge, catalog)


def _place(spec: KnobSpec, path: str, profile: Profile, judge: Judge, catalog: Catalog) -> None:
    """What a backend needs: its ``requires`` names fields, its ``complaint`` judges the path."""
    try:
        backend = catalog.load("knob backend", spec.backend)
    except BrokenPart:
        return
    requires = getattr(backend, "requires", ())
    config = profile.config if spec.backend.endswith("-file") else ""
    if "file" in requires and not spec.file and config in ("", Config()):
        judge.error(path, f"'file' is missing (backend {spec.backend} needs it)")
    if "path" in requires and not spec.path:
        judge.error(path, f"'path' is missing (backend {spec.backend} needs it)")
    elif "{" not in spec.path and hasattr(backend, "complaint") and (wrong := backend().complaint(spec.path)):
        judge.error(f"{path}.path", wrong)


def _knob(common: str, spec: KnobSpec, path: str, profile: Profile, judge: Judge) -> None:
    fitting = UNITS.get(common)
    if fitting and spec.unit not in fitting and not (path.endswith(".live") and spec.unit == "count"):
        judge.error(
            f"{path}.unit", f"{spec.unit} is no unit of {common} (one of: {', '.join(sorted(fitting))})"
        )
    for text in (spec.file, spec.path, str(spec.cpus_each)):
        judge.filled(path, text)
    if spec.map:
        judge.cut(f"{path}.map", [spec.map])
    if spec.in_force and not profile.metrics:
        judge.error(f"{path}.in_force", "the profile names no metrics page to find it on")
    if spec.reload is not None:
        reload_sense(spec.reload, f"{path}.reload", profile, judge)
    _shape(spec, path, judge)
    _amounts(common, spec, path, judge)


def reload_sense(reload: ReloadSpec, path: str, profile: Profile, judge: Judge) -> None:
    """Whether a reload says all that its kind needs."""
    for text in (reload.unit, reload.url, *reload.argv):
        judge.filled(path, text)
    needed = {"systemd": "unit", "command": "argv", "http": "url"}.get(reload.by, "")
    if needed and not getattr(reload, needed):
        judge.error(path, f"{needed!r} is missing (a reload by {reload.by} needs it)")
    if reload.by == "signal" and reload.signal not in signal.Signals.__members__:
        names = [name for name in signal.Signals.__members__ if not name.startswith("SIGRT")]
        judge.unknown(f"{path}.signal", "signal", reload.signal, names)
    if reload.confirm and not profile.metrics:
        judge.error(f"{path}.confirm", "the profile names no metrics page to find it on")


def _shape(spec: KnobSpec, path: str, judge: Judge) -> None:
    """Fields that need one another."""
    if spec.presets and spec.unit != "preset":
        judge.error(f"{path}.presets", f"presets go with unit preset, and this is in {spec.unit}")
    if spec.unit == "preset" and not spec.presets:
        judge.error(path, "'presets' is missing (unit preset needs it: {4: 8MiB, 5: 16MiB})")
    if spec.base is not None and spec.unit != "doublings":
        judge.error(f"{path}.base", f"a base goes with unit doublings, and this is in {spec.unit}")
    if spec.cpus_each != 1 and spec.per not in ("cpu", "online-cpu"):
        judge.error(f"{path}.cpus_each", "it goes with 'per: cpu' or 'per: online-cpu'")
    if spec.rounding in ("page", "power-of-two-pages") and spec.unit not in SIZES:
        judge.error(f"{path}.rounding", f"{spec.unit} has no pages")
    if spec.choices and spec.unit != "text":
        judge.error(f"{path}.choices", f"choices are words, and this is in {spec.unit}")
    if spec.choices and spec.default is not None and str(spec.default) not in spec.choices:
        judge.unknown(f"{path}.default", "choice", str(spec.default), spec.choices)


def _amounts(common: str, spec: KnobSpec, path: str, judge: Judge) -> None:
    """Whether default and bounds can be read, and the default lies within the bounds."""
    known = _resolved(common, spec, path, judge)
    if known is None or spec.unit in WORDS:
        return
    amounts: dict[str, float] = {}
    for part in ("default", "minimum", "maximum"):
        written: Setting = getattr(spec, part) if part == "default" else getattr(known, part)
        if written is None:
            continue
        amount = in_base_units(written, known)
        if amount is None:
            what = (
                f"none of the presets {', '.join(spec.presets)}"
                if spec.unit == "preset"
                else f"can't be read in {spec.unit}"
            )
            judge.error(f"{path}.{part}", f"{written!r} {'is ' if spec.unit == 'preset' else ''}{what}")
        else:
            amounts[part] = amount
    low, high = amounts.get("minimum", -math.inf), amounts.get("maximum", math.inf)
    if low > high:
        judge.error(f"{path}.minimum", f"{spec.minimum} is more than the maximum, {spec.maximum}")
    default = amounts.get("default", math.nan)
    if not math.isinf(default) and (default < low or default > high):
        judge.error(
            f"{path}.default", f"{spec.default} is outside the bounds, {spec.minimum} to {spec.maximum}"
        )


def _resolved(common: str, spec: KnobSpec, path: str, judge: Judge) -> Knob | None:
    """The knob with its bounds in numbers; None after a complaint."""
    for part in ("minimum", "maximum"):
        written = getattr(spec, part)
        parsed = units.parse(written) if isinstance(written, str) else None
        if parsed and parsed[1] != _DIMENSIONS.get(spec.unit, "number"):
            judge.error(f"{path}.{part}", f"{written!r} is a {parsed[1]}, and the knob is in {spec.unit}")
            return None
    try:
        return Knob(
            name=common, backend=spec.backend, unit=spec.unit, unbounded=spec.unbounded,
            minimum=knobs.bound(common, spec.minimum, spec.unit),
            maximum=knobs.bound(common, spec.maximum, spec.unit),
            presets={key: knobs.amount(common, value) for key, value in spec.presets.items()},
            base=knobs.amount(common, spec.base),
        )  # fmt: skip
    except UsageError as error:
        judge.error(path, f"{error.problem} ({error.fix})")
        return None
