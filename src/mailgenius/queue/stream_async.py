"""Reading the stream of events: waits on the server, never asks again and again."""

from __future__ import annotations

from typing import Any

from mailgenius.queue.base_async import Base
from mailgenius.queue.event import Event, events_of

__all__ = ["Stream"]

BLOCK = 5.0  # seconds that one call waits
SLACK = 5.0  # and how much later than that its reply may come until the connection is held for dead
MOST = 1000  # events of one call


class Stream(Base):
    """The part of a queue that reads what happened."""

    async def _last_event(self) -> str:
        """The place behind all that has happened until now."""
        newest = await self.redis.call("XREVRANGE", self.prefix + "events", "+", "-", "COUNT", 1)
        return newest[0][0].decode() if newest else "0-0"

    async def _next_events(self, after: str, seconds: float = BLOCK) -> list[Event]:
        """What follows; waits for it so long."""
        key = self.prefix + "events"
        reply: Any = await self.redis.blocking(
            "XREAD",
            "COUNT",
            MOST,
            "BLOCK",
            max(1, round(seconds * 1000)),
            "STREAMS",
            key,
            after,
            timeout=seconds + SLACK,
        )
        if not reply:
            return []
        streams = list(reply.items()) if isinstance(reply, dict) else reply
        return events_of(streams[0][1])
