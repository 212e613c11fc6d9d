"""Redis as Django's cache sees it: one that is down makes reads miss, and drops writes, without holding anybody up.

Invariant: what a dropped write or deletion was to replace is not read again by this process, and is deleted before it next
reads anything from a server that is back. So a logout that Redis did not hear of is not undone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mailgenius.cache.django.codec import Codec
from mailgenius.cache.django.options import Options
from mailgenius.cache.marks import lua, token
from mailgenius.cache.owed import DROP, Wish
from mailgenius.cache.server_sync import DOWN, Server
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.link import Redis
from mailgenius.link.meters import RedisMetrics

__all__ = ["DOWN", "BackendMetrics", "Store", "close_all", "store_of"]

_log = logging.getLogger("mailgenius.cache")


class BackendMetrics(msgspec.Struct, frozen=True):
    """Of all caches of this process with the same LOCATION and OPTIONS, since the first of them was made."""

    available: bool  # now: the server answers
    dropped_reads: int  # reads that were misses for want of the server
    dropped_writes: int  # writes that were dropped for want of the server
    owed: int  # names that are still to be deleted, since a write was dropped
    unread: dict[str, int]  # values that were found and not taken, by reason (codec.Codec)
    redis: RedisMetrics


class Store:
    """What all caches of a process with the same LOCATION and OPTIONS share, in all threads. Raises ``ConfigError``."""

    def __init__(self, url: str, options: Options) -> None:
        self.redis = Redis(url, **options.redis)
        self.server = Server(self.redis, options.budget, options.keep, token)
        self.dropped_reads = self.dropped_writes = 0
        self.codec = Codec(options.serializer, options.compress_from)
        self._ignore = options.ignore_errors
        self._count, self._move = self.redis.script(lua("count")), self.redis.script(lua("move"))
        self._settling = threading.Lock()
        self._warned = False

    def read(self, *command: Any) -> Any:
        """The reply. ``DOWN``: there is none, and errors are ignored."""
        try:
            self._settle()
            return self._well(self.server.tell(*command))
        except (RedisUnavailable, RedisRefused) as error:
            self.dropped_reads += 1
            return self._without(error)

    def write(self, owes: Sequence[str], prefix: str, do: Callable[..., Any], *args: Any) -> Any:
        """What ``do(*args)`` gives; ``DOWN`` as above. ``owes``: the names whose values are old if it fails, of the region
        with this ``prefix``."""
        try:
            self._settle()
            return self._well(do(*args))
        except RedisUnavailable as error:
            self._owe(owes, prefix)
            self.dropped_writes += 1
            return self._without(error)
        except RedisRefused as error:
            self.forget(owes, prefix)
            self.dropped_writes += 1
            return self._without(error)

    def forget(self, names: Sequence[str], prefix: str) -> None:
        """Deletes values whose successors the server refused: it is full, perhaps."""
        if names:
            try:
                self.server.tell_all([self.server.drop.command((name,)) for name in names])
            except RedisUnavailable:
                self._owe(names, prefix)

    def _owe(self, names: Sequence[str], prefix: str) -> None:
        if self._ignore:  # else the application is told
            for name in names:
                self.server.owed.add(name, Wish(DROP, prefix))

    def count(self, name: str, delta: int) -> int | None:
        """Adds to a number. None: there is none. TypeError: it is no number."""
        try:
            total: int | None = self.server.must(self._count, name, delta)
        except RedisRefused as error:
            if "overflow" in str(error):
                raise OverflowError("the sum is beyond 64 bits, in which Redis counts") from None
            if error.code == "WRONGTYPE" or "not an integer" in str(error):
                raise TypeError("the value is no int of 64 bits, in which Redis counts") from None
            raise
        return total

    def move(self, old: str, new: str, life: int) -> bool:
        """Whether there was a value to move."""
        moved: int = self._move((old, new), (life,), timeout=self.server.budget)
        return moved == 1

    def clear(self, prefix: str) -> None:
        """Deletes all values whose names begin like this; if that fails, later."""
        try:
            self.server.clear(prefix, self.redis.settings.timeout)
        except RedisUnavailable:
            if self._ignore:
                self.server.owed.regions[prefix] = object()
            raise

    def metrics(self) -> BackendMetrics:
        return BackendMetrics(
            available=self.redis.available,
            dropped_reads=self.dropped_reads,
            dropped_writes=self.dropped_writes,
            owed=len(self.server.owed),
            unread=dict(self.codec.unread),
            redis=self.redis.metrics(),
        )

    def _settle(self) -> None:
        """Deletes what is owed. Raises ``RedisUnavailable`` if it cannot, or another thread does it right now."""
        owed = self.server.owed
        if not owed.any:
            return
        if not self.redis.available or not self._settling.acquire(False):
            raise RedisUnavailable("Redis still has to be told of what was dropped while it was down.")
        try:
            self.server.repay()
        finally:
            self._settling.release()

    def _well(self, reply: Any) -> Any:
        if self._warned:
            self._warned = False
            _log.warning("Redis answers again: %r", self.redis)
        return reply

    def _without(self, error: Exception) -> Any:
        if not self._ignore:
            raise error
        if not self._warned:
            self._warned = True
            _log.warning("Django's cache goes on without Redis: %s", error)
        return DOWN


_stores: dict[tuple[str, str], Store] = {}
os.register_at_fork(after_in_child=_stores.clear)  # the child's caches begin anew; what is owed is the parent's


def store_of(key: tuple[str, str], url: str, options: Options) -> Store:
    """The process's own. Django makes a cache for each thread, or each task; they share it. ``key``: what tells it from
    others."""
    return _stores.get(key) or _stores.setdefault(key, Store(url, options))


def close_all() -> None:
    """Lets the connections of all caches go; what is owed is lost. A cache that is used again connects anew."""
    while _stores:
        with contextlib.suppress(KeyError):  # another thread was first
            _stores.popitem()[1].redis.close()
