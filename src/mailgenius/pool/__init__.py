"""Connections to PostgreSQL: ``Pool`` for threads, ``AsyncPool`` for asyncio."""

from ._async import AsyncPool
from ._sync import Pool

__all__ = ["AsyncPool", "Pool"]
