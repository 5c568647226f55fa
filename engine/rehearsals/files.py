"""Files that we write for people: whole or not at all, and never over one that is there unless asked.

Not here: what stands in them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from engine.errors import UsageError


def write(path: Path, text: str, *, anew: bool = False) -> None:
    """Write a text file; a new one with the directories that it stands in.

    Args:
        path: Where.
        text: All of it.
        anew: Refuse when there is something of that name.

    Raises:
        UsageError: It is there already, or can't be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if anew:
            path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(text, encoding="utf-8")
        if anew:
            os.link(draft, path)  # unlike a rename it never replaces
        else:
            draft.replace(path)
    except FileExistsError:
        raise UsageError(
            f"{path} is there already", fix="name another file; nothing was overwritten"
        ) from None
    except OSError as error:
        raise UsageError(f"{path} could not be written: {error.strerror}", fix="name another file") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
