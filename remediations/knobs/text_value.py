"""Settings in places that know nothing but text: what a text means, and how a setting is written as one.

One promise: what ``read`` makes of a text that it takes for a number or a list, ``spell`` writes as
that very text again; a text it does not understand stays text.

Not here: quotes and comments (the formats), sizes and durations (``units``).
"""

from __future__ import annotations

from engine.values import Setting

_WORDS = (("true", "false"), ("yes", "no"), ("on", "off"), ("1", "0"), ("enabled", "disabled"))
_YES = {yes: (yes, no) for yes, no in _WORDS}
_NO = {no: (yes, no) for yes, no in _WORDS}
_LONG = 18  # more digits than a 64-bit number is text


def read(text: str, unit: str) -> Setting:
    """The setting that a text means in a knob of that unit: a number only where nothing of it is lost.

    Raises:
        ValueError: Neither yes nor no, in a knob that is one of them.
    """
    if unit == "text":
        return text
    if unit == "list":
        return [word.strip() for word in text.split(",") if word.strip()]
    word = text.strip().lower()
    if unit == "bool":
        if word in _YES or word in _NO:
            return word in _YES
        raise ValueError(f"expected yes or no, found {text!r}")
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if len(text) <= _LONG and str(number) == text and number - number == 0:
            return number
    return text


def spell(value: Setting, like: str = "") -> str:
    """The setting as text, in the style of ``like``: its word for yes, its gap between items.

    Raises:
        ValueError: It can't be written as one text.
    """
    if isinstance(value, bool):
        word = like.strip().lower()
        yes, no = _YES.get(word) or _NO.get(word) or _WORDS[0]
        said = yes if value else no
        return said.upper() if word and like.isupper() else said.title() if like[:1].isupper() else said
    if isinstance(value, list):
        words = [spell(each) for each in value]
        if any("," in word or word != word.strip() or not word for word in words):
            raise ValueError("an item that is empty, or holds a comma or outer spaces, can't be in this list")
        return (", " if ", " in like else ",").join(words)
    if value is None or isinstance(value, dict):
        raise ValueError(f"{value!r} can't be written as one text")
    return str(value)


def same(one: Setting, other: Setting) -> bool:
    """Whether two settings are the same in a place of text; ``64`` and ``"64"`` are."""
    if one is None or other is None:
        return one is other
    if isinstance(one, dict) or isinstance(other, dict):
        return one == other
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, list) or isinstance(other, list):
        return type(one) is type(other) and one == other
    return str(one) == str(other)
