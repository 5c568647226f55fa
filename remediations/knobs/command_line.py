"""A command line as systemd reads it: words, quotes, escapes, and one flag changed among them.

One promise: no word but the flag's changes, in meaning or in writing. What only systemd can tell (a
``%`` specifier, a ``$`` variable) is not guessed.

Source: systemd.syntax(7), "Quoting"; systemd.service(5), "Command lines".

Not here: flags among plain words (``flags``), units (``systemd_unit``).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from engine.values import Knob, Setting
from remediations.knobs import flags, text_value
from remediations.knobs.backend import NotChanged
from remediations.knobs.text_edit import Insertion, Spot

_SPACES = " \t\r\n"
_PREFIX = re.compile(r"[-@:+!|]*")
_SAFE = re.compile(r"[\w./:,@+=^~%-]+")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "\\": "\\",
            '"': '"', "'": "'", "s": " "}  # fmt: skip
_CODES = re.compile(r"x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})")
#: A specifier or a variable; ``%%`` and ``$$`` are neither.
_COMPUTED = re.compile(r"(?<!%)(?:%%)*%(?!%)|(?<!\$)(?:\$\$)*\$(?!\$)")
_SHELLS = ("sh", "bash", "dash", "zsh", "ksh", "busybox", "env")


class Word(NamedTuple):
    """A word: ``text[start:end]`` as written, and what it says without its quotes."""

    start: int
    end: int
    said: str


class CommandForm:
    """One command line; ``Knob.path`` is a flag, ``Knob.file`` names it in errors."""

    def find(self, text: str, knob: Knob) -> Spot | None:
        """The word that holds the flag's value, or is the flag where it stands alone."""
        there = words(text, knob.file)
        _refuse_shell(there, knob)
        flag = _flag(knob)
        hit = flags.find([word.said for word in there], flag, switch=knob.unit == "bool")
        if hit is None:
            _refuse_hidden(there, flag, knob)
            return None
        word = there[hit.word]
        raw = text[word.start : word.end]
        if hit.prefix is None:
            return Spot(value=True, raw=raw, start=word.start, end=word.end, line=1)
        value = word.said[len(hit.prefix) :]
        if _COMPUTED.search(value):
            raise NotChanged(
                f"{knob.file}: the value of {knob.path} is made by systemd of {value!r}",
                fix="write the value out, or name the variable's own place in the profile",
            )
        try:
            meant = text_value.read(value.replace("%%", "%").replace("$$", "$"), knob.unit)
        except ValueError as error:
            raise NotChanged(f"{knob.file}: {knob.path}: {error}", fix="correct it there") from None
        return Spot(value=meant, raw=raw, start=word.start, end=word.end, line=1)

    def rendered(self, spot: Spot, after: Setting, knob: Knob) -> str:
        """The word with another value, in the quotes that stand there."""
        flag = _flag(knob)
        (word,) = words(spot.raw, knob.file)
        if word.said == flag.name:
            return f"{spot.raw}={spelled(after, '', knob)}"
        whole = f"{flag.name}={flag.key}"
        prefix = whole if word.said.startswith(whole) else flag.key
        written = spelled(after, word.said[len(prefix) :], knob)
        if spot.raw.startswith(prefix):
            return prefix + quoted(written, spot.raw[len(prefix) :])
        return quoted(prefix + written, spot.raw)

    def insertion(self, text: str, after: Setting, knob: Knob) -> Insertion:
        """The flag behind all others."""
        there = words(text, knob.file)
        at = flags.end([word.said for word in there])
        flag = _flag(knob)
        if knob.unit == "bool" and after is True and not flag.key:
            new = flag.name
        else:
            new = " ".join(quoted(word, "") for word in flags.added(flag, spelled(after, "", knob)))
        if at == len(there):
            return Insertion(there[-1].end, f" {new}")
        return Insertion(there[at].start, f"{new} ")

    def rest(self, text: str, knob: Knob) -> object:
        """What all other words say, in order."""
        said = [word.said for word in words(text, knob.file)]
        flag = _flag(knob)
        hit = flags.find(said, flag, switch=knob.unit == "bool")
        if hit is None:
            return said
        one_word = hit.prefix is None or hit.prefix.startswith(flag.name)
        return said[: hit.word if one_word else hit.word - 1] + said[hit.word + 1 :]

    def same(self, one: Setting, other: Setting) -> bool:
        """As text."""
        return text_value.same(one, other)


def words(text: str, where: str) -> list[Word]:
    """The words of a command line.

    Raises:
        NotChanged: A quote is never closed, an escape is unknown, or there are no words.
    """
    found: list[Word] = []
    at = len(text) - len(text.lstrip(_SPACES))
    while at < len(text):
        end, said = _word(text, at, where)
        found.append(Word(at, end, said))
        at = end
        while at < len(text) and text[at] in _SPACES:
            at += 1
    if not found:
        raise NotChanged(f"{where}: an empty command line", fix="look at the unit: systemctl cat")
    return found


def quoted(word: str, like: str) -> str:
    """A word as it is written: bare where that is safe and ``like`` bears no quotes."""
    quote = like[:1] if like[:1] in ("'", '"') and len(like) > 1 else ""
    if not quote and _SAFE.fullmatch(word):
        return word
    quote = quote or '"'
    inner = word.replace("\\", "\\\\").replace(quote, f"\\{quote}").replace("\t", "\\t").replace("\n", "\\n")
    return f"{quote}{inner}{quote}"


def spelled(after: Setting, like: str, knob: Knob) -> str:
    """A setting as a word says it, with ``%`` and ``$`` doubled."""
    try:
        word = text_value.spell(after, like)
    except ValueError as error:
        raise NotChanged(f"{knob.file}: {knob.path}: {error}", fix="change it by hand") from None
    if not word.isprintable():
        raise NotChanged(f"{knob.file}: {knob.path} can't hold {word!r}", fix="change it by hand")
    return word.replace("%", "%%").replace("$", "$$")


def _word(text: str, at: int, where: str) -> tuple[int, str]:
    """The offset behind the word that begins at ``at``, and what it says."""
    said: list[str] = []
    quote = ""
    while at < len(text) and (quote or text[at] not in _SPACES):
        sign = text[at]
        if sign == "\\":
            at, plain = _escape(text, at + 1, where)
            said.append(plain)
            continue
        if sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote = sign
        else:
            said.append(sign)
        at += 1
    if quote:
        raise NotChanged(f"{where}: a quote that is never closed", fix="mend the unit first")
    return at, "".join(said)


def _escape(text: str, at: int, where: str) -> tuple[int, str]:
    if text[at : at + 1] in _ESCAPES and at < len(text):
        return at + 1, _ESCAPES[text[at]]
    code = _CODES.match(text, at)
    if code is None:
        raise NotChanged(f"{where}: unknown escape \\{text[at : at + 1]}", fix="mend the unit first")
    number = int(code[4], 8) if code[4] else int(code[1] or code[2] or code[3], 16)
    if number == 0 or number > 0x10FFFF or 0xD800 <= number < 0xE000:
        raise NotChanged(f"{where}: an escape that is no character", fix="mend the unit first")
    return code.end(), chr(number)


def _flag(knob: Knob) -> flags.Flag:
    try:
        return flags.parse(knob.path)
    except ValueError as error:
        raise NotChanged(str(error), fix="correct path: in the agent's profile") from None


def _refuse_shell(there: list[Word], knob: Knob) -> None:
    """A flag that is given to a shell is not given to the agent."""
    said = [word.said for word in there]
    program = _PREFIX.sub("", said[0], count=1).rpartition("/")[2]
    if program in _SHELLS:
        raise NotChanged(
            f"{knob.file}: it starts the agent through {program}, which reads the flags in its own way",
            fix="change the setting by hand",
        )
    if ";" in said:
        raise NotChanged(f"{knob.file}: several commands in one line", fix="change the setting by hand")


def _refuse_hidden(there: list[Word], flag: flags.Flag, knob: Knob) -> None:
    """A variable may hold any flag; one that is added behind it still wins, but what is set is unknown."""
    for word in there[1:]:
        if re.fullmatch(r"\$\{?\w+\}?", word.said):
            raise NotChanged(
                f"{knob.file}: {flag.name} may stand in {word.said}, a variable of the unit",
                fix="name that variable's file in the profile (env-file), or the flag in the unit",
            )
