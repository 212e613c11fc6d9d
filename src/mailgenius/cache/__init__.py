"""Caches: regions of values in Redis and in the process. ``Cache`` for threads, ``AsyncCache`` for asyncio."""

from __future__ import annotations

from ._async import AsyncCache
from ._sync import Cache
from .codec import train
from .marks import MISS
from .meters import CacheMetrics, RegionMetrics
from .policy import SOURCE_REGIONS, Region, check_regions
from .region_async import AsyncRegionCache
from .region_sync import RegionCache

__all__ = [
    "MISS",
    "SOURCE_REGIONS",
    "AsyncCache",
    "AsyncRegionCache",
    "Cache",
    "CacheMetrics",
    "Region",
    "RegionCache",
    "RegionMetrics",
    "check_regions",
    "train",
]
