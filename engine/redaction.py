"""Secrets, taken out before anything is written, shown or sent.

One promise: a secret that is known by value (a secret input, a key that this process has read) or has a
well-known form stands in nothing that passed through here; doing it twice changes nothing; it takes
time linear in what is given. What is masked can't be had back: what undo needs of it is kept apart
(``engine.journal.sealed``).

Cost: 7 µs a kilobyte where nothing looks suspicious (a usual row's commit: a tenth more); some 10 µs more
for each text that does.

Not here: the forms (``engine.secret_patterns``), who writes (journal, queue, log, notices).
"""

from __future__ import annotations

import base64
import functools
import json
import re
import urllib.parse
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec

from engine.secret_patterns import MASK, RULES, SECRET_FLAG, Rule, is_nothing, names_secret

__all__ = ["HERE", "MASK", "Redactor", "known"]

#: A declared value this short is no secret; one below ``WHOLE`` counts as a whole word only.
LEAST = 3
WHOLE = 8
#: Under which keys a name stands beside its ``value``.
_NAMED_BY = ("name", "key", "setting", "variable", "option")
#: Short words are looked for at 6 GB/s, longer ones at 2.
_QUICK = 4
_GATES = ("key", "toke", "secr", "pass", "gh", "gl", "auth", "://", "sig", "hook", "$")

Struct = TypeVar("Struct", bound=msgspec.Struct)
Value = TypeVar("Value")


class Redactor:
    """Takes secrets out. One for each process (``HERE``); tests make their own."""

    def __init__(self, rules: Sequence[Rule] = RULES) -> None:
        self._rules = tuple(rules)
        self._hints = _gated(self._rules)
        self._declared: dict[str, int] = {}
        self._known = _Known(())

    # ── what is known by value ──────────────────────────────────────────────────

    def declare(self, values: Iterable[object]) -> None:
        """From now on these values are secrets, in whatever way they are written."""
        for word in _words(values):
            self._declared[word] = self._declared.get(word, 0) + 1
        self._known = _Known(tuple(self._declared))

    def forget(self, values: Iterable[object]) -> None:
        """As often as it was declared, a value is none any more."""
        for word in _words(values):
            self._declared[word] = self._declared.get(word, 1) - 1
            if self._declared[word] <= 0:
                del self._declared[word]
        self._known = _Known(tuple(self._declared))

    @contextmanager
    def known(self, values: Iterable[object]) -> Iterator[None]:
        """These values are secrets within."""
        kept = list(values)
        self.declare(kept)
        try:
            yield
        finally:
            self.forget(kept)

    # ── taking out ──────────────────────────────────────────────────────────────

    def text(self, text: str) -> str:
        """A text without secrets."""
        return self._text(text, self._rules)

    def value(self, value: Value) -> Value:
        """Builtins of any shape without secrets: the same shape, the very same object where none is in it."""
        lower = _joined(value).lower().encode("utf-8", "backslashreplace")
        rules = self._worth(lower)
        if not rules and not self._known.within(lower):
            return value
        return self._inner(value, rules)  # type: ignore[no-any-return]  # the shape stays

    def json(self, body: bytes) -> bytes:
        """A JSON text without secrets: the very same bytes where none is in it."""
        lower = body.lower()
        rules = self._worth(lower)
        if not rules and not self._known.within(lower):
            return body
        before = msgspec.json.decode(body)
        after = self._inner(before, rules)
        return body if after == before else msgspec.json.encode(after)

    def struct(self, value: Struct) -> Struct:
        """A frozen value without secrets: the very same where none is in it."""
        try:
            before = msgspec.json.encode(value)
        except UnicodeEncodeError:  # a name from /proc or a log that is no UTF-8
            return msgspec.convert(self.value(msgspec.to_builtins(value)), type(value))
        after = self.json(before)
        return value if after is before else msgspec.json.decode(after, type=type(value))

    def _text(self, text: str, rules: Sequence[Rule]) -> str:
        text = self._known.without(text)
        lower = text.lower()
        for rule in rules:
            text, before = rule.without(text, lower), text
            if text is not before:
                lower = text.lower()
        return text

    def _worth(self, lower: bytes) -> list[Rule]:
        """The rules that may find something in a text in lower case."""
        found = {
            place
            for gate, words in self._hints.items()
            if gate in lower
            for word, place in words
            if word in lower
        }
        return [self._rules[place] for place in sorted(found)]

    def _inner(self, value: Any, rules: Sequence[Rule]) -> Any:  # noqa: ANN401 - any builtins
        if isinstance(value, str):
            return self._text(value, rules)
        if isinstance(value, dict):
            return self._mapping(value, rules)
        if isinstance(value, list | tuple):
            return type(value)(self._sequence(value, rules))
        return value

    def _mapping(self, mapping: dict[Any, Any], rules: Sequence[Rule]) -> dict[Any, Any]:
        named = (mapping.get(word) for word in _NAMED_BY) if rules and "value" in mapping else ()
        pair = any(isinstance(name, str) and names_secret(name) for name in named)
        result = {}
        for key, item in mapping.items():
            if isinstance(item, str) and rules and ((pair and key == "value") or names_secret(str(key))):
                result[key] = item if is_nothing(item) else MASK
                continue
            result[self._inner(key, rules)] = self._inner(item, rules)
        return result

    def _sequence(self, items: Sequence[Any], rules: Sequence[Rule]) -> Iterator[Any]:
        """Items of a list: words of a command line, or lines of a log, belong together."""
        flag = block = False
        for item in items:
            if not isinstance(item, str):
                flag = block = False
                yield self._inner(item, rules)
                continue
            if block:
                block = "-----END" not in item
                yield MASK
                continue
            hidden = flag and not item.startswith("-") and not is_nothing(item)
            yield MASK if hidden else self._inner(item, rules)
            flag = bool(rules) and item.startswith("-") and bool(SECRET_FLAG.fullmatch(item[:80]))
            block = (
                bool(rules) and "PRIVATE KEY-----" in item and "-----BEGIN" in item and "-----END" not in item
            )


class _Known:
    """Secrets known by value, in each way they may be written."""

    def __init__(self, words: tuple[str, ...]) -> None:
        forms = {form for word in words for form in _forms(word)}
        self._long = sorted((form for form in forms if len(form) >= WHOLE), key=len, reverse=True)
        short = sorted((form for form in forms if len(form) < WHOLE), key=len, reverse=True)
        either = "|".join(map(re.escape, short))
        self._short = re.compile(rf"(?<![\w-])(?:{either})(?![\w-])") if short else None
        forms |= {json.dumps(form, ensure_ascii=False)[1:-1] for form in forms}
        self._lower = tuple(form.lower().encode("utf-8", "backslashreplace") for form in forms)

    def within(self, lower: bytes) -> bool:
        """Whether a text or JSON in lower case may hold one."""
        return any(form in lower for form in self._lower)

    def without(self, text: str) -> str:
        """A text without them; the engine's own words stay, whatever somebody declares."""
        for form in self._long:
            if form in text and text not in _own_words():
                text = text.replace(form, MASK)
        if self._short is not None and self._short.search(text) and text not in _own_words():
            text = self._short.sub(MASK, text)
        return text


def _words(values: Iterable[object]) -> Iterator[str]:
    """The texts in declared values that can be searched for, lines of long ones too."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _words(value)
            continue
        if value is None or isinstance(value, bool):
            continue
        text = str(value).strip()
        if len(text) >= LEAST and text not in MASK:
            yield text
        if "\n" in text:
            yield from (line.strip() for line in text.splitlines() if len(line.strip()) >= WHOLE)


def _forms(word: str) -> Iterator[str]:
    """A secret as it is, in URLs, in JSON, in hex, and in base64 at each of its three places."""
    raw = word.encode("utf-8", "backslashreplace")
    yield word
    if len(word) < WHOLE:
        return
    yield urllib.parse.quote(word, safe="")
    yield urllib.parse.quote(word)
    yield urllib.parse.quote_plus(word)
    yield json.dumps(word)[1:-1]
    yield json.dumps(word, ensure_ascii=False)[1:-1]
    yield raw.hex()
    for place in range(3):
        encoded = base64.b64encode(bytes(place) + raw).decode()
        whole = len(encoded) - (4 - (len(raw) + place) % 3 if (len(raw) + place) % 3 else 0)
        inner = encoded[(0, 2, 3)[place] : whole]
        if len(inner) >= WHOLE:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def _gated(rules: Sequence[Rule]) -> dict[bytes, list[tuple[bytes, int]]]:
    """The rules' words by a short one that each holds: most texts are passed after a few looks."""
    gated: dict[bytes, list[tuple[bytes, int]]] = {}
    for place, rule in enumerate(rules):
        for word in rule.words:
            gate = next((one for one in _GATES if one in word), word[:_QUICK])
            gated.setdefault(gate.encode(), []).append((word.encode(), place))
    return gated


def _joined(value: Any) -> str:  # noqa: ANN401 - any builtins
    """All texts of a value, one below the other."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "\n".join(_joined(one) for pair in value.items() for one in pair)
    return "\n".join(map(_joined, value)) if isinstance(value, list | tuple) else ""


@functools.cache
def _own_words() -> frozenset[str]:
    """Names and words of the record's own language: what is not free text."""
    from engine import record  # noqa: PLC0415 - only where a secret was declared

    found: set[str] = set()
    seen: set[object] = set()
    todo: list[Any] = [msgspec.inspect.type_info(record.Run), msgspec.inspect.type_info(record.Event)]
    while todo:
        one = todo.pop()
        if isinstance(one, msgspec.inspect.LiteralType):
            found |= {word for word in one.values if isinstance(word, str)}
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in seen:
                continue
            seen.add(one.cls)
            found |= {str(one.tag), *(field.encode_name for field in one.fields)}
            todo += [field.type for field in one.fields]
        for part in ("types", "item_types"):
            todo += getattr(one, part, ())
        todo += [
            inner for part in ("item_type", "key_type", "value_type") if (inner := getattr(one, part, None))
        ]
    return frozenset(found)


#: This process's own.
HERE = Redactor()
known = HERE.known
