"""Named stacks counted: by function, by thread, folded; and the readings of ``cpu-profile``.

Its promise: every share is of all samples, so user, kernel and BPF programs make one together; a
function counts once in a stack, however often it calls itself.

Folded stacks are the common format: outermost first, joined by ``;``, kernel functions marked ``_[k]``.
Not here: taking samples, naming, drawing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from bpf.stacks.naming import Frame, Stack
from bpf.stacks.programs import Code
from engine.values import Reading, Scalar

#: Rows that are kept of each table, and what folded stacks may take in the journal.
_MOST_FUNCTIONS, _MOST_STACKS, _MOST_BYTES = 60, 2000, 400_000
_RARE = "[rarer stacks]"
OTHER = " (other process)"

Rows = tuple[dict[str, Scalar], ...]


class Profile(NamedTuple):
    """Stacks of one window, ready to be told.

    Attributes:
        programs: Code of the target's BPF programs; empty when not known.
        known: Whether it is known which samples are of its programs: it has none, or their code is known.
    """

    stacks: Sequence[Stack]
    programs: Sequence[Code]
    known: bool

    @property
    def samples(self) -> int:
        """All of them."""
        return sum(stack.sample.samples for stack in self.stacks)


def program_of(stack: Stack, programs: Sequence[Code]) -> Code | None:
    """The target's BPF program that a stack is in, the innermost one; None for none."""
    for address in stack.sample.kernel:
        for code in programs:
            if code.start <= address < code.end:
                return code
    return None


def keep(profile: Profile) -> Profile:
    """Without the stacks of other processes that only passed near the target's programs."""
    kept = [stack for stack in profile.stacks if stack.sample.pid or program_of(stack, profile.programs)]
    return profile._replace(stacks=kept)


def folded(profile: Profile) -> Rows:
    """Each different stack with its samples, most first; the rare ones of many are made into one a thread."""
    counted: Counter[str] = Counter()
    rare: Counter[str] = Counter()
    for stack in profile.stacks:
        counted[_line(stack)] += stack.sample.samples
    rows: list[dict[str, Scalar]] = []
    room = _MOST_BYTES
    for line, samples in counted.most_common():
        room -= len(line)
        if room < 0 or len(rows) >= _MOST_STACKS:
            rare[f"{line.partition(';')[0]};{_RARE}"] += samples
        else:
            rows.append({"folded": line, "samples": samples})
    rows += [{"folded": line, "samples": samples} for line, samples in rare.items()]
    return tuple(rows)


def functions(profile: Profile) -> Rows:
    """The functions by their own share, then by their share with what they called."""
    own: Counter[Frame] = Counter()
    total: Counter[Frame] = Counter()
    for stack in profile.stacks:
        for frame in set(stack.frames):
            total[frame] += stack.sample.samples
        if stack.frames:
            own[stack.frames[0]] += stack.sample.samples
    whole = profile.samples or 1
    ranked = sorted(total, key=lambda frame: (own[frame], total[frame]), reverse=True)
    return tuple(
        {
            "function": frame.function,
            "module": frame.module,
            "kind": frame.kind,
            "self_share": own[frame] / whole,
            "total_share": total[frame] / whole,
        }
        for frame in ranked[:_MOST_FUNCTIONS]
    )


def threads(profile: Profile) -> Rows:
    """The target's threads by share; what ran in other processes is one row each."""
    counted: Counter[tuple[str, int]] = Counter()
    for stack in profile.stacks:
        counted[_thread(stack), stack.sample.tid] += stack.sample.samples
    whole = profile.samples or 1
    return tuple(
        {"thread": name, "tid": tid, "share": samples / whole}
        for (name, tid), samples in counted.most_common(_MOST_FUNCTIONS)
    )


def readings(profile: Profile) -> dict[str, Reading]:
    """Shares and tops."""
    none = "no sample was taken: the target used no CPU in the window" if not profile.samples else ""
    return {
        **_shares(profile, none),
        **_top(profile, none),
        **_top_program(profile, none),
    }


def _shares(profile: Profile, none: str) -> dict[str, Reading]:
    whole = profile.samples or 1
    spent: Counter[str] = Counter()
    unnamed = single = 0
    for stack in profile.stacks:
        count = stack.sample.samples
        program = program_of(stack, profile.programs)
        spent["bpf" if program else "kernel" if stack.sample.kernel else "user"] += count
        unnamed += count * (not stack.frames or not stack.frames[0].named)
        single += count * (len(stack.sample.user) == 1 and not stack.sample.kernel)
    hidden = "" if profile.known else "the kernel does not tell where its programs' code lies"
    user = spent["user"]
    return {
        "user_share": _share(user / whole, none),
        "kernel_share": _share(spent["kernel"] / whole, none),
        "bpf_share": _share(spent["bpf"] / whole, none or hidden),
        "unresolved_share": _share(unnamed / whole, none),
        "one_frame_share": _share(
            single / user if user else None, none or ("" if user else "no sample in its own code")
        ),
    }


def _share(value: float | None, missing: str) -> Reading:
    if missing or value is None:
        return Reading(unit="share", missing=missing)
    return Reading(value=value, unit="share", source="stacks")


def _top(profile: Profile, none: str) -> dict[str, Reading]:
    """The function with most samples of its own: of all, of the process, of the kernel."""
    own: dict[Frame, int] = Counter()
    for stack in profile.stacks:
        if stack.frames:
            own[stack.frames[0]] += stack.sample.samples
    found: dict[str, Reading] = {}
    for prefix, share, kinds in (
        ("top_function", "top_function_share", ("user", "kernel", "bpf")),
        ("top_user_function", "top_user_share", ("user",)),
        ("top_kernel_function", "top_kernel_share", ("kernel",)),
    ):
        names = _by_name(own, kinds)
        missing = none or ("" if names else f"no sample in {kinds[0]} functions")
        name, count = max(names.items(), key=lambda item: item[1], default=("", 0))
        found[prefix] = (
            Reading(missing=missing) if missing else Reading(value=name, source="most samples of its own")
        )
        found[share] = _share(count / (profile.samples or 1), missing)
    return found


def _by_name(own: Mapping[Frame, int], kinds: Sequence[str]) -> dict[str, int]:
    names: Counter[str] = Counter()
    for frame, count in own.items():
        if frame.kind in kinds:
            names[frame.function] += count
    return names


def _top_program(profile: Profile, none: str) -> dict[str, Reading]:
    counted: Counter[str] = Counter()
    for stack in profile.stacks:
        if program := program_of(stack, profile.programs):
            counted[program.label] += stack.sample.samples
    label, count = counted.most_common(1)[0] if counted else ("", 0)
    missing = none or ("" if counted else "no sample in its BPF programs")
    return {
        "top_program": Reading(missing=missing) if missing else Reading(value=label, source="stacks"),
        "top_program_share": _share(count / (profile.samples or 1), missing),
    }


def _thread(stack: Stack) -> str:
    return stack.sample.comm + ("" if stack.sample.pid else OTHER)


def _line(stack: Stack) -> str:
    return ";".join([_clean(_thread(stack)), *(_word(frame) for frame in reversed(stack.frames))])


def _word(frame: Frame) -> str:
    return _clean(frame.function) + ("_[k]" if frame.kind == "kernel" else "")


def _clean(name: str) -> str:
    """A name without what the folded format keeps for itself."""
    return "".join(mark if mark.isprintable() else "?" for mark in name.replace(";", ":")) or "?"
