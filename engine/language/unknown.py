"""The value of what could not be found out, and records that may hold it.

Not here: how expressions treat them (``engine.language.expressions``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping


class Unknown:
    """A value that could not be found out, with the reason.

    It is neither true nor false: asking Python for its truth is a bug and raises.
    """

    __slots__ = ("why",)

    def __init__(self, why: str = "") -> None:
        self.why = why

    def __bool__(self) -> bool:
        raise TypeError("unknown is neither true nor false")

    def __repr__(self) -> str:
        return "unknown"


class Record:
    """Named values that an expression may read; no Python attribute of anything is in reach.

    Attributes:
        name: What it is, for messages: ``flow``.
        open: A field that is not there is unknown (evidence); else it is an error.
        methods: What it can be asked: ``cause.is("…")``.
    """

    __slots__ = ("methods", "name", "open", "values")

    def __init__(
        self,
        name: str,
        values: Mapping[str, object],
        *,
        is_open: bool = False,
        methods: Mapping[str, Callable[..., bool]] | None = None,
    ) -> None:
        self.name = name
        self.values = values
        self.open = is_open
        self.methods = methods or {}

    def __repr__(self) -> str:
        return self.name
