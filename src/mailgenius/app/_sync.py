# Made from _async.py by `python -m tools.twin`: edit that one.
"""``open()`` and ``Mailgenius``: the one place that knows every room."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any, Self, overload

from mailgenius.app.starting import bring_up, embedded, embedded_redis
from mailgenius.config import Settings, load
from mailgenius.leads import Leads, Migration
from mailgenius.pool import Pool
from mailgenius.rt import threads as rt

if TYPE_CHECKING:
    from types import TracebackType

    from mailgenius.cache import Cache
    from mailgenius.importer import Importer
    from mailgenius.link import Redis
    from mailgenius.queue import Policy, Queue, ShardedQueue
    from mailgenius.servers import PostgresServer


def open(
    database_url: str | None = None,
    *,
    home: str | os.PathLike[str] | None = None,
    config: str | os.PathLike[str] | Settings | None = None,
    migrate: bool | None = None,
    **overrides: Any,
) -> rt.Opening[Mailgenius]:
    """Everything wired; use it in ``with``.

    Settings come from the arguments, then ``MAILGENIUS_*``, then ``config`` or ``mailgenius.toml``
    (``mailgenius.config.load``). Without a database URL, the embedded PostgreSQL of ``home`` is started (or joined)
    and its schema brought up to date. With one, the schema is checked, and ``SchemaError`` says what to run;
    ``migrate=True`` brings it up to date instead.

    Raises ``ConfigError``, ``ServerError``, ``DatabaseUnavailable``, ``SchemaError``.
    """
    if home is not None:
        overrides["home"] = os.fspath(home)
    return rt.opening(_opened, load(config, database_url=database_url, **overrides), migrate)


def _opened(settings: Settings, migrate: bool | None) -> Mailgenius:
    with contextlib.ExitStack() as closing:
        server, url = None, settings.database_url
        if url is None:
            server = embedded(settings)
            closing.callback(rt.blocking, server.close)
            rt.blocking(server.start)
            url = server.dsn
        pool = closing.enter_context(Pool(url, settings=settings.pool))
        rt.blocking(bring_up, pool, server is not None if migrate is None else migrate)
        return Mailgenius(settings, pool, server, closing.pop_all())


class Mailgenius:
    """A database with its leads, importer, cache and queues. Made by ``open``."""

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        server: PostgresServer | None,
        closing: contextlib.ExitStack,
    ) -> None:
        self.settings = settings
        self.pool = pool
        self.server = server
        self.leads = Leads(pool)
        self._closing = closing
        self._importer: Importer | None = None
        self._redis: Redis | None = None
        self._cache: Cache | None = None
        self._queues: dict[tuple[str, int | None], Queue | ShardedQueue] = {}

    @property
    def importer(self) -> Importer:
        if self._importer is None:
            # Late: it is the largest room, and many programs never import.
            from mailgenius.importer import Importer

            self._importer = Importer(self.pool, self.settings.importer)
            self._closing.callback(self._importer.close)
        return self._importer

    @property
    def redis(self) -> Redis:
        """The connection to Redis that the cache and the queues share. Without a URL, the embedded Valkey of the data
        folder is started (or joined) when this is first used, which takes some tenths of a second."""
        if self._redis is None:
            from mailgenius.link import Redis

            url = self.settings.redis_url
            if url is None:
                server = embedded_redis(self.settings)
                self._closing.callback(rt.blocking, server.close)
                server.start()
                url = server.url
            self._redis = Redis(url, settings=self.settings.redis)
            self._closing.callback(self._redis.close)
        return self._redis

    @property
    def cache(self) -> Cache:
        """The cache, with the six regions of ``SOURCE_REGIONS``."""
        if self._cache is None:
            from mailgenius.cache import SOURCE_REGIONS, Cache

            self._cache = Cache(self.redis, SOURCE_REGIONS.values(), settings=self.settings.cache)
            self._closing.callback(self._cache.close)
            self._cache.start()
        return self._cache

    @overload
    def queue(self, name: str, *, shards: None = None, policy: Policy | None = None, unsafe: bool = False) -> Queue: ...
    @overload
    def queue(self, name: str, *, shards: int, policy: Policy | None = None, unsafe: bool = False) -> ShardedQueue: ...
    def queue(
        self, name: str, *, shards: int | None = None, policy: Policy | None = None, unsafe: bool = False
    ) -> Queue | ShardedQueue:
        """The queue of a name. ``shards``: in how many it is, on a Redis Cluster. ``policy``: how its jobs are treated,
        that of its profile or the defaults if left out. ``unsafe``: also on a Redis that may evict or lose jobs."""
        from mailgenius.queue import Queue, ShardedQueue

        found = None if policy is not None or unsafe else self._queues.get((name, shards))
        if found is None:
            if shards is None:
                found = Queue(self.redis, name, policy=policy, unsafe=unsafe)
            else:
                found = ShardedQueue(self.redis, name, shards=shards, policy=policy, unsafe=unsafe)
            if policy is None and not unsafe:
                self._queues[name, shards] = found
        return found

    def migrate(self) -> list[Migration]:
        """Brings the schema up to date; the migrations applied now."""
        return rt.blocking(bring_up, self.pool, True)

    def close(self) -> None:
        """Closes the connections and leaves the embedded server, which stops with its last user. Safe to repeat."""
        self._closing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Mailgenius {self.server or self.pool!r}>"
