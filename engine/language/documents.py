"""YAML documents to frozen values: runbooks, agent profiles, policies.

One promise: every complaint at once, each with file, line, column and the nearest right
word; a document that comes back is complete and of the right types. The types are those of
the msgspec structs: a field's ``Meta(extra={"reads": …})`` says how its text is read
(``duration``, ``expression``, ``template``, ``id``, ``slug``, ``name``, ``word``,
``one-or-many``, ``as-written``, ``verbatim``, ``tree``, ``tree-as-written``).

Not here: scalars (``engine.language.scalars``), what names mean (``engine.language.check``), finding files
(``engine.language.loader``).
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from engine.errors import DocumentError, nearest
from engine.language import scalars
from engine.language.scalars import Wrong
from engine.language.yaml_nodes import Complaints, Node, Place, Scalar, Sequence, compose, decode, short
from engine.language.yaml_nodes import Mapping as MappingNode
from engine.values import Setting

T = TypeVar("T", bound=msgspec.Struct)


class Document(msgspec.Struct, frozen=True):
    """What a value was read from, and where its parts stand.

    Attributes:
        file: As an operator would name it.
        places: Place of each part by its path: ``steps[0].when``.
    """

    file: str
    text: str
    places: dict[str, Place]

    def place(self, path: str) -> Place:
        """Where a part stands, or the nearest part around it."""
        while path and path not in self.places:
            path = re.sub(r"(\.?[^.\[\]]+|\[[^\]]*\])$", "", path) if path[-1] != "." else path[:-1]
        return self.places.get(path, Place(1, 1))

    def where(self, path: str) -> str:
        """``file:line:column`` of a part."""
        place = self.place(path)
        return f"{self.file}:{place.line}:{place.column}"


def read(cls: type[T], raw: bytes, file: str) -> tuple[T, Document]:
    """Read one document.

    Args:
        cls: The struct it must be.
        raw: The bytes of the file.
        file: Its name for complaints.

    Raises:
        DocumentError: It is wrong; all complaints at once.
    """
    value, document, complaints = read_partly(cls, raw, file)
    if complaints or value is None or document is None:
        raise DocumentError(complaints, fix=f"correct {file}; nothing was done")
    return value, document


def read_partly(cls: type[T], raw: bytes, file: str) -> tuple[T | None, Document | None, tuple[str, ...]]:
    """What could be read of a document, and all complaints; it is whole where there are none.

    What is wrong is left out. Only good for finding further mistakes.
    """
    complaints = Complaints(file)
    text = decode(raw, complaints)
    root = compose(text, complaints) if text is not None else None
    reader = _Reader(complaints)
    value = reader.document(cls, root) if root is not None else None
    document = None if text is None else Document(file, text, reader.places)
    return value, document, tuple(complaints)


class _Reader:
    """Reads nodes into the types of struct fields, collecting complaints."""

    def __init__(self, complaints: Complaints) -> None:
        self.complaints = complaints
        self.places: dict[str, Place] = {}

    def document(self, cls: type[T], root: Node) -> T | None:
        """The whole document, or None after complaints."""
        try:
            return typing.cast(T, self._value(cls, root, ""))
        except Wrong as wrong:
            self._complain(wrong)
            return None

    def _complain(self, wrong: Wrong) -> None:
        if wrong.what:
            self.complaints.add(wrong.place, wrong.what)

    def _value(self, kind: Any, node: Node, path: str, reads: str = "") -> Any:  # noqa: ANN401, PLR0911
        """The value of a node as a type; what a type hint may say has no common type itself."""
        self.places[path] = node.place
        origin = typing.get_origin(kind)
        if reads.startswith("tree"):
            return self._tree(node, path, as_written=reads == "tree-as-written")
        if kind == Setting:
            return scalars.setting(node, as_written=reads == "as-written")
        if origin is typing.Annotated:
            return self._annotated(kind, node, path)
        if origin is Literal:
            return scalars.choice(typing.get_args(kind), node)
        if origin in (typing.Union, types.UnionType):
            return self._union(typing.get_args(kind), node, path, reads)
        if origin is tuple:
            return self._list(typing.get_args(kind)[0], node, path, reads)
        if origin is dict:
            return self._dict(typing.get_args(kind)[1], node, path)
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
            return self._struct(kind, node, path)
        return _scalar(kind, node, reads)

    def _annotated(self, kind: Any, node: Node, path: str) -> Any:  # noqa: ANN401
        inner, mark = typing.get_args(kind)[:2]
        value = self._value(inner, node, path, (mark.extra or {}).get("reads", ""))
        if isinstance(value, int | float):
            if mark.ge is not None and value < mark.ge:
                raise Wrong(node, f"{value} is too little (at least {mark.ge})")
            if mark.le is not None and value > mark.le:
                raise Wrong(node, f"{value} is too much (at most {mark.le})")
        return value

    def _union(self, options: tuple[Any, ...], node: Node, path: str, reads: str) -> Any:  # noqa: ANN401
        """One of several types; the node's own shape decides."""
        if type(None) in options and scalars.is_null(node):
            return None
        options = tuple(one for one in options if one is not type(None))
        if reads == "duration":
            return scalars.duration(node)
        structs = [one for one in options if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        if len(structs) > 1:
            return self._by_verb(structs, node, path)
        shapes: dict[Any, type[Node]] = {tuple: Sequence, dict: MappingNode, str: Scalar}
        for one in options:
            shape = MappingNode if one in structs else shapes.get(typing.get_origin(one) or one)
            if shape is not None and isinstance(node, shape):
                return self._value(one, node, path, reads)
        return self._value(options[0], node, path, reads)

    def _by_verb(self, structs: Iterable[type[msgspec.Struct]], node: Node, path: str) -> Any:  # noqa: ANN401
        """One of several structs, told by the key that is the struct's tag."""
        verbs = {str(one.__struct_config__.tag): one for one in structs}
        if not isinstance(node, MappingNode):
            raise Wrong(
                node, f"expected a step with one of: {', '.join(verbs)}; found {scalars.describe(node)}"
            )
        found = [verb for verb in verbs if verb in node.items]
        if "try" in found and "stop" in found:
            found.remove("stop")  # a ladder has a field of that name
        if len(found) == 1:
            return self._struct(verbs[found[0]], node, path)
        if found:
            raise Wrong(node, f"does several things at once: {', '.join(found)} (make each its own step)")
        near = next((near for key in node.items if (near := nearest(key, verbs))), None)
        raise Wrong(node, f"no step ({f'did you mean {near!r}?' if near else f'one of: {_list(verbs)}'})")

    def _struct(self, cls: type[msgspec.Struct], node: Node, path: str) -> Any:  # noqa: ANN401
        fields = _fields(cls)
        if not isinstance(node, MappingNode):
            raise Wrong(node, f"expected a mapping with {_list(fields)}; found {scalars.describe(node)}")
        known: dict[str, Node] = {}
        for key, (key_node, value) in node.items.items():
            if key in fields:
                known[key] = value
            else:
                self.complaints.add(key_node.place, self._unknown(key, fields))
        needed = [key for key, info in fields.items() if info.required]
        for key in needed:
            if key not in known:
                self.complaints.add(node.place, f"{key!r} is missing{_of(cls, node)}")
        read = self._each(known, lambda key: f"{path}.{key}" if path else key, lambda key: fields[key].type)
        if any(key not in read for key in needed):
            raise Wrong(node)
        return cls(**{fields[key].name: value for key, value in read.items()})

    def _unknown(self, key: str, fields: Iterable[str]) -> str:
        near = nearest(key, fields)
        return (
            f"unknown key {short(key)} ({f'did you mean {near!r}?' if near else f'one of: {_list(fields)}'})"
        )

    def _list(self, kind: Any, node: Node, path: str, reads: str) -> tuple[Any, ...]:  # noqa: ANN401
        if isinstance(node, Scalar) and reads == "one-or-many" and not scalars.is_null(node):
            return (self._value(kind, node, path),)
        if not isinstance(node, Sequence):
            raise Wrong(node, f"expected a list, found {scalars.describe(node)}")
        read: list[Any] = []
        for item in node.items:  # places go by what could be read
            at = f"{path}[{len(read)}]"
            read += self._each({at: item}, lambda at: at, lambda _: kind).values()
        return tuple(read)

    def _dict(self, kind: Any, node: Node, path: str) -> dict[str, Any]:  # noqa: ANN401
        if not isinstance(node, MappingNode):
            raise Wrong(node, f"expected a mapping, found {scalars.describe(node)}")
        items = {key: value for key, (_, value) in node.items.items()}
        return self._each(items, lambda key: f"{path}.{key}", lambda _: kind)

    def _tree(self, node: Node, path: str, *, as_written: bool) -> Any:  # noqa: ANN401
        """Plain data of any depth; what it must be is for whoever asked for it to judge."""
        self.places[path] = node.place
        if isinstance(node, Sequence):
            items = enumerate(node.items)
            return [self._tree(item, f"{path}[{place}]", as_written=as_written) for place, item in items]
        if isinstance(node, MappingNode):
            pairs = ((key, value) for key, (_, value) in node.items.items())
            return {key: self._tree(value, f"{path}.{key}", as_written=as_written) for key, value in pairs}
        return scalars.setting(node, as_written=as_written)

    def _each(
        self, nodes: Mapping[str, Node], path: Callable[[str], str], kind: Callable[[str], Any]
    ) -> dict[str, Any]:
        """The values that could be read; a complaint for each other one."""
        read: dict[str, Any] = {}
        for key, node in nodes.items():
            try:
                read[key] = self._value(kind(key), node, path(key))
            except Wrong as wrong:
                self._complain(wrong)
        return read


def _scalar(kind: Any, node: Node, reads: str) -> bool | int | float | str:  # noqa: ANN401
    if kind is bool:
        return scalars.truth(node)
    if kind in (int, float):
        return scalars.number(node, whole=kind is int)
    return scalars.text(node, reads)


_known_fields: dict[type[msgspec.Struct], dict[str, Any]] = {}


def _fields(cls: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields of a struct by their keys; resolving type hints is dear, so it is kept."""
    if cls not in _known_fields:
        _known_fields[cls] = {info.encode_name: info for info in msgspec.structs.fields(cls)}
    return _known_fields[cls]


def _of(cls: type[msgspec.Struct], node: MappingNode) -> str:
    """Which part lacks something, where that is not plain from the place."""
    tag = cls.__struct_config__.tag
    return f" (a {tag!r} step needs it)" if isinstance(tag, str) and tag in node.items else ""


def _list(words: Iterable[str]) -> str:
    return ", ".join(words)
