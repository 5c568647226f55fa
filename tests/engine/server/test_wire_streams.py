"""Streams on the local socket: nothing is held back, and they end."""

import asyncio

from engine.server import messages as m
from engine.server import wire


def told(answerer, do, tmp_path):
    async def both():
        server = await wire.serve(tmp_path / "s", answerer)
        line = wire.Line(tmp_path / "s", timeout_s=5)
        try:
            return await asyncio.wait_for(do(line), 10)
        finally:
            await line.close()
            server.close()

    return asyncio.run(both())


def test_what_happened_is_told_before_anything_else_happens(tmp_path):
    """A run that waits for an hour is seen to wait at once, not when the hour is over."""

    async def answer(_request, _token, _caller):
        yield m.Happened(run="r", state="waiting", seq=1)
        await asyncio.Event().wait()

    async def first(line):
        return await anext(line.stream(m.Follow(run="r")))

    assert told(answer, first, tmp_path).state == "waiting"


def test_a_stream_ends_where_the_worker_ends_it(tmp_path):
    """Whoever follows is not left waiting for what never comes."""

    async def answer(_request, _token, _caller):
        for number in range(3):
            yield m.Happened(run="r", state="running", seq=number)

    async def all_of(line):
        return [one.seq async for one in line.stream(m.Follow(run="r"))]

    assert told(answer, all_of, tmp_path) == [0, 1, 2]
