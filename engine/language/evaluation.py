"""The value of a vetted tree over plain data.

One promise: a walk over ``engine.language.syntax``'s tree reads nothing but the names handed in and
visits each part at most once. No Python attribute is ever looked up by a name that stands in
an expression. Unknown follows Kleene: ``unknown and false`` is false, ``unknown or true`` is
true, all else that meets an unknown is unknown, with its reason.

Not here: reading (``engine.language.syntax``), conditions and templates (``engine.language.expressions``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.errors import ExpressionError, nearest
from engine.language import filters
from engine.language.arithmetic import ARITHMETIC, COMPARE, bounded, comparable, describe, is_number, plain
from engine.language.syntax import dotted, quote
from engine.language.unknown import Record, Unknown


class Walk:
    """Evaluates one vetted tree. Each part is visited at most once, so it ends."""

    def __init__(self, names: Mapping[str, object], text: str) -> None:
        self.names = names
        self.text = text

    def value(self, node: Any) -> Any:  # noqa: ANN401 - Jinja's nodes in, plain data out
        """The value of a part."""
        kind = type(node).__name__
        if kind in ARITHMETIC:
            return self._arithmetic(node, kind)
        return bounded(getattr(self, f"_{kind.lower()}")(node), self.text)

    def _const(self, node: Any) -> object:  # noqa: ANN401
        return node.value

    def _templatedata(self, node: Any) -> str:  # noqa: ANN401
        return str(node.data)

    def _name(self, node: Any) -> object:  # noqa: ANN401
        if node.name in self.names:
            return plain(self.names[node.name], node.name)
        raise self._error(f"{node.name!r} is not known here", _near(node.name, self.names))

    def _getattr(self, node: Any) -> object:  # noqa: ANN401
        return self._field(self.value(node.node), node.attr, dotted(node))

    def _getitem(self, node: Any) -> object:  # noqa: ANN401
        holder, key = self.value(node.node), self.value(node.arg)
        if isinstance(holder, Unknown) or isinstance(key, Unknown):
            return holder if isinstance(holder, Unknown) else key
        if isinstance(key, str):
            if key.startswith("_"):
                raise self._error(f"{key!r} can't be reached", "fields begin with a letter")
            return self._field(holder, key, dotted(node.node) and f"{dotted(node.node)}.{key}")
        if isinstance(holder, list | tuple) and isinstance(key, int) and not isinstance(key, bool):
            inside = -len(holder) <= key < len(holder)
            return plain(holder[key], "") if inside else Unknown(f"there is no item {key} of {len(holder)}")
        raise self._error(f"{describe(holder)} has no item {key!r}", "items are numbered from 0")

    def _field(self, holder: object, field: str, name: str) -> object:
        """A field of a record or a mapping: data only, never an attribute of a Python object."""
        if isinstance(holder, Unknown):
            return holder
        if isinstance(holder, Record):
            if field in holder.values:
                return plain(holder.values[field], name)
            if holder.open:
                return Unknown(f"{name or field} was not measured")
            raise self._error(f"{holder.name} has no field {field!r}", _near(field, holder.values))
        if isinstance(holder, Mapping):
            if field in holder:
                return plain(holder[field], name)
            raise self._error(f"{name or field!r} is not there", _near(field, holder))
        raise self._error(f"{describe(holder)} has no field {field!r}", "only records have fields")

    def _call(self, node: Any) -> object:  # noqa: ANN401
        holder = self.value(node.node.node)
        if isinstance(holder, Unknown):
            return holder
        words = [self.value(part) for part in node.args]
        method = holder.methods.get(node.node.attr) if isinstance(holder, Record) else None
        if method is None:
            raise self._error(
                f"{describe(holder)} has no {node.node.attr}(…)", "cause.is(…) and cause.has(…) are calls"
            )
        if not words or not all(isinstance(word, str) for word in words):
            raise self._error(f"{node.node.attr}(…) takes names in quotes", f'write {node.node.attr}("name")')
        return method(*words)

    def _test(self, node: Any) -> bool:  # noqa: ANN401
        if node.name == "defined":
            try:
                self.value(node.node)
            except ExpressionError:
                return False
            return True
        known = not isinstance(self.value(node.node), Unknown)
        return known if node.name == "known" else not known

    def _filter(self, node: Any) -> object:  # noqa: ANN401
        value = self.value(node.node)
        arguments = [self.value(part) for part in node.args]
        if node.name == "default":
            return arguments[0] if isinstance(value, Unknown) else value
        for one in (value, *arguments):
            if isinstance(one, Unknown):
                return one
        try:
            return filters.ALL[node.name](value, *arguments)
        except (TypeError, ValueError, OverflowError):
            raise self._error(
                f"{node.name!r} can't take {describe(value)}", "check the kind of value"
            ) from None

    # ── logic ───────────────────────────────────────────────────────────────────

    def _truth(self, node: Any) -> bool | Unknown:  # noqa: ANN401
        value = self.value(node)
        if isinstance(value, bool | Unknown):
            return value
        raise self._error(f"{describe(value)} is neither true nor false", "compare it with something: … > 0")

    def _not(self, node: Any) -> bool | Unknown:  # noqa: ANN401
        value = self._truth(node.node)
        return value if isinstance(value, Unknown) else not value

    def _and(self, node: Any) -> bool | Unknown:  # noqa: ANN401
        return self._decisive(node, decides=False)

    def _or(self, node: Any) -> bool | Unknown:  # noqa: ANN401
        return self._decisive(node, decides=True)

    def _decisive(self, node: Any, *, decides: bool) -> bool | Unknown:  # noqa: ANN401
        left = self._truth(node.left)
        if left is decides:
            return decides
        right = self._truth(node.right)
        if right is decides or not isinstance(left, Unknown):
            return right
        return left

    def _condexpr(self, node: Any) -> object:  # noqa: ANN401
        test = self._truth(node.test)
        if isinstance(test, Unknown):
            return test
        return self.value(node.expr1 if test else node.expr2)

    def _compare(self, node: Any) -> bool | Unknown:  # noqa: ANN401
        left, answer = self.value(node.expr), True
        unknown: Unknown | None = None
        for operand in node.ops:
            right = self.value(operand.expr)
            result = self._pair(operand.op, left, right)
            if isinstance(result, Unknown):
                unknown = result if unknown is None else unknown
            else:
                answer = answer and result
            left = right
        return unknown if unknown is not None and answer else answer

    def _pair(self, op: str, left: object, right: object) -> bool | Unknown:
        for side in (left, right):
            if isinstance(side, Unknown):
                return side
        if op in ("in", "notin"):
            return self._within(left, right) is (op == "in")
        if comparable(left, right, order=op not in ("eq", "ne")):
            return COMPARE[op](left, right)
        raise self._error(
            f"{describe(left)} can't be compared with {describe(right)}", "compare like with like"
        )

    def _within(self, item: object, holder: object) -> bool:
        if isinstance(holder, str) and isinstance(item, str):
            return item in holder
        if isinstance(holder, list | tuple | Mapping):
            return any(type(item) is type(one) and item == one for one in holder)
        raise self._error(f"nothing can be in {describe(holder)}", 'write x in ["a", "b"]')

    # ── arithmetic and collections ──────────────────────────────────────────────

    def _arithmetic(self, node: Any, kind: str) -> object:  # noqa: ANN401
        sides = [self.value(node.left), self.value(node.right)]
        for side in sides:
            if isinstance(side, Unknown):
                return side
        if not all(is_number(side) for side in sides):
            wrong = next(side for side in sides if not is_number(side))
            raise self._error(f"{describe(wrong)} can't be reckoned with", "join texts with ~")
        try:
            result = ARITHMETIC[kind](*sides)
        except ZeroDivisionError:
            return Unknown("a division by zero")
        except (OverflowError, ValueError):
            raise self._error("a number is too big", "check the reckoning") from None
        return bounded(result, self.text)

    def _neg(self, node: Any) -> object:  # noqa: ANN401
        value = self.value(node.node)
        if isinstance(value, Unknown):
            return value
        if not is_number(value):
            raise self._error(f"{describe(value)} can't be reckoned with", "only numbers have a sign")
        return -value

    def _pos(self, node: Any) -> object:  # noqa: ANN401
        value = self._neg(node)
        return value if isinstance(value, Unknown) else -value  # type: ignore[operator]

    def _concat(self, node: Any) -> str:  # noqa: ANN401
        return "".join(filters.text(self.value(part)) for part in node.nodes)

    def _list(self, node: Any) -> list[object]:  # noqa: ANN401
        return [self.value(part) for part in node.items]

    _tuple = _list

    def _dict(self, node: Any) -> dict[str, object]:  # noqa: ANN401
        return {filters.text(self.value(pair.key)): self.value(pair.value) for pair in node.items}

    def _error(self, problem: str, fix: str) -> ExpressionError:
        return ExpressionError(f"{problem}, in {quote(self.text)}", fix=fix)


def _near(name: str, known: Mapping[str, object]) -> str:
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"one of: {', '.join(sorted(known)) or '-'}"
