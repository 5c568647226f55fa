"""What a target asks of its allocator and does not give back, by the function that asked.

Its promise: within the watching every allocation is accounted for, its address, size, age and site,
until it is freed; and the price is bounded: past ``at_most`` probe hits a second it lets the target go at
once and tells of the time until then.

Each hit is a trap of the target: 1.2 µs on an idle machine, up to 7 µs on a virtual one under load;
malloc and its free are three. It is for minutes in which a leak is looked for, not for always. Stacks are
walked by frame pointers; the function that called the allocator is right without.

Not here: memory that the target maps for itself (``memory`` has it), allocators without symbols, Go's
(``heap-profile``).
Source: perf's uprobe events, kernel 4.17; x86-64 and arm64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

from bpf.libbpf import usable
from bpf.memory import outstanding
from bpf.memory.allocators import Found, allocators_of
from bpf.memory.following import Follower, sites
from bpf.memory.growth import growth
from bpf.memory.outstanding import Piece, Tally, Watched, since, together
from bpf.memory.telling import known
from bpf.probes.allocations_fields import FIELDS
from bpf.probes.asked import named
from bpf.stacks.address_space import AddressSpace
from bpf.stacks.naming import Naming, by_bcc
from bpf.system.procfs import PROC, alive, must_live
from engine.contracts import Window
from engine.errors import ProbeFailed
from engine.values import Evidence, Field, Series, Setting, Support, Target

_DEVICE = Path("/sys/bus/event_source/devices/uprobe")
_LOOK_EVERY_S = 0.05
_AT_MOST = 50_000
#: Hits beyond the budget are borne for this long: a burst is no reason to stop.
_GRACE_S = 0.5
_MOST_PROCESSES = 8


_FIX = "memory tells growth without it; with symbols in the executable (not stripped) this can look too"
_FIX_GO = "look with heap-profile: the profile's `heap` names its /debug/pprof/heap"
_GO = "it is a Go program: only what its C parts allocate is seen here"
_PRICE = "each malloc and free of the target took a few µs longer while it was watched"


class Allocations:
    """The probe ``allocations``."""

    name = "allocations"
    short = "alloc"
    summary = "Memory that is allocated and not freed, by function, with probes on the target's allocator"
    fields: Mapping[str, Field] = FIELDS
    options: Mapping[str, str] = {
        "one_in": "follow one of so many allocations (1); spares memory of ours, not traps of the target",
        "at_most": f"probe hits a second at which it stops by itself ({_AT_MOST}: 6 to 33 % of a core)",
    }
    needs_target = True
    cpu_ceiling = 0.2

    def __init__(self, proc: Path = PROC, device: Path = _DEVICE) -> None:
        self._proc, self._device = proc, device

    def supported(self, target: Target | None) -> Support:
        """Needs root, uprobes, and a target whose malloc can be found."""
        here = usable()
        if here.answer != "yes":
            return here
        if not self._device.exists():
            return Support(
                answer="no",
                why="this kernel has no uprobes (CONFIG_UPROBE_EVENTS), so allocations can't be watched",
                fix="memory tells growth without them; heap-profile where the agent has a heap profile",
            )
        if target is None:
            return Support(answer="yes", why="the kernel has uprobes")
        found = self._found(target)
        if any(one.allocators for one in found.values()):
            return Support(answer="yes", why="its malloc was found")
        why = next((one.why for one in found.values()), f"{target.name} has no running process")
        go = any(one.go for one in found.values())
        return Support(answer="no", why=why, fix=_FIX_GO if go else _FIX)

    def _found(self, target: Target) -> dict[AddressSpace, Found]:
        spaces = [AddressSpace.read(pid, self._proc) for pid in alive(target, self._proc)[:_MOST_PROCESSES]]
        return {space: allocators_of(space, self._proc) for space in spaces}

    def collect(self, target: Target | None, window: Window) -> Evidence:
        """Watch until the window ends or the budget is used up."""
        target = named(target, self.name)
        one_in, at_most = _count(window.options, "one_in", 1), _count(window.options, "at_most", _AT_MOST)
        found = {space: one for space, one in self._found(target).items() if one.allocators}
        if not found:
            must_live(target, self._proc)
            raise ProbeFailed(f"no allocator of {target.name} can be watched", fix=_FIX)
        with ExitStack() as stack:
            followers = [
                stack.enter_context(Follower(space, one.allocators, one_in)) for space, one in found.items()
            ]
            started_at = window.begin()
            refused = [follower.attach() for follower in followers]
            watch = _Watch(followers, window, lambda: must_live(target, self._proc))
            enough = watch.go(at_most)
            for follower in followers:
                follower.stop()
            must_live(target, self._proc)
            naming = Naming({follower.space.pid: follower.space for follower in followers}, by_bcc)
            seen = watch.seen(naming, one_in)
        go = any(one.go for one in found.values())
        names = sorted({allocator.name for one in found.values() for allocator in one.allocators})
        return Evidence(
            probe=self.name,
            short=self.short,
            target=target.name,
            started_at=started_at,
            ended_at=window.clock.now(),
            readings=outstanding.readings(seen, ", ".join(names)) | {"go": known(go, "", "its files")},
            series={"outstanding": watch.series(one_in)},
            tables={"sites": outstanding.rows(seen)},
            notes=(
                _PRICE,
                *([f"{_GO}; fix: {_FIX_GO}"] if go else []),
                *([f"it stopped by itself after {seen.seconds:.2f} s: {enough}"] if enough else []),
                *(f"not watched: {name}: {why}" for part in refused for name, why in part.items()),
                *naming.notes,
            ),
        )


class _Watch:
    """The watching of one window: looks at the counts, and when to stop."""

    def __init__(self, followers: list[Follower], window: Window, must_live: Callable[[], None]) -> None:
        self._must_live = must_live
        self._followers, self._window = followers, window
        self._began = window.clock.monotonic()
        self._looks = [(self._began, window.clock.now(), self._tally())]

    def _tally(self) -> Tally:
        return together([follower.tally() for follower in self._followers])

    def go(self, at_most: int) -> str:
        """Until the window ends (then empty), or a bound is reached: which, and what allows more."""
        for at in self._window.ticks(_LOOK_EVERY_S):
            self._must_live()
            now, tally = self._window.clock.monotonic(), self._tally()
            self._looks.append((now, at, tally))
            self._window.show("not freed", tally.followed - tally.freed, "bytes")
            if tally.hits - self._looks[0][2].hits > at_most * (now - self._began + _GRACE_S):
                return f"more than {at_most} probe hits a second; `with: {{at_most: N}}` allows more"
            if tally.no_room:
                return "our table of 262,144 pieces is full; `with: {one_in: 10}` watches ten times as long"
        return ""

    def seen(self, naming: Naming, one_in: int) -> Watched:
        """What was counted, with names. The counts at the beginning are left out."""
        ends, _, tally = self._looks[-1]
        pieces: list[Piece] = []
        for follower in self._followers:
            raw = [one for one in follower.pieces() if self._began <= one.born <= ends]
            names = sites((one.stack for one in raw), follower.space.pid, naming)
            pieces += [Piece(one.bytes, one.born - self._began, names[one.stack]) for one in raw]
        known = all(follower.sizes_known for follower in self._followers)
        held = [(at, float(_signed(look.held - look.released))) for at, _, look in self._looks]
        return Watched(
            pieces=pieces,
            tally=since(self._looks[0][2], tally),
            seconds=max(1e-3, ends - self._began),
            one_in=one_in,
            net=growth(held) if known else None,
        )

    def series(self, one_in: int) -> Series:
        """What was followed and is not freed, over time."""
        return Series(
            label="not freed",
            unit="bytes",
            times=tuple(at for _, at, _ in self._looks),
            values=tuple(float(_signed(look.followed - look.freed)) * one_in for _, _, look in self._looks),
        )


def _signed(word: int) -> int:
    """A difference of two 64-bit counts that wrapped around."""
    word %= 1 << 64
    return word - (1 << 64) if word >> 63 else word


def _count(options: Mapping[str, Setting], name: str, otherwise: int) -> int:
    """A whole number above zero."""
    given = options.get(name)
    if given is None:
        return otherwise
    if isinstance(given, bool) or not isinstance(given, int | float) or given < 1 or given != int(given):
        raise ProbeFailed(
            f"`{name}: {given}` is no whole number above zero", fix=f"for example {name}: {otherwise}"
        )
    return int(given)
