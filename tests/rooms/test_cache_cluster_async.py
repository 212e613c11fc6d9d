"""AsyncCache over a Redis Cluster: every method, both layers, nodes that fail over and slots that move."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import pytest

from mailgenius import AsyncCache, AsyncRedis
from mailgenius._native import key_slot
from mailgenius.cache import MISS, Behind, Item
from mailgenius.errors import ConfigError, RedisUnavailable
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyCluster, valkey_cluster
from tests.conftest import REDIS_PROGRAMS
from tests.redis_callers_async import cluster_url
from tests.waiting_async import coherent, until

pytestmark = pytest.mark.timeout(90)
VERSIONS = [name for name in REDIS_PROGRAMS if name in ("valkey-9", "redis-6.2")]
MANY = range(300)  # on all nodes


@pytest.fixture(scope="module", params=VERSIONS)
def clusters(request: pytest.FixtureRequest) -> Iterator[ValkeyCluster]:
    """One of each version."""
    with valkey_cluster(program=REDIS_PROGRAMS[request.param]) as made:
        yield made


@pytest.fixture
def cluster(clusters: ValkeyCluster) -> ValkeyCluster:
    clusters.wait_ready()
    for node in clusters.masters():
        node.ask("FLUSHALL")
        node.ask("SCRIPT", "FLUSH")
    return clusters


@contextlib.asynccontextmanager
async def two(cluster: ValkeyCluster, **policy: Any) -> AsyncIterator[tuple[Any, Any]]:
    """The same region of two caches that are told of changes, as of two processes."""
    url = cluster_url(cluster)
    async with AsyncCache(url, budget=5) as one, AsyncCache(url, budget=5) as other:
        regions = one.region("lead", **policy), other.region("lead", **policy)
        await coherent(one)
        await coherent(other)
        yield regions


async def test_every_method_works_across_slots(cluster: ValkeyCluster) -> None:
    async with two(cluster) as (one, other):
        await one.set_many({key: key for key in MANY})
        assert await other.get_many(MANY) == {key: key for key in MANY}
        assert await one.delete_many(range(100)) == 100
        assert await one.get_many(MANY) == {key: key for key in MANY if key >= 100}
        calls: list[list[int]] = []

        async def load_many(keys: list[int]) -> dict[int, int]:
            calls.append(sorted(keys))
            return {key: -key for key in keys}

        wanted = {key: key if key >= 100 else -key for key in MANY}
        assert await one.get_or_load_many(MANY, load_many) == wanted
        assert await other.get_or_load_many(MANY, load_many) == wanted
        assert calls == [list(range(100))]
        assert await one.set("v", "new", version=2) is True
        assert await one.set("v", "old", version=1) is False
        assert await one.touch("v", ttl=5) is True
        left = await one.ttl("v")
        assert left is not None
        assert left <= 5.5
        assert await one.write_through("w", "value", _write) is True
        assert await other.get("w") == "value"
        assert await one.delete("w") is True
        await one.set_many({("t", key): key for key in MANY})
        for key in range(20):
            await one.set(f"tagged-{key}", key, tags=["a", "b"])
        assert await other.get("tagged-3") == 3
        await one.invalidate_tag("b")
        await until(lambda: _all_missed(other, [f"tagged-{key}" for key in range(20)]))


async def _write(value: Any) -> int:
    return 7


async def _all_missed(region: Any, keys: Sequence[Any]) -> bool:
    return not await region.get_many(keys)


async def test_the_process_is_told_of_changes_on_every_node(cluster: ValkeyCluster) -> None:
    async with two(cluster) as (one, other):
        await one.set_many(dict.fromkeys(MANY, "old"))
        await until(lambda: _kept(other, "old"))
        await one.set_many(dict.fromkeys(MANY, "new"))
        await until(lambda: _none_peeked(other, "old"))
        assert await other.get_many(MANY) == dict.fromkeys(MANY, "new")
        await until(lambda: _kept(other, "new"))
        for node in await rt.blocking(cluster.masters):
            await rt.blocking(node.ask, "FLUSHALL")
        await until(lambda: _none_peeked(other, "new"))


async def _kept(region: Any, value: Any) -> bool:
    await region.get_many(MANY)
    return all(region.peek(key) == value for key in MANY)


async def _none_peeked(region: Any, value: Any) -> bool:
    return not any(region.peek(key) == value for key in MANY)


async def test_what_is_owed_beyond_the_bound_empties_the_region_on_every_node(cluster: ValkeyCluster) -> None:
    async with two(cluster, on_redis_down="keep") as (one, other):
        await other.set_many(dict.fromkeys(MANY, "old"))
        owed = one._shared.owed
        owed.regions["lead:"] = object()  # as after too many writes while all nodes were down
        assert await one.get_many(MANY) == {}
        await until(lambda: _repaid(one))
        assert await other.get_many(MANY) == {}


async def _repaid(region: Any) -> bool:
    return not region._shared.owed.any


async def test_slots_that_move_take_nothing_stale_along(cluster: ValkeyCluster) -> None:
    async with two(cluster) as (one, other):
        await one.set_many(dict.fromkeys(MANY, 0))
        await until(lambda: _kept(other, 0))
        moved = [7, 8, 9]
        ending = rt.Event()
        wrong: list[Any] = []
        written = dict.fromkeys(MANY, 0)

        async def change() -> None:
            number = 0
            while not ending.is_set():
                number += 1
                for key in moved:
                    written[key] = number
                    with contextlib.suppress(RedisUnavailable):  # nodes may disagree for a while about who has the slot
                        await one.set(key, number)
                await rt.wait(ending, 0.001)

        async def read() -> None:
            while not ending.is_set():
                for key in moved:
                    least = other_seen.get(key, 0)
                    value = await other.get(key)
                    if value is MISS:
                        continue
                    if not least <= value <= written[key]:
                        wrong.append((key, value, least, written[key]))
                    other_seen[key] = value
                await rt.wait(ending, 0.001)

        other_seen: dict[int, int] = {}
        running = [rt.spawn(change), rt.spawn(read)]
        for key in moved:
            slot = key_slot(one.name(key))
            owner = (await rt.blocking(cluster.owner, one.name(key))).port
            for target in await rt.blocking(cluster.masters):
                if target.port != owner:
                    await rt.blocking(cluster.move_slot, slot, target)
                    await rt.blocking(cluster.wait_ready)
        ending.set()
        for task in running:
            await task.join()
        assert wrong == []
        for key in moved:
            await until(lambda key=key: _same(one, other, key))  # type: ignore[misc]
            await one.set(key, "last")
            await until(lambda key=key: _is(other, key, "last"))  # type: ignore[misc]


async def _same(one: Any, other: Any, key: Any) -> bool:
    return bool(await one.get(key) == await other.get(key))


async def _is(region: Any, key: Any, value: Any) -> bool:
    return bool(await region.get(key) == value)


async def test_writes_go_behind_on_one_node(cluster: ValkeyCluster) -> None:
    rows: dict[Any, Any] = {}

    async def write(items: Sequence[Item]) -> None:
        rows.update((item.key, item.value) for item in items)

    async with AsyncCache(cluster_url(cluster), budget=5) as cache:
        scores = cache.region("scores", behind=Behind(unsafe=True), together="region")
        async with cache.flusher("scores", write, every=0.0, lease=0.5):
            for key in MANY:
                await scores.write_behind(key, -key)
            assert await scores.get_many(MANY) == {key: -key for key in MANY}
            await scores.behind.flush()
        assert rows == {key: -key for key in MANY}
        syncs = await rt.blocking(cluster.nodes[0].ask, "COMMAND", "INFO", "WAITAOF") != [None]
        durable = cache.region("durable", behind=Behind(durable=syncs), together="region")
        assert await durable.write_behind(1, 1) > 0
        apart = cache.region("apart", behind=Behind(unsafe=True))
        with pytest.raises(ConfigError, match=r"\$\.cache\.apart\.together: in a Redis Cluster"):
            await apart.write_behind(1, 1)


async def test_replicas_are_not_read_from(cluster: ValkeyCluster) -> None:
    async with AsyncRedis(cluster_url(cluster), read_from="replica") as redis:
        with pytest.raises(ConfigError, match=r"\$\.redis\.read_from: a cache reads from primaries"):
            AsyncCache(redis)
