"""The API's description: OpenAPI 3.1, written from the routes that are served and the types that are read.

One promise: every status that a path can give is in it, with the form of its body; no sender's name is.

Not here: the routes (``app``), the types (``engine.server.alerts``, ``answers``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from engine.server.alerts.alertmanager import AlertmanagerBody
from engine.server.alerts.grafana import GrafanaBody
from engine.server.alerts.pagerduty import PagerDutyBody
from engine.server.listener.answers import REFUSED_BY_PROTOCOL, Alive, Problem, Ready, Received
from engine.server.listener.senders import Door

_BODIES: Mapping[str, type] = {
    "alertmanager": AlertmanagerBody,
    "grafana": GrafanaBody,
    "pagerduty": PagerDutyBody,
}
_PLACE = "#/components/schemas/"
_SAID: Mapping[int, str] = {
    200: "So it is.",
    202: "Every alert is on disk, with the run that it asks for.",
    400: "This is not HTTP/1.1, or the body is no JSON.",
    401: "No sender is known by this token or signature; whether the name is one is not said.",
    408: "The request did not arrive in time.",
    413: "The body is too long.",
    415: "The body is compressed, or not said to be JSON.",
    422: "The body is JSON, and never a notification of this sender's kind.",
    431: "The head of the request is too long.",
    503: "Nothing was taken: the worker is gone, full or stops, or it is too much at once. Send it again.",
}


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One route, as it is described.

    Attributes:
        statuses: Those that it gives besides the ones that any request may get.
        body: The form of its good answer; None where it is no JSON.
        takes: It takes a notification, from somebody who is known.
    """

    summary: str
    statuses: Sequence[int]
    body: type | None = None
    takes: bool = False


def describe(routes: Iterable[tuple[str, str, Told]], door: Door) -> bytes:
    """The description; each route as path, method, and what is told of it."""
    bodies = [_BODIES[kind] for kind in door.kinds if kind in _BODIES]
    _, components = msgspec.json.schema_components(
        [*bodies, Received, Problem, Alive, Ready], ref_template=_PLACE + "{name}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for path, method, told in routes:
        paths.setdefault(path, {})[method.lower()] = _operation(told, door)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "runbook serve",
            "version": _version(),
            "description": "2xx: all of it is on disk. 4xx: it can never be right. 503: send it again.",
        },
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": _securities(door)},
    }
    return msgspec.json.encode(whole)


def _operation(told: Told, door: Door) -> dict[str, Any]:
    made: dict[str, Any] = {
        "summary": told.summary,
        "responses": {str(status): _response(status, told) for status in _all(told)},
        "security": [{name: []} for name in _securities(door)] if told.takes else [],
    }
    if told.takes:
        sender = {
            "name": "sender",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        }
        made["parameters"] = [{**sender, "description": "The sender's name in the settings."}]
        made["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _taken(door.kinds)}},
        }
    return made


def _all(told: Told) -> list[int]:
    return sorted({*told.statuses, *REFUSED_BY_PROTOCOL})


def _response(status: int, told: Told) -> dict[str, Any]:
    if status < 300 and told.body is None:
        content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    else:
        form = told.body.__name__ if told.body is not None and status < 300 else Problem.__name__
        content = {"application/json": {"schema": _ref(form)}}
    made: dict[str, Any] = {"description": _SAID[status], "content": content}
    if status == 503:
        made["headers"] = {"Retry-After": {"schema": {"type": "integer", "minimum": 1}, "required": True}}
    if status == 401:
        made["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "required": True}}
    return made


def _taken(kinds: Sequence[str]) -> dict[str, Any]:
    """The forms that are read here; what a mapping reads is any JSON."""
    forms = [_ref(_BODIES[kind].__name__) if kind in _BODIES else {} for kind in kinds]
    return forms[0] if len(forms) == 1 else {"anyOf": forms}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": _PLACE + name}


def _securities(door: Door) -> dict[str, dict[str, str]]:
    """Ways to be known: the token, and each header that carries a signature here."""
    return {
        "token": {"type": "http", "scheme": "bearer"},
        **{name: {"type": "apiKey", "in": "header", "name": name} for name in door.signed},
    }


def _version() -> str:
    try:
        return version("bpf-runbook")
    except PackageNotFoundError:
        return "0"
