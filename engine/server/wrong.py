"""What is wrong with settings that have the right form: names, addresses, paths, durations.

Not here: the form itself (``engine.server.settings``), whether the files they name are there
(``engine.server.starting``).
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from engine.errors import UsageError
from engine.language.model import Seconds
from engine.server.alerts import paths

if TYPE_CHECKING:
    from engine.server.settings import Sender, Settings

#: The end of a sender's path, and a word of the log.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
#: Durations that may be nothing at all.
_MAY_BE_ZERO = {"cooldown", "runs_kept", "alerts_kept"}


def complaints(settings: Settings) -> Iterable[tuple[str, str]]:
    """What types can't say: path of the part, and what is wrong with it."""
    if bool(settings.listen.certificate) != bool(settings.listen.key):
        yield "listen", "a certificate needs its key, and a key its certificate"
    if settings.listen.public_url and not _is_address(settings.listen.public_url):
        yield "listen.public_url", "write it as https://HOST or https://HOST:PORT, with nothing behind it"
    for part in ("senders", "notify"):
        names: set[str] = set()
        for index, one in enumerate(getattr(settings, part)):
            where = f"{part}[{index}].name"
            if one.name in names:
                yield where, f"{one.name!r} stands twice"
            if not _NAME.fullmatch(one.name):
                yield where, f"{one.name!r} is no name: letters, digits, '-', '_' and '.', 64 at most"
            names.add(one.name)
    for index, sender in enumerate(settings.senders):
        yield from _wrong_sender(sender, f"senders[{index}]")
    yield from _wrong_durations(settings)


def _wrong_sender(sender: Sender, where: str) -> Iterable[tuple[str, str]]:
    if bool(sender.token_file) == (sender.signature is not None):
        yield where, "give a token_file or a signature: nobody may post without one"
    if (sender.kind == "generic") != (sender.mapping is not None):
        yield where, "kind generic needs a mapping, and no other kind takes one"
    mapping = sender.mapping
    if mapping is None:
        return
    single = ("alerts", "name", "status", "fingerprint", "starts_at", "url")
    written = [(field, getattr(mapping, field)) for field in single]
    written += [
        (f"{of}.{name}", path)
        for of in ("labels", "annotations")
        for name, path in getattr(mapping, of).items()
    ]
    for field, path in written:
        try:
            if path or field == "name" or "." in field:
                paths.parse(path)
        except UsageError as error:
            yield f"{where}.mapping.{field}", f"sender {sender.name}: {error.problem}; {error.fix}"


def _wrong_durations(settings: Settings) -> Iterable[tuple[str, str]]:
    """Those that are no time, or too short to be one."""
    parts: list[tuple[str, msgspec.Struct]] = [
        (name, getattr(settings, name)) for name in ("limits", "runs", "people")
    ]
    parts += [(f"notify[{index}]", one) for index, one in enumerate(settings.notify)]
    parts += [
        (f"senders[{index}].signature", one.signature)
        for index, one in enumerate(settings.senders)
        if one.signature is not None
    ]
    for where, part in parts:
        for field in msgspec.structs.fields(part):
            if field.type != Seconds:
                continue
            value = getattr(part, field.name)
            if not isinstance(value, int | float) or value < 0 or not (value or field.name in _MAY_BE_ZERO):
                yield f"{where}.{field.name}", f"{value!r} is no time here: it must be longer than nothing"


def _is_address(url: str) -> bool:
    """Whether it is a scheme and a host, with a port at most: the page has no place below a path."""
    try:
        split = urllib.parse.urlsplit(url)
        rest = split.path.strip("/") or split.query or split.fragment or split.username or split.password
        return (
            split.scheme in {"http", "https"}
            and bool(split.hostname)
            and split.port != 0
            and not rest
            and url.isprintable()
            and " " not in url
        )
    except ValueError:
        return False
