"""Following a queue: what happens, as it happens, in this process or another."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime
from time import monotonic

from mailgenius.errors import RedisUnavailable
from mailgenius.queue.event import Event, place
from mailgenius.queue.stream_async import BLOCK, Stream
from mailgenius.rt import aio as rt

__all__ = ["Events"]

_FIRST, _LONGEST = 0.05, 1.0  # seconds between two tries


class Events(Stream):
    """The part of a queue that tells what happens."""

    async def events(
        self, since: str | datetime | None = None, *, kinds: tuple[str, ...] = (), wait: float | None = None
    ) -> AsyncIterator[Event]:
        """``async for event in queue.events()``: what happens from now on, for as long as the loop goes on.

        ``since``: the ``cursor`` of the last event that was seen, by any process, or a time. ``kinds``: only these.
        ``wait``: ends when nothing has come for so many seconds. It waits on the server, on a connection of its own; one
        that is lost is made anew, and what happened meanwhile follows. The server keeps the last 10,000 or so events
        (``Policy.events``): who comes later than that misses some.

        Raises the errors of ``AsyncRedis.call`` if the server cannot be reached when it begins, or the link is closed.
        """
        after = await self._last_event() if since is None else place(since)
        heard, pause = monotonic(), _FIRST
        while True:
            left = BLOCK if wait is None else heard + wait - monotonic()
            if left <= 0:
                return
            try:
                found = await self._next_events(after, min(left, BLOCK))
            except RedisUnavailable:
                if self.redis.closed:
                    raise
                await rt.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - so that not all come at once
                pause = min(2 * pause, _LONGEST)
                continue
            pause = _FIRST
            for event in found:
                after = event.cursor
                if not kinds or event.kind in kinds:
                    heard = monotonic()
                    yield event
