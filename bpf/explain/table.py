"""What one row of the rules is: phrases, what they speak for, what they mean, and where that is known from.

A phrase is lower-case text. `` … `` stands for a gap within one line, ``|`` for alternatives:
``failed to create|could not create … map`` is met by "failed to create the map". A leading or
trailing blank is a word's edge. Matching looks for the pieces in order, so no input makes it slow.

A phrase that starts with ``@`` names a fact worked out from the whole text (``features``).

Not here: the rows (``rules_*``), adding them up (``scoring``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: Characters that a gap may span.
GAP = 160


class Rule(NamedTuple):
    """One row of the table.

    Attributes:
        when: Phrases, any of which makes the row speak.
        speaks: Cause → points; negative points speak against. About 6 settles, 3 is strong, 1 is a hint.
        means: What the message means, for an operator.
        source: The kernel's or library's file, a document, or a project's thread.
        needs: Phrases of which one must stand somewhere in the text as well; none: always.
        unless: Phrases of which none may stand anywhere in the text.
        fix: A better fix than the cause's own; empty for that one.
    """

    when: tuple[str, ...]
    speaks: Mapping[str, float]
    means: str
    source: str
    needs: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    fix: str = ""


class Phrase(NamedTuple):
    """A phrase, taken apart.

    Attributes:
        pieces: In order; each is a tuple of alternatives.
        gate: The longest piece without alternatives; empty when all have some. Rules out most
            phrases at the price of one search.
    """

    pieces: tuple[tuple[str, ...], ...]
    gate: str


def parse(phrase: str) -> Phrase:
    """Take a phrase apart."""
    pieces = tuple(tuple(piece.split("|")) for piece in phrase.split(" … "))
    fixed = [piece[0] for piece in pieces if len(piece) == 1]
    return Phrase(pieces, max(fixed, key=len, default=""))


def find_in_line(phrase: Phrase, line: str) -> bool:
    """Whether the pieces stand in this line, in order and no further apart than ``GAP``."""
    start = _first(phrase.pieces[0], line, 0, len(line))
    while start is not None:
        begin, end = start
        for piece in phrase.pieces[1:]:
            found = _first(piece, line, end, min(len(line), end + GAP))
            if found is None:
                break
            end = found[1]
        else:
            return True
        start = _first(phrase.pieces[0], line, begin + 1, len(line))
    return False


def _first(piece: tuple[str, ...], line: str, begin: int, end: int) -> tuple[int, int] | None:
    """Where the earliest alternative starts and ends, or None."""
    best: tuple[int, int] | None = None
    for word in piece:
        at = line.find(word, begin, end)
        if at >= 0 and (best is None or at < best[0]):
            best = (at, at + len(word))
    return best
