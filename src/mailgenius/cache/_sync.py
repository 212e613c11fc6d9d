# Made from _async.py by `python -m tools.twin`: edit that one.
"""``Cache``: regions of values in Redis and in the process, for the tasks of an event loop.

Invariants: a read gives a value that was stored under that key, for that tenant, by that version of the type, or none. What
a process keeps to itself is at most 2 × ``heartbeat`` seconds behind the server, also with a network that went silent. No
call waits longer for the server than ``budget``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time
from types import TracebackType
from typing import Any, Self

import msgspec

from mailgenius.cache.behind_flusher_sync import Flusher, Writer
from mailgenius.cache.codec import Codec
from mailgenius.cache.keeper_sync import Keeper
from mailgenius.cache.keys import namer
from mailgenius.cache.marks import token
from mailgenius.cache.meters import CacheMetrics
from mailgenius.cache.policy import Region, check_regions
from mailgenius.cache.region_sync import RegionCache
from mailgenius.cache.server_sync import TAGS, Server
from mailgenius.cache.shared_sync import Shared
from mailgenius.cache.tags_sync import TagBook
from mailgenius.config import CacheSettings
from mailgenius.errors import ConfigError
from mailgenius.link import Redis

__all__ = ["Cache"]


class Cache:
    """``Cache("redis://…")``, or over an ``Redis``, which stays the caller's to close. Use it in ``with``.

    ``regions``: the policies of those that are known from the start (``SOURCE_REGIONS.values()`` are six ready ones);
    others come with ``region``. Keywords as in ``CacheSettings``; give ``settings`` to take them all from there.
    ``on_event(name, why)`` is told "coherent" (values may be kept in the process), "incoherent", and "repaid" (the
    server was told what had been kept for it). ``clock`` gives seconds since 1970, for tests.
    """

    def __init__(
        self,
        redis: str | Redis,
        regions: Iterable[Region] = (),
        *,
        settings: CacheSettings | None = None,
        on_event: Callable[[str, str], object] | None = None,
        clock: Callable[[], float] | None = None,
        **chosen: Any,
    ) -> None:
        self.settings = _chosen(settings, chosen)
        self._own = isinstance(redis, str)
        self.redis: Redis = Redis(redis) if isinstance(redis, str) else redis
        if self.redis.settings.read_from == "replica":
            raise ConfigError(
                "$.redis.read_from: a cache reads from primaries, since a replica may give a value that was deleted; give"
                ' it a client of its own, with read_from="primary"'
            )
        self._clock = clock
        local = self.settings.local
        self._server = Server(self.redis, self.settings.budget, self.settings.keep_writes, token)
        self._tags = TagBook(self._server, clock)
        self._keeper = Keeper(self._server, self._tags, local, self.settings.heartbeat, on_event or _ignore)
        self._regions: dict[str, Shared] = {}
        self._tag = namer(TAGS)
        self._started = self._closed = False
        for policy in check_regions(regions).values():
            self._add(policy)

    def __repr__(self) -> str:
        return f"<Cache of {', '.join(self._regions) or 'no regions yet'} over {self.redis!r}>"

    def start(self) -> None:
        """Gets in touch with the server, in the background; ``with`` does it. Until then nothing is kept in the
        process, and nothing that was owed is told. Safe to repeat."""
        self._keeper.start()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends loads under way, and lets the connections go. Writes that are still owed are lost. Safe to repeat."""
        if self._closed:
            return
        self._closed = True
        self._keeper.close()
        for shared in self._regions.values():
            shared.flights.close()
        if self._own:
            self.redis.close()

    def region(self, name: str, **policy: Any) -> RegionCache:
        """The values of a region. Keywords are the fields of ``Region``; left out, it is the known one of that name, or one
        with the defaults. ``ConfigError`` if it is known with another policy, or its names could be another region's."""
        known = self._regions.get(name)
        if known is None:
            made = Region(name=name, **policy)
            check_regions([*(shared.policy for shared in self._regions.values()), made])
            known = self._add(made)
        elif policy and Region(name=name, **policy) != known.policy:
            raise ConfigError(f"$.cache.{name}: this region is there already, with another policy: {known.policy!r}")
        return RegionCache(known)

    def flusher(self, region: str, writer: Writer, **options: Any) -> Flusher:
        """Brings what was written behind in a region into the database: ``with cache.flusher("scores", writer):``.

        ``writer(items)`` gets the values as they were given to ``write_behind``. ``options`` are those of ``Flusher``.
        Raises ``ConfigError`` if nothing is written behind there.
        """
        shared = self._regions.get(region)
        if shared is None:
            raise ConfigError(f"$.cache.{region}: there is no such region; name it first: cache.region({region!r}, …)")
        _ = shared.behind  # or it says what is missing
        return Flusher(self.redis, shared.policy, writer, **{"decode": Codec(shared.policy).value, **options})

    def _add(self, policy: Region) -> Shared:
        fake = self._clock is not None
        shared = Shared(policy, self._server, self._tags, self.settings.local, self._clock or time, fake)
        self._regions[policy.name] = shared
        self._keeper.add(shared)
        return shared

    def invalidate_tag(self, tag: str) -> None:
        """All values with this tag (of no tenant) are misses from now on, in all regions, and so is what is being loaded
        with it. Raises ``RedisUnavailable``."""
        self._tags.renew(self._tag(tag), False)

    @property
    def coherent(self) -> bool:
        """The server tells us of changes, so that values may stay in the process."""
        return self._keeper.coherent

    def metrics(self) -> CacheMetrics:
        """What happened, in numbers."""
        owed, keeper = self._server.owed, self._keeper
        return CacheMetrics(
            available=not self._server.out,
            coherent=keeper.coherent,
            invalidations=keeper.invalidations,
            flushes=keeper.flushes,
            owed=len(owed),
            repaid=self._server.repaid,
            overflows=owed.overflows,
            regions={
                name: shared.meters.metrics(dict(shared.codec.misses), shared.local.stats())
                for name, shared in self._regions.items()
            },
        )


def _chosen(settings: CacheSettings | None, chosen: dict[str, Any]) -> CacheSettings:
    base = CacheSettings() if settings is None else settings
    for name in chosen:
        if name not in base.__struct_fields__:
            raise ConfigError(f"$.cache.{name}: unknown setting; see CacheSettings")
    return msgspec.structs.replace(base, **chosen)


def _ignore(name: str, why: str) -> None:
    pass
