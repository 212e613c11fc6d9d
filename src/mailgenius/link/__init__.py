"""Connections to Redis and Valkey: ``Redis`` for threads, ``AsyncRedis`` for asyncio."""

from ._async import AsyncRedis
from ._sync import Redis

__all__ = ["AsyncRedis", "Redis"]
