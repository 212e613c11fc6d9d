"""One shard of a queue: a queue as others are, under keys of its own."""

from __future__ import annotations

from mailgenius.link import AsyncRedis
from mailgenius.queue._async import AsyncQueue
from mailgenius.queue.base_async import Base
from mailgenius.queue.names import written
from mailgenius.queue.policy import Policy
from mailgenius.queue.producer_async import Producer

__all__ = ["AsyncShard"]


class AsyncShard(AsyncQueue):
    """``hurries``: adding gives up as soon as it is certain that the server has not taken the jobs and may not for a while,
    as another shard can take them."""

    def __init__(
        self,
        redis: AsyncRedis,
        name: str,
        shard: int,
        shards: int,
        policy: Policy | None = None,
        timeout: float = 5.0,
        *,
        unsafe: bool = False,
        hurries: bool = False,
    ) -> None:
        Producer.__init__(self, redis, name, policy, timeout, unsafe, shard)
        self._hurries = hurries
        self._written = written(name, shard, shards)

    async def check(self, durable: bool = False) -> None:
        """How many shards there are, its queue sees to."""
        await Base.check(self, durable)

    def __repr__(self) -> str:
        return f"<AsyncShard {self._written!r}>"
