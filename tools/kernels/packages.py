"""Kernels of the distribution, from the machine's own package mirror, without installing them.

A package source list and state of our own lie under ``build/kernels/apt``; the system's stay as they are.
apt checks signatures and sums as ever. Only the kernel image is unpacked. Whatever is there already is
not fetched again.

Not here: what is run on them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

META = "linux-image-cloud-amd64"
_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"
_ENOUGH = 60  # seconds without progress, for apt


class Series(NamedTuple):
    """One column of the matrix: the newest kernel of a release of the distribution."""

    name: str
    suite: str
    versions: str  # how its version begins, as a pattern


MATRIX = (
    Series("5.10", "bullseye", r"5\.10\."),
    Series("6.1", "bookworm", r"6\.1\."),
    Series("6.12", "trixie", r"6\.12\."),
    Series("newest", "trixie-backports", r"(6\.(1[6-9]|[2-9]\d)|[7-9])\."),
)


class NoKernel(Exception):
    """A kernel can't be had here; the text says why."""


class Kernel(NamedTuple):
    """A kernel ready to boot."""

    release: str
    image: Path


def mirror(sources: Path = Path("/etc/apt")) -> str:
    """Address of the mirror that this machine takes the distribution's main archive from."""
    for file in sorted(sources.glob("sources.list.d/*.sources")):
        for stanza in file.read_text().split("\n\n"):
            fields = dict(re.findall(r"^(\w[\w-]*):[ \t]*(.*)$", stanza, re.MULTILINE))
            suites = fields.get("Suites", "").split()
            if "main" in fields.get("Components", "").split() and any(map(_is_release, suites)):
                return fields["URIs"].split()[0]
    for file in (sources / "sources.list", *sorted(sources.glob("sources.list.d/*.list"))):
        for line in file.read_text().splitlines() if file.exists() else ():
            found = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)", line)
            if found and _is_release(found[2]) and "main" in found[3].split():
                return found[1]
    raise NoKernel("no source of the distribution's main archive in apt's configuration")


def _is_release(suite: str) -> bool:
    return suite in {"bullseye", "bookworm", "trixie", "forky", "stable", "testing", "sid"}


class Archive:
    """apt with a configuration of its own, in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for part in ("lists/partial", "cache/archives/partial"):
            (directory / part).mkdir(parents=True, exist_ok=True)

    def _options(self) -> list[str]:
        held = {
            "Dir::Etc::sourcelist": self.directory / "sources.list",
            "Dir::Etc::sourceparts": "-",
            "Dir::State::lists": self.directory / "lists",
            "Dir::Cache": self.directory / "cache",
            "Acquire::Languages": "none",
            "Acquire::http::Timeout": _ENOUGH,
            "APT::Sandbox::User": "root",  # the directory need not be open to apt's own user
        }
        return [word for name, value in held.items() for word in ("-o", f"{name}={value}")]

    def _run(self, *argv: str, cwd: Path | None = None) -> str:
        done = subprocess.run(
            [argv[0], *self._options(), *argv[1:]], cwd=cwd, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise NoKernel(f"{' '.join(argv[:2])} failed: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout

    def update(self) -> None:
        """Fetch the lists of all suites of the matrix: 28 MB, 8 s."""
        uri = mirror()
        suites = [f"deb [signed-by={_KEYS}] {uri} {series.suite} main\n" for series in MATRIX]
        (self.directory / "sources.list").write_text("".join(suites))
        self._run("apt-get", "update", "-qq")

    def newest(self, series: Series) -> str:
        """Name of the image package of a series."""
        stanzas = self._run("apt-cache", "show", META).split("\n\n")
        for stanza in stanzas:  # newest first
            fields = dict(re.findall(r"^(\w+): (.*)$", stanza, re.MULTILINE))
            if re.match(series.versions, fields.get("Version", "")):
                (image,) = re.findall(r"linux-image-\d\S+", fields["Depends"])
                return str(image)
        raise NoKernel(f"{series.suite} has no {META} of version {series.versions}")

    def image_of(self, package: str, into: Path) -> Path:
        """Fetch a package and take its kernel out; from 7.x on it lies in a package beside."""
        depends = re.search(r"^Depends: (.*)$", self._run("apt-cache", "show", package), re.MULTILINE)
        beside = re.search(r"linux-binary-\S+", depends[1]) if depends else None
        with_image = beside[0] if beside else package
        scratch = self.directory / "unpacked"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        self._run("apt-get", "download", "-qq", with_image, cwd=scratch)
        (archive,) = scratch.glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", str(archive), str(scratch)], check=True)
        found = sorted((*scratch.glob("boot/vmlinuz-*"), *scratch.glob("usr/lib/**/vmlinuz*")))
        if not found:
            raise NoKernel(f"{with_image} holds no kernel image")
        found[0].replace(into)
        shutil.rmtree(scratch)
        return into


def kernels(directory: Path) -> dict[str, Kernel | NoKernel]:
    """Every kernel of the matrix by its series; fetched when it is not in ``directory`` yet."""
    directory.mkdir(parents=True, exist_ok=True)
    archive = Archive(directory / "apt")
    have: dict[str, Kernel | NoKernel] = {}
    updated = False
    for series in MATRIX:
        named = sorted(directory.glob(f"vmlinuz-{series.name}@*"))
        if named:
            have[series.name] = Kernel(named[-1].name.partition("@")[2], named[-1])
            continue
        try:
            if not updated:
                print(
                    f"kernels: fetching package lists ({', '.join(one.suite for one in MATRIX)})", flush=True
                )
                archive.update()
                updated = True
            package = archive.newest(series)
            release = package.removeprefix("linux-image-")
            print(f"kernels: fetching {package}", flush=True)
            image = archive.image_of(package, directory / f"vmlinuz-{series.name}@{release}")
            have[series.name] = Kernel(release, image)
        except NoKernel as reason:
            have[series.name] = reason
    return have
