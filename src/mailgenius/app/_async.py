"""``open_async()`` and ``AsyncMailgenius``: the one place that knows every room."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self, overload

from mailgenius.app.starting import bring_up, embedded, embedded_redis
from mailgenius.config import Settings, load
from mailgenius.leads import AsyncLeads, Migration
from mailgenius.pool import AsyncPool
from mailgenius.rt import aio as rt

if TYPE_CHECKING:
    from types import TracebackType

    from mailgenius.cache import AsyncCache
    from mailgenius.importer import AsyncImporter
    from mailgenius.link import AsyncRedis
    from mailgenius.queue import AsyncQueue, AsyncShardedQueue, Policy
    from mailgenius.servers import PostgresServer


def open_async(
    database_url: str | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | Settings | None = None,
    migrate: bool | None = None,
    **overrides: Any,
) -> rt.Opening[AsyncMailgenius]:
    """Everything wired; use it in ``async with``.

    Settings come from the arguments, then ``MAILGENIUS_*``, then ``config`` or ``mailgenius.toml``
    (``mailgenius.config.load``). Without a database URL, the embedded PostgreSQL of ``home`` is started (or joined)
    and its schema brought up to date. With one, the schema is checked, and ``SchemaError`` says what to run;
    ``migrate=True`` brings it up to date instead.

    Raises ``ConfigError``, ``ServerError``, ``DatabaseUnavailable``, ``SchemaError``.
    """
    if home is not None:
        overrides["home"] = os.fspath(home)
    return rt.opening(_opened, load(config, database_url=database_url, **overrides), migrate)


async def _opened(settings: Settings, migrate: bool | None) -> AsyncMailgenius:
    async with contextlib.AsyncExitStack() as closing:
        server, url = None, settings.database_url
        if url is None:
            server = embedded(settings)
            closing.push_async_callback(rt.blocking, server.close)
            await rt.blocking(server.start)
            url = server.dsn
        pool = await closing.enter_async_context(AsyncPool(url, settings=settings.pool))
        await rt.blocking(bring_up, pool, server is not None if migrate is None else migrate)
        return AsyncMailgenius(settings, pool, server, closing.pop_all())


class AsyncMailgenius:
    """A database with its leads, importer, cache and queues. Made by ``open_async``."""

    def __init__(
        self,
        settings: Settings,
        pool: AsyncPool,
        server: PostgresServer | None,
        closing: contextlib.AsyncExitStack,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.server = server
        self.leads = AsyncLeads(pool)
        self._closing = closing
        self._importer: AsyncImporter | None = None
        self._redis: AsyncRedis | None = None
        self._cache: AsyncCache | None = None
        self._queues: dict[tuple[str, int | None], AsyncQueue | AsyncShardedQueue] = {}

    @property
    def importer(self) -> AsyncImporter:
        if self._importer is None:
            # Late: it is the largest room, and many programs never import.
            from mailgenius.importer import AsyncImporter

            self._importer = AsyncImporter(self.pool, self.settings.importer)
            self._closing.push_async_callback(self._importer.close)
        return self._importer

    @property
    def redis(self) -> AsyncRedis:
        """The connection to Redis that the cache and the queues share. Without a URL, the embedded Valkey of the data
        folder is started (or joined) when this is first used, which takes some tenths of a second."""
        if self._redis is None:
            from mailgenius.link import AsyncRedis

            url = self.settings.redis_url
            if url is None:
                server = embedded_redis(self.settings)
                self._closing.push_async_callback(rt.blocking, server.close)
                server.start()
                url = server.url
            self._redis = AsyncRedis(url, settings=self.settings.redis)
            self._closing.push_async_callback(self._redis.close)
        return self._redis

    @property
    def cache(self) -> AsyncCache:
        """The cache, with the six regions of ``SOURCE_REGIONS``."""
        if self._cache is None:
            from mailgenius.cache import SOURCE_REGIONS, AsyncCache

            self._cache = AsyncCache(self.redis, SOURCE_REGIONS.values(), settings=self.settings.cache)
            self._closing.push_async_callback(self._cache.close)
            self._cache.start()
        return self._cache

    @overload
    def queue(
        self, name: str, *, shards: None = None, policy: Policy | None = None, unsafe: bool = False
    ) -> AsyncQueue: ...
    @overload
    def queue(
        self, name: str, *, shards: int, policy: Policy | None = None, unsafe: bool = False
    ) -> AsyncShardedQueue: ...
    def queue(
        self, name: str, *, shards: int | None = None, policy: Policy | None = None, unsafe: bool = False
    ) -> AsyncQueue | AsyncShardedQueue:
        """The queue of a name. ``shards``: in how many it is, on a Redis Cluster. ``policy``: how its jobs are treated,
        that of its profile or the defaults if left out. ``unsafe``: also on a Redis that may evict or lose jobs."""
        from mailgenius.queue import AsyncQueue, AsyncShardedQueue

        found = None if policy is not None or unsafe else self._queues.get((name, shards))
        if found is None:
            if shards is None:
                found = AsyncQueue(self.redis, name, policy=policy, unsafe=unsafe)
            else:
                found = AsyncShardedQueue(self.redis, name, shards=shards, policy=policy, unsafe=unsafe)
            if policy is None and not unsafe:
                self._queues[name, shards] = found
        return found

    async def migrate(self) -> list[Migration]:
        """Brings the schema up to date; the migrations applied now."""
        return await rt.blocking(bring_up, self.pool, True)

    async def close(self) -> None:
        """Closes the connections and leaves the embedded server, which stops with its last user. Safe to repeat."""
        await self._closing.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<AsyncMailgenius {self.server or self.pool!r}>"
