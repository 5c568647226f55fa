"""A verifier's log, read: what it refused, at which instruction, with which registers.

One promise: only what the log says is told, and any text is accepted: without a verifier's log in
it, ``read`` gives None. Time is linear in the text.

Not here: what to do about it (``bpf.explain``), capturing logs (``bpf.probes.load_failures``).

Source: Linux kernel/bpf/verifier.c and kernel/bpf/log.c, formats of 4.14 to 6.18; the frame around a
log is libbpf's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

#: ``12: (61) r1 = *(u32 *)(r0 +0)   ; R0=map_value_or_null(...)``
_INSTRUCTION = re.compile(r"\s*(\d{1,7}): \(([0-9a-f]{2})\) ([^;]{1,200})(?:;(.{0,1000}))?")
_SOURCE = re.compile(r"\s*; ?(.{1,400})")
_STATE = re.compile(r"\s*(?:\d{1,7}: |from \d+ to \d+:? ?)?(?:frame\d+: ?)?(R\d+(?:_[rwD]{1,3})?=.{0,4000})")
_REGISTER = re.compile(
    r"\bR(\d{1,2})(?:_[rwD]{1,3})?=([\w.+-]{1,60}(?:\([^()]{0,400}(?:\([^()]{0,200}\)[^()]{0,200})?\))?)"
)
_END = re.compile(
    r"\s*(?:processed \d+ insns?|verification time \d+|stack depth \d|max_states|"
    r"-- END PROG LOAD LOG|libbpf: -- END)"
)
#: Heads the report that kernels from 7.x on put behind the complaint.
_REPORT = "Verification failed: "
_PROCESSED = re.compile(r"processed (\d+) insns?(?: \(limit (\d+)\))?")
_NAMED = re.compile(r"\bR(\d{1,2})\b")
_PREFIX = re.compile(r"^(?:libbpf: |level=\w+ msg=\"|\d{4}[-/]\S+ \S+ )")
#: Lines in a log that look like complaints and are part of every load or of the path that was taken.
_HARMLESS = re.compile(
    r"\s*(?:R1 type=ctx expected=fp|reg type unsupported for arg#|func#\d+ @\d+|arg#\d+ reference type\(|"
    r"last_idx|regs=|parent |mark_precise|verifying |validating |from \d+ to |propagating|Live regs|"
    r"\d+: safe|caller:|callee:|old state:|cur state:|returning from callee|"
    r"to caller at|btf_vmlinux is malformed|$)",
    re.IGNORECASE,
)


class Refusal(NamedTuple):
    """What a verifier's log says.

    Attributes:
        message: The verifier's complaint, as it stands; the last one of the log.
        line: Its index in the lines that were read.
        instruction: Number of the failing instruction; None where the log has none.
        code: That instruction, disassembled.
        source: The program's source line, where the log carries it.
        registers: Register number → state in the kernel's notation, at that instruction.
        processed, limit: Instructions processed, and the budget; 0 where it isn't told.
    """

    message: str
    line: int
    instruction: int | None = None
    code: str = ""
    source: str = ""
    registers: Mapping[int, str] = MappingProxyType({})
    processed: int = 0
    limit: int = 0

    def in_words(self) -> tuple[str, ...]:
        """The state of the registers that the complaint or the instruction names, in words."""
        named = dict.fromkeys(int(number) for number in _NAMED.findall(f"{self.message} {self.code.upper()}"))
        return tuple(
            f"R{number} is {describe(self.registers[number])}" for number in named if number in self.registers
        )


def read(text: str) -> Refusal | None:
    """The refusal in a text, or None when it holds no verifier's log.

    With several logs in one text the last refusal is told.
    """
    lines = text.split("\n")
    if not any(_INSTRUCTION.match(line[:2000]) or _PROCESSED.search(line[:2000]) for line in lines):
        return None
    return read_lines([line[:4000] for line in lines])


def read_lines(lines: Sequence[str]) -> Refusal | None:
    """As ``read``, of lines."""
    bare = [_PREFIX.sub("", line) for line in lines]
    ends = [index for index, line in enumerate(bare) if _END.match(line)]
    end = ends[-1] if ends else len(bare)
    reports = [index for index, line in enumerate(bare[:end]) if line.startswith(_REPORT)]
    if reports and not any(_INSTRUCTION.match(line) for line in bare[reports[-1] : end]):
        end = reports[-1]
        ends = ends or [end]
    last = next((index for index in range(end - 1, -1, -1) if _INSTRUCTION.match(bare[index])), None)
    complaints = [index for index in range(0 if last is None else last, end) if _is_message(bare[index])]
    if not complaints:
        complaints = [index for index in range(end) if _is_message(bare[index])][-1:]
    if not complaints:
        return None
    # before the statistics stands the complaint; without them the agent's own words follow it
    at = complaints[-1] if ends else complaints[0]
    place = last if last is not None and last <= at else None
    processed = next((found for line in bare[at:] if (found := _PROCESSED.search(line))), None)
    refusal = Refusal(
        message=bare[at].strip(),
        line=at,
        processed=int(processed[1]) if processed else 0,
        limit=int(processed[2] or 0) if processed else 0,
    )
    if place is None:
        return refusal
    step = _INSTRUCTION.match(bare[place])
    if step is None:  # matched just above; keeps the type checker's promise
        return refusal
    return refusal._replace(
        instruction=int(step[1]),
        code=step[3].strip(),
        source=_source(bare, place),
        registers=_registers(bare, place),
    )


def describe(state: str) -> str:
    """A register's state in words: ``map_value_or_null(id=1,…)`` → a map's value that may be NULL."""
    kind = re.split(r"[(\d+-]", state, maxsplit=1)[0].rstrip("_")
    for name, words in _KINDS:
        if kind.startswith(name) or (name.startswith("*") and kind.endswith(name[1:])):
            return words + _range(state)
    return f"{kind or state}{_range(state)}"


#: Beginning (or ``*`` end) of a type's name → words. Order matters: the longer first.
_KINDS = (
    ("map_value_or_null", "a map's value, or NULL: not yet compared with NULL"),
    ("*_or_null", "a pointer that may be NULL: not yet compared with NULL"),
    ("map_value", "a pointer to a map's value"),
    ("map_ptr", "a map"),
    ("ctx", "the context"),
    ("fp", "a pointer into the stack"),
    ("pkt_end", "the end of the packet"),
    ("pkt", "a pointer into the packet"),
    ("scalar", "a number"),
    ("inv", "a number"),
    ("imm", "a constant"),
    ("P", "a number"),
    ("untrusted_ptr", "a kernel pointer that is not trusted"),
    ("trusted_ptr", "a trusted kernel pointer"),
    ("rcu_ptr", "a kernel pointer valid under RCU"),
    ("ptr_", "a kernel pointer"),
    ("ringbuf_mem", "reserved ring buffer memory"),
    ("alloc_mem", "reserved memory"),
    ("mem", "memory of a known size"),
    ("sock", "a socket"),
)


def _range(state: str) -> str:
    """Offset and bounds of a state, in words."""
    said = []
    facts = dict(
        re.findall(
            r"\b(off|vs|r|umax_value|umax|smin_value|smin|smax_value|smax|umin_value|umin)=(-?\d+)", state
        )
    )
    if facts.get("off", "0") != "0":
        said.append(f"offset {facts['off']}")
    if "vs" in facts:
        said.append(f"{facts['vs']} bytes long")
    low = facts.get("smin") or facts.get("smin_value") or facts.get("umin") or facts.get("umin_value")
    high = facts.get("umax") or facts.get("umax_value") or facts.get("smax") or facts.get("smax_value")
    if low or high:
        said.append(f"between {low or 'any negative' if low else '0'} and {high or 'no proven bound'}")
    elif re.match(r"(?:scalar|inv)\((?:id=\d+)?\)$|(?:scalar|inv)\(\)$", state):
        said.append("with no proven bounds")
    return f" ({', '.join(said)})" if said else ""


def _is_message(line: str) -> bool:
    """Whether a line is a complaint: neither an instruction, a source line, a state nor a habit."""
    return not (
        _INSTRUCTION.match(line)
        or line.lstrip().startswith(";")
        or _STATE.match(line)
        or _HARMLESS.match(line)
        or _END.match(line)
        or "BEGIN PROG LOAD LOG" in line
    )


def _source(lines: Sequence[str], place: int) -> str:
    """The nearest source line above an instruction, within the instructions of one statement."""
    for index in range(place - 1, max(-1, place - 60), -1):
        found = _SOURCE.match(lines[index])
        if found and not lines[index].lstrip().startswith(";;"):
            return found[1].strip()
    return ""


def _registers(lines: Sequence[str], place: int) -> dict[int, str]:
    """What is known of each register before an instruction: the latest state of each, going back."""
    known: dict[int, str] = {}
    for index in range(place, max(-1, place - 80), -1):
        line = lines[index]
        step = _INSTRUCTION.match(line)
        state = (step[4] or "") if step and index < place else ""
        if step is None and (told := _STATE.match(line)):
            state = told[1]
        for number, value in _REGISTER.findall(state):
            known.setdefault(int(number), value)
        if step and index < place and step[2] == "85":
            for number in range(1, 6):  # a call leaves nothing in R1 to R5
                known.setdefault(number, "")
        if step is None and state.startswith("R") and len(known) > 2:
            break  # a full state: older ones are history
    return {number: state for number, state in known.items() if state}
