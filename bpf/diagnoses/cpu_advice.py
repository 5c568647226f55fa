"""What the functions of a profile say about where to save: symbols, rules, text, locks, memory.

Its promise: advice is given only where a function of that kind has a share worth naming, and the
share is told. Names are those of common libraries, runtimes and the kernel.

Not here: which cause it is (``cpu_causes``).
"""

from __future__ import annotations

import re

import msgspec

from bpf.diagnoses.cpu_facts import Facts
from bpf.diagnoses.wording import kept, share

#: Below this share of the samples a kind of work is not worth a word.
WORTH_SAYING = 0.1
#: A lock taken below a map's update is contended from this share of the samples on.
CONTENDED = 0.03


class Kind(msgspec.Struct, frozen=True):
    """A kind of work: what its functions are called, what it is in words, and what saves it."""

    names: re.Pattern[str]
    words: str
    saves: str


def _kind(names: str, words: str, saves: str) -> Kind:
    return Kind(re.compile(names, re.IGNORECASE), words, saves)


KINDS = (
    _kind(
        r"symbol|symtab|symcache|ksym|kallsyms|dwarf|elf_|_elf|libelf|bfd_|demangle|debuginfo|unwind|gopclntab",
        "looking up symbols",
        "keep symbols once they are found (by build id and address), and look them up only for what is shown",
    ),
    _kind(
        r"regex|regexp|pcre|re2::|hs_scan|yara|rule|evaluate|expr_|_match|fnmatch|strstr|aho_?corasick|lua_",
        "matching rules",
        "drop rules that never match, test the cheapest field first, and filter in the BPF program what all "
        "rules leave out",
    ),
    _kind(
        r"json|protobuf|proto\.|marshal|serializ|printf|strftime|format_|msgpack|encode",
        "writing events as text or messages",
        "write several events at once, and only those that somebody reads",
    ),
    _kind(
        r"deflate|zstd|lz4|snappy|gzip|compress", "compressing", "compress larger blocks, or at a lower level"
    ),
    _kind(
        r"malloc|calloc|realloc|^_?_?free$|cfree|mallocgc|scanobject|gcDrain|greyobject|arena|tcache|_int_free",
        "allocating and freeing memory",
        "use the events where they lie in the ring, and keep buffers instead of making new ones",
    ),
    _kind(
        r"proc_pid|seq_read|path_openat|do_sys_open|getdents|readlink|link_path_walk|/proc",
        "reading files for each event",
        "ask once per process and keep the answer, or let the BPF program take it along",
    ),
    _kind(
        r"futex|pthread_mutex|lll_lock|mutex_lock|sync\.\(\*Mutex|osq_lock|rwsem",
        "waiting for locks of its own",
        "hand events on in batches, so that a lock is taken once for many",
    ),
)

RESTS = "let the reader rest between two looks, and take many events at each: a poll deadline, larger batches"

_LOCK = re.compile(r"spin_lock|queued_spin|rqspinlock|raw_spin")
_MAP = re.compile(r"map_update|map_delete|htab_|_hash_update|lru_|bpf_map_")
PER_CPU = (
    "count in per-CPU maps (BPF_MAP_TYPE_PERCPU_HASH, PERCPU_ARRAY) and add up when they are read: "
    "then no CPU waits for another"
)


def of_functions(f: Facts) -> tuple[str, ...]:
    """One sentence for each kind of work that the profile shows."""
    found = []
    for kind in KINDS:
        mine = [one for one in f.functions if kind.names.search(one.name)]
        part = sum(one.share for one in mine)
        if part >= WORTH_SAYING:
            found.append(f"{share(part)} of it is {kind.words} ({mine[0].name}): {kind.saves}")
    return tuple(found)


def contention(f: Facts) -> str:
    """A sentence when CPUs wait for each other in updates of a BPF map; else nothing."""
    whole = sum(samples for _, samples in f.stacks)
    waiting = sum(samples for stack, samples in f.stacks if _LOCK.search(stack) and _MAP.search(stack))
    if not whole or waiting / whole < CONTENDED:
        return ""
    return f"{share(waiting / whole)} of the samples wait for a lock in a BPF map's update: {PER_CPU}"


def of_programs(f: Facts, fruitful: float | None) -> tuple[str, ...]:
    """What saves time in a BPF program.

    Args:
        f: The facts.
        fruitful: Share of the hottest program's runs that may have made an event; None when not known.
    """
    hottest = f.hottest
    if hottest is None:
        return ()
    idle = fruitful is not None and fruitful < 0.5
    return kept(
        f"{share(1 - (fruitful or 0.0))} of its runs make no event: test what it is not interested in first, "
        "before any work, or attach it where fewer pass"
        if idle
        else "",
        "split it with tail calls, so that the dear part runs only for what passed the tests"
        if hottest.price >= 1e-6
        else "",
        contention(f),
    )
