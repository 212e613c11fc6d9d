"""Caches: regions of values in Redis and in the process. ``Cache`` for threads, ``AsyncCache`` for asyncio."""

from __future__ import annotations

from ._async import AsyncCache
from ._sync import Cache
from .behind import DeadLetter, Item, Pending
from .behind_async import AsyncWriteBehind
from .behind_flusher_async import AsyncFlusher
from .behind_flusher_sync import Flusher
from .behind_postgres_async import AsyncPostgresUpserts
from .behind_postgres_sync import PostgresUpserts
from .behind_sync import WriteBehind
from .codec import train
from .marks import MISS
from .meters import CacheMetrics, RegionMetrics
from .policy import SOURCE_REGIONS, Behind, Region, check_regions
from .region_async import AsyncRegionCache
from .region_sync import RegionCache

__all__ = [
    "MISS",
    "SOURCE_REGIONS",
    "AsyncCache",
    "AsyncFlusher",
    "AsyncPostgresUpserts",
    "AsyncRegionCache",
    "AsyncWriteBehind",
    "Behind",
    "Cache",
    "CacheMetrics",
    "DeadLetter",
    "Flusher",
    "Item",
    "Pending",
    "PostgresUpserts",
    "Region",
    "RegionCache",
    "RegionMetrics",
    "WriteBehind",
    "check_regions",
    "train",
]
