"""What an expression would give, found out without any values: types at check time.

One promise: a complaint is only made where a run would fail or never be true: an unknown
name or field, a text compared with a number, a cause that no diagnosis can name, a condition
that is no truth value. What can't be known before the run is ``any`` and passes.

Not here: values (``engine.language.evaluation``), which names are there (``engine.language.check``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from engine.errors import nearest
from engine.language.syntax import Parsed, dotted

Kind = Literal["number", "text", "bool", "list", "record", "none", "any"]

_NUMBER_FILTERS = frozenset({"abs", "round", "int", "float", "length", "count", "min", "max", "sum"})
_TEXT_FILTERS = frozenset({"join", "lower", "upper", "trim", "bytes", "duration", "rate", "share"})
_NEEDS = {
    **dict.fromkeys(("abs", "round", "bytes", "duration", "rate", "share"), "number"),
    **dict.fromkeys(("lower", "upper", "trim"), "text"),
}


class Shape(msgspec.Struct, frozen=True):
    """What is known of a value before there is one.

    Attributes:
        fields: Of a record.
        open: A record that may have further fields.
        words: What ``is(…)`` and ``has(…)`` may be asked about; None when they can't be asked.
    """

    kind: Kind
    fields: Mapping[str, Shape] = {}
    open: bool = False
    words: tuple[str, ...] | None = None


ANY = Shape("any")
NUMBER = Shape("number")
TEXT = Shape("text")
BOOL = Shape("bool")
LIST = Shape("list")
NONE = Shape("none")


#: Judges a tree: what it would give, and what is wrong with it.
Judge = Callable[[Parsed, Mapping[str, Shape]], tuple[Shape, list[str]]]


def condition(parsed: Parsed, names: Mapping[str, Shape]) -> tuple[Shape, list[str]]:
    """A condition; nothing is wrong with one that may hold."""
    shape, wrong = whatever(parsed, names)
    if shape.kind not in ("bool", "any") and not wrong:
        wrong.append(f"it gives {_a(shape.kind)}, neither true nor false (compare it with something)")
    return shape, wrong


def whatever(parsed: Parsed, names: Mapping[str, Shape]) -> tuple[Shape, list[str]]:
    """A bare expression of any kind."""
    look = _Look(names)
    return look.shape(parsed.parts[0]), look.wrong


def template(parsed: Parsed, names: Mapping[str, Shape]) -> tuple[Shape, list[str]]:
    """A template."""
    look = _Look(names)
    for part in parsed.parts:
        look.shape(part)
    return TEXT, look.wrong


class _Look:
    """Walks one tree, collecting what is wrong."""

    def __init__(self, names: Mapping[str, Shape]) -> None:
        self.names = names
        self.wrong: list[str] = []

    def shape(self, node: Any) -> Shape:  # noqa: ANN401 - Jinja's nodes
        """The shape of a part; ``ANY`` after a complaint."""
        kind = type(node).__name__
        return _BY_NODE.get(kind, _Look._of_nothing)(self, node)

    def _complain(self, what: str) -> Shape:
        if what not in self.wrong:
            self.wrong.append(what)
        return ANY

    def _of_nothing(self, _node: Any) -> Shape:  # noqa: ANN401
        return ANY

    def _const(self, node: Any) -> Shape:  # noqa: ANN401
        if node.value is None:
            return NONE
        kinds = {bool: BOOL, str: TEXT}
        return kinds.get(type(node.value), NUMBER)

    def _name(self, node: Any) -> Shape:  # noqa: ANN401
        if node.name in self.names:
            return self.names[node.name]
        return self._complain(f"{node.name!r} is not known here ({_hint(node.name, self.names)})")

    def _getattr(self, node: Any) -> Shape:  # noqa: ANN401
        return self._field(self.shape(node.node), node.attr, dotted(node.node) or "that")

    def _field(self, holder: Shape, field: str, name: str) -> Shape:
        if holder.kind == "any" or (holder.kind == "record" and holder.open and field not in holder.fields):
            return ANY
        if holder.kind != "record":
            return self._complain(f"{name} is {_a(holder.kind)} and has no field {field!r}")
        if field in holder.fields:
            return holder.fields[field]
        return self._complain(f"{name} has no field {field!r} ({_hint(field, holder.fields)})")

    def _getitem(self, node: Any) -> Shape:  # noqa: ANN401
        holder = self.shape(node.node)
        self.shape(node.arg)
        if holder.kind == "record" and isinstance(key := getattr(node.arg, "value", None), str):
            return self._field(holder, key, dotted(node.node) or "that")
        if holder.kind not in ("list", "any", "record"):
            self._complain(f"{_a(holder.kind)} has no items")
        return ANY

    def _call(self, node: Any) -> Shape:  # noqa: ANN401
        holder, method = self.shape(node.node.node), node.node.attr
        name = dotted(node.node.node) or "that"
        if holder.kind != "any" and holder.words is None:
            self._complain(f"{name} can't be asked {method}(…); a decide step's answer can")
            return BOOL
        if not node.args:
            self._complain(f'{name}.{method}(…) needs a name: {name}.{method}("…")')
        for part in node.args:
            word = getattr(part, "value", None)
            if self.shape(part).kind not in ("text", "any"):
                self._complain(f"{name}.{method}(…) takes names in quotes")
            elif isinstance(word, str) and holder.words and word not in holder.words:
                self._complain(f"no diagnosis before it can name {word!r} ({_hint(word, holder.words)})")
        return BOOL

    def _filter(self, node: Any) -> Shape:  # noqa: ANN401
        shape = self.shape(node.node)
        for part in node.args:
            self.shape(part)
        needs = _NEEDS.get(node.name)
        if needs and shape.kind not in (needs, "any"):
            self._complain(f"{node.name!r} takes {_a(needs)}, not {_a(shape.kind)}")
        if node.name == "default":
            return shape
        if node.name in _NUMBER_FILTERS:
            return NUMBER
        return TEXT if node.name in _TEXT_FILTERS else ANY

    def _test(self, node: Any) -> Shape:  # noqa: ANN401
        if node.name != "defined":
            self.shape(node.node)
        return BOOL

    def _logic(self, node: Any) -> Shape:  # noqa: ANN401
        for part in node.iter_child_nodes():
            shape = self.shape(part)
            if shape.kind not in ("bool", "any"):
                self._complain(f"{_a(shape.kind)} is neither true nor false (compare it with something)")
        return BOOL

    def _condexpr(self, node: Any) -> Shape:  # noqa: ANN401
        self.shape(node.test)
        first, second = self.shape(node.expr1), self.shape(node.expr2)
        return first if first.kind == second.kind else ANY

    def _compare(self, node: Any) -> Shape:  # noqa: ANN401
        left = self.shape(node.expr)
        for operand in node.ops:
            right = self.shape(operand.expr)
            self._pair(operand.op, left, right)
            left = right
        return BOOL

    def _pair(self, op: str, left: Shape, right: Shape) -> None:
        if "any" in (left.kind, right.kind):
            return
        if op in ("in", "notin"):
            if right.kind not in ("list", "text", "record"):
                self._complain(f"nothing can be in {_a(right.kind)}")
        elif left.kind != right.kind and not (op in ("eq", "ne") and "none" in (left.kind, right.kind)):
            self._complain(f"{_a(left.kind)} can't be compared with {_a(right.kind)}")
        elif op not in ("eq", "ne") and left.kind not in ("number", "text"):
            self._complain(f"{_a(left.kind)} has no order")

    def _arithmetic(self, node: Any) -> Shape:  # noqa: ANN401
        for part in node.iter_child_nodes():
            shape = self.shape(part)
            if shape.kind not in ("number", "any"):
                self._complain(f"{_a(shape.kind)} can't be reckoned with")
        return NUMBER

    def _several(self, node: Any) -> Shape:  # noqa: ANN401
        for part in node.iter_child_nodes():
            self.shape(part)
        return {"Concat": TEXT, "Dict": Shape("record", open=True)}.get(type(node).__name__, LIST)


_BY_NODE: dict[str, Callable[[_Look, Any], Shape]] = {
    "Const": _Look._const,
    "TemplateData": lambda _look, _node: TEXT,
    "Name": _Look._name,
    "Getattr": _Look._getattr,
    "Getitem": _Look._getitem,
    "Call": _Look._call,
    "Filter": _Look._filter,
    "Test": _Look._test,
    "CondExpr": _Look._condexpr,
    "Compare": _Look._compare,
    **dict.fromkeys(("And", "Or", "Not"), _Look._logic),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Neg", "Pos"), _Look._arithmetic),
    **dict.fromkeys(("List", "Tuple", "Dict", "Pair", "Concat"), _Look._several),
}


def _hint(name: str, known: Mapping[str, Shape] | tuple[str, ...]) -> str:
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"one of: {', '.join(sorted(known)) or '-'}"


def _a(kind: str) -> str:
    return {"bool": "a truth value", "none": "nothing"}.get(kind, f"a {kind}")
