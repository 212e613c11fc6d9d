"""AsyncCache against real servers: every method, both layers, two clients."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from mailgenius import AsyncCache, AsyncRedis
from mailgenius.cache import MISS, SOURCE_REGIONS, Region
from mailgenius.errors import ConfigError, RedisRefused
from mailgenius.servers import ValkeyServer
from tests.waiting_async import coherent, until


class Lead(msgspec.Struct, frozen=True):
    id: int
    email: str


@contextlib.asynccontextmanager
async def two(server: ValkeyServer, **policy: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The same region of two caches that are told of changes, as of two processes."""
    async with AsyncCache(server.url, budget=5) as one, AsyncCache(server.url, budget=5) as other:
        regions = one.region("lead", **policy), other.region("lead", **policy)
        await coherent(one)
        await coherent(other)
        yield regions


async def test_a_value_comes_back_and_none_is_no_miss(redis_versions: ValkeyServer) -> None:
    async with two(redis_versions, type=Lead | None) as (one, other):
        assert await one.get(1) is MISS
        assert await one.get(1, "nothing") == "nothing"
        assert await one.set(1, Lead(1, "ana@example.com"))
        for region in (one, other, other):
            assert await region.get(1) == Lead(1, "ana@example.com")
        assert other.peek("1") == Lead(1, "ana@example.com")
        await one.set(2, None)
        assert await one.get(2) is None
        assert await other.get(2, "nothing") is None
        left = await one.ttl(1)
        assert left is not None
        assert 260 < left < 331
        assert await one.ttl(3) is None


async def test_values_in_both_layers_follow_a_change_elsewhere(redis_versions: ValkeyServer) -> None:
    async with two(redis_versions) as (one, other):
        await one.set("a", 1)
        await until(lambda: _kept(other, "a", 1))
        await one.set("a", 2)
        await until(lambda: _peeked(other, "a", None))
        assert await other.get("a") == 2
        await until(lambda: _kept(other, "a", 2))
        assert await one.delete("a") is True
        await until(lambda: _peeked(other, "a", None))
        assert await other.get("a") is MISS
        assert await one.delete("a") is False


async def _kept(region: Any, key: str, value: object) -> bool:
    await region.get(key)
    return bool(region.peek(key) == value)


async def _are(region: Any, values: dict[int, int]) -> bool:
    return bool(await region.get_many(range(2500)) == values)


async def _peeked(region: Any, key: str, value: object) -> bool:
    return region.peek(key) == value


async def test_many(redis_versions: ValkeyServer) -> None:
    async with two(redis_versions) as (one, other):
        await one.set_many({n: n * n for n in range(2500)})
        assert await other.get_many(range(2600)) == {n: n * n for n in range(2500)}
        assert await other.get_many([3, 4, 3, "x"]) == {3: 9, 4: 16}
        assert await one.delete_many(range(1, 2500)) == 2499
        assert await one.delete_many([]) == 0
        await until(lambda: _are(other, {0: 0}))
        assert await one.get_many([]) == {}


async def test_touch_makes_a_value_last(redis_versions: ValkeyServer) -> None:
    async with two(redis_versions, ttl=10, jitter=0) as (one, other):
        await one.set("a", {"x": 1}, ttl=5)
        assert 4 < await one.ttl("a") <= 5
        assert await other.touch("a")
        assert 9 < await one.ttl("a") <= 10
        assert await one.get("a") == {"x": 1}
        assert await one.touch("b") is False


async def test_a_newer_version_is_never_replaced(redis_versions: ValkeyServer) -> None:
    async with two(redis_versions) as (one, other):
        assert await one.set("a", "new", version=300)
        assert not await other.set("a", "old", version=299)
        assert not await other.set("a", "same", version=300)
        assert await other.get("a") == "new"
        assert await other.set("a", "newest", version=301)
        assert await one.get("a") == "newest"


async def test_a_loaded_value_is_stored_and_shared(redis_versions: ValkeyServer) -> None:
    calls: list[Any] = []

    async def load(key: Any) -> Any:
        calls.append(key)
        return None if key == "none" else {"of": key}

    async with two(redis_versions) as (one, other):
        assert await one.get_or_load("a", load) == {"of": "a"}
        assert await other.get_or_load("a", load) == {"of": "a"}
        assert await one.get_or_load("none", load) is None
        assert await other.get_or_load("none", load) is None
        assert calls == ["a", "none"]


async def test_what_is_not_there_may_be_remembered_shortly_or_not_at_all(redis_server: ValkeyServer) -> None:
    calls: list[Any] = []

    async def load(key: Any) -> None:
        calls.append(key)

    async with AsyncCache(redis_server.url, budget=5) as cache:
        never = cache.region("never", negative_ttl=0)
        for _ in range(2):
            assert await never.get_or_load("a", load) is None
        assert await never.set("b", None) is False
        assert await never.get("b") is MISS
        shortly = cache.region("shortly", negative_ttl=5, jitter=0)
        for _ in range(2):
            assert await shortly.get_or_load("a", load) is None
        left = await shortly.ttl("a")
        assert left is not None
        assert left <= 5
        assert len(calls) == 3


async def test_many_are_loaded_at_once(redis_versions: ValkeyServer) -> None:
    calls: list[list[int]] = []

    async def load(keys: list[int]) -> dict[int, str]:
        calls.append(keys)
        return {key: str(key) for key in keys if key != 3}

    async with two(redis_versions) as (one, other):
        await one.set(1, "here")
        wanted = {1: "here", 2: "2", 3: None, 4: "4"}
        assert await one.get_or_load_many([1, 2, 3, 4], load) == wanted
        assert await other.get_or_load_many([4, 3, 2, 1], load) == wanted
        assert await other.get_or_load_many([], load) == {}
        assert calls == [[2, 3, 4]]


async def test_decorated_functions(redis_server: ValkeyServer) -> None:
    calls: list[Any] = []
    async with AsyncCache(redis_server.url, budget=5) as cache:
        region = cache.region("page")

        @region.cached(key=lambda country, limit=10: (country, limit), tags=lambda country, limit=10: [country])
        async def page(country: str, limit: int = 10) -> list[str]:
            """A page."""
            calls.append((country, limit))
            return [country] * limit

        @region.cached()
        async def plain(a: str, b: int) -> str:
            calls.append((a, b))
            return a * b

        assert await page("BR", limit=2) == await page("BR", 2) == ["BR", "BR"]
        assert page.__doc__ == "A page."
        assert await plain("x", 3) == await plain("x", 3) == "xxx"
        assert calls == [("BR", 2), ("x", 3)]
        await cache.invalidate_tag("BR")
        await page("BR", 2)
        await region.delete(plain.key("x", 3))
        await plain("x", 3)
        assert len(calls) == 4
        with pytest.raises(TypeError, match="positional"):
            await plain(a="x", b=3)


async def test_tags(redis_versions: ValkeyServer) -> None:
    calls: list[Any] = []

    async def load(key: Any) -> Any:
        calls.append(key)
        return len(calls)

    async with two(redis_versions) as (one, other):
        assert await one.get_or_load("a", load, tags=["campaign:7", "x"]) == 1
        assert await one.get_or_load("b", load, tags=["campaign:8"]) == 2
        for region in (one, other):
            await until(lambda region=region: _kept(region, "a", 1))
        await other.invalidate_tag("campaign:7")
        assert await other.get("a") is MISS
        await until(lambda: _peeked(one, "a", None))
        assert await one.get("a") is MISS
        assert await one.get("b") == 2
        assert await one.get_or_load("a", load, tags=["campaign:7", "x"]) == 3
        await one.set("c", "set", tags=["x"])
        assert await other.get("c") == "set"
        await other.invalidate_tag("x")
        assert await other.get("c") is MISS
        assert await other.get("a") is MISS


async def test_a_tag_that_the_server_forgot_is_a_miss(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, local=False, budget=5) as cache:
        region = cache.region("lead")
        await region.set("a", 1, tags=["x"])
        assert await region.get("a") == 1
        assert await cache.redis.call("DEL", "mg:t:x") == 1
        assert await region.get("a") is MISS
        await region.set("a", 2, tags=["x"])
        assert await region.get("a") == 2


async def test_tenants_do_not_meet(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, budget=5) as cache:
        region = cache.region("lead", tenant=True)
        acme, other = region.tenant("acme"), region.tenant("other")
        await acme.set(1, "acme's", tags=["t"])
        await other.set(1, "other's", tags=["t"])
        assert await acme.get(1) == "acme's"
        assert await other.get(1) == "other's"
        await acme.invalidate_tag("t")
        assert await acme.get(1) is MISS
        assert await other.get(1) == "other's"
        with pytest.raises(ValueError, match="has tenants"):
            await region.get(1)


async def test_regions_are_checked(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, SOURCE_REGIONS.values(), budget=5) as cache:
        assert cache.region("session").policy.ttl == 3600
        assert cache.region("other", ttl=5).policy.ttl == 5
        assert cache.region("other").policy.ttl == 5
        with pytest.raises(ConfigError, match="another policy"):
            cache.region("other", ttl=6)
        with pytest.raises(ConfigError, match="begins the other"):
            cache.region("more", prefix="session:user:x:")
        with pytest.raises(ConfigError, match=r"\$.cache.nope: unknown setting"):
            AsyncCache("redis://localhost", nope=1)
        with pytest.raises(ConfigError, match=r"\$.cache.budget"):
            AsyncCache("redis://localhost", budget=0)


async def test_what_is_not_ours_or_of_another_type_is_a_miss(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis, AsyncCache(redis, local=False, budget=5) as cache:
        region, raw = cache.region("lead", type=Lead), cache.region("raw", serializer="raw")
        await raw.set(1, b"bytes")
        await redis.call("SET", "lead:1", await redis.get("raw:1") or b"")
        await redis.call("SET", "lead:2", b"\x80\x04K\x01.")
        await redis.call("SET", "lead:3", b"")
        await redis.call("LPUSH", "lead:4", "x")
        for key in (1, 2, 3, 4):
            assert await region.get(key) is MISS

        async def load(key: int) -> Lead:
            return Lead(key, "x@y.z")

        for key in (1, 2, 3, 4):
            assert await region.get_or_load(key, load) == Lead(key, "x@y.z")
        assert await region.get(2) == Lead(2, "x@y.z")
        with pytest.raises(TypeError):
            await region.set(5, object())
        assert cache.metrics().regions["lead"].unread["foreign"] >= 1


async def test_a_full_server_refuses_and_the_old_value_goes(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, budget=5) as cache:
        region = cache.region("lead")
        await region.set("a", "old")
        redis_server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(RedisRefused, match="OOM"):
                await region.set("a", "new")
            assert await region.get("a") is MISS

            async def load(key: str) -> str:
                return "loaded"

            assert await region.get_or_load("a", load) == "loaded"
        finally:
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
        assert await region.get_or_load("a", load) == "loaded"
        assert await region.get("a") == "loaded"


async def test_flushing_the_server_flushes_the_process(redis_versions: ValkeyServer) -> None:
    async with two(redis_versions) as (one, other):
        await one.set("a", 1)
        await until(lambda: _kept(other, "a", 1))
        redis_versions.ask("FLUSHALL")
        await until(lambda: _peeked(other, "a", None))
        assert await other.get("a") is MISS


async def test_a_region_that_comes_later_is_told_of_changes_too(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, budget=5) as cache:
        cache.region("first")
        await coherent(cache)
        later = cache.region("later")
        await later.set("a", 1)
        await until(lambda: _kept(later, "a", 1))
        redis_server.ask("SET", "later:a", "x")
        await until(lambda: _peeked(later, "a", None))


async def test_without_the_local_layer(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, local=False, budget=5) as cache:
        region = cache.region("lead")
        await region.set("a", 1)
        assert await region.get("a") == 1
        assert region.peek("a") is None
        assert not cache.coherent


async def test_events_and_metrics(redis_server: ValkeyServer) -> None:
    events: list[str] = []
    cache = AsyncCache(
        redis_server.url, [Region(name="lead")], on_event=lambda name, why: events.append(name), budget=5
    )
    async with cache:
        await coherent(cache)
        region = cache.region("lead")
        await region.get("a")
        await region.set("a", 1)
        await until(lambda: _kept(region, "a", 1))
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await until(lambda: _told(events, "incoherent"))
        assert region.peek("a") is None
        await coherent(cache)
        metrics = cache.metrics()
        assert metrics.flushes == 1
        assert metrics.regions["lead"].misses >= 1
        assert metrics.regions["lead"].hits >= 1
        assert metrics.regions["lead"].local["invalidated"] >= 1
        assert metrics.invalidations >= 1
    assert events == ["coherent", "incoherent", "coherent", "incoherent"]
    await cache.close()


async def _told(events: list[str], event: str) -> bool:
    return event in events


async def test_closing_twice_and_without_a_server() -> None:
    cache = AsyncCache("redis://127.0.0.1:1")
    async with cache:
        region = cache.region("lead")
        assert await region.get("a") is MISS
        assert await region.ttl("a") is None
        assert not await region.touch("a")
    await cache.close()
