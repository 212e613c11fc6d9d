"""``AsyncRegionCache``: the values of one region, for one tenant."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, TypeVar

from mailgenius.cache.batches_async import obtain_many
from mailgenius.cache.behind_async import AsyncWriteBehind
from mailgenius.cache.keys import Key, namer
from mailgenius.cache.loading_async import obtain
from mailgenius.cache.marks import HEAD, MISS, big_endian
from mailgenius.cache.owed import DROP, KEEP, Wish
from mailgenius.cache.policy import Region
from mailgenius.cache.server_async import DOWN, TAGS
from mailgenius.cache.shared_async import PENDING, Shared
from mailgenius.cache.through_async import write_through
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.rt import aio as rt

__all__ = ["AsyncRegionCache"]

_T = TypeVar("_T")
_K = TypeVar("_K", bound=Key)
_PIECE = 1000  # names asked for, or written, in one call


class AsyncRegionCache:
    """Made by ``AsyncCache.region``. Keys are ``str``, ``int`` or tuples of them.

    Reads never raise for want of a server: that is a miss. Writes raise ``RedisUnavailable`` if the policy says so
    (``on_redis_down="fail"``), TypeError for values that cannot be stored, and ``RedisRefused`` when the server is full.
    """

    def __init__(self, shared: Shared, tenant: str | int | None = None) -> None:
        policy = shared.policy
        self._shared = shared
        self._tenant = tenant
        self._ask = shared.server.ask
        if policy.tenant and tenant is None:
            self._name: Callable[[Any], str] = self._no_tenant
        else:
            self._name = policy.namer(tenant)
        self._tag = namer(TAGS, 0, tenant)

    def __repr__(self) -> str:
        of = "" if self._tenant is None else f" of {self._tenant!r}"
        return f"<AsyncRegionCache {self._shared.policy.name}{of}>"

    @property
    def policy(self) -> Region:
        return self._shared.policy

    def tenant(self, tenant: str | int) -> AsyncRegionCache:
        """The same region for one tenant: no key and no tag of it is one of another's."""
        return type(self)(self._shared, tenant)

    def name(self, key: Key) -> str:
        """What a value is called on the server."""
        return self._name(key)

    # -- reading -----------------------------------------------------------------------------------------------------

    def peek(self, key: Key, default: Any = None) -> Any:
        """The value if it is in this process and fresh; nothing is asked. Some 150 ns."""
        return self._shared.local.named(self._name, key, default)

    async def get(self, key: Key, default: Any = MISS) -> Any:
        """The value while it is fresh, else ``default``. A cached ``None`` is ``None``."""
        shared = self._shared
        local = shared.local
        if shared.keeps and (value := local.named(self._name, key, MISS)) is not MISS:
            return value
        name = self._name(key)
        if shared.owed.any and (value := shared.wanted(name)) is not MISS:
            return default if value is DOWN else value
        ticket = local.begin()
        data = await self._ask("GET", name)
        value = shared.plain(name, data, local, ticket)
        if value is not MISS:
            shared.meters.hits += 1
            return value
        found = await shared.read(name, data)
        if found is not None and (not found.tags or await shared.tags.valid(found.tags)):
            left = shared.left(found)
            if left > 0:
                shared.meters.hits += 1
                if shared.coherent and shared.keeps:
                    shared.keep(local, ticket, name, found, len(data), left)
                return found.value
        if data is DOWN:
            shared.meters.unavailable += 1
        else:
            shared.meters.misses += 1
        return default

    async def get_many(self, keys: Iterable[_K]) -> dict[_K, Any]:
        """The values that are there and fresh, by key."""
        shared = self._shared
        found: dict[_K, Any] = {}
        asked = list(keys)
        names = list(map(self._name, asked))
        if shared.owed.any:
            asked, names = self._without_asking(asked, names, found)
        elif shared.keeps:
            asked, names = shared.local.take(asked, names, found)
        for at in range(0, len(names), _PIECE):
            await self._get_piece(asked[at : at + _PIECE], names[at : at + _PIECE], found)
        return found

    def _without_asking(self, keys: list[_K], names: list[str], found: dict[_K, Any]) -> tuple[list[_K], list[str]]:
        """When writes are owed: those that are here go into ``found``; those that the server may be asked for."""
        shared = self._shared
        asked: list[_K] = []
        asked_names: list[str] = []
        for key, name in zip(keys, names, strict=True):
            value = shared.local.get(name, MISS)
            if value is MISS:
                value = shared.wanted(name)
                if value is DOWN:
                    continue
            if value is MISS:
                asked.append(key)
                asked_names.append(name)
            else:
                found[key] = value
        return asked, asked_names

    async def _get_piece(self, keys: list[_K], names: list[str], found: dict[_K, Any]) -> None:
        shared, meters = self._shared, self._shared.meters
        local, many = shared.local, shared.codec.plain.many
        ticket = local.begin()
        replies = await shared.server.ask_many(names)
        if replies is DOWN:
            meters.unavailable += len(names)
            return
        now, before, at = shared.clock(), len(found), 0
        while True:
            store = local if shared.keeps and shared.coherent else None
            at = many(keys, names, replies, at, now, found, store, ticket, shared.most, shared.kept)
            if at == len(names):
                break
            name, data = names[at], replies[at]  # has tags, or is compressed, or is no value
            value = await shared.read(name, data)
            left = 0.0 if value is None else shared.left(value, now)
            if value is not None and left > 0 and (not value.tags or await shared.tags.valid(value.tags)):
                shared.keep(local, ticket, name, value, len(data), left)
                found[keys[at]] = value.value
            at += 1
        hits = len(found) - before
        meters.hits += hits
        meters.misses += len(names) - hits

    async def ttl(self, key: Key) -> float | None:
        """Seconds that the value is still fresh; None: there is none. ``math.inf`` while it waits for the database."""
        shared, name = self._shared, self._name(key)
        if shared.owed.any and (value := shared.wanted(name)) is not MISS:
            return None if value is DOWN else shared.owed.wishes[name].ends - shared.clock()
        found = await shared.usable(name, await self._ask("GET", name))
        if found is None or (left := shared.left(found)) <= 0:
            return None
        if left < PENDING:
            return left
        ends = await self._ask("PTTL", name)  # it was written behind: the server alone knows
        return None if ends is DOWN or ends == -2 else inf if ends == -1 else ends / 1000

    # -- writing -----------------------------------------------------------------------------------------------------

    async def set(
        self,
        key: Key,
        value: Any,
        *,
        ttl: float | None = None,
        tags: Iterable[str] = (),
        version: int | None = None,
    ) -> bool:
        """Stores a value for ``ttl`` seconds. ``version``: only if no newer one is there, and none of the same version;
        whether it was stored."""
        shared, name = self._shared, self._name(key)
        shared.directly("set")
        fresh = shared.lasts(value, ttl)
        if not fresh:  # "there is none" is not remembered here
            await self.delete(key)
            return False
        tokens = await shared.tags.tokens([self._tag(tag) for tag in tags]) if tags else ()
        made = shared.clock()
        data = shared.codec.encode(name, value, made=made, fresh=fresh, tags=tokens or (), version=version or 0)
        life = shared.life(fresh)
        stored = True
        try:
            if tokens is None:
                raise RedisUnavailable("Redis is down, so the tags of a value to be cached are not known.")
            if version is None:
                await shared.server.tell("SET", name, data, "PX", life)
            else:
                args = (data, life, big_endian(version))
                reply = await shared.server.must(shared.server.newer, name, *args)
                stored = reply == 1
        except RedisUnavailable:
            if shared.policy.on_redis_down != "keep":
                shared.forget(name)
                raise
            # What is bound to a tag or a version is not kept: either may have changed when the server is back.
            kind = DROP if tags or version is not None else KEEP
            shared.owe(name, Wish(kind, shared.policy.prefix, data, made + fresh, value))
        except RedisRefused:
            await self._forget(name)
            raise
        else:
            shared.meters.not_stored += not stored
            self._told(name)
        return stored

    async def set_many(self, values: Mapping[_K, Any], *, ttl: float | None = None) -> None:
        """Stores many values, in as few turns as possible. An error may leave some of them stored, and some not."""
        shared = self._shared
        shared.directly("set_many")
        made = shared.clock()
        commands: list[tuple[Any, ...]] = []
        wishes: list[tuple[str, Wish]] = []
        for key, value in values.items():
            name, fresh = self._name(key), shared.lasts(value, ttl)
            if not fresh:
                commands.append(shared.server.drop.command((name,)))
                wishes.append((name, Wish(DROP, shared.policy.prefix)))
                continue
            data = shared.codec.encode(name, value, made=made, fresh=fresh)
            commands.append(("SET", name, data, "PX", shared.life(fresh)))
            wishes.append((name, Wish(KEEP, shared.policy.prefix, data, made + fresh, value)))
        await self._tell_all(commands, wishes)

    async def delete(self, key: Key) -> bool:
        """Deletes a value, and keeps loads that are under way from storing one; whether there was one. One that
        waits for the database (``write_behind``) stays."""
        shared, name = self._shared, self._name(key)
        try:
            there: int = await shared.server.must(shared.server.drop, name, *shared.spares)
        except RedisUnavailable:
            if shared.policy.on_redis_down != "keep":
                shared.forget(name)
                raise
            shared.owe(name, Wish(DROP, shared.policy.prefix))
            return False
        self._told(name)
        return there == 1

    async def delete_many(self, keys: Iterable[Key]) -> int:
        """Deletes many; how many there were."""
        drop, prefix, spares = self._shared.server.drop, self._shared.policy.prefix, self._shared.spares
        names = [self._name(key) for key in keys]
        replies = await self._tell_all(
            [drop.command((name,), spares) for name in names], [(name, Wish(DROP, prefix)) for name in names]
        )
        return sum(reply == 1 for reply in replies)

    async def touch(self, key: Key, *, ttl: float | None = None) -> bool:
        """Makes a fresh value fresh for ``ttl`` seconds from now; whether there was one."""
        shared, name = self._shared, self._name(key)
        if shared.owed.any and (value := shared.wanted(name)) is not MISS:
            return False if value is DOWN else await self.set(key, value, ttl=ttl)
        while True:
            data = await self._ask("GET", name)
            found = await shared.usable(name, data)
            if found is None or shared.left(found) <= 0:
                return False
            fresh = shared.lasts(found.value, ttl)
            new = shared.codec.encode(
                name,
                found.value,
                made=shared.clock(),
                fresh=fresh,
                load=found.load,
                version=found.version,
                tags=found.tags,
            )
            reply = await shared.server.must(shared.server.put, name, data[:HEAD], new, shared.life(fresh))
            shared.forget(name)
            if reply:  # it was; or it waits for the database, and has no end until then
                return True

    def _told(self, name: str) -> None:
        """The server knows of a write. What was read before is not kept."""
        shared = self._shared
        if shared.owed.any:
            shared.owed.done(name)
        shared.forget(name)

    async def _forget(self, name: str) -> None:
        """The server refused a value: the one before it is old."""
        self._shared.forget(name)
        await self._shared.server.run(self._shared.server.drop, name)

    async def _tell_all(self, commands: list[tuple[Any, ...]], wishes: list[tuple[str, Wish]]) -> list[Any]:
        shared = self._shared
        told: list[Any] = []
        failed: RedisRefused | RedisUnavailable | None = None
        try:
            for at in range(0, len(commands), _PIECE):
                told += await shared.server.tell_all(commands[at : at + _PIECE])
        except RedisUnavailable as error:
            if shared.policy.on_redis_down != "keep":
                raise
            told += [error] * (len(commands) - len(told))
        finally:
            for name, _ in wishes[len(told) :]:
                shared.forget(name)
            for reply, (name, wish) in zip(told, wishes, strict=False):
                if not isinstance(reply, RedisUnavailable):
                    self._told(name)
                elif shared.policy.on_redis_down == "keep":
                    shared.owe(name, wish)
                else:  # one node of a Cluster is down
                    failed = reply
                    shared.forget(name)
        for reply, (name, _) in zip(told, wishes, strict=False):
            if isinstance(reply, RedisRefused):
                failed = reply
                await self._forget(name)
        if failed is not None:
            raise failed
        return [0 if isinstance(reply, RedisUnavailable) else reply for reply in told]

    # -- with a loader -----------------------------------------------------------------------------------------------

    async def get_or_load(
        self,
        key: _K,
        load: Callable[[_K], rt.Awaits[_T]],
        *,
        tags: Iterable[str] = (),
        ttl: float | None = None,
    ) -> _T:
        """The value; if there is none, what ``load(key)`` gives, which is stored. Whoever asks meanwhile gets the same.

        ``tags``: see ``invalidate_tag``. ``ttl``: seconds, instead of the policy's. Raises what ``load`` raises, unless
        the policy has a stale value to serve; ``LoadTimeout``, ``LoadFailed``.
        """
        shared = self._shared
        value: Any = shared.local.named(self._name, key, MISS)
        if value is not MISS:
            return value  # type: ignore[no-any-return]
        names = [self._tag(tag) for tag in tags] if tags else ()
        do = functools.partial(load, key)
        return await obtain(shared, self._name(key), do, names, ttl)  # type: ignore[no-any-return]

    async def get_or_load_many(
        self,
        keys: Iterable[_K],
        load_many: Callable[[list[_K]], rt.Awaits[Mapping[_K, _T]]],
        *,
        ttl: float | None = None,
    ) -> dict[_K, _T | None]:
        """The values of all keys; what is not there is loaded by one call of ``load_many(keys)``, which gives a mapping.

        What the mapping leaves out is None, and remembered as such (``negative_ttl``). Several such calls that need the
        same keys at the same time share one load only if they lack exactly the same ones.
        """
        wanted = {key: self._name(key) for key in keys}
        return await obtain_many(self._shared, wanted, load_many, ttl)

    def cached(
        self,
        *,
        key: Callable[..., Key] | None = None,
        tags: Iterable[str] | Callable[..., Iterable[str]] = (),
        ttl: float | None = None,
    ) -> Callable[[Callable[..., rt.Awaits[_T]]], Callable[..., rt.Awaits[_T]]]:
        """A decorator: what the function gives is kept. ``key(*args, **kwargs)`` gives the key; left out, it is the
        positional arguments, which are then ``str`` or ``int``. ``tags`` may be a function of the arguments too.

        ``function.key(*args)`` is the key, for ``delete``.
        """
        make = _arguments if key is None else key

        def decorate(function: Callable[..., rt.Awaits[_T]]) -> Callable[..., rt.Awaits[_T]]:
            @functools.wraps(function)
            async def cached(*args: Any, **kwargs: Any) -> _T:
                async def load(_: Key) -> _T:
                    return await function(*args, **kwargs)

                chosen = tags(*args, **kwargs) if callable(tags) else tags
                return await self.get_or_load(make(*args, **kwargs), load, tags=chosen, ttl=ttl)

            cached.key = make  # type: ignore[attr-defined]
            return cached

        return decorate

    # -- with the database -------------------------------------------------------------------------------------------

    async def write_through(
        self,
        key: Key,
        value: _T,
        write: Callable[[_T], rt.Awaits[Any]],
        *,
        tags: Iterable[str] = (),
        ttl: float | None = None,
    ) -> bool:
        """``write(value)`` first, which puts it into the database, then the cache; whether it is in the cache now.

        From before the write until after it, nobody stores a value of this key, and reads miss. If ``write`` gives an int
        (a version that grows with each write of the key), an older one never replaces a newer. If it raises, so does this,
        and the cache holds nothing. Writes that overlap leave nothing in the cache: the next read loads.
        """
        self._shared.directly("write_through")
        names = [self._tag(tag) for tag in tags] if tags else ()
        return await write_through(self._shared, self._name(key), value, write, names, ttl)

    async def write_behind(
        self, key: Key, value: Any, *, ttl: float | None = None, timeout: float | None = None
    ) -> int:
        """Accepts a value that the database gets later, by a flusher (``AsyncCache.flusher``); the write's version.

        From then on reads give it, here and elsewhere, however long the database is down; its ``ttl`` begins when the
        database has it. ``timeout``: seconds to wait for room or a lost connection, instead of the policy's. Raises
        ``WriteBehindFull``, ``RedisRefused`` when the server is full, ``RedisUnavailable``; of these,
        ``RedisOutcomeUnknown`` alone means that it may have been accepted. ``ConfigError`` if the policy has no ``behind``,
        or the server is not safe for it.
        """
        return await self._write_behind(key, value, False, ttl, timeout)

    async def delete_behind(self, key: Key, *, ttl: float | None = None, timeout: float | None = None) -> int:
        """Accepts that the database's row is to be deleted; as ``write_behind``. Reads give None from then on."""
        return await self._write_behind(key, None, True, ttl, timeout)

    async def _write_behind(self, key: Key, value: Any, deleted: bool, ttl: float | None, timeout: float | None) -> int:
        shared, name = self._shared, self._name(key)
        behind = shared.behind
        data = shared.codec.encode(name, value, made=shared.clock(), fresh=PENDING)
        accept = behind.delete if deleted else behind.put
        live = shared.lasts(value, ttl)
        try:
            version = await accept(key, data, tenant=self._tenant, name=name, ttl=live, timeout=timeout)
        except BaseException:
            shared.forget(name)  # it may have been accepted
            raise
        self._told(name)
        return version

    @property
    def behind(self) -> AsyncWriteBehind:
        """What waits for the database: ``flush``, ``pending``, ``dead``, ``replay``, ``discard``."""
        return self._shared.behind

    async def invalidate_tag(self, tag: str) -> None:
        """All values with this tag are misses from now on, in all regions, and so is what is being loaded with it."""
        tag = self._tag(tag)
        await self._shared.tags.renew(tag, self._shared.policy.on_redis_down == "keep")

    def _no_tenant(self, key: Key) -> str:
        raise ValueError(f"the region {self._shared.policy.name} has tenants: use region.tenant(…)")


def _arguments(*args: Any, **kwargs: Any) -> Key:
    if kwargs or not args:
        raise TypeError("the key of a cached call is its positional arguments: give cached(key=…) for other calls")
    return args[0] if len(args) == 1 else args
