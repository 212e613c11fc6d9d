"""``AsyncQueue``: jobs on Redis."""

from __future__ import annotations

from mailgenius.errors import ConfigError
from mailgenius.link import AsyncRedis
from mailgenius.queue.events_async import Events
from mailgenius.queue.policy import Policy
from mailgenius.queue.producer_async import Producer
from mailgenius.queue.results_async import Results
from mailgenius.queue.schedules_async import Schedules

__all__ = ["AsyncQueue"]


class AsyncQueue(Producer, Results, Schedules, Events):
    """``AsyncQueue(redis, "email-sending")``. ``policy``: how its jobs are treated; left out, that of a profile of the same
    name, else the defaults. ``timeout``: seconds that adding may take while Redis is away. ``unsafe``: also on a Redis that
    may evict or lose jobs, which is refused otherwise when it is first used. Safe to share as ``redis`` is."""

    def __init__(
        self,
        redis: AsyncRedis,
        name: str,
        *,
        policy: Policy | None = None,
        timeout: float = 5.0,
        unsafe: bool = False,
    ) -> None:
        super().__init__(redis, name, policy, timeout, unsafe)

    async def check(self, durable: bool = False) -> None:
        """Raises ``ConfigError`` if the server may evict or lose jobs, with what to set; unless ``unsafe``. ``durable``: or
        if it cannot say what is on its disk. And if the queue has several shards. The first ``add`` does this, and a worker
        when it starts."""
        shards = await self._count_shards("ask")
        if shards > 1:
            raise ConfigError(
                f"$.queue.{self.name}: it has {shards} shards on the server; use AsyncShardedQueue(…, shards={shards})"
            )
        await super().check(durable)

    def __repr__(self) -> str:
        return f"<AsyncQueue {self.name!r}>"
