"""Jobs on servers that keep them, and on those that do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailgenius.errors import ConfigError, RedisOutcomeUnknown
from mailgenius.link import AsyncRedis
from mailgenius.queue import AsyncQueue, Policy
from mailgenius.servers import ValkeyServer, valkey
from tests.conftest import REDIS_PROGRAMS


async def test_a_server_that_keeps_nothing_is_refused(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        queue = AsyncQueue(redis, "q")
        with pytest.raises(
            ConfigError, match=r"\$.queue.q: this Redis is not safe.* set appendonly to yes\. unsafe=True"
        ):
            await queue.add("a")
        with pytest.raises(ConfigError, match="appendonly"):
            await queue.add_many("a", range(3))
        await redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ConfigError, match=r"maxmemory-policy is allkeys-lru.* set it to noeviction"):
                await queue.add("a", delay=1)
        finally:
            await redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert (await queue.counts()).waiting == 0
        assert await AsyncQueue(redis, "q", unsafe=True).add("a")


async def test_durable_jobs_outlive_a_killed_server(place: Path) -> None:
    with valkey(place / "v", port=0, settings={"appendfsync": "everysec", "save": ""}) as server:
        async with AsyncRedis(server.url) as redis:
            queue = AsyncQueue(redis, "q")
            ids = [await queue.add("a", n, durable=True) for n in range(20)]
            ids += await queue.add_many("a", range(20, 5000), durable=True)
            ids.append(await queue.add("a", 5000, delay=1, durable=True))
            server.kill()
            server.start()
        async with AsyncRedis(server.url) as redis:
            queue = AsyncQueue(redis, "q")
            counts = await queue.counts()
            assert (counts.waiting, counts.delayed) == (5000, 1)
            assert await queue.show(ids[-2]) is not None


async def test_a_server_that_was_started_anew_is_noticed(place: Path) -> None:
    with valkey(place / "v", port=0, settings={"appendfsync": "everysec"}) as server:
        async with AsyncRedis(server.url) as redis:
            queue = AsyncQueue(redis, "q", timeout=3.0)
            await queue.add("a", durable=True)
            server.kill()
            server.start()
            with pytest.raises(RedisOutcomeUnknown, match="whether they are on the server's disk is not known"):
                await queue.add("a", durable=True)  # it may have been the old one that answered
            assert await queue.add("a", durable=True)


async def test_durable_needs_a_server_that_can_tell(place: Path) -> None:
    if "redis-6.2" not in REDIS_PROGRAMS:
        pytest.skip("there is no Redis 6.2")
    program = REDIS_PROGRAMS["redis-6.2"]
    with valkey(place / "v", port=0, settings={"appendfsync": "everysec"}, program=program) as server:
        async with AsyncRedis(server.url) as redis:
            queue = AsyncQueue(redis, "q")
            assert await queue.add("a")
            with pytest.raises(ConfigError, match="durable writes need WAITAOF"):
                await queue.add("a", durable=True)
            await redis.call("CONFIG", "SET", "appendfsync", "always")
            assert await queue.add("a", durable=True)


async def test_configure_tells_the_scripts_what_the_policy_says(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:
        policy = Policy(max_stalled=3, keep_failed=7, keep_failed_for=1.5, events=9)
        queue = AsyncQueue(redis, "q", policy=policy, unsafe=True)
        await queue.configure()
        found = await redis.call("HMGET", "mg:{q}:q", "max_stalled", "keep_dead", "keep_dead_ms", "events")
        assert found == [b"3", b"7", b"1500", b"9"]
