# Made from test_cache_cluster_async.py by `python -m tools.twin`: edit that one.
"""Cache over a Redis Cluster: every method, both layers, nodes that fail over and slots that move."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from mailgenius import Cache, Redis
from mailgenius._native import key_slot
from mailgenius.cache import MISS, Behind, Item
from mailgenius.errors import ConfigError, RedisUnavailable
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyCluster, valkey_cluster
from tests.conftest import REDIS_PROGRAMS
from tests.redis_callers_sync import cluster_url
from tests.waiting_sync import coherent, until

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


@contextlib.contextmanager
def two(cluster: ValkeyCluster, **policy: Any) -> Iterator[tuple[Any, Any]]:
    """The same region of two caches that are told of changes, as of two processes."""
    url = cluster_url(cluster)
    with Cache(url, budget=5) as one, Cache(url, budget=5) as other:
        regions = one.region("lead", **policy), other.region("lead", **policy)
        coherent(one)
        coherent(other)
        yield regions


def test_every_method_works_across_slots(cluster: ValkeyCluster) -> None:
    with two(cluster) as (one, other):
        one.set_many({key: key for key in MANY})
        assert other.get_many(MANY) == {key: key for key in MANY}
        assert one.delete_many(range(100)) == 100
        assert one.get_many(MANY) == {key: key for key in MANY if key >= 100}
        calls: list[list[int]] = []

        def load_many(keys: list[int]) -> dict[int, int]:
            calls.append(sorted(keys))
            return {key: -key for key in keys}

        wanted = {key: key if key >= 100 else -key for key in MANY}
        assert one.get_or_load_many(MANY, load_many) == wanted
        assert other.get_or_load_many(MANY, load_many) == wanted
        assert calls == [list(range(100))]
        assert one.set("v", "new", version=2) is True
        assert one.set("v", "old", version=1) is False
        assert one.touch("v", ttl=5) is True
        left = one.ttl("v")
        assert left is not None
        assert left <= 5.5
        assert one.write_through("w", "value", _write) is True
        assert other.get("w") == "value"
        assert one.delete("w") is True
        one.set_many({("t", key): key for key in MANY})
        for key in range(20):
            one.set(f"tagged-{key}", key, tags=["a", "b"])
        assert other.get("tagged-3") == 3
        one.invalidate_tag("b")
        until(lambda: _all_missed(other, [f"tagged-{key}" for key in range(20)]))


def _write(value: Any) -> int:
    return 7


def _all_missed(region: Any, keys: Sequence[Any]) -> bool:
    return not region.get_many(keys)


def test_the_process_is_told_of_changes_on_every_node(cluster: ValkeyCluster) -> None:
    with two(cluster) as (one, other):
        one.set_many(dict.fromkeys(MANY, "old"))
        until(lambda: _kept(other, "old"))
        one.set_many(dict.fromkeys(MANY, "new"))
        until(lambda: _none_peeked(other, "old"))
        assert other.get_many(MANY) == dict.fromkeys(MANY, "new")
        until(lambda: _kept(other, "new"))
        for node in rt.blocking(cluster.masters):
            rt.blocking(node.ask, "FLUSHALL")
        until(lambda: _none_peeked(other, "new"))


def _kept(region: Any, value: Any) -> bool:
    region.get_many(MANY)
    return all(region.peek(key) == value for key in MANY)


def _none_peeked(region: Any, value: Any) -> bool:
    return not any(region.peek(key) == value for key in MANY)


def test_what_is_owed_beyond_the_bound_empties_the_region_on_every_node(cluster: ValkeyCluster) -> None:
    with two(cluster, on_redis_down="keep") as (one, other):
        other.set_many(dict.fromkeys(MANY, "old"))
        owed = one._shared.owed
        owed.regions["lead:"] = object()  # as after too many writes while all nodes were down
        assert one.get_many(MANY) == {}
        until(lambda: _repaid(one))
        assert other.get_many(MANY) == {}


def _repaid(region: Any) -> bool:
    return not region._shared.owed.any


def test_slots_that_move_take_nothing_stale_along(cluster: ValkeyCluster) -> None:
    with two(cluster) as (one, other):
        one.set_many(dict.fromkeys(MANY, 0))
        until(lambda: _kept(other, 0))
        moved = [7, 8, 9]
        ending = rt.Event()
        wrong: list[Any] = []
        written = dict.fromkeys(MANY, 0)

        def change() -> None:
            number = 0
            while not ending.is_set():
                number += 1
                for key in moved:
                    written[key] = number
                    with contextlib.suppress(RedisUnavailable):  # nodes may disagree for a while about who has the slot
                        one.set(key, number)
                rt.wait(ending, 0.001)

        def read() -> None:
            while not ending.is_set():
                for key in moved:
                    least = other_seen.get(key, 0)
                    value = other.get(key)
                    if value is MISS:
                        continue
                    if not least <= value <= written[key]:
                        wrong.append((key, value, least, written[key]))
                    other_seen[key] = value
                rt.wait(ending, 0.001)

        other_seen: dict[int, int] = {}
        running = [rt.spawn(change), rt.spawn(read)]
        for key in moved:
            slot = key_slot(one.name(key))
            owner = (rt.blocking(cluster.owner, one.name(key))).port
            for target in rt.blocking(cluster.masters):
                if target.port != owner:
                    rt.blocking(cluster.move_slot, slot, target)
                    rt.blocking(cluster.wait_ready)
        ending.set()
        for task in running:
            task.join()
        assert wrong == []
        for key in moved:
            until(lambda key=key: _same(one, other, key))  # type: ignore[misc]
            one.set(key, "last")
            until(lambda key=key: _is(other, key, "last"))  # type: ignore[misc]


def _same(one: Any, other: Any, key: Any) -> bool:
    return bool(one.get(key) == other.get(key))


def _is(region: Any, key: Any, value: Any) -> bool:
    return bool(region.get(key) == value)


def test_writes_go_behind_on_one_node(cluster: ValkeyCluster) -> None:
    rows: dict[Any, Any] = {}

    def write(items: Sequence[Item]) -> None:
        rows.update((item.key, item.value) for item in items)

    with Cache(cluster_url(cluster), budget=5) as cache:
        scores = cache.region("scores", behind=Behind(unsafe=True), together="region")
        with cache.flusher("scores", write, every=0.0, lease=0.5):
            for key in MANY:
                scores.write_behind(key, -key)
            assert scores.get_many(MANY) == {key: -key for key in MANY}
            scores.behind.flush()
        assert rows == {key: -key for key in MANY}
        syncs = rt.blocking(cluster.nodes[0].ask, "COMMAND", "INFO", "WAITAOF") != [None]
        durable = cache.region("durable", behind=Behind(durable=syncs), together="region")
        assert durable.write_behind(1, 1) > 0
        apart = cache.region("apart", behind=Behind(unsafe=True))
        with pytest.raises(ConfigError, match=r"\$\.cache\.apart\.together: in a Redis Cluster"):
            apart.write_behind(1, 1)


def test_replicas_are_not_read_from(cluster: ValkeyCluster) -> None:
    with Redis(cluster_url(cluster), read_from="replica") as redis:
        with pytest.raises(ConfigError, match=r"\$\.redis\.read_from: a cache reads from primaries"):
            Cache(redis)
