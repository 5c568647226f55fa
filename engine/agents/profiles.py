"""Finding and reading agent profiles.

One promise: what ``load`` gives back is complete and of the right types, or every complaint
has its file and line. A later folder of the search path overrides an earlier one by the
profile's name, so an operator can correct a shipped profile without touching it; one that can't
be read overrides nothing, and is told of.

Not here: what a profile is (``engine.agents.profile``), whether it makes sense
(``engine.agents.profile_check``), what runs on this machine (``engine.agents.targets``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import msgspec

from engine.agents.profile import Match, Profile
from engine.errors import DocumentError, UsageError
from engine.language import documents, loader
from engine.language.documents import Document

#: Backends whose settings have a path within their place.
NEED_PATH = frozenset(
    {
        *("yaml-file", "toml-file", "ini-file", "json-file", "env-file", "option-directory"),
        *("systemd-environment", "systemd-argument", "bpf-variable"),
    }
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """All profiles of the search path.

    Attributes:
        profiles: The operator's own before those that came with the program; by name.
        files: Where each that counts was read.
        overridden: Name → the files that it overrides, by what counts.
        complaints: One for each that can't be read or is left out.
    """

    profiles: tuple[Profile, ...]
    files: dict[str, Path]
    overridden: dict[str, tuple[Path, ...]] = {}
    complaints: tuple[str, ...] = ()


def load(path: Path) -> Profile:
    """Read one profile.

    Raises:
        NotTrusted: It would be obeyed as root, and others could have written it.
        DocumentError: It is wrong; all complaints at once.
    """
    return read(path, trusted=True)[0]


@lru_cache(maxsize=256)
def _unchanged(path: Path, _changed_ns: int) -> Profile:
    """A profile that was read before and is the same since; reading one takes 6 ms."""
    return load(path)


def read(path: Path, *, trusted: bool = False) -> tuple[Profile, Document]:
    """A profile, and where its parts stand.

    Raises:
        DocumentError: It is wrong; all complaints at once.
    """
    profile, source = documents.read(Profile, loader.read_bytes(path, trusted=trusted), str(path))
    wrong = _pattern(profile.match.argv, source.where("match.argv"))
    wrong += [
        f"{source.where('match')}: nothing to match by (write comm, exe, argv, unit, map or program)"
    ] * (profile.match == Match())
    for name, knob in profile.knobs.items():
        for place, one in {
            "": knob,
            **{f".otherwise[{n}]": one for n, one in enumerate(knob.otherwise)},
        }.items():
            needs_path = one.backend in NEED_PATH and not one.path
            wrong += [f"{source.where(f'knobs.{name}{place}')}: 'path' is missing"] * needs_path
    if wrong:
        raise DocumentError(wrong, fix=f"correct {path}; nothing was done")
    return profile, source


def _pattern(pattern: str, where: str) -> list[str]:
    """A complaint when it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        return [f"{where}: {pattern!r} is no regular expression ({error})"]
    return []


def load_all(*, environment: Mapping[str, str] = os.environ) -> tuple[tuple[Profile, ...], tuple[str, ...]]:
    """All profiles, and a complaint for each one that can't be read: it is left out, not fatal."""
    found = find_all(environment=environment)
    return found.profiles, found.complaints


def find_all(*, environment: Mapping[str, str] = os.environ) -> Found:
    """All profiles, with their files."""
    counts: dict[str, tuple[int, Path, Profile]] = {}
    overridden: dict[str, tuple[Path, ...]] = {}
    broken: list[tuple[str, str]] = []
    complaints: list[str] = []
    for rank, folder in enumerate(search_path(environment=environment)):
        for path in sorted(folder.glob("*.yaml")) if os.access(folder, os.R_OK | os.X_OK) else ():
            try:
                profile = _unchanged(path, path.stat().st_mtime_ns)
            except (UsageError, OSError) as error:
                broken.append((_name(path), error.problem if isinstance(error, UsageError) else str(error)))
                continue
            earlier = counts.get(profile.profile)
            if earlier and earlier[0] == rank:
                complaints.append(
                    f"{path}: {earlier[1].name} beside it is profile {profile.profile!r} already"
                )
                continue
            if earlier:
                overridden[profile.profile] = (*overridden.get(profile.profile, ()), earlier[1])
            counts[profile.profile] = (rank, path, profile)
    for name, problem in broken:
        instead = f"; {counts[name][1]} counts instead" if name in counts else ""
        complaints.append(f"{problem}{instead}")
    ordered = sorted(counts.values(), key=lambda one: (-one[0], one[2].profile))
    return Found(
        profiles=tuple(profile for _, _, profile in ordered),
        files={profile.profile: path for _, path, profile in ordered},
        overridden=overridden,
        complaints=tuple(complaints),
    )


def _name(path: Path) -> str:
    """The name of a profile that can't be read, as far as it can be told; else its file's."""
    try:
        found = re.search(rb"^profile:[ \t]*[\"']?([\w.-]+)", loader.read_bytes(path), re.MULTILINE)
    except UsageError:
        found = None
    return found[1].decode() if found else path.stem


def search_path(*, environment: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Where profiles are looked for, a later place overriding an earlier one.

    Those that came with the program, ``/etc/runbook/agents``, ``~/.config/runbook/agents``,
    ``$RUNBOOK_PROFILES`` (several, with ``:``).
    """
    yield loader.shipped() / "agents"
    yield Path("/etc/runbook/agents")
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/root')}/.config"
    yield Path(home) / "runbook" / "agents"
    for entry in environment.get("RUNBOOK_PROFILES", "").split(os.pathsep):
        if entry:
            yield Path(entry)
