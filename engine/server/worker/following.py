"""The stream of a run as it goes on: first what was missed, then what comes.

One promise: every event once, in order, without a gap between the past and the present.

Not here: who follows (``hub``), where news comes from (``tail``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from engine.server.messages import Answer, Follow, Happened
from engine.server.worker import reads
from engine.server.worker.keeper import Keeper
from engine.server.worker.reads import Reads


async def follow(asked: Follow, keeper: Keeper, looking: Reads) -> AsyncGenerator[Answer, None]:
    """What happens to a run, or to all of them, until whoever follows has gone or is too slow."""
    with keeper.hub.follow(asked.run) as inbox:
        keeper.wake()
        last = asked.after
        if asked.run:
            for missed in await looking.do(lambda sight: reads.missed(asked.run, asked.after, sight)):
                last = missed.seq
                yield missed
        while (news := await inbox.get()) is not None:
            if isinstance(news, Happened) and news.seq:
                if news.seq <= last:
                    continue
                last = news.seq
            yield news
