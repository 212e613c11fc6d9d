"""What happened in a cache, in numbers. Pure."""

from __future__ import annotations

import msgspec

__all__ = ["CacheMetrics", "Meters", "RegionMetrics"]


class RegionMetrics(msgspec.Struct, frozen=True):
    """Of one region, since the cache was made; ``local`` is of now as well: ``LocalStore.stats``."""

    hits: int  # values found on the server
    misses: int  # asked of the server, and not there, or not usable
    unread: dict[str, int]  # found and not taken, by reason (codec.Codec)
    loads: int  # calls of loaders
    load_errors: int  # those that failed
    stale: int  # stale values that were served while, or because, a load did not give one
    refreshes: int  # loads that began beside a value that was served
    not_stored: int  # what was loaded or written, and not stored since something had happened meanwhile
    unavailable: int  # reads that did without the server
    local: dict[str, int]


class CacheMetrics(msgspec.Struct, frozen=True):
    """Of a cache. Of now: ``available``, ``coherent``, ``owed``; all others since it was made."""

    available: bool  # the server answers
    coherent: bool  # the server tells us of changes, so that values may stay in the process
    invalidations: int  # names that the server said have changed
    flushes: int  # times that all values in the process were put aside
    owed: int  # writes that the server still has to be told
    repaid: int  # writes that it was told later
    overflows: int  # regions whose values are deleted since too many writes were owed
    regions: dict[str, RegionMetrics]


class Meters:
    """Of one region. Threads may share it; counts may then miss a few."""

    __slots__ = (
        "hits", "load_errors", "loads", "misses", "not_stored", "refreshes", "stale", "unavailable",
    )  # fmt: skip

    def __init__(self) -> None:
        self.hits = self.misses = self.loads = self.load_errors = 0
        self.stale = self.refreshes = self.not_stored = self.unavailable = 0

    def metrics(self, unread: dict[str, int], local: dict[str, int]) -> RegionMetrics:
        return RegionMetrics(**{name: getattr(self, name) for name in self.__slots__}, unread=unread, local=local)
