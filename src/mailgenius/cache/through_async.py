"""Write-through: the database first, then the cache, in such an order that no older value can stay behind.

1. A mark on the server says that a writer is at work: values that were being loaded cannot be stored any more, nor can new
   ones, and reads miss. 2. The database is written. 3. The value replaces the mark, if no other writer was at work in
   between; else nothing does.

A process that dies after 1 leaves the mark, which ends by itself: until then the key is read from the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mailgenius.cache.marks import big_endian, token
from mailgenius.cache.owed import DROP, Wish
from mailgenius.cache.server_async import DOWN
from mailgenius.cache.shared_async import Shared
from mailgenius.errors import OutcomeUnknown, RedisUnavailable
from mailgenius.rt import aio as rt

__all__ = ["write_through"]


async def write_through(
    shared: Shared,
    name: str,
    value: Any,
    write: Callable[[Any], rt.Awaits[Any]],
    tags: Iterable[str],
    ttl: float | None,
) -> bool:
    server, mine = shared.server, token()
    fresh = shared.lasts(value, ttl)
    # Before anything is written: what cannot be stored is refused here.
    shared.codec.encode(name, value, made=0.0, fresh=fresh)
    marked = True
    try:
        await server.must(server.begin, name, mine, shared.fence_ms)
    except RedisUnavailable:
        if shared.policy.on_redis_down != "keep":
            raise
        marked = False
        shared.owe(name, Wish(DROP, shared.policy.prefix))
    shared.forget(name)
    tokens = await shared.tags.tokens(tags) if tags and marked else ()
    try:
        given = await write(value)
    except (TimeoutError, OutcomeUnknown):
        # It may still come about: the mark stays until its time is over.
        shared.forget(name)
        raise
    except Exception:
        if marked:
            await _end(shared, name, mine, b"", 1, b"")
        raise
    version = given if type(given) is int and 0 <= given < 1 << 63 else None
    data = b""
    if marked and fresh and tokens is not None:
        data = shared.codec.encode(name, value, made=shared.clock(), fresh=fresh, tags=tokens, version=version or 0)
    stored = marked and await _end(
        shared, name, mine, data, shared.life(fresh), b"" if version is None else big_endian(version)
    )
    if not marked:
        # A read of the database from before the write may have been kept here meanwhile.
        shared.owe(name, Wish(DROP, shared.policy.prefix))
    shared.meters.not_stored += not stored
    return stored


async def _end(shared: Shared, name: str, mine: bytes, data: bytes, life: int, version: bytes) -> bool:
    server = shared.server
    stored = await server.run(server.finish, name, mine, data, life, version)
    if stored is DOWN:
        # The mark ends by itself; but a server that restarts may have forgotten it, and know an older value.
        shared.owe(name, Wish(DROP, shared.policy.prefix))
    shared.forget(name)
    return bool(stored == 1)
