# Made from behind_async.py by `python -m tools.twin`: edit that one.
"""Write-behind, the application's side: a write is in the cache and in the region's stream, or refused.

Invariants:
- ``put`` returns once the server has the value in the cache and its name in the stream, both in one step; or it raises,
  and says whether that may have happened all the same.
- What a caller has given up is not carried out after what he writes next, however late the network brings it: each loss
  raises the producer's epoch, and the server refuses attempts of older ones.
- Writes of one value are in the stream in the order in which they were accepted.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec

from mailgenius.cache.behind import DeadLetter, Pending, names, version_of, waiting
from mailgenius.cache.keys import Key
from mailgenius.cache.policy import Region
from mailgenius.errors import (
    ConfigError,
    FlushTimeout,
    RedisOutcomeUnknown,
    RedisRefused,
    RedisTimeout,
    RedisUnavailable,
    WriteBehindFull,
)
from mailgenius.link import Redis
from mailgenius.link.durable_sync import Disk
from mailgenius.rt import threads as rt

__all__ = ["WriteBehind"]

MAXLEN = 100_000
MOST = 50  # writes of one script, which knows this number: the server does nothing else meanwhile
LUA = Path(__file__).parent / "lua"
_FIRST, _LONGEST = 0.005, 0.1  # seconds between two looks
_pack = msgspec.msgpack.Encoder().encode
_dead = msgspec.msgpack.Decoder(DeadLetter).decode


class WriteBehind:
    """Writes of one region that reach the database later, by a ``Flusher``.

    ``maxlen``: most writes that may wait; beyond, ``put`` waits for room. ``timeout``: seconds that it waits, for room or
    for a connection that was lost on the way. ``durable``: writes return once they are on the server's disk (WAITAOF, or
    ``appendfsync always``). ``unsafe``: also on a server that may lose or evict what waits. Safe to share as ``redis`` is.
    """

    def __init__(
        self,
        redis: Redis,
        region: Region,
        *,
        maxlen: int = MAXLEN,
        timeout: float = 5.0,
        durable: bool = False,
        unsafe: bool = False,
    ) -> None:
        if maxlen < 1:
            raise ConfigError(f"$.cache.{region.name}.maxlen: {maxlen} is out of range; give at least 1")
        if redis.clustered and region.together != "region":
            raise ConfigError(
                f'$.cache.{region.name}.together: in a Redis Cluster write-behind needs "region", so that the values'
                " live on the node of their stream"
            )
        self.region = region
        self.names = names(region.name)
        self._redis, self._call = redis, redis.call
        self._maxlen, self._timeout, self._durable, self._unsafe = maxlen, timeout, durable, unsafe
        self._attempt = redis.settings.timeout  # seconds of one try
        self._put, self._replay = redis.script(LUA / "behind_put.lua"), redis.script(LUA / "behind_replay.lua")
        self._keys = (
            self.names.log,
            self.names.open,
            self.names.producer + secrets.token_hex(8),
            self.names.count,
        )
        self._together: rt.Together[int] = rt.Together(self._send, MOST)
        self._epoch = 0
        self._live = round(region.ttl * 1000)
        self._namers: dict[str | int | None, Callable[[Key], str]] = {}
        self._checked = unsafe and not durable
        self._disk = Disk(redis, self.names.log, self.names.synced)

    # -- writing -------------------------------------------------------------------------------------------------

    def put(
        self,
        key: Key,
        data: bytes,
        *,
        tenant: str | int | None = None,
        name: str | None = None,
        ttl: float | None = None,
        timeout: float | None = None,
    ) -> int:
        """Accepts a value, as it is to stand in the cache (``data``); its version.

        It is in the cache at once, without an end until the database has it, then for ``ttl`` seconds (the region's if left
        out). ``name``: the cached value's, if it is not that of ``key``. Raises ``WriteBehindFull`` and the errors of
        ``Redis.call``; of these, ``RedisOutcomeUnknown`` alone means that it may have been accepted.
        """
        return self._append(key, data, False, tenant, name, ttl, timeout)

    def delete(
        self,
        key: Key,
        data: bytes,
        *,
        tenant: str | int | None = None,
        name: str | None = None,
        ttl: float | None = None,
        timeout: float | None = None,
    ) -> int:
        """Accepts that the value is deleted; as ``put``. ``data`` is what the cache says meanwhile: that there is none."""
        return self._append(key, data, True, tenant, name, ttl, timeout)

    def _name(self, key: Key, tenant: str | int | None) -> str:
        named = self._namers.get(tenant)
        if named is None:
            named = self.region.namer(tenant)
            if len(self._namers) < 1024:
                self._namers[tenant] = named
        return named(key)

    def _append(
        self,
        key: Key,
        data: bytes,
        deleted: bool,
        tenant: str | int | None,
        name: str | None,
        ttl: float | None,
        timeout: float | None,
    ) -> int:
        if not self._checked:
            self.check()
        if name is None:
            name = self._name(key, tenant)
        live = self._live if ttl is None else max(1, round(ttl * 1000))
        meta = _pack((key, tenant, deleted, live))
        began = monotonic()
        seconds = self._timeout if timeout is None else timeout
        pause, unknown, why = _FIRST, False, ""
        while True:
            reply = None
            server = self._disk.server  # the one that is known now, or a later one, will accept it
            try:
                reply = self._together((name, meta, data))
                if reply:
                    if self._durable:
                        self._disk.synced(server, began + seconds)
                    return reply
            except RedisUnavailable as error:
                unknown = unknown or reply is not None or isinstance(error, RedisTimeout | RedisOutcomeUnknown)
                if not unknown:
                    raise
                why = str(error)
            left = began + seconds - monotonic()
            if left <= 0:
                if unknown:
                    raise RedisOutcomeUnknown(f"Whether {name!r} was accepted for writing is not known: {why}")
                raise WriteBehindFull(
                    f"{self._maxlen:,} writes of region {self.region.name!r} wait for the database, and within"
                    f" {seconds:g} s none was done. Is a flusher running, and does the database keep up?"
                )
            rt.sleep(min(left, random.uniform(pause / 2, pause)))  # noqa: S311 - so that not all come at once
            pause = min(2 * pause, _LONGEST)

    def _send(self, writes: list[tuple[str, bytes, bytes]]) -> list[int]:
        """Gives writes to the server, all at once; their versions, 0 for those that found no room."""
        while True:
            epoch = self._epoch
            keys = [*self._keys]
            args: list[Any] = [self._maxlen, epoch]
            for name, meta, data in writes:
                keys.append(name)
                args += meta, data
            try:
                reply: Any = self._put(keys, args, timeout=self._attempt)
            except RedisRefused:
                raise
            except BaseException:  # it may be on its way
                self._give_up(epoch)
                raise
            if reply != -1:
                id, taken = reply
                first = version_of(id) if taken else 0
                return [*range(first, first + taken), *[0] * (len(writes) - taken)]
            self._give_up(epoch)  # it came after an attempt of a later epoch

    def _give_up(self, epoch: int) -> None:
        """What was sent in this epoch and not answered is not to be carried out later than what comes next."""
        if self._epoch == epoch:
            self._epoch = epoch + 1

    # -- what waits ----------------------------------------------------------------------------------------------

    def pending(self) -> Pending:
        """What waits for the database, and what cannot be written."""
        own = self.names
        first, count, keys, dead = self._redis.calls(
            [
                ("XRANGE", own.log, "-", "+", "COUNT", 1),
                ("GET", own.count),
                ("HLEN", own.open),
                ("HLEN", own.dead),
            ]
        )
        since = int(first[0][0].partition(b"-")[0]) / 1000 if first else None
        return Pending(waiting(first, count), keys, dead, since)

    def flush(self, timeout: float = 30.0) -> None:
        """Waits until everything that was accepted before this call is in the database, or is a dead letter. Raises
        ``FlushTimeout``; nothing is lost then."""
        deadline = monotonic() + timeout
        own = self.names
        look = [("XRANGE", own.log, "-", "+", "COUNT", 1), ("XREVRANGE", own.log, "+", "-", "COUNT", 1)]
        last, lifted, pause = -1, None, _FIRST
        while True:
            oldest, newest, now, _ = self._redis.calls(
                [*look, ("EXISTS", own.lifted), ("SET", own.hurry, 1, "PX", 1000)], atomic=True
            )
            if now != lifted:  # the first look, or all entries have got new ids
                last, lifted = (version_of(newest[0][0]) if newest else -1), now
            if not oldest or version_of(oldest[0][0]) > last:
                return
            left = deadline - monotonic()
            if left <= 0:
                left_over = self.pending()
                raise FlushTimeout(
                    f"After {timeout:g} s {left_over.writes:,} writes of region {self.region.name!r} still wait for the"
                    " database. Is a flusher running, and does the database keep up?"
                )
            rt.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)

    # -- dead letters --------------------------------------------------------------------------------------------

    def dead(self) -> list[DeadLetter]:
        """Writes that the writer did not take, the oldest first: at most one for each value, its latest."""
        found = self._call("HVALS", self.names.dead)
        return sorted((_dead(letter) for letter in found), key=lambda letter: letter.version)

    def replay(self, letters: Iterable[DeadLetter] | None = None) -> int:
        """Gives dead letters (all of them if left out) to the writer once more; how many. One whose value was written since
        is dropped: the later write counts. One whose value is gone (``attempts`` is 0) stays."""
        chosen = [letter for letter in (self.dead() if letters is None else letters) if letter.attempts]
        count = 0
        for at in range(0, len(chosen), 500):
            part = chosen[at : at + 500]
            keys = [letter.name for letter in part]
            args: list[bytes] = []
            for letter in part:
                args += [_pack((letter.key, letter.tenant, letter.deleted, self._live)), letter.data]
            own = self.names
            count += self._replay([own.log, own.open, own.dead, own.count, *keys], args)
        return count

    def discard(self, letters: Iterable[DeadLetter]) -> int:
        """Forgets dead letters; how many."""
        keys = [letter.name for letter in letters]
        count: int = self._call("HDEL", self.names.dead, *keys) if keys else 0
        return count

    # -- the server ----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raises ``ConfigError`` if the server may evict or lose what waits, with what to set; unless ``unsafe``. The first
        write does this."""
        found = self._disk.refusals(self._durable)
        if found and not self._unsafe:
            raise ConfigError(
                f"$.cache.{self.region.name}: this Redis is not safe for write-behind, since {'; and '.join(found)}."
                " unsafe=True takes it all the same."
            )
        self._checked = True
