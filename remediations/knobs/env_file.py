"""Settings in a file of ``NAME=value`` lines: /etc/default/AGENT, an EnvironmentFile, an ``--env-file``.

Such files are read by shells and by systemd, which do not agree on everything. What both read alike is
read and written; where they differ (a ``$``, words behind an unquoted space, a file that is a script)
it is refused with the line. Of a variable that is set twice the last one counts, for both.

Source: systemd.exec(5), "EnvironmentFile="; POSIX shell, 2.2 Quoting.

Not here: files that hold sections (``ini_file``), ``Environment=`` of a unit (``systemd_environment``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from engine.values import Knob, Setting
from remediations.knobs import text_value
from remediations.knobs.backend import NotChanged
from remediations.knobs.text_edit import Insertion, Spot
from remediations.knobs.text_file import TextFile

_NAME = re.compile(r"[ \t]*(?P<export>export[ \t]+)?(?P<name>[A-Za-z_]\w*)=", re.ASCII)
_SCRIPT = re.compile(
    r"\s*(if|then|else|elif|fi|for|while|until|do|done|case|esac|source|\.|\{|\}|eval|unset)(\s|$)"
)
_SAFE = re.compile(r"[\w./:,@%+=^-]*")
_QUOTED = re.compile(r"""'[^']*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One assignment: ``text[start:end]`` is its value as written; lines count from 1."""

    name: str
    export: str
    start: int
    end: int
    line: int


class EnvForm:
    """Files of ``NAME=value`` lines."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The last line that sets the variable."""
        ours = [line for line in lines(text, knob.file) if line.name == knob.path]
        if not ours:
            return None
        last = ours[-1]
        raw = text[last.start : last.end]
        word = _trimmed(raw, f"{knob.file}:{last.line}", knob.unit)
        try:
            value = text_value.read(meaning(word, f"{knob.file}:{last.line}"), knob.unit)
        except ValueError as error:
            raise NotChanged(
                f"{knob.file}:{last.line}: {knob.path}: {error}", fix="correct it there"
            ) from None
        return Spot(value=value, raw=word, start=last.start, end=last.start + len(word), line=last.line)

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """In the quotes that stand there, or in double ones where it needs them."""
        quote = spot.raw[:1] if spot.raw[:1] in ("'", '"') and spot.raw[-1:] == spot.raw[:1] else ""
        return quoted(_spelled(after, _inside(spot.raw), knob), quote, knob)

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """A line of its own at the end, with ``export`` where all others have it."""
        there = list(lines(text, knob.file))
        if text.rstrip("\r\n").endswith("\\"):
            raise NotChanged(
                f"{knob.file}: its last line goes on, so none can follow it", fix="end that line"
            )
        export = there[0].export if there and all(line.export for line in there) else ""
        newline = "\r\n" if "\r\n" in text else "\n"
        line = f"{export}{knob.path}={quoted(_spelled(after, '', knob), '', knob)}"
        whole = not text or text.endswith("\n")
        return Insertion(len(text), line + newline if whole else newline + line)

    def rest(self, text: str, knob: Knob) -> object:
        """All other assignments, in order, and the earlier ones of this variable."""
        found = list(lines(text, knob.file))
        last = max((at for at, line in enumerate(found) if line.name == knob.path), default=-1)
        return [
            (line.export, line.name, text[line.start : line.end])
            for at, line in enumerate(found)
            if at != last
        ]

    def same(self, one: Setting, other: Setting) -> bool:
        """As text."""
        return text_value.same(one, other)


class EnvFile(TextFile):
    """Backend ``env-file``: ``Knob.path`` is the variable."""

    name = "env-file"
    form = EnvForm()
    strict = False


def lines(text: str, file: str) -> Iterator[Line]:
    """All assignments of a text.

    Raises:
        NotChanged: It is a shell script: what it sets hangs on more than its text.
    """
    at = len("\ufeff") if text.startswith("\ufeff") else 0
    while at < len(text):
        match = _NAME.match(text, at)
        if match:
            end = _value_end(text, match.end(), file)
            yield Line(
                name=match["name"],
                export=match["export"] or "",
                start=match.end(),
                end=end,
                line=text.count("\n", 0, match.start()) + 1,
            )
            at = end
        elif _SCRIPT.match(text, at, _line_end(text, at)):
            number = text.count("\n", 0, at) + 1
            raise NotChanged(
                f"{file}:{number}: a shell script, not only NAME=value lines",
                fix="change the setting by hand",
            )
        at = min(len(text), text.find("\n", at) + 1 or len(text))


def meaning(word: str, where: str) -> str:
    """What a value as written means, without its quotes.

    Raises:
        NotChanged: A shell and systemd would not agree on it.
    """
    found, at = [], 0
    while at < len(word):
        quote = word[at]
        if quote in "'\"":
            end = _closing(word, at)
            inner = word[at + 1 : end]
            at = end + 1
        else:
            match = re.compile(r"[^'\"]+").match(word, at)
            inner = match[0] if match else ""
            at += len(inner)
            quote = ""
        if quote != "'":
            if re.search(r"(?<!\\)(\\\\)*[$`]", inner):
                raise NotChanged(
                    f"{where}: a shell makes its value ({word}); systemd would take it as it is",
                    fix="write the value out",
                )
            inner = inner.replace("\\\r\n", "").replace("\\\n", "")
            inner = re.sub(r"\\([\\\"$`])", r"\1", inner) if quote else _ESCAPED.sub(r"\1", inner)
        elif "\\" in inner:
            raise NotChanged(
                f"{where}: a backslash in single quotes ({word})", fix="write it in double quotes"
            )
        found.append(inner)
    return "".join(found)


def quoted(value: str, quote: str, knob: Knob) -> str:
    """A value as it is written: bare where that is safe and no quotes stood there."""
    if not value.isprintable():
        raise NotChanged(
            f"{knob.file}: {knob.path} can't hold {value!r} on one line", fix="change it by hand"
        )
    if quote == "'" and "'" not in value and "\\" not in value:
        return f"'{value}'"
    if not quote and _SAFE.fullmatch(value):
        return value
    return '"' + re.sub(r"([\\\"$`])", r"\\\1", value) + '"'


def _spelled(after: Setting, like: str, knob: Knob) -> str:
    try:
        return text_value.spell(after, like)
    except ValueError as error:
        raise NotChanged(f"{knob.file}: {knob.path}: {error}", fix="change it by hand") from None


def _inside(raw: str) -> str:
    return raw.strip("'\"")


def _trimmed(raw: str, where: str, unit: str) -> str:
    """The value without what may stand behind it: spaces, and a comment that only a shell knows."""
    if raw[:1] in ("'", '"') and (end := _closing(raw, 0)) < len(raw):
        behind = raw[end + 1 :].strip()
        if not behind or behind.startswith("#"):
            return raw[: end + 1]
    word = raw.rstrip()
    comment = re.search(r"\s+#", word)
    if comment and unit not in ("text", "list"):
        word = word[: comment.start()]
    if re.search(r"(?<!\\)\s", _QUOTED.sub("", word)):
        raise NotChanged(
            f"{where}: {word!r} holds spaces outside of quotes: a shell and systemd read it differently",
            fix="put the value in double quotes, a comment on a line of its own",
        )
    return word


def _value_end(text: str, at: int, file: str) -> int:
    """Offset of the end of a value: of its line, unless quotes or a backslash carry it further."""
    start = at
    while at < len(text) and text[at] != "\n":
        if text[at] == "\\":
            at += 3 if text[at + 1 : at + 3] == "\r\n" else 2
        elif text[at] in "'\"" and not re.search(r"\s#[^\n]*$", text[start:at]):
            end = _closing(text, at)
            if end >= len(text):
                number = text.count("\n", 0, at) + 1
                raise NotChanged(f"{file}:{number}: a quote that is never closed", fix="close it")
            at = end + 1
        else:
            at += 1
    at = min(at, len(text))
    return at - 1 if text[at - 1 : at + 1] == "\r\n" else at


def _closing(text: str, at: int) -> int:
    """Offset of the quote that closes the one at ``at``; the text's length where none does."""
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at] == "\\" and quote == '"' else 1
    return min(at, len(text))


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end
