"""Following all shards at once: a reader for each, and one row of what they have read."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime
from time import monotonic

import msgspec

from mailgenius.errors import MailgeniusError, RedisUnavailable
from mailgenius.queue.event import Event, place
from mailgenius.queue.sharded.base_async import Base
from mailgenius.queue.sharded.shard_async import AsyncShard
from mailgenius.queue.shards import cursors
from mailgenius.queue.stream_async import BLOCK
from mailgenius.rt import aio as rt

__all__ = ["Following"]

_FIRST, _LONGEST = 0.05, 1.0  # seconds between two tries


class Reader:
    """Of one shard. ``found``: what it has read; it reads on when that was taken."""

    def __init__(self, shard: AsyncShard, after: str, news: rt.Event) -> None:
        self._shard, self._news = shard, news
        self.after = after  # of what was taken
        self.found: list[Event] = []
        self.error: MailgeniusError | None = None
        self.taken = rt.Event()
        self.closed = False

    async def read(self) -> None:
        """Until nobody listens any more."""
        after, pause = self.after, _FIRST
        while not self.closed:
            try:
                found = await self._shard._next_events(after)
            except RedisUnavailable as error:
                if self._shard.redis.closed:
                    self._end(error)
                    return
                await rt.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
                pause = min(2 * pause, _LONGEST)
                continue
            except MailgeniusError as error:
                self._end(error)
                return
            pause = _FIRST
            if found:
                after = found[-1].cursor
                self.taken.clear()
                self.found = found
                self._news.set()
                while not self.closed and not await rt.wait(self.taken, BLOCK):
                    pass

    def _end(self, error: MailgeniusError) -> None:
        self.error = error
        self._news.set()


class Following(Base):
    """The part of a sharded queue that tells what happens."""

    async def events(
        self, since: str | datetime | None = None, *, kinds: tuple[str, ...] = (), wait: float | None = None
    ) -> AsyncIterator[Event]:
        """As ``AsyncQueue.events``: each shard's in its order, as they arrive. A ``cursor`` says the place in each."""
        await self._agree("ask")
        if since is None:
            places = await self._all([shard._last_event for shard in self.shards])
        else:
            text = place(since)
            places = cursors(text, len(self.shards)) if since is text else [text] * len(self.shards)
        news = rt.Event()
        readers = [Reader(shard, after, news) for shard, after in zip(self.shards, places, strict=True)]
        for reader in readers:
            rt.spawn(reader.read)
        heard = monotonic()
        try:
            while True:
                news.clear()
                for number, reader in enumerate(readers):
                    found, reader.found = reader.found, []
                    ids = self.shards[number].ids
                    for event in found:
                        reader.after = event.cursor
                        if not kinds or event.kind in kinds:
                            heard = monotonic()
                            cursor = ",".join(one.after for one in readers)
                            yield msgspec.structs.replace(event, ids=tuple(ids + id for id in event.ids), cursor=cursor)
                    if found:
                        reader.taken.set()
                    if reader.error is not None:
                        raise reader.error
                left = BLOCK if wait is None else heard + wait - monotonic()
                if left <= 0:
                    return
                await rt.wait(news, min(left, BLOCK))
        finally:
            for reader in readers:
                reader.closed = True
                reader.taken.set()
