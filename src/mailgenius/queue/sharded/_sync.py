# Made from _async.py by `python -m tools.twin`: edit that one.
"""``ShardedQueue``: one queue on several masters of a Cluster."""

from __future__ import annotations

from mailgenius.link import Redis
from mailgenius.queue.policy import Policy
from mailgenius.queue.sharded.changing_sync import Changing
from mailgenius.queue.sharded.following_sync import Following
from mailgenius.queue.sharded.looking_sync import Looking

__all__ = ["ShardedQueue"]


class ShardedQueue(Changing, Looking, Following):
    """``ShardedQueue(redis, "email-sending", shards=3)``: an ``Queue`` in so many shards, each in a slot of its
    own, so that the masters of a Redis Cluster share its work. All who use it give the same number, which the first of them
    writes down on the server. Of the policy, what counts jobs (``max_waiting``, ``keep_done``, ``keep_failed``, ``events``)
    is divided among them. Other arguments, and all methods, as those of ``Queue``."""

    def __init__(
        self,
        redis: Redis,
        name: str,
        *,
        shards: int,
        policy: Policy | None = None,
        timeout: float = 5.0,
        unsafe: bool = False,
    ) -> None:
        super().__init__(redis, name, shards, policy, timeout, unsafe)

    def __repr__(self) -> str:
        return f"<ShardedQueue {self.name!r}: {len(self.shards)} shards>"
