"""The text of an expression or template to a small, bounded tree of allowed parts.

One promise: a tree that comes back holds nothing but constants, names, attributes, items,
comparisons, logic, arithmetic and calls from the lists below, and is small enough that
walking it ends soon. Jinja2 reads the text; nothing of Jinja2 ever runs it.

Not here: values (``engine.language.expressions``), types (``engine.language.shapes``).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.errors import ExpressionError, nearest

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

LONGEST = 2000  # characters of one expression or template
MOST_PARTS = 400
DEEPEST = 40
BIGGEST = 10**24  # numbers beyond it are not measurements

_ALLOWED = frozenset({
    "Const", "Name", "Getattr", "Getitem", "Compare", "Operand", "And", "Or", "Not", "CondExpr",
    "Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Neg", "Pos", "Concat",
    "Filter", "Test", "Call", "List", "Tuple", "Dict", "Pair", "TemplateData", "Output",
})  # fmt: skip
#: Filter → how many arguments it takes, at least and at most.
FILTERS = {
    "abs": (0, 0), "round": (0, 1), "int": (0, 0), "float": (0, 0),
    "length": (0, 0), "count": (0, 0), "first": (0, 0), "last": (0, 0),
    "min": (0, 0), "max": (0, 0), "sum": (0, 0), "join": (0, 1),
    "lower": (0, 0), "upper": (0, 0), "trim": (0, 0), "default": (1, 1),
    "bytes": (0, 0), "duration": (0, 0), "rate": (0, 0), "share": (0, 0),
}  # fmt: skip
TESTS = ("known", "unknown", "defined")
METHODS = ("is", "has")


class Parsed:
    """An expression or a template whose every part is allowed.

    Attributes:
        parts: A template's parts in order, texts and expressions; one for an expression.
    """

    __slots__ = ("parts", "text")

    def __init__(self, text: str, parts: tuple[nodes.Expr, ...]) -> None:
        self.text = text
        self.parts = parts

    def walk(self) -> Iterator[nodes.Node]:
        """Every node, parents first."""
        waiting: list[nodes.Node] = list(reversed(self.parts))
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(list(node.iter_child_nodes())))

    def names(self) -> tuple[str, ...]:
        """Dotted names in it, as far as they are plain: ``flow.dropped_per_s``, ``inputs.window``."""
        found: dict[str, None] = {}
        inner: set[int] = set()
        for node in self.walk():
            kind = type(node).__name__
            if kind == "Call" and type(node.node).__name__ == "Getattr":  # type: ignore[attr-defined]
                inner.add(id(node.node))  # type: ignore[attr-defined]
            elif kind in ("Name", "Getattr") and id(node) not in inner and (name := dotted(node)):
                found[name] = None
                mark_below(node, inner)
        return tuple(found)


def dotted(node: nodes.Node) -> str:
    """``flow.in_per_s`` for a plain chain of attributes, else an empty text."""
    words: list[str] = []
    at: Any = node
    while type(at).__name__ == "Getattr":
        words.append(at.attr)
        at = at.node
    if type(at).__name__ != "Name":
        return ""
    return ".".join([at.name, *reversed(words)])


def mark_below(node: Any, seen: set[int]) -> None:  # noqa: ANN401 - Jinja's Getattr or Name
    """Note the rest of a chain, so that ``a`` is not named again for ``a.b``."""
    while type(node).__name__ == "Getattr":
        node = node.node
        seen.add(id(node))


@functools.lru_cache(maxsize=4096)
def parse(text: str) -> Parsed:
    """Read a bare expression.

    Raises:
        ExpressionError: It is malformed, too big, or asks for something not allowed.
    """
    from jinja2.exceptions import TemplateSyntaxError  # noqa: PLC0415 - 20 ms, only where expressions are
    from jinja2.parser import Parser  # noqa: PLC0415

    _bounded(text)
    parser = None
    try:
        parser = Parser(_environment(), text, state="variable")
        tree = parser.parse_expression()
        if not parser.stream.eos:
            raise _unexpected(text, parser.stream.current.value)
    except TemplateSyntaxError as error:
        raise _syntax(text, str(error.message)) from None
    except RecursionError:
        raise _too_big(text, f"nested more than {DEEPEST} deep") from None
    return _vetted(Parsed(text, (tree,)))


@functools.lru_cache(maxsize=4096)
def parse_template(text: str) -> Parsed:
    """Read a text with ``{{ … }}`` in it.

    Raises:
        ExpressionError: As for ``parse``.
    """
    from jinja2.exceptions import TemplateSyntaxError  # noqa: PLC0415

    _bounded(text)
    try:
        body: list[Any] = _environment().parse(text).body
    except TemplateSyntaxError as error:
        raise _syntax(text, str(error.message)) from None
    except RecursionError:
        raise _too_big(text, f"nested more than {DEEPEST} deep") from None
    parts = tuple(part for output in body for part in getattr(output, "nodes", ()))
    return _vetted(Parsed(text, parts))


@functools.cache
def _environment() -> Environment:
    """Only for reading. Blocks and comments are put out of reach: ``{{ }}`` is all there is."""
    from jinja2 import Environment  # noqa: PLC0415

    return Environment(  # noqa: S701 - nothing is rendered, so there is nothing to escape
        block_start_string="\0{%",
        block_end_string="%}\0",
        comment_start_string="\0{#",
        comment_end_string="#}\0",
        keep_trailing_newline=True,
    )


def _bounded(text: str) -> None:
    if len(text) > LONGEST:
        raise _too_big(text, f"{len(text):,} characters, at most {LONGEST:,}")
    if "\0" in text:
        raise _syntax(text, "a NUL character")


def _vetted(parsed: Parsed) -> Parsed:
    """The same tree, once every part of it is allowed and it is not too big."""
    level: list[Any] = list(parsed.parts)
    total, depth = 0, 0
    while level:
        depth += 1
        total += len(level)
        if total > MOST_PARTS:
            raise _too_big(parsed.text, f"more than {MOST_PARTS} parts")
        if depth > DEEPEST:
            raise _too_big(parsed.text, f"nested more than {DEEPEST} deep")
        for node in level:
            _allowed(node, parsed.text)
        level = [child for node in level for child in node.iter_child_nodes()]
    return parsed


def _allowed(node: Any, text: str) -> None:  # noqa: ANN401 - any of Jinja's nodes
    kind = type(node).__name__
    if kind not in _ALLOWED:
        raise ExpressionError(f"{kind.lower()} is not part of the language, in {quote(text)}", fix=_HELP)
    if kind == "Const":
        _constant(node.value, text)
    elif kind in ("Filter", "Test", "Call"):
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise ExpressionError(f"arguments are plain values, in {quote(text)}", fix=_HELP)
        _callable(node, kind, text)
    elif kind == "CondExpr" and node.expr2 is None:
        raise ExpressionError(f"an 'if' without 'else', in {quote(text)}", fix="add: else …")
    attribute = node.attr if kind == "Getattr" else node.name if kind == "Name" else ""
    if attribute.startswith("_"):
        raise ExpressionError(f"{attribute!r} can't be reached, in {quote(text)}", fix=_HELP)


def _callable(node: Any, kind: str, text: str) -> None:  # noqa: ANN401
    if kind == "Call":
        method = node.node.attr if type(node.node).__name__ == "Getattr" else ""
        if method not in METHODS:
            name = dotted(node.node) or "that"
            raise ExpressionError(f"{name}(…) is no call of the language, in {quote(text)}", fix=_HELP)
        return
    known = FILTERS if kind == "Filter" else TESTS
    if node.name not in known:
        near = nearest(node.name, known)
        hint = f"did you mean {near!r}?" if near else f"one of: {', '.join(known)}"
        raise ExpressionError(f"there is no {kind.lower()} {node.name!r}, in {quote(text)}", fix=hint)
    least, most = FILTERS[node.name] if kind == "Filter" else (0, 0)
    if not least <= len(node.args) <= most:
        wants = f"{least}" if least == most else f"{least} to {most}"
        raise ExpressionError(f"{node.name!r} takes {wants} arguments, in {quote(text)}", fix=_HELP)


def _constant(value: object, text: str) -> None:
    if isinstance(value, int | float) and not abs(value) <= BIGGEST:
        raise _too_big(text, f"a number beyond {BIGGEST:.0e}")


_HELP = "docs/language.md, 'Expressions', lists what can be written"


def quote(text: str) -> str:
    """An expression as it is shown in a complaint."""
    flat = " ".join(text.split())
    return f"`{flat}`" if len(flat) <= 100 else f"`{flat[:97]}…`"


def _too_big(text: str, why: str) -> ExpressionError:
    return ExpressionError(
        f"an expression is too big ({why}): {quote(text)}", fix="split it over several steps"
    )


def _syntax(text: str, message: str) -> ExpressionError:
    message = message.replace("end of template", "end").replace("end of print statement", "'}}'")
    return ExpressionError(f"{message.rstrip('.')}, in {quote(text)}", fix=_HELP)


def _unexpected(text: str, token: str) -> ExpressionError:
    at = text.find(str(token))
    place = f" at character {at + 1}" if at >= 0 and text.count(str(token)) == 1 else ""
    hint = _HELP
    if str(token) in ("s", "ms", "m", "h", "d", "MiB", "KiB", "GiB", "B", "k"):
        hint = "in an expression numbers are in base units: 10 (seconds), 65536 (bytes), 100_000"
    elif str(token) in ("&&", "||", "=", "&", "|"):
        hint = "write and, or, =="
    return ExpressionError(f"unexpected {str(token)!r}{place}, in {quote(text)}", fix=hint)
