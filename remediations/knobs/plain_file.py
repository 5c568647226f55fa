"""A settings file as it stands: its bytes, its text, and whether it is the file of then.

One promise: nothing is written; what can't be read is said with its file, and its line where it has one.

Not here: replacing it (``atomic_file``), the value in it (``text_edit``, ``yaml_place``).
"""

from __future__ import annotations

from pathlib import Path

from remediations.knobs.backend import NotChanged


def content(file: Path) -> bytes:
    """All of it.

    Raises:
        NotChanged: It can't be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise NotChanged(
            f"{file} can't be read: {error.strerror}", fix="check the path and its permissions"
        ) from None


def decoded(seen: bytes, file: Path, *, errors: str = "strict") -> str:
    """Its bytes as UTF-8.

    Raises:
        NotChanged: They are none, and ``errors`` does not say what else to do with them.
    """
    try:
        return seen.decode(errors=errors)
    except UnicodeDecodeError as error:
        line = seen[: error.start].count(b"\n") + 1
        raise NotChanged(f"{file}:{line}: not UTF-8", fix="save the file as UTF-8") from None


def stamp(file: Path) -> str:
    """Changes with every replacement and every write; empty when it is not there."""
    try:
        stat = file.stat()
    except OSError:
        return ""
    return f"{stat.st_dev}:{stat.st_ino}:{stat.st_mtime_ns}"


def directory_stamp(file: Path) -> str:
    """Changes with every file that is made, replaced or taken away beside it; empty without a directory."""
    try:
        stat = file.parent.stat()
    except OSError:
        return ""
    return f"{stat.st_ino}:{stat.st_mtime_ns}"
