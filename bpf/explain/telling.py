"""The answer to ``runbook explain``, as text and as JSON.

Not here: finding it (``scoring``, ``bpf.verifier``).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from bpf import verifier
from bpf.explain.reading import Text
from engine.values import Cause

#: How many causes are told in full when not all are asked for.
TOLD = 3
#: A further cause is told in full only from this confidence.
ALSO_LIKELY = 0.05
_LABEL = 9


class Answer(NamedTuple):
    """Ranked causes, what the verifier's log says, and what was left out.

    Attributes:
        refusal: What a verifier's log in the text says, or None.
    """

    causes: tuple[Cause, ...]
    refusal: verifier.Refusal | None
    notes: tuple[str, ...]

    @classmethod
    def of(cls, causes: tuple[Cause, ...], text: Text, raw: str) -> Answer:
        """From the causes and the text, of which the verifier's log is read unabridged."""
        refusal = verifier.read(raw) if text.is_verifier_log else None
        return cls(causes, refusal, text.notes)

    def as_json(self) -> dict[str, Any]:
        """``{"causes": [{"name", "confidence", "because", "fix", …}], "verifier": …, "notes": […]}``."""
        found: dict[str, Any] = {
            "causes": [
                {
                    "name": cause.name,
                    "confidence": cause.confidence,
                    "because": list(cause.speaks_for),
                    "fix": cause.fix,
                    "means": cause.sentence,
                    "against": list(cause.speaks_against),
                    "settles": cause.settles,
                }
                for cause in self.causes
            ]
        }
        if self.refusal is not None:
            found["verifier"] = {
                "message": self.refusal.message,
                "instruction": self.refusal.instruction,
                "code": self.refusal.code,
                "source": self.refusal.source,
                "registers": list(self.refusal.in_words()),
            }
        if self.notes:
            found["notes"] = list(self.notes)
        return found

    def as_text(self, *, everything: bool = False) -> str:
        """For a terminal."""
        lines: list[str] = []
        if not self.causes:
            lines.append("No known cause speaks in this text.")
            lines.append("  give more of the log; runbook look load-failures sees the call itself")
        for place, cause in enumerate(self.causes):
            if not everything and (place >= TOLD or (place and cause.confidence < ALSO_LIKELY)):
                rest = ", ".join(f"{other.name} {other.confidence:.0%}" for other in self.causes[place:])
                lines.append(f"less likely: {rest}")
                break
            lines += _cause(cause, everything=everything)
        if self.refusal is not None and self.refusal.instruction is not None:
            lines += _refusal(self.refusal)
        lines += [f"note: {note}" for note in self.notes]
        return "\n".join(lines)


def _cause(cause: Cause, *, everything: bool) -> list[str]:
    lines = [f"{cause.name} ({cause.confidence:.0%}): {cause.sentence}"]
    lines += _labelled("because", cause.speaks_for)
    lines += _labelled("against", cause.speaks_against)
    lines += _labelled("fix", (cause.fix,))
    lines += _labelled("settles", (cause.settles,))
    if everything:
        lines += _labelled("points", cause.arithmetic)
    return [*lines, ""]


def _refusal(refusal: verifier.Refusal) -> list[str]:
    lines = [f"the verifier refused instruction {refusal.instruction}: {refusal.code}"]
    lines += _labelled("it says", (refusal.message,))
    lines += _labelled("source", (refusal.source,) if refusal.source else ())
    lines += _labelled("there", refusal.in_words())
    return lines


def _labelled(label: str, texts: tuple[str, ...]) -> list[str]:
    return [f"  {label if not place else '':{_LABEL}}{text}" for place, text in enumerate(texts)]
