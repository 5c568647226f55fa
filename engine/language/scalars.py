"""What one scalar of a document says, by the type that is wanted there.

YAML's own guesses are not used. A text is what stands there; ``true`` and ``false`` are the
only truth values (``yes``, ``no``, ``on`` and ``off`` are refused: YAML readers disagree about
them); an unquoted number with a unit (``10s``, ``64MiB``, ``100k/s``, ``30%``) is that number in
base units wherever the type leaves it open; no octal, hexadecimal or sexagesimal surprises.

Not here: structs, lists and mappings (``engine.language.documents``).
"""

from __future__ import annotations

import re

from engine import units
from engine.errors import UsageError, nearest
from engine.language.yaml_nodes import Mapping, Node, Scalar, Sequence, short
from engine.values import Scalar as ScalarValue
from engine.values import Setting

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9_]*)?(\.[0-9]+)?([eE][-+]?[0-9]{1,3})?")
_TRUTH = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_NORWAY = frozenset(
    form for word in ("yes", "no", "on", "off", "y", "n") for form in (word, word.title(), word.upper())
)
#: How a text of a kind must look.
_KINDS = {
    "id": (re.compile(r"[A-Za-z][A-Za-z0-9_-]*"), "a letter, then letters, digits, '-' and '_'"),
    "slug": (re.compile(r"[a-z0-9][a-z0-9-]*"), "lower-case letters, digits and '-'"),
    "name": (re.compile(r"[A-Za-z][A-Za-z0-9_.-]*"), "a letter, then letters, digits, '-', '_' and '.'"),
    "word": (re.compile(r"[a-z][a-z0-9_]*"), "lower-case letters, digits and '_'"),
}


class Wrong(Exception):
    """A node is not what is wanted there; without words when it was complained about already."""

    def __init__(self, node: Node, what: str = "") -> None:
        super().__init__(what)
        self.place = node.place
        self.what = what


def is_null(node: Node) -> bool:
    """Whether nothing stands there."""
    return isinstance(node, Scalar) and node.plain and node.text in _NULL


def describe(node: Node) -> str:
    """A node in words, for complaints."""
    if isinstance(node, Scalar):
        return "nothing" if is_null(node) else short(node.text)
    return "a list" if isinstance(node, Sequence) else "a mapping"


def text(node: Node, reads: str = "") -> str:
    """The text that stands there; ``reads`` says what kind of text it must be."""
    if not isinstance(node, Scalar) or is_null(node):
        raise Wrong(node, f"expected a text, found {describe(node)}")
    if reads == "verbatim":
        return node.text
    if node.plain and (node.text in _NORWAY or node.text in _TRUTH):
        raise Wrong(node, f'{node.text} is a truth value to YAML readers (write "{node.text}" in quotes)')
    if reads in _KINDS:
        pattern, says = _KINDS[reads]
        if not pattern.fullmatch(node.text):
            raise Wrong(node, f"{short(node.text)} can't be a name here ({says})")
    if reads == "expression" and "{{" in node.text:
        raise Wrong(node, "a condition is written without {{ }}")
    return node.text


def choice(allowed: tuple[str, ...], node: Node) -> str:
    """One of the allowed words."""
    word = text(node)
    if word in allowed:
        return word
    near = nearest(word, allowed)
    hint = f"did you mean {near!r}?" if near else f"one of: {', '.join(allowed)}"
    raise Wrong(node, f"{short(word)} is not known here ({hint})")


def truth(node: Node) -> bool:
    """``true`` or ``false``."""
    if isinstance(node, Scalar) and node.plain and node.text in _TRUTH:
        return _TRUTH[node.text]
    raise Wrong(node, f"expected true or false, found {describe(node)}")


def number(node: Node, *, whole: bool) -> int | float:
    """A number without a unit."""
    value = _number(node.text) if isinstance(node, Scalar) and node.plain else None
    if value is None or (whole and not isinstance(value, int)):
        raise Wrong(node, f"expected a {'whole ' if whole else ''}number, found {describe(node)}")
    return value


def duration(node: Node) -> float | str:
    """Seconds; or the template that will give them."""
    if not isinstance(node, Scalar) or is_null(node):
        raise Wrong(node, f"expected a duration such as 10s, found {describe(node)}")
    if "{{" in node.text:
        return node.text
    try:
        return units.seconds(node.text)
    except UsageError as error:
        raise Wrong(node, f"{error.problem} ({error.fix})") from None


def setting(node: Node, *, as_written: bool = False) -> Setting:
    """An open value: a scalar, or a list or mapping of scalars, with its own type.

    Args:
        node: Where it stands.
        as_written: Quantities stay text (``256KiB``), for a setting in an agent's own words.
    """
    if isinstance(node, Sequence):
        return [_open(item, as_written) for item in node.items]
    if isinstance(node, Mapping):
        return {key: _open(value, as_written) for key, (_, value) in node.items.items()}
    return _open(node, as_written)


def looks_plain(words: str) -> bool:
    """Whether an unquoted scalar of these words would be read as this very text."""
    return plain_value(words) == words and words not in _NORWAY and "\n" not in words


def plain_value(words: str) -> ScalarValue:
    """What an unquoted scalar means: truth value, nothing, number, quantity, or text."""
    if words in _TRUTH:
        return _TRUTH[words]
    if words in _NULL:
        return None
    found = _number(words)
    if found is not None:
        return found
    quantity = units.parse(words)
    return quantity[0] if quantity else words


def _open(node: Node, as_written: bool) -> ScalarValue:
    if not isinstance(node, Scalar):
        raise Wrong(node, "nested too deeply: expected a text or a number")
    if not node.plain:
        return node.text
    if node.text in _NORWAY:
        says = f'write true or false, or "{node.text}" in quotes'
        raise Wrong(node, f"{node.text} is a truth value to some YAML readers ({says})")
    value = plain_value(node.text)
    return node.text if as_written and isinstance(value, float | int) and units.parse(node.text) else value


def _number(words: str) -> int | float | None:
    """A finite number as YAML 1.2 writes it in decimal."""
    if not words or len(words) > 40:
        return None
    if _INTEGER.fullmatch(words):
        return int(words.replace("_", ""))
    if words[-1].isdigit() and _FLOAT.fullmatch(words):
        value = float(words.replace("_", ""))
        return value if abs(value) < float("inf") else None
    return None
