"""A primary that Sentinels watch over: found, checked, and followed when another one takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from mailgenius import AsyncRedis
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.rt import aio as rt
from mailgenius.servers import SentinelGroup, valkey_sentinel
from tests.redis_callers_async import Callers, sentinel_url

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    with valkey_sentinel(replicas=2, down_after=0.5) as made:
        yield made


async def port(redis: AsyncRedis) -> int:
    found: dict[bytes, bytes] = await redis.call("CONFIG", "GET", "port")
    return int(found[b"port"])


@pytest.mark.parametrize("protocol", [3, 2])
async def test_the_primary_is_found(group: SentinelGroup, protocol: int) -> None:
    async with AsyncRedis(sentinel_url(group), protocol=protocol) as redis:
        assert group.name in repr(redis)
        assert group.password not in repr(redis)
        assert await redis.call("SET", "a", 1) == b"OK"
        assert await redis.calls([("INCR", "a"), ("INCR", "a")], atomic=True) == [2, 3]
        assert (await redis.call("ROLE"))[0] == b"master"
        assert [node.role for node in await redis.nodes()] == ["primary"]
        async with redis.dedicated() as connection:
            assert (await connection.call("ROLE"))[0] == b"master"


async def test_dedicated_comes_first(group: SentinelGroup) -> None:
    async with AsyncRedis(sentinel_url(group)) as redis, redis.dedicated() as connection:
        assert (await connection.call("ROLE"))[0] == b"master"


async def test_a_sentinel_that_is_not_there_is_passed_over(group: SentinelGroup) -> None:
    login, _, hosts = sentinel_url(group).rpartition("@")
    async with AsyncRedis(f"{login}@127.0.0.1:1,{hosts}") as redis:
        assert await redis.call("PING") == b"PONG"


async def test_nobody_knows_the_primary(group: SentinelGroup) -> None:
    async with AsyncRedis(sentinel_url(group) + "x") as redis:
        with pytest.raises(RedisUnavailable, match=f"knows no primary called '{group.name}x'") as error:
            await redis.call("PING")
        assert group.password not in str(error.value)
        assert not redis.available
    async with AsyncRedis("redis+sentinel://127.0.0.1:1/mailgenius") as redis:
        with pytest.raises(RedisUnavailable, match="no Sentinel says where the primary is"):
            await redis.call("PING")


async def test_replicas_answer_what_only_reads(group: SentinelGroup) -> None:
    async with AsyncRedis(sentinel_url(group), read_from="replica") as redis:
        await redis.call("SET", "k", "v")
        until = monotonic() + 10
        while await redis.call("GET", "k") != b"v":
            assert monotonic() < until  # they may lag behind
        nodes = await redis.nodes()
        assert sorted(node.role for node in nodes) == ["primary", "replica", "replica"]
        before = await gets(nodes)
        assert await redis.calls([("GET", "k")] * 20 + [("SET", "n", 1)]) == [b"v"] * 20 + [b"OK"]
        assert await redis.calls([("SET", "n", 2), ("GET", "n")], atomic=True) == [b"OK", b"2"]
        after = await gets(nodes)
        primary = next(node.where for node in nodes if node.role == "primary")
        assert after[primary] - before[primary] == 1  # that of the transaction
        assert sum(after.values()) - sum(before.values()) == 21


async def gets(nodes: list[Any]) -> dict[str, int]:
    """How many GETs each has answered."""
    found = {}
    for node in nodes:
        lines = (await node.call("INFO", "commandstats")).decode().split("\r\n")
        line = next((line for line in lines if line.startswith("cmdstat_get:")), "cmdstat_get:calls=0,")
        found[node.where] = int(line.partition("calls=")[2].partition(",")[0])
    return found


async def test_another_primary_is_named(group: SentinelGroup) -> None:
    group.wait_ready()
    changes: list[int] = []
    redis = AsyncRedis(sentinel_url(group), timeout=10, on_nodes=lambda: changes.append(1))
    async with redis, Callers(redis, lossy=True) as callers:
        before = await port(redis)
        group.sentinels[0].ask("SENTINEL", "FAILOVER", group.name)
        until = monotonic() + 20
        while await port(redis) == before:
            assert monotonic() < until
            await callers.progress()
        await callers.progress()
    assert len(changes) > 1
    assert callers.wrong == []
    assert callers.late == []


@pytest.mark.failover
async def test_a_primary_that_was_made_a_replica_is_left(group: SentinelGroup) -> None:
    primary = group.primary()
    async with AsyncRedis(sentinel_url(group), timeout=5) as redis:
        assert await redis.call("SET", "a", 1) == b"OK"
        other = next(node for node in group.nodes if node is not primary)
        primary.ask("REPLICAOF", "127.0.0.1", other.port)
        try:
            for commands in ([("SET", "a", 2)], [("INCR", "b"), ("GET", "b")]):
                with pytest.raises(RedisUnavailable, match="it is a slave now"):
                    await redis.calls(commands)
            assert redis.metrics().errors["READONLY"] > 0
        finally:
            primary.ask("REPLICAOF", "NO", "ONE")
        until = monotonic() + 10
        while True:
            try:
                assert await redis.call("SET", "a", 3) == b"OK"
                break
            except RedisUnavailable:
                assert monotonic() < until
                await rt.wait(rt.Event(), 0.02)
    await rt.blocking(group.wait_ready)


async def test_refusals_are_the_servers_own(group: SentinelGroup) -> None:
    async with AsyncRedis(sentinel_url(group)) as redis:
        await redis.call("SET", "s", "x")
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            await redis.calls([("GET", "s"), ("LPUSH", "s", 1)])
