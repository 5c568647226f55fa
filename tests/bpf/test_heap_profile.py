"""Heap profiles: the two formats, damage, and growth between two of them."""

from __future__ import annotations

import gzip
import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bpf.memory import heap_growth, pprof
from bpf.memory.pprof import BadProfile, Profile, Sample
from bpf.probes.heap_profile import HeapProfile
from engine.clock import Cancel, SystemClock
from engine.running.looking import Missed, Request, View, look
from engine.testing import check_probe
from engine.values import Evidence, Process, Target

KINDS = ("alloc_objects", "alloc_space", "inuse_objects", "inuse_space")
RATE = 524288
TEXT = """\
heap profile: 1: 524288 [2: 1048576] @ heap/1048576
1: 524288 [2: 1048576] @ 0x10 0x20
#\t0x10\tmain.remember+0x1c\t/src/main.go:12
#\t0x20\tmain.main+0x2\t/src/main.go:30

# runtime.MemStats
# HeapIdle = 9000
# HeapReleased = 4000
# NumGC = 3
"""


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = b""
    while number > 0x7F:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def part(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def written(stacks: dict[tuple[str, ...], tuple[int, int, int, int]], *, packed: bool = True) -> bytes:
    """A profile as the format's description says, written by a hand other than the reader's."""
    strings = ["", *KINDS, *sorted({name for stack in stacks for name in stack})]
    out = b"".join(part(1, number(1, strings.index(kind)) + number(2, 0)) for kind in KINDS)
    for index, name in enumerate(strings[5:], 1):
        out += part(4, number(1, index) + number(3, 0x1000 + index) + part(4, number(1, index)))
        out += part(5, number(1, index) + number(2, strings.index(name)))
    for stack, values in stacks.items():
        places = [strings.index(name) - 4 for name in stack]
        if packed:
            body = part(1, b"".join(map(varint, places))) + part(2, b"".join(map(varint, values)))
        else:
            body = b"".join(number(1, place) for place in places) + b"".join(number(2, one) for one in values)
        out += part(2, body)
    out += b"".join(part(6, name.encode()) for name in strings)
    return out + number(12, RATE)


LEAKY = {
    ("main.leak", "main.main"): (9, 9 << 20, 8, 8 << 20),
    ("main.load", "main.main"): (1, 1 << 20, 1, 1 << 20),
}


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("pack", [gzip.compress, bytes])
def test_a_profile_is_read_packed_or_not_compressed_or_not(packed, pack):
    """Writers differ in both."""
    found = pprof.read(pack(written(LEAKY, packed=packed)))
    assert found.samples == (
        Sample(("main.leak", "main.main"), 8 << 20, 8, 9 << 20),
        Sample(("main.load", "main.main"), 1 << 20, 1, 1 << 20),
    )
    assert (found.format, found.sample_bytes) == ("pprof", RATE)


def test_the_text_is_scaled_as_gos_own_tool_does():
    """One sampled allocation of the rate's size stands for 1 / (1 - 1/e) of them."""
    found = pprof.read(TEXT.encode())
    assert found.samples == (Sample(("main.remember", "main.main"), 829411, 2, 1658823),)
    assert found.statistics == {"HeapIdle": 9000, "HeapReleased": 4000, "NumGC": 3}


def test_addresses_without_names_stay_addresses():
    """gperftools gives no names: a place in the program is better than nothing."""
    found = pprof.read(b"heap profile: 1: 8 [1: 8] @ heapprofile\n 1: 8 [1: 8] @ 0xabc 0xdef\n")
    assert found.samples == (Sample(("0xabc", "0xdef"), 8, 1, 8),)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "no pprof profile"),
        (b"<html>not found</html>", "profile|cut off"),
        (gzip.compress(b"hello, hello"), "cut off|no pprof"),
        (gzip.compress(written(LEAKY))[:-30], "cut off|damaged"),
        (b"\x1f\x8b" + bytes(40), "compression is damaged"),
        (written(LEAKY)[:-7], "cut off"),
        (part(1, number(1, 1)) + part(6, b"") + part(6, b"cpu"), "no heap profile .it holds: cpu"),
        (gzip.compress(bytes(17 << 20)), "larger than 16 MiB"),
    ],
)
def test_what_is_no_heap_profile_is_said_to_be_none(raw, why):
    """An address may answer with a login page, or a CPU profile."""
    with pytest.raises(BadProfile, match=why):
        pprof.read(raw)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damage_never_breaks_the_reader(data):
    """It comes from a process in trouble, over HTTP."""
    raw = bytearray(data.draw(st.sampled_from([written(LEAKY), TEXT.encode(), written(LEAKY, packed=False)])))
    for _ in range(data.draw(st.integers(0, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    with suppress(BadProfile):
        pprof.read(bytes(raw[:cut]))


def profile(**live: tuple[int, int]) -> Profile:
    """Function → live and ever allocated MiB."""
    samples = tuple(Sample((name,), now << 20, 1, ever << 20) for name, (now, ever) in live.items())
    return Profile(samples, "pprof", RATE, {})


def test_growth_within_the_sampling_error_is_none():
    """A busy heap's profile wanders by itself; a quiet one's growth of the same size is real."""
    first = profile(busy=(50, 1000), quiet=(50, 60))
    last = profile(busy=(60, 3000), quiet=(60, 70))
    found = {one.site: one.grows for one in heap_growth.by_function(first, last)}
    assert found == {"busy": False, "quiet": True}


def test_a_new_function_is_all_growth():
    """It was not in the first profile at all."""
    (top, *_) = heap_growth.by_function(profile(a=(5, 9)), profile(a=(5, 9), b=(20, 20)))
    assert (top.site, top.growth, top.grows) == ("b", 20 << 20, True)


class Pages(http.server.BaseHTTPRequestHandler):
    answers: list[bytes] = []  # noqa: RUF012 - set anew by each test

    def do_GET(self) -> None:
        page = TEXT.encode() if "debug=1" in self.path else self.answers.pop(0) if self.answers else b""
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/debug/pprof/heap"
    server.shutdown()
    server.server_close()


def looked(url: str) -> Evidence | Missed:
    target = Target(name="agent", ref="a", processes=(Process(pid=os.getpid()),), heap_url=url)
    cancel = Cancel()
    (answer,) = look(
        [Request(HeapProfile())], View(target=target, seconds=0.2, clock=SystemClock(cancel), cancel=cancel)
    )
    return answer


def test_two_profiles_over_http_give_growth_by_function(address):
    """The whole way, as an agent answers it."""
    grown = {**LEAKY, ("main.leak", "main.main"): (40, 40 << 20, 39, 39 << 20)}
    Pages.answers = [gzip.compress(written(LEAKY)), gzip.compress(written(grown))]
    answer = looked(address)
    assert isinstance(answer, Evidence)
    check_probe(HeapProfile(), answer)
    assert answer.readings["growing"].value is True
    assert (answer.text("top_site"), answer.number("top_site_share")) == ("main.leak", 1.0)
    assert answer.number("grown_bytes") == 31 << 20
    assert (answer.number("idle_bytes"), answer.number("collections")) == (5000, 3)
    assert answer.tables["sites"][0]["stack"] == "main.leak ← main.main"


def test_a_profile_that_did_not_move_is_said_to_be_old(address):
    """Without a garbage collection in the window, 'no growth' says nothing."""
    Pages.answers = [written(LEAKY), written(LEAKY)]
    answer = looked(address)
    assert answer.readings["refreshed"].value is False
    assert any("garbage collection" in note for note in answer.notes)


def test_an_address_that_gives_something_else_fails_with_the_way_to_see_it(address):
    """The operator must be able to look for himself."""
    Pages.answers = [b"<html>"]
    answer = looked(address)
    assert isinstance(answer, Missed)
    assert "curl" in answer.error.fix
    assert isinstance(refused := looked("http://127.0.0.1:1/heap"), Missed)
    assert "could not be fetched" in refused.error.problem
    assert isinstance(local := looked("file:///etc/passwd"), Missed)
    assert "no http address" in local.error.problem
