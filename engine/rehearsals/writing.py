"""Case documents as YAML that people read and our own loader reads back the same.

One promise: every value comes back as it went in: a text that would be taken for a number, a size
or a truth value is quoted.

Not here: what stands in them (``engine.rehearsals.recording``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.language.scalars import looks_plain

_WIDTH = 110
_SCHEMA = "# yaml-language-server: $schema={}\n"


def text_of(document: Mapping[str, Any], *, comment: str = "", schema: str = "") -> str:
    """A case as a YAML document.

    Args:
        document: Plain data.
        comment: Lines for its head.
        schema: Where editors find the schema of cases.
    """
    import yaml  # noqa: PLC0415 - 11 ms, only to write

    class Dumper(yaml.SafeDumper):
        """Block style above, one line for what is innermost."""

        def represent_sequence(self, tag: str, items: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401
            """On one line when it holds nothing but scalars."""
            node = super().represent_sequence(tag, items, flow_style)
            node.flow_style = all(isinstance(one, yaml.ScalarNode) for one in node.value)
            return node

        def represent_mapping(self, tag: str, pairs: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401
            """The same."""
            node = super().represent_mapping(tag, pairs, flow_style)
            node.flow_style = all(isinstance(value, yaml.ScalarNode) for _, value in node.value)
            return node

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401, ARG002 - PyYAML's signature
            """Write everything out."""
            return True

    def as_text(dumper: Any, words: str) -> Any:  # noqa: ANN401 - PyYAML's own types
        style = None if looks_plain(words) else "|" if "\n" in words else '"'
        return dumper.represent_scalar("tag:yaml.org,2002:str", words, style=style)

    def as_number(dumper: Any, value: float) -> Any:  # noqa: ANN401
        if value.is_integer() and abs(value) < 1e15:
            return dumper.represent_int(int(value))
        words = repr(value)  # 1e-05 is no number to YAML, 1.0e-05 is
        words = words.replace("e", ".0e") if "e" in words and "." not in words else words
        return dumper.represent_scalar("tag:yaml.org,2002:float", words)

    Dumper.add_representer(str, as_text)
    Dumper.add_representer(float, as_number)
    Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)
    head = _SCHEMA.format(schema) if schema else ""
    head += "".join(f"# {line}\n" for line in comment.splitlines())
    dumped: str = yaml.dump(
        dict(document),
        Dumper=Dumper,
        default_flow_style=False,
        sort_keys=False,
        width=_WIDTH,
        allow_unicode=True,
    )
    return head + dumped
