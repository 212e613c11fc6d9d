"""Other clients and caches of Redis, each as it is meant to be used: how they get, set, and get or load one key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import msgspec

Do: TypeAlias = Callable[[], Awaitable[Any]]
EXPIRE = 3600


async def redis_py(stack: AsyncExitStack, url: str, value: bytes) -> dict[str, Do]:
    import redis.asyncio

    client = redis.asyncio.Redis.from_url(url, max_connections=100)
    stack.push_async_callback(client.aclose)
    return {"get": lambda: client.get("key"), "set": lambda: client.set("key", value, px=EXPIRE * 1000)}


async def valkey_glide(stack: AsyncExitStack, url: str, value: bytes) -> dict[str, Do]:
    import glide

    port = int(url.rpartition(":")[2].partition("/")[0])
    place = [glide.NodeAddress("127.0.0.1", port)]
    client = await glide.GlideClient.create(glide.GlideClientConfiguration(place))
    stack.push_async_callback(client.close)
    expiry = glide.ExpirySet(glide.ExpiryType.MILLSEC, EXPIRE * 1000)
    return {"get": lambda: client.get("key"), "set": lambda: client.set("key", value, expiry=expiry)}


async def cashews(stack: AsyncExitStack, url: str, value: Any) -> dict[str, Do]:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, max_connections=100)
    stack.push_async_callback(cache.close)
    await cache.set("cashews", value, expire=EXPIRE)
    return {"get": lambda: cache.get("cashews")}


async def cashews_client_side(stack: AsyncExitStack, url: str, value: Any) -> dict[str, Do]:
    from cashews import Cache

    cache = Cache()
    cache.setup(url, client_side=True, max_connections=100)
    stack.push_async_callback(cache.close)
    await cache.set("cashews-local", value, expire=EXPIRE)
    return {"get_or_load": lambda: cache.get_or_set("cashews-local", lambda: value, expire=EXPIRE)}


async def aiocache(stack: AsyncExitStack, url: str, value: Any) -> dict[str, Do]:
    from aiocache import RedisCache
    from aiocache.serializers import BaseSerializer

    class MessagePack(BaseSerializer):
        """The same form as ours."""

        DEFAULT_ENCODING = None

        def __init__(self) -> None:
            super().__init__()
            self.dumps = msgspec.msgpack.Encoder().encode
            read = msgspec.msgpack.Decoder(type(value)).decode
            self.loads = lambda data: None if data is None else read(data)

    port = int(url.rpartition(":")[2].partition("/")[0])
    try:
        cache = RedisCache(endpoint="127.0.0.1", port=port, serializer=MessagePack(), pool_max_size=100)
    except TypeError:  # from 1.0 on it is given a client
        import redis.asyncio

        cache = RedisCache(redis.asyncio.Redis.from_url(url, max_connections=100), serializer=MessagePack())
    stack.push_async_callback(cache.close)
    await cache.set("aiocache", value, ttl=EXPIRE)
    return {"get": lambda: cache.get("aiocache")}


def dogpile(url: str, value: Any) -> dict[str, Callable[[], Any]]:
    """For threads."""
    from dogpile.cache import make_region

    region = make_region().configure(
        "dogpile.cache.redis",
        expiration_time=EXPIRE,
        arguments={"url": url, "distributed_lock": False, "thread_local_lock": False},
    )
    region.set("dogpile", value)
    return {"get": lambda: region.get("dogpile")}
