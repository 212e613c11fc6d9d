"""A queue in several shards: ``AsyncShardedQueue`` and ``ShardedQueue``."""

from ._async import AsyncShardedQueue
from ._sync import ShardedQueue

__all__ = ["AsyncShardedQueue", "ShardedQueue"]
