"""Regions whose values are written behind: what reads, deletions and loads see while a write waits for the database."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from msgspec import Struct

from mailgenius import AsyncCache, AsyncRedis
from mailgenius.cache import MISS, Behind, Item, Region
from mailgenius.errors import ConfigError, RedisUnavailable
from mailgenius.servers import ValkeyServer
from tests.waiting_async import coherent, until

UNSAFE = Behind(unsafe=True)  # these servers have no log
QUICK: dict[str, Any] = {"every": 0.0, "lease": 0.5}


class Score(Struct, frozen=True):
    points: int


class Table:
    """What a database with the version condition would hold."""

    def __init__(self) -> None:
        self.rows: dict[Any, tuple[int, Any]] = {}
        self.deleted: list[Any] = []

    async def write(self, items: Sequence[Item]) -> None:
        for item in items:
            if self.rows.get(item.key, (0, None))[0] < item.version:
                self.rows[item.key] = (item.version, item.value)
                if item.deleted:
                    self.deleted.append(item.key)

    async def load(self, key: Any) -> Any:
        return self.rows.get(key, (0, None))[1]


def scores(cache: AsyncCache, **more: Any) -> Any:
    return cache.region("scores", **{"type": Score | None, "behind": UNSAFE, **more})


async def test_a_write_is_read_at_once_and_comes_to_the_writer_as_a_value(redis_versions: ValkeyServer) -> None:
    table = Table()
    async with AsyncCache(redis_versions.url, budget=5) as cache, AsyncCache(redis_versions.url, budget=5) as other:
        here, there = scores(cache), scores(other)
        await coherent(cache)
        await coherent(other)
        await until(lambda: _kept(there, 1, None))
        first = await here.write_behind(1, Score(10))
        await until(lambda: _kept(there, 1, Score(10)))
        await until(lambda: _kept(here, 1, Score(10)))
        assert await here.write_behind(1, Score(20)) > first
        assert await here.get(1) == Score(20)  # read your writes: not what this process had kept
        await until(lambda: _kept(there, 1, Score(20)))
        assert await here.ttl(1) == inf
        assert (await here.behind.pending()).writes == 2
        async with cache.flusher("scores", table.write, **QUICK):
            await here.behind.flush()
        assert await table.load(1) == Score(20)
        left = await here.ttl(1)
        assert left is not None
        assert 0 < left < 331
        assert await here.get(1) == Score(20)


async def _kept(region: Any, key: Any, value: Any) -> bool:
    if value is None:
        return await region.get(key) is MISS
    await region.get(key)
    return bool(region.peek(key) == value)


async def test_nothing_brings_back_what_was_before_a_write_that_waits(redis_versions: ValkeyServer) -> None:
    table = Table()
    table.rows[1] = (0, Score(1))
    async with AsyncCache(redis_versions.url, budget=5, local=False) as cache:
        region = scores(cache, fail_safe=60)

        async def slow(key: Any) -> Any:
            value = await table.load(key)
            await region.write_behind(key, Score(2))  # somebody writes while this load is under way
            return value

        assert await region.get_or_load(1, slow) == Score(1)
        assert await region.get(1) == Score(2)
        assert await region.delete(1) is False
        assert await region.delete_many([1, 2]) == 0
        assert await region.touch(1, ttl=0.001) is True
        assert await region.ttl(1) == inf
        assert await region.get_or_load(1, table.load) == Score(2)
        assert await region.get_or_load_many([1], _never) == {1: Score(2)}
        async with cache.flusher("scores", table.write, **QUICK):
            await region.behind.flush()
        assert await region.touch(1, ttl=50) is True
        left = await region.ttl(1)
        assert left is not None
        assert left <= 55
        assert await region.delete(1) is True
        assert await region.get_or_load(1, table.load) == Score(2)


async def _never(keys: Any) -> Any:
    raise AssertionError(f"loaded {keys}")


async def test_a_refresh_of_an_older_value_leaves_a_write_alone(redis_versions: ValkeyServer) -> None:
    async with AsyncCache(redis_versions.url, budget=5, local=False) as cache:
        region = scores(cache, ttl=0.001, jitter=0, stale_for=60)

        async def first(key: Any) -> Any:
            return Score(1)

        async def second(key: Any) -> Any:
            await region.write_behind(key, Score(2))
            return Score(1)

        assert await region.get_or_load(1, first) == Score(1)
        await until(lambda: _kept(region, 1, None))
        assert await region.get_or_load(1, second) == Score(1)  # stale; second runs beside
        await until(lambda: _is(region, 1, Score(2)))
        assert await region.get(1) == Score(2)


async def _is(region: Any, key: Any, value: Any) -> bool:
    return bool(await region.get(key) == value)


async def test_deletions_go_behind_too(redis_versions: ValkeyServer) -> None:
    table = Table()
    table.rows[1] = (0, Score(1))
    async with AsyncCache(redis_versions.url, budget=5) as cache:
        region = scores(cache)
        await region.delete_behind(1)
        assert await region.get(1, "nothing") is None
        assert await region.get_or_load(1, table.load) is None  # the row is still there
        async with cache.flusher("scores", table.write, **QUICK):
            await region.behind.flush()
        assert table.deleted == [1]


async def test_tenants_and_tuples_reach_the_writer_as_they_were_given(redis_versions: ValkeyServer) -> None:
    seen: list[Item] = []

    async def write(items: Sequence[Item]) -> None:
        seen.extend(items)

    async with AsyncCache(redis_versions.url, budget=5) as cache:
        region = cache.region("opens", tenant=True, together="region", behind=UNSAFE)
        await region.tenant("acme").write_behind(("c", 7), [1, 2])
        assert region.tenant("acme").name(("c", 7)) == "opens:%{opens}@acme:(c,7"
        async with cache.flusher("opens", write, **QUICK):
            await region.behind.flush()
    assert [(item.tenant, item.key, item.value) for item in seen] == [("acme", ("c", 7), [1, 2])]


async def test_what_cannot_be_read_is_a_dead_letter_that_says_why(redis_versions: ValkeyServer) -> None:
    table = Table()
    async with AsyncCache(redis_versions.url, budget=5) as cache, AsyncCache(redis_versions.url, budget=5) as deployed:
        region = scores(cache)
        await region.write_behind(1, Score(1))
        scores(deployed, type=str | None)
        async with deployed.flusher("scores", table.write, **QUICK):
            await region.behind.flush()
        letters = await region.behind.dead()
        assert [letter.key for letter in letters] == [1]
        assert "is no value of this region: type" in letters[0].error
        assert await region.get(1) is MISS
        assert await region.behind.replay(letters) == 1
        async with cache.flusher("scores", table.write, **QUICK):
            await region.behind.flush()
    assert await table.load(1) == Score(1)


async def test_what_could_not_be_put_in_order_is_refused(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis, AsyncCache(redis) as cache:
        region = scores(cache)
        table = Table()
        for refused in (
            region.set,
            lambda key, value: region.set_many({key: value}),
            lambda key, value: region.write_through(key, value, table.load),
        ):
            with pytest.raises(ConfigError, match=r"\$\.cache\.scores\.behind: .* use write_behind"):
                await refused(1, Score(1))
        assert await redis.call("EXISTS", region.name(1)) == 0
        plain = cache.region("plain")
        with pytest.raises(ConfigError, match=r"\$\.cache\.plain\.behind: .* set behind=Behind"):
            await plain.write_behind(1, 1)
        with pytest.raises(ConfigError, match=r"\$\.cache\.plain\.behind"):
            cache.flusher("plain", table.write)
        with pytest.raises(ConfigError, match="there is no such region"):
            cache.flusher("other", table.write)
        safe = cache.region("safe", behind=Behind())
        with pytest.raises(ConfigError, match="appendonly"):
            await safe.write_behind(1, 1)


async def test_without_a_server_a_write_is_refused_and_a_value_of_before_is_not_served() -> None:
    async with AsyncCache("redis://127.0.0.1:1") as cache:
        region = scores(cache, on_redis_down="keep")
        assert await region.delete(1) is False
        with pytest.raises(RedisUnavailable):
            await region.write_behind(1, Score(1))
        assert cache.metrics().owed == 1  # the deletion, still; a write is not kept here
    with pytest.raises(ConfigError, match=r"behind\.maxlen: 0 is out of range"):
        Region(name="scores", behind=Behind(maxlen=0))
