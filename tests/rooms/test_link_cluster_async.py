"""A Redis Cluster: commands go where their keys are, and follow them when they move."""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest

from mailgenius import AsyncRedis
from mailgenius._native import key_slot
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.link.commands import kind
from mailgenius.link.keys import span
from mailgenius.rt import aio as rt
from mailgenius.servers import ClusterNode, ValkeyCluster, valkey_cluster
from mailgenius.servers._system import wait_for
from tests.conftest import REDIS_PROGRAMS
from tests.redis_callers_async import Callers, cluster_url

pytestmark = pytest.mark.timeout(60)
SLOTS = min(30, max(1, int(os.environ.get("MG_FAULT_ROUNDS", "10")) // 2))  # that move, of either kind
VERSIONS = [name for name in REDIS_PROGRAMS if name in ("valkey-9", "redis-6.2")]


@pytest.fixture(scope="module", params=VERSIONS)
def clusters(request: pytest.FixtureRequest) -> Iterator[ValkeyCluster]:
    """One of each version."""
    with valkey_cluster(program=REDIS_PROGRAMS[request.param]) as made:
        yield made


@pytest.fixture
def cluster(clusters: ValkeyCluster) -> ValkeyCluster:
    """Empty, and every node knows of all others."""
    for node in clusters.masters():
        node.ask("FLUSHALL")
        node.ask("SCRIPT", "FLUSH")
    clusters.wait_ready()
    assert wait_for(lambda: all(len(known(node)) == len(clusters.nodes) for node in clusters.nodes), 20)
    return clusters


def known(node: ClusterNode) -> set[int]:
    """The ports of the nodes that it tells clients of."""
    return {one[1] for shard in node.ask("CLUSTER", "SLOTS") for one in shard[2:]}


def a_key_of_every_slot() -> list[str]:
    found: dict[int, str] = {}
    number = 0
    while len(found) < 16384:
        number += 1
        found.setdefault(key_slot(f"k{number}"), f"k{number}")
    return list(found.values())


async def test_every_slot_is_served_at_once(cluster: ValkeyCluster) -> None:
    keys = a_key_of_every_slot()
    async with AsyncRedis(cluster_url(cluster), timeout=20) as redis:
        assert await redis.calls([("SET", key, key) for key in keys]) == [b"OK"] * len(keys)
        assert await redis.calls([("GET", key) for key in keys]) == [key.encode() for key in keys]
        for key in keys[:500]:
            assert await redis.call("GET", key) == key.encode()
        assert redis.metrics().errors == {}
        sizes = [await node.call("DBSIZE") for node in await redis.nodes() if node.role == "primary"]
        assert sum(sizes) == len(keys)
        assert min(sizes) > 0
        assert await redis.call("FLUSHALL") == b"OK"
        assert [await node.call("DBSIZE") for node in await redis.nodes() if node.role == "primary"] == [0, 0, 0]


async def test_batches_keep_order_and_places(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        many = [("INCR", f"n{number % 10}") for number in range(1000)]
        assert await redis.calls(many) == [number // 10 + 1 for number in range(1000)]
        replies = await redis.calls([("GET", "n1"), ("LPUSH", "n2", 1), ("GET", "n3"), ("PING",)], errors="return")
        assert (replies[0], replies[2], replies[3]) == (b"100", b"100", b"PONG")
        assert isinstance(replies[1], RedisRefused)
        with pytest.raises(RedisRefused, match="WRONGTYPE"):
            await redis.calls([("GET", "n1"), ("LPUSH", "n2", 1)])


async def test_what_is_no_command_is_told_where(cluster: ValkeyCluster) -> None:
    wrong: list[tuple[int, tuple[Any, ...]]] = [(3, ("SET", "n2", None)), (2, ("INCR", None)), (2, ("no-such", {}))]
    async with AsyncRedis(cluster_url(cluster)) as redis:
        await redis.call("SET", "n3", 1)
        for atomic in (False, True):
            for word, command in wrong:
                with pytest.raises(TypeError, match=rf"^command 3, word {word} of {command[0]}: a Redis command takes"):
                    await redis.calls([("INCR", "n3"), ("INCR", "n3"), command], atomic=atomic)
        assert await redis.call("GET", "n3") == b"1"  # nothing was sent


async def test_the_older_protocol(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster), protocol=2) as redis:
        many = [f"n{number}" for number in range(100)]
        assert await redis.calls([("HSET", key, "me", key) for key in many]) == [1] * len(many)
        assert await redis.calls([("HGETALL", key) for key in many]) == [[b"me", key.encode()] for key in many]
        assert await redis.call("HGETALL", "n1") == [b"me", b"n1"]
        assert await redis.calls([("HGET", "{n1}", "me"), ("HLEN", "n1")], errors="return") == [None, 1]
        assert len([node for node in await redis.nodes() if node.role == "primary"]) == 3
        async with AsyncRedis(cluster_url(cluster)) as newer:
            assert await newer.call("HGETALL", "n1") == {b"me": b"n1"}
        assert redis.metrics().errors == {}


async def test_keys_of_several_slots(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        assert await redis.call("MSET", "{t}a", 1, "{t}b", 2) == b"OK"
        assert await redis.call("MGET", "{t}a", "{t}b") == [b"1", b"2"]
        assert await redis.calls([("INCR", "{t}a"), ("PING",), ("INCR", "{t}b")], atomic=True) == [2, b"PONG", 3]
        with pytest.raises(ValueError, match="MGET: its keys are in different slots"):
            await redis.call("MGET", "a", "b")
        with pytest.raises(ValueError, match="different slots"):
            await redis.calls([("SET", "a", 1), ("DEL", "a", "b")])
        with pytest.raises(ValueError, match="a transaction needs keys of one slot"):
            await redis.calls([("SET", "a", 1), ("SET", "b", 1)], atomic=True)
        assert await redis.call("GET", "a") is None


async def test_commands_of_one_node(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        for command in (("SCAN", 0), ("INFO",), ("CONFIG", "GET", "maxmemory"), ("dbsize",)):
            with pytest.raises(ValueError, match=r"speaks of one node of the Cluster.*redis\.nodes\(\)"):
                await redis.call(*command)
        for atomic in (False, True):
            with pytest.raises(ValueError, match="FLUSHALL goes to every master"):
                await redis.calls([("PING",), ("FLUSHALL",)], atomic=atomic)
        await redis.calls([("SET", f"k{number}", 1) for number in range(100)])
        found: set[bytes] = set()
        for node in await redis.nodes():
            if node.role == "primary":
                found |= set((await node.call("SCAN", 0, "COUNT", 1000))[1])
                assert node.where.startswith("redis://127.0.0.1:")
        assert len(found) == 100
        assert len(await redis.nodes()) == 6


async def test_commands_that_only_the_server_knows(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        await redis.call("SET", "a", "x")
        assert await redis.call("SUBSTR", "a", 0, 0) == b"x"
        assert await redis.call("RESTORE-ASKING", "b", 0, await redis.call("DUMP", "a")) == b"OK"
        with pytest.raises(RedisRefused, match="unknown command"):
            await redis.call("NO.SUCH", "a")
        with pytest.raises(RedisRefused, match="wrong number"):
            await redis.call("GET")


async def test_scripts_on_each_node(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        script = redis.script("return {KEYS[1], ARGV[1]}")
        for number in range(20):
            assert await script([f"k{number}"], [number]) == [b"k%d" % number, b"%d" % number]
        assert redis.metrics().errors == {"NOSCRIPT": 3}
        await redis.call("SCRIPT", "FLUSH")
        await script.load()
        assert await redis.calls([script.command([f"k{n}"], [n]) for n in range(20)]) == [
            [b"k%d" % n, b"%d" % n] for n in range(20)
        ]
        assert redis.metrics().errors == {"NOSCRIPT": 3}


async def test_blocking_calls(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        for number in range(10):
            await redis.call("RPUSH", f"l{number}", number)
            assert await redis.blocking("BLPOP", f"l{number}", 1) == [b"l%d" % number, b"%d" % number]


async def test_invalidations_from_every_node(cluster: ValkeyCluster) -> None:
    pushes: list[Any] = []
    async with AsyncRedis(cluster_url(cluster)) as redis:
        ears = []
        for node in await redis.nodes():
            ear = node.dedicated(on_push=pushes.append)
            ears.append(await ear.__aenter__())
            await ear.call("CLIENT", "TRACKING", "ON", "BCAST")
            assert ear.where == node.where
        keys = [f"k{number}" for number in range(50)]
        await redis.calls([("SET", key, 1) for key in keys])
        until = monotonic() + 10
        while {key for push in pushes for key in push[1]} != {key.encode() for key in keys}:
            assert monotonic() < until
            for ear in ears:
                await ear.call("PING")
        for ear in ears:
            await ear.close()


async def test_watch_on_the_node_of_a_key(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster)) as redis:
        node = await redis.node_of("a")
        assert node == await redis.node_of("{a}b")
        async with node.dedicated() as connection:
            await connection.call("WATCH", "a")
            await redis.call("SET", "a", 1)
            assert (await connection.calls([("MULTI",), ("SET", "a", 2), ("EXEC",)]))[-1] is None


async def test_reads_from_replicas(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster), read_from="replica") as redis:
        keys = [f"k{number}" for number in range(100)]
        await redis.calls([("SET", key, key) for key in keys])
        until = monotonic() + 10
        while await redis.calls([("GET", key) for key in keys]) != [key.encode() for key in keys]:
            assert monotonic() < until  # they may lag behind
        before = [await reads(node) for node in await redis.nodes() if node.role == "primary"]
        await redis.calls([("GET", key) for key in keys])
        await redis.call("GET", "k1")
        assert [await reads(node) for node in await redis.nodes() if node.role == "primary"] == before
        assert await redis.call("INCR", "n") == 1
        assert redis.metrics().errors == {}


async def reads(node: Any) -> bytes:
    """How many GETs it has answered."""
    lines = (await node.call("INFO", "commandstats")).split(b"\r\n")
    return next((line.split(b",")[0] for line in lines if line.startswith(b"cmdstat_get:")), b"none")


@pytest.mark.faults
async def test_slots_move_while_everybody_works(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster), timeout=10) as redis, Callers(redis) as callers:
        slots = [key_slot(f"{kind}:{number}") for kind in ("count", "name") for number in range(SLOTS)]
        for turn in range(2):
            for slot in slots:
                target = cluster.masters()[(slot + turn) % 3]
                await rt.blocking(cluster.move_slot, slot, target)
        await callers.progress()
        moved = redis.metrics().errors
    assert callers.wrong == []
    assert callers.late == []
    assert set(callers.outcomes) == {"well"}
    assert moved["MOVED"] > 0


async def test_a_slot_that_is_on_its_way(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster), timeout=0.5) as redis:
        await redis.call("MSET", "{m}old", 1, "{m}other", 2)
        slot, source = key_slot("m"), cluster.owner("m")
        target = next(node for node in cluster.masters() if node is not source)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        assert await redis.call("GET", "{m}old") == b"1"
        assert await redis.call("SET", "{m}new", 3) == b"OK"
        assert await redis.calls([("GET", "{m}new"), ("GET", "{m}old"), ("GET", "{m}none")]) == [b"3", b"1", None]
        assert await redis.calls([("INCR", "{m}new"), ("INCR", "{m}new")], atomic=True) == [4, 5]
        assert await redis.call("RPUSH", "{m}list", "x") == 1
        assert await redis.blocking("BLPOP", "{m}list", 1) == [b"{m}list", b"x"]
        assert redis.metrics().errors["ASK"] > 0
        with pytest.raises(RedisUnavailable, match="TRYAGAIN"):
            await redis.call("MGET", "{m}old", "{m}new")
        with pytest.raises(RedisUnavailable, match="TRYAGAIN"):
            await redis.calls([("INCR", "{m}old"), ("INCR", "{m}new")], atomic=True)
        await rt.blocking(cluster.move_slot, slot, target)
        assert await redis.call("MGET", "{m}old", "{m}new", "{m}other") == [b"1", b"5", b"2"]
        assert cluster.owner("m") is target


async def test_a_replica_takes_over_on_request(cluster: ValkeyCluster) -> None:
    changes: list[int] = []
    url = cluster_url(cluster)
    async with AsyncRedis(url, timeout=10, on_nodes=lambda: changes.append(1)) as redis, Callers(redis) as callers:
        before = {node.where: node.role for node in await redis.nodes()}
        for replica in cluster.replicas():
            replica.ask("CLUSTER", "FAILOVER")
            await callers.progress()
        await rt.blocking(cluster.wait_ready)
        await callers.progress()
        redis._topology.look()
        until = monotonic() + 10
        while {node.where: node.role for node in await redis.nodes()} == before:
            assert monotonic() < until
            await callers.progress()
    assert callers.wrong == []
    assert callers.late == []
    assert changes


async def test_no_cluster_there(redis_server: Any) -> None:
    port = redis_server.ask("CONFIG", "GET", "port")[1]
    url = f"redis+cluster://{redis_server.url.rpartition('@')[0].partition('://')[2]}@127.0.0.1:{port}"
    async with AsyncRedis(url, timeout=0.5) as redis:
        with pytest.raises(RedisUnavailable, match="cluster support disabled"):
            await redis.call("GET", "a")
        with pytest.raises(RedisUnavailable):
            await redis.nodes()
        assert not redis.available
    with pytest.raises(RedisUnavailable, match="closed"):
        await redis.call("GET", "a")


# Words that make a command with keys complete enough for COMMAND GETKEYS: one for each that has rules of its own.
WHOLE = """
    EVAL s 2 a b c; EVALSHA s 1 a b; ZUNIONSTORE a 2 b c; ZINTERSTORE a 1 b; ZDIFFSTORE a 2 b c; ZUNION 2 a b; ZDIFF 1 a;
    ZINTER 2 a b; XREAD STREAMS a b 0 0; XREADGROUP GROUP g c STREAMS a >; SORT a STORE b; GEORADIUS a 1 2 3 km STORE b;
    GEORADIUSBYMEMBER a m 3 km STORE b; MIGRATE h 1 a 0 5; MEMORY USAGE a
"""


async def test_keys_are_where_the_server_says(redis_versions: Any) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        checked = 0
        for info in await redis.call("COMMAND"):
            word, first, last, step = info[0].decode().upper(), *info[3:6]
            movable = any(flag in (b"movablekeys", "movablekeys") for flag in info[2])
            known = kind((word,))
            if movable or word in ("OBJECT", "XINFO", "XGROUP", "PFDEBUG") or not (known.key or known.keys):
                continue
            command = (word, *(f"w{number}" for number in range(1, 8)))
            wanted = span(first, last, step)(command) if first else ()
            found = command[known.key : known.key + 1] if known.key else known.keys(command) if known.keys else ()
            assert (word, list(found)) == (word, list(wanted))
            if known.read and wanted:
                assert any(flag in (b"readonly", "readonly") for flag in info[2]), word
            checked += 1
        assert checked > 180
        for text in WHOLE.split(";"):
            command = tuple(text.split())
            keys = kind(command).keys
            assert keys is not None
            found = [key.decode() for key in await redis.call("COMMAND", "GETKEYS", *command)]
            assert sorted(keys(command)) == sorted(found)
