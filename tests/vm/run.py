"""Tries every promise on the kernel that runs it; one JSON line each. Runs inside the small machine."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent)]

import causes  # noqa: E402 - beside this file
import eyes  # noqa: E402
import flow  # noqa: E402
import foretold  # noqa: E402
import loads  # noqa: E402
import mapping  # noqa: E402
import memory  # noqa: E402
import stacks  # noqa: E402
from promises import NotHere  # noqa: E402


def try_one(promise: Callable[[], None]) -> dict[str, str | float]:
    """``yes``, ``no`` with the reason, or ``n/a`` where this kernel can't."""
    began = time.monotonic()
    kept, detail = "yes", ""
    try:
        promise()
    except NotHere as reason:
        kept, detail = "n/a", str(reason)
    except Exception as error:  # noqa: BLE001 - one that breaks must not hide the others
        where = traceback.extract_tb(error.__traceback__)[-1]
        kept, detail = "no", f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"
    seconds = round(time.monotonic() - began, 2)
    return {"promise": promise.__name__.replace("_", " "), "kept": kept, "detail": detail, "seconds": seconds}


if __name__ == "__main__":
    for tried in (
        *eyes.PROMISES,
        *mapping.PROMISES,
        *loads.PROMISES,
        *flow.PROMISES,
        *foretold.PROMISES,
        *stacks.PROMISES,
        *memory.PROMISES,
        *causes.PROMISES,  # the last one locks the kernel down: nothing can be looked at after it
    ):
        sys.stdout.write(json.dumps(try_one(tried)) + "\n")
        sys.stdout.flush()
    sys.stdout.write("all promises were tried\n")
