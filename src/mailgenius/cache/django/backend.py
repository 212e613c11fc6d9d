"""``Backend``: Django's cache over Redis, for ``CACHES``. Threads and asyncio.

The methods, their arguments and what they give are those of ``django.core.cache.backends.base.BaseCache``
(https://docs.djangoproject.com/en/stable/topics/cache/). Every thread has a ``Backend`` of its own, as Django makes them;
all of a process share one connection, which carries what they ask at the same time.

The async methods run the others in a thread beside: a thread may use the connection together with all event loops of the
process, of which Django makes a new one for each ``async_to_sync``; a connection of asyncio belongs to one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func

from mailgenius.cache.django.options import one_location, read_options
from mailgenius.cache.django.store import DOWN, BackendMetrics, Store, store_of
from mailgenius.cache.marks import MISS
from mailgenius.errors import RedisRefused

__all__ = ["Backend"]

_FOREVER: Final = -1
_LONGEST: Final = 10**14  # milliseconds: 3,000 years
_PIECE: Final = 500  # values asked for, or written, in one call
_LOW, _HIGH = -(1 << 63), (1 << 63) - 1


def _beside(name: str) -> Callable[..., Any]:
    """The async method of a method."""

    async def method(self: Any, *args: Any, **keywords: Any) -> Any:
        return await sync_to_async(getattr(self, name), thread_sensitive=False)(*args, **keywords)

    method.__name__, method.__doc__ = f"a{name}", f"See {name}()."
    return method


class Backend(BaseCache):  # type: ignore[misc]  # Django has no types
    """``CACHES = {"default": {"BACKEND": "mailgenius.cache.django.Backend", "LOCATION": "redis://…", "OPTIONS": {…}}}``.

    Raises ``ConfigError`` for a LOCATION or OPTIONS that cannot be. Writing raises TypeError for values that are not
    stored, and what is then in the cache is what was there before.
    """

    def __init__(self, location: str | list[str], params: dict[str, Any]) -> None:
        super().__init__(params)
        options = read_options(params.get("OPTIONS", {}))
        self._options = options
        self._location = one_location(location)
        self._key = self._location, repr(options)
        _ = self._store  # which raises what is wrong with it

    # -- one value -----------------------------------------------------------------------------------------------

    def get(self, key: Any, default: Any = None, version: Any = None) -> Any:
        data = self._store.read("GET", self._name(key, version))
        if data is None or data is DOWN:
            return default
        value = self._store.codec.decode(data)
        return default if value is MISS else value

    def has_key(self, key: Any, version: Any = None) -> bool:
        return bool(self._store.read("EXISTS", self._name(key, version)) == 1)

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> None:
        name = self._name(key, version)
        self._write([name], self._store.server.tell, *_set(name, self._encode(key, value), self._life(timeout)))

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        name, data, life = self._name(key, version), self._encode(key, value), self._life(timeout)
        if life == 0:
            return bool(self._store.read("EXISTS", name) == 0)
        reply = self._write([], self._store.server.tell, *_set(name, data, life), "NX")
        return reply is not None and reply is not DOWN

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> bool:
        name, life = self._name(key, version), self._life(timeout)
        if life == 0:
            return self.delete(key, version)
        if life == _FOREVER:
            replies = self._write([], self._store.server.tell_all, [("EXISTS", name), ("PERSIST", name)])
            return replies is not DOWN and replies[0] == 1
        return bool(self._write([], self._store.server.tell, "PEXPIRE", name, life) == 1)

    def delete(self, key: Any, version: Any = None) -> bool:
        name = self._name(key, version)
        return bool(self._write([name], self._store.server.tell, "UNLINK", name) == 1)

    def incr(self, key: Any, delta: int = 1, version: Any = None) -> int:
        name = self._name(key, version)
        if type(delta) is not int:
            raise TypeError(f"Redis counts in whole numbers: {delta!r} cannot be added to {key!r}")
        if not _LOW <= delta <= _HIGH:
            raise OverflowError(f"Redis counts in 64 bits: {delta} cannot be added to {key!r}")
        total = self._write([], self._store.count, name, delta)
        if total is None or total is DOWN:
            raise ValueError(f"Key {key!r} not found{' since Redis is down' if total is DOWN else ''}")
        return int(total)

    def incr_version(self, key: Any, delta: int = 1, version: Any = None) -> Any:
        """In one step; the value is there for the default timeout from now on."""
        before = self.version if version is None else version
        old, new = self._name(key, before), self._name(key, before + delta)
        moved = self._write([old, new], self._store.move, old, new, self._life(DEFAULT_TIMEOUT))
        if moved is DOWN or not moved:
            raise ValueError(f"Key {key!r} not found{' since Redis is down' if moved is DOWN else ''}")
        return before + delta

    # -- many values ---------------------------------------------------------------------------------------------

    def get_many(self, keys: Iterable[Any], version: Any = None) -> dict[Any, Any]:
        named = [(key, self._name(key, version)) for key in keys]
        found: dict[Any, Any] = {}
        for at in range(0, len(named), _PIECE):
            piece = named[at : at + _PIECE]
            replies = self._store.read("MGET", *(name for _, name in piece))
            if replies is DOWN:
                break
            for (key, _), data in zip(piece, replies, strict=True):
                if data is not None and (value := self._store.codec.decode(data)) is not MISS:
                    found[key] = value
        return found

    def set_many(self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: Any = None) -> list[Any]:
        """The keys of values that were not stored. If one of them cannot be, TypeError, and none is."""
        life = self._life(timeout)
        commands = [
            (key, _set(self._name(key, version), self._encode(key, value), life)) for key, value in data.items()
        ]
        failed: list[Any] = []
        for at in range(0, len(commands), _PIECE):
            piece = commands[at : at + _PIECE]
            names = [command[1] for _, command in piece]
            replies = self._write(names, self._store.server.tell_all, [command for _, command in piece])
            if replies is DOWN:
                failed += [key for key, _ in piece]
                continue
            refused = [i for i, reply in enumerate(replies) if isinstance(reply, RedisRefused)]
            self._store.forget([names[i] for i in refused], self._prefix())
            if refused and not self._options.ignore_errors:
                raise replies[refused[0]]
            self._store.dropped_writes += len(refused)
            failed += [piece[i][0] for i in refused]
        return failed

    def delete_many(self, keys: Iterable[Any], version: Any = None) -> None:
        names = [self._name(key, version) for key in keys]
        for at in range(0, len(names), _PIECE):
            self._write(names[at : at + _PIECE], self._store.server.tell, "UNLINK", *names[at : at + _PIECE])

    def clear(self) -> None:
        """Deletes all values of this KEY_PREFIX, in all versions; with a KEY_FUNCTION, all of the namespace. Or empties the
        database, if OPTIONS say ``"clear": "flushdb"``."""
        if self._options.clear == "flushdb":
            self._write([], self._store.server.tell, "FLUSHDB")
        else:
            self._write([], self._store.clear, self._prefix())

    def close(self, **keywords: Any) -> None:
        """Does nothing: Django calls it at the end of each request, and the connection stays for the next one."""

    def metrics(self) -> BackendMetrics:
        """What happened, in numbers."""
        return self._store.metrics()

    aget, aset, aadd, atouch, adelete = map(_beside, ("get", "set", "add", "touch", "delete"))
    ahas_key, aincr, aincr_version, aclear = map(_beside, ("has_key", "incr", "incr_version", "clear"))
    aget_many, aset_many, adelete_many = map(_beside, ("get_many", "set_many", "delete_many"))

    # -- names, lives, forms -------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        return store_of(self._key, self._location, self._options)

    def _name(self, key: Any, version: Any) -> str:
        return f"{self._options.namespace}:{self.make_and_validate_key(key, version=version)}"

    def _prefix(self) -> str:
        """What the names of all values of this cache begin with."""
        plain = self.key_func is default_key_func and type(self).make_key is BaseCache.make_key
        return f"{self._options.namespace}:{self.key_prefix}:" if plain else f"{self._options.namespace}:"

    def _life(self, timeout: Any) -> int:
        """Milliseconds; 0: not at all."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        return _FOREVER if timeout is None else max(0, min(ceil(timeout * 1000), _LONGEST))

    def _encode(self, key: Any, value: Any) -> bytes:
        try:
            return self._store.codec.encode(value)
        except TypeError as error:
            if self._options.serializer is not None:
                raise
            raise TypeError(
                f"the value of {key!r} cannot be cached: {error}, or give OPTIONS a serializer of your own"
            ) from None

    def _write(self, owes: list[str], do: Callable[..., Any], *args: Any) -> Any:
        return self._store.write(owes, self._prefix(), do, *args)


def _set(name: str, data: bytes, life: int) -> tuple[Any, ...]:
    if life == 0:
        return ("UNLINK", name)
    return ("SET", name, data) if life == _FOREVER else ("SET", name, data, "PX", life)
