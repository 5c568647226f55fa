"""The new text of a YAML file with one value replaced, added or taken away.

Only the value's own stretch of text changes; comments, order, quotes, indentation, line
breaks and everything else stay. Every result is read back: it must hold the wanted value
and differ in nothing else, or it is refused.

Not here: files (``yaml_file``), finding (``yaml_place``).
"""

from __future__ import annotations

import json
import re

import yaml

from engine.errors import ChangedSince
from engine.values import Setting
from remediations.knobs.backend import NotChanged
from remediations.knobs.yaml_place import Gap, Key, Place, find, line_end, rows

_PLAIN = re.compile(r"[A-Za-z0-9_./+-][\w./+:-]*( [\w./+-]+)*")


def replaced(text: str, key: Key, new_raw: str, after: Setting) -> str:
    """The text with the stretch at ``path`` replaced by ``new_raw``.

    Raises:
        NotChanged: It would not read back as ``after``, or would change something else.
    """
    place = find(text, key)
    if isinstance(place, Gap):
        raise ChangedSince(
            f"{key.file}: {key.path} is no longer there", fix="look at the file; nothing was changed"
        )
    start = place.start
    if not new_raw and text[start - 1 : start] == " ":  # back to "key:" with nothing behind it
        start -= 1
    result = text[:start] + new_raw + text[place.end :]
    _check(text, result, key.names, key, after)
    return result


def inserted(text: str, key: Key, line: str, after: Setting) -> str:
    """The text with ``line`` (from ``insertion``) put into the gap at ``path``."""
    gap = find(text, key)
    if isinstance(gap, Place):
        raise ChangedSince(
            f"{key.file}:{gap.line}: {key.path} has been set since", fix="nothing was changed; look again"
        )
    at = gap_offset(text, gap)
    result = text[:at] + line + text[at:]
    _check(text, result, key.names[: 1 - len(gap.missing) or None], key, after)
    return result


def removed(text: str, key: Key, line: str, created: int) -> str:
    """The text without the ``line`` that ``inserted`` had put there.

    Raises:
        ChangedSince: The line, or what we had made around it, has been edited since.
    """
    place = find(text, key)
    edited = ChangedSince(
        f"{key.file}: the line that set {key.path} has been edited since; left as it is",
        fix=f"if nobody needs it, take {key.path} out of {key.file} by hand",
    )
    if isinstance(place, Gap):
        raise edited
    at = text.find(line, max(0, place.key - len(line)))
    if at < 0 or at > place.key:
        raise edited
    result = text[:at] + text[at + len(line) :]
    top = key.names[: 1 - created or None]
    try:
        if _differs_elsewhere(text, result, top, key.file):
            raise edited
        left = find(result, key)
    except NotChanged:
        raise edited from None
    if isinstance(left, Place) or len(left.missing) < created:
        raise edited
    return result


def insertion(text: str, key: Key, after: Setting) -> tuple[str, int]:
    """The text to put into the gap at ``path``, and how many keys of the path it makes.

    A parent written ``sampling:`` with nothing below counts as there.
    """
    gap = find(text, key)
    if isinstance(gap, Place):
        raise ChangedSince(
            f"{key.file}:{gap.line}: {key.path} has been set since", fix="nothing was changed; look again"
        )
    value = _list(after, "", key) if isinstance(after, list) else render(after, "", key)
    keys = [_name(name) for name in gap.missing]
    if gap.flow:
        nested = value
        for depth, name in reversed(list(enumerate(keys))):
            nested = f"{{{name}: {nested}}}" if depth else f"{name}: {nested}"
        return ("" if gap.empty else ", ") + nested, len(keys)
    newline = "\r\n" if "\r\n" in text else "\n"
    lines = [" " * (gap.column + gap.step * depth) + f"{name}:" for depth, name in enumerate(keys)]
    lines[-1] += f" {value}"
    block = newline.join(lines)
    at = gap_offset(text, gap)
    if at and not text[:at].endswith("\n") and text[:at] != "\ufeff":
        return newline + block, len(keys)  # the file has no final line break: keep it so
    return block + newline, len(keys)


def rewritten(place: Place, after: Setting, key: Key) -> str:
    """The new stretch of text for ``after``, in the style of the one that stands there."""
    if not isinstance(after, list):
        if place.shape in ("flow-list", "block-list"):
            raise NotChanged(f"{key.file}:{place.line}: {key.path} is a list", fix="give a list")
        quote = place.raw[:1] if place.raw[:1] in ("'", '"') else ""
        return (" " if place.shape == "empty" else "") + render(after, quote, key)
    before = place.value if isinstance(place.value, list) else []
    quote = _quote_of(place.raw)
    adds = after[len(before) :]
    if before and adds and after[: len(before)] == before:
        items = [render(item, quote, key, flow=place.shape == "flow-list") for item in adds]
        return _appended(place, items)
    if place.shape == "block-list" or "\n" in place.raw or "#" in place.raw:
        raise NotChanged(
            f"{key.file}:{place.line}: the list at {key.path} spans lines; only adding to its end is safe",
            fix=f"set it by hand to: {_list(after, quote, key)}",
        )
    return (" " if place.shape == "empty" else "") + _list(after, quote, key)


def _appended(place: Place, items: list[str]) -> str:
    if place.shape == "block-list":
        newline = "\r\n" if "\r\n" in place.raw else "\n"
        dash = re.match(r"-\s+", place.raw)
        lead = dash[0] if dash else "- "
        return place.raw + "".join(f"{newline}{' ' * place.column}{lead}{item}" for item in items)
    body = place.raw[:-1].rstrip()  # without the closing bracket
    tail = place.raw[len(body) :]
    comma = " " if body.endswith(",") else ", "
    return body + comma + ", ".join(items) + tail


def gap_offset(text: str, gap: Gap) -> int:
    """Where the new text goes: right there in flow style, else the beginning of the next line."""
    if gap.flow or (gap.after and text[gap.after - 1] == "\n"):
        return gap.after
    end = line_end(text, gap.after)
    return min(len(text), end + (2 if text[end : end + 2] == "\r\n" else 1))


def _check(text: str, result: str, may_differ: tuple[str, ...], key: Key, after: Setting) -> None:
    """Read the result back: it must hold ``after`` and differ in nothing else."""
    now = find(result, key)
    holds = isinstance(now, Place) and after in (now.value, now.words)
    if not holds or _differs_elsewhere(text, result, may_differ, key.file):
        raise NotChanged(
            f"{key.file}: {key.path} can't be set to {after!r} without touching something else",
            fix=f"set it by hand to {after!r}",
        )


def _differs_elsewhere(text: str, result: str, may_differ: tuple[str, ...], file: str) -> bool:
    """Whether anything but ``may_differ`` differs; an empty parent of it may become a mapping."""
    parents = {may_differ[:depth] for depth in range(len(may_differ))}
    left, right = (
        [row for row in rows(each, file, without=may_differ) if row[0] not in parents]
        for each in (text, result)
    )
    return left != right


def _name(name: str) -> str:
    return name if _PLAIN.fullmatch(name) and yaml.safe_load(name) == name else json.dumps(name)


def _quote_of(raw: str) -> str:
    match = re.search(r"""['"]""", raw)
    return match[0] if match else ""


def _list(items: Setting, quote: str, key: Key) -> str:
    values = items if isinstance(items, list) else [items]
    return "[" + ", ".join(render(item, quote, key) for item in values) + "]"


def render(value: Setting, quote: str, key: Key, *, flow: bool = True) -> str:
    """One scalar as YAML: numbers and yes/no bare, text in the quotes found, bare where safe."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, (int, float)):
        return repr(value)
    if not isinstance(value, str):
        raise NotChanged(
            f"{key.file}: {key.path} can't be set to a {type(value).__name__}", fix="change it by hand"
        )
    if quote == "'" and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    bare = _PLAIN.fullmatch(value) and ": " not in value and _reads_as(value)
    if not quote and bare and not (flow and value.endswith(":")):
        return value
    return json.dumps(value, ensure_ascii=False)


def _reads_as(value: str) -> bool:
    try:
        return bool(yaml.safe_load(value) == value)
    except (yaml.YAMLError, ValueError):
        return False
