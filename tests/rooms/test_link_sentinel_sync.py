# Made from test_link_sentinel_async.py by `python -m tools.twin`: edit that one.
"""A primary that Sentinels watch over: found, checked, and followed when another one takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from mailgenius import Redis
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.rt import threads as rt
from mailgenius.servers import SentinelGroup, valkey_sentinel
from tests.redis_callers_sync import Callers, sentinel_url

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def group() -> Iterator[SentinelGroup]:
    with valkey_sentinel(replicas=2, down_after=0.5) as made:
        yield made


def port(redis: Redis) -> int:
    found: dict[bytes, bytes] = redis.call("CONFIG", "GET", "port")
    return int(found[b"port"])


@pytest.mark.parametrize("protocol", [3, 2])
def test_the_primary_is_found(group: SentinelGroup, protocol: int) -> None:
    with Redis(sentinel_url(group), protocol=protocol) as redis:
        assert group.name in repr(redis)
        assert group.password not in repr(redis)
        assert redis.call("SET", "a", 1) == b"OK"
        assert redis.calls([("INCR", "a"), ("INCR", "a")], atomic=True) == [2, 3]
        assert (redis.call("ROLE"))[0] == b"master"
        assert [node.role for node in redis.nodes()] == ["primary"]
        with redis.dedicated() as connection:
            assert (connection.call("ROLE"))[0] == b"master"


def test_dedicated_comes_first(group: SentinelGroup) -> None:
    with Redis(sentinel_url(group)) as redis, redis.dedicated() as connection:
        assert (connection.call("ROLE"))[0] == b"master"


def test_a_sentinel_that_is_not_there_is_passed_over(group: SentinelGroup) -> None:
    login, _, hosts = sentinel_url(group).rpartition("@")
    with Redis(f"{login}@127.0.0.1:1,{hosts}") as redis:
        assert redis.call("PING") == b"PONG"


def test_nobody_knows_the_primary(group: SentinelGroup) -> None:
    with Redis(sentinel_url(group) + "x") as redis:
        with pytest.raises(RedisUnavailable, match=f"knows no primary called '{group.name}x'") as error:
            redis.call("PING")
        assert group.password not in str(error.value)
        assert not redis.available
    with Redis("redis+sentinel://127.0.0.1:1/mailgenius") as redis:
        with pytest.raises(RedisUnavailable, match="no Sentinel says where the primary is"):
            redis.call("PING")


def test_replicas_answer_what_only_reads(group: SentinelGroup) -> None:
    with Redis(sentinel_url(group), read_from="replica") as redis:
        redis.call("SET", "k", "v")
        until = monotonic() + 10
        while redis.call("GET", "k") != b"v":
            assert monotonic() < until  # they may lag behind
        nodes = redis.nodes()
        assert sorted(node.role for node in nodes) == ["primary", "replica", "replica"]
        before = gets(nodes)
        assert redis.calls([("GET", "k")] * 20 + [("SET", "n", 1)]) == [b"v"] * 20 + [b"OK"]
        assert redis.calls([("SET", "n", 2), ("GET", "n")], atomic=True) == [b"OK", b"2"]
        after = gets(nodes)
        primary = next(node.where for node in nodes if node.role == "primary")
        assert after[primary] - before[primary] == 1  # that of the transaction
        assert sum(after.values()) - sum(before.values()) == 21


def gets(nodes: list[Any]) -> dict[str, int]:
    """How many GETs each has answered."""
    found = {}
    for node in nodes:
        lines = (node.call("INFO", "commandstats")).decode().split("\r\n")
        line = next((line for line in lines if line.startswith("cmdstat_get:")), "cmdstat_get:calls=0,")
        found[node.where] = int(line.partition("calls=")[2].partition(",")[0])
    return found


def test_another_primary_is_named(group: SentinelGroup) -> None:
    group.wait_ready()
    changes: list[int] = []
    redis = Redis(sentinel_url(group), timeout=10, on_nodes=lambda: changes.append(1))
    with redis, Callers(redis, lossy=True) as callers:
        before = port(redis)
        group.sentinels[0].ask("SENTINEL", "FAILOVER", group.name)
        until = monotonic() + 20
        while port(redis) == before:
            assert monotonic() < until
            callers.progress()
        callers.progress()
    assert len(changes) > 1
    assert callers.wrong == []
    assert callers.late == []


@pytest.mark.failover
def test_a_primary_that_was_made_a_replica_is_left(group: SentinelGroup) -> None:
    primary = group.primary()
    with Redis(sentinel_url(group), timeout=5) as redis:
        assert redis.call("SET", "a", 1) == b"OK"
        other = next(node for node in group.nodes if node is not primary)
        primary.ask("REPLICAOF", "127.0.0.1", other.port)
        try:
            for commands in ([("SET", "a", 2)], [("INCR", "b"), ("GET", "b")]):
                with pytest.raises(RedisUnavailable, match="it is a slave now"):
                    redis.calls(commands)
            assert redis.metrics().errors["READONLY"] > 0
        finally:
            primary.ask("REPLICAOF", "NO", "ONE")
        until = monotonic() + 10
        while True:
            try:
                assert redis.call("SET", "a", 3) == b"OK"
                break
            except RedisUnavailable:
                assert monotonic() < until
                rt.wait(rt.Event(), 0.02)
    rt.blocking(group.wait_ready)


def test_refusals_are_the_servers_own(group: SentinelGroup) -> None:
    with Redis(sentinel_url(group)) as redis:
        redis.call("SET", "s", "x")
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            redis.calls([("GET", "s"), ("LPUSH", "s", 1)])
