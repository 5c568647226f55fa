"""Requests on the local socket: each gets an answer, whatever breaks; a living worker keeps its socket."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.server import messages as m
from engine.server import wire


def told(answerer, do, place):
    """What ``do`` gets from a worker with this answerer, and what was told of failures."""
    failures = []

    async def both():
        server = await wire.serve(
            place / "s", answerer, failed=lambda asked, error: failures.append((asked, error))
        )
        line = wire.Line(place / "s", timeout_s=5)
        try:
            return await asyncio.wait_for(do(line), 20)
        finally:
            await line.close()
            server.close()

    return asyncio.run(both()), failures


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), ConnectionResetError(), OSError(28, "full")])
def test_whoever_asks_is_answered_though_the_worker_breaks(tmp_path, error):
    """With a `No` that tells nothing of what it held; the log gets the error."""

    async def answer(_request, _token, _caller):
        raise error
        yield

    answered, failures = told(answer, lambda line: line.ask(m.WhoAmI()), tmp_path)

    assert answered == wire.BROKEN
    assert failures == [(m.WhoAmI(), error)]


def test_a_stream_that_breaks_says_so_and_ends(tmp_path):
    """Whoever follows is not left waiting."""

    async def answer(_request, _token, _caller):
        yield m.Happened(run="r", state="running", seq=1)
        raise ZeroDivisionError

    async def all_of(line):
        return [one async for one in line.stream(m.Follow(run="r"))]

    answered, _ = told(answer, all_of, tmp_path)

    assert [type(one) for one in answered] == [m.Happened, m.No]


def test_an_answer_that_is_too_long_is_a_no_and_leaves_the_others_alone(tmp_path, monkeypatch):
    """The connection stays: what else is under way on it is answered."""
    monkeypatch.setattr(wire, "MAX_FRAME", 10_000)
    go_on = asyncio.Event()

    async def answer(request, _token, _caller):
        if isinstance(request, m.GetRuns):
            go_on.set()
            yield m.Done(sentence="x" * 20_000)
        else:
            await go_on.wait()
            yield m.Done(sentence="short")

    async def both(line):
        return await asyncio.gather(line.ask(m.WhoAmI()), line.ask(m.GetRuns()))

    (short, long), _ = told(answer, both, tmp_path)

    assert short == m.Done(sentence="short")
    assert isinstance(long, m.No)
    assert "MiB" in long.problem


def test_a_request_that_is_too_long_never_leaves(tmp_path, monkeypatch):
    """Whoever wanted to send it is told; the line goes on."""
    monkeypatch.setattr(wire, "MAX_FRAME", 10_000)

    async def answer(_request, _token, _caller):
        yield m.Done(sentence="here")

    async def both(line):
        with pytest.raises(UsageError):
            await line.ask(m.StartRun(runbook="x" * 20_000))
        return await line.ask(m.WhoAmI())

    assert told(answer, both, tmp_path)[0] == m.Done(sentence="here")


def test_a_socket_on_which_another_worker_answers_is_left_to_it(tmp_path):
    """The second one is told which option gives another place."""

    async def answer(_request, _token, _caller):
        yield m.Done(sentence="the first")

    async def second(line):
        with pytest.raises(UsageError) as error:
            await wire.serve(tmp_path / "s", answer)
        assert "--socket" in error.value.fix
        return await line.ask(m.WhoAmI())

    assert told(answer, second, tmp_path)[0] == m.Done(sentence="the first")


def test_a_socket_whose_worker_was_killed_is_replaced(tmp_path):
    """A restart needs nobody to clean up."""
    code = "import os, socket, sys; s = socket.socket(1); s.bind(sys.argv[1]); s.listen(); os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s")], check=False)
    assert (tmp_path / "s").is_socket()

    async def answer(_request, _token, _caller):
        yield m.Done(sentence="here")

    assert told(answer, lambda line: line.ask(m.WhoAmI()), tmp_path)[0] == m.Done(sentence="here")


def test_a_file_that_is_no_socket_is_not_taken_away(tmp_path: Path):
    """A wrong `--socket` costs nobody a file."""
    (tmp_path / "s").write_text("mine")

    async def answer(_request, _token, _caller):
        yield m.Done(sentence="here")

    with pytest.raises(UsageError, match="can't be made"):
        asyncio.run(wire.serve(tmp_path / "s", answer))
    assert (tmp_path / "s").read_text() == "mine"


def test_a_request_that_can_not_be_read_ends_nobody_elses(tmp_path):
    """NaN is no JSON: whoever sends it gets `No`, and what else is under way on the line goes on."""

    async def answer(_request, _token, _caller):
        await asyncio.sleep(0.2)
        yield m.Done(sentence="done")

    async def both(line):
        wrong = m.ChangeLease(run="r", attempt=1, do="extend", seconds=float("nan"))
        return await asyncio.gather(line.ask(m.WhoAmI()), line.ask(wrong))

    (good, no), _ = told(answer, both, tmp_path)

    assert good == m.Done(sentence="done")
    assert isinstance(no, m.No)
