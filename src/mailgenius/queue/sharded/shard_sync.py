# Made from shard_async.py by `python -m tools.twin`: edit that one.
"""One shard of a queue: a queue as others are, under keys of its own."""

from __future__ import annotations

from mailgenius.link import Redis
from mailgenius.queue._sync import Queue
from mailgenius.queue.base_sync import Base
from mailgenius.queue.names import written
from mailgenius.queue.policy import Policy
from mailgenius.queue.producer_sync import Producer

__all__ = ["Shard"]


class Shard(Queue):
    """``hurries``: adding gives up as soon as it is certain that the server has not taken the jobs and may not for a while,
    as another shard can take them."""

    def __init__(
        self,
        redis: Redis,
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

    def check(self, durable: bool = False) -> None:
        """How many shards there are, its queue sees to."""
        Base.check(self, durable)

    def __repr__(self) -> str:
        return f"<Shard {self._written!r}>"
