"""``AsyncShardedQueue``: one queue on several masters of a Cluster."""

from __future__ import annotations

from mailgenius.link import AsyncRedis
from mailgenius.queue.policy import Policy
from mailgenius.queue.sharded.changing_async import Changing
from mailgenius.queue.sharded.following_async import Following
from mailgenius.queue.sharded.looking_async import Looking

__all__ = ["AsyncShardedQueue"]


class AsyncShardedQueue(Changing, Looking, Following):
    """``AsyncShardedQueue(redis, "email-sending", shards=3)``: an ``AsyncQueue`` in so many shards, each in a slot of its
    own, so that the masters of a Redis Cluster share its work. All who use it give the same number, which the first of them
    writes down on the server. Of the policy, what counts jobs (``max_waiting``, ``keep_done``, ``keep_failed``, ``events``)
    is divided among them. Other arguments, and all methods, as those of ``AsyncQueue``."""

    def __init__(
        self,
        redis: AsyncRedis,
        name: str,
        *,
        shards: int,
        policy: Policy | None = None,
        timeout: float = 5.0,
        unsafe: bool = False,
    ) -> None:
        super().__init__(redis, name, shards, policy, timeout, unsafe)

    def __repr__(self) -> str:
        return f"<AsyncShardedQueue {self.name!r}: {len(self.shards)} shards>"
