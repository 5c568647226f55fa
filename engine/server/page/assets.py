"""Style sheet, scripts and pictures of the page, under names that change with their content.

One promise: a browser keeps a file for ever, and never an old one.

Not here: templates (``engine.server.page.looks``).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.requests import Request
from starlette.responses import Response

_PLACE = Path(__file__).parent / "static"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_FOR_EVER = "public, max-age=31536000, immutable"


@cache
def _all() -> dict[str, bytes]:
    return {one.name: one.read_bytes() for one in sorted(_PLACE.iterdir()) if one.suffix in _KINDS}


@cache
def stamp() -> str:
    """What all files hold, in ten letters."""
    whole = hashlib.sha256(b"\0".join(_all().values()))
    return whole.hexdigest()[:10]


def url(name: str) -> str:
    """The path of a file; it must be there."""
    if name not in _all():
        raise KeyError(name)
    return f"/static/{stamp()}/{name}"


async def serve(request: Request) -> Response:
    """A file by its name; what is not one of ours is not there, wherever it points."""
    name = request.path_params["name"]
    body = _all().get(name)
    if body is None:
        return Response("there is no such file\n", 404, media_type="text/plain")
    fresh = request.path_params["stamp"] == stamp()
    headers = {
        "Cache-Control": _FOR_EVER if fresh else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    }
    return Response(body, headers=headers, media_type=_KINDS[Path(name).suffix])
