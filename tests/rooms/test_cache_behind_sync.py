# Made from test_cache_behind_async.py by `python -m tools.twin`: edit that one.
"""Regions whose values are written behind: what reads, deletions and loads see while a write waits for the database."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from msgspec import Struct

from mailgenius import Cache, Redis
from mailgenius.cache import MISS, Behind, Item, Region
from mailgenius.errors import ConfigError, RedisUnavailable
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import coherent, until

UNSAFE = Behind(unsafe=True)  # these servers have no log
QUICK: dict[str, Any] = {"every": 0.0, "lease": 0.5}


class Score(Struct, frozen=True):
    points: int


class Table:
    """What a database with the version condition would hold."""

    def __init__(self) -> None:
        self.rows: dict[Any, tuple[int, Any]] = {}
        self.deleted: list[Any] = []

    def write(self, items: Sequence[Item]) -> None:
        for item in items:
            if self.rows.get(item.key, (0, None))[0] < item.version:
                self.rows[item.key] = (item.version, item.value)
                if item.deleted:
                    self.deleted.append(item.key)

    def load(self, key: Any) -> Any:
        return self.rows.get(key, (0, None))[1]


def scores(cache: Cache, **more: Any) -> Any:
    return cache.region("scores", **{"type": Score | None, "behind": UNSAFE, **more})


def test_a_write_is_read_at_once_and_comes_to_the_writer_as_a_value(redis_versions: ValkeyServer) -> None:
    table = Table()
    with Cache(redis_versions.url, budget=5) as cache, Cache(redis_versions.url, budget=5) as other:
        here, there = scores(cache), scores(other)
        coherent(cache)
        coherent(other)
        until(lambda: _kept(there, 1, None))
        first = here.write_behind(1, Score(10))
        until(lambda: _kept(there, 1, Score(10)))
        until(lambda: _kept(here, 1, Score(10)))
        assert here.write_behind(1, Score(20)) > first
        assert here.get(1) == Score(20)  # read your writes: not what this process had kept
        until(lambda: _kept(there, 1, Score(20)))
        assert here.ttl(1) == inf
        assert (here.behind.pending()).writes == 2
        with cache.flusher("scores", table.write, **QUICK):
            here.behind.flush()
        assert table.load(1) == Score(20)
        left = here.ttl(1)
        assert left is not None
        assert 0 < left < 331
        assert here.get(1) == Score(20)


def _kept(region: Any, key: Any, value: Any) -> bool:
    if value is None:
        return region.get(key) is MISS
    region.get(key)
    return bool(region.peek(key) == value)


def test_nothing_brings_back_what_was_before_a_write_that_waits(redis_versions: ValkeyServer) -> None:
    table = Table()
    table.rows[1] = (0, Score(1))
    with Cache(redis_versions.url, budget=5, local=False) as cache:
        region = scores(cache, fail_safe=60)

        def slow(key: Any) -> Any:
            value = table.load(key)
            region.write_behind(key, Score(2))  # somebody writes while this load is under way
            return value

        assert region.get_or_load(1, slow) == Score(1)
        assert region.get(1) == Score(2)
        assert region.delete(1) is False
        assert region.delete_many([1, 2]) == 0
        assert region.touch(1, ttl=0.001) is True
        assert region.ttl(1) == inf
        assert region.get_or_load(1, table.load) == Score(2)
        assert region.get_or_load_many([1], _never) == {1: Score(2)}
        with cache.flusher("scores", table.write, **QUICK):
            region.behind.flush()
        assert region.touch(1, ttl=50) is True
        left = region.ttl(1)
        assert left is not None
        assert left <= 55
        assert region.delete(1) is True
        assert region.get_or_load(1, table.load) == Score(2)


def _never(keys: Any) -> Any:
    raise AssertionError(f"loaded {keys}")


def test_a_refresh_of_an_older_value_leaves_a_write_alone(redis_versions: ValkeyServer) -> None:
    with Cache(redis_versions.url, budget=5, local=False) as cache:
        region = scores(cache, ttl=0.001, jitter=0, stale_for=60)

        def first(key: Any) -> Any:
            return Score(1)

        def second(key: Any) -> Any:
            region.write_behind(key, Score(2))
            return Score(1)

        assert region.get_or_load(1, first) == Score(1)
        until(lambda: _kept(region, 1, None))
        assert region.get_or_load(1, second) == Score(1)  # stale; second runs beside
        until(lambda: _is(region, 1, Score(2)))
        assert region.get(1) == Score(2)


def _is(region: Any, key: Any, value: Any) -> bool:
    return bool(region.get(key) == value)


def test_deletions_go_behind_too(redis_versions: ValkeyServer) -> None:
    table = Table()
    table.rows[1] = (0, Score(1))
    with Cache(redis_versions.url, budget=5) as cache:
        region = scores(cache)
        region.delete_behind(1)
        assert region.get(1, "nothing") is None
        assert region.get_or_load(1, table.load) is None  # the row is still there
        with cache.flusher("scores", table.write, **QUICK):
            region.behind.flush()
        assert table.deleted == [1]


def test_tenants_and_tuples_reach_the_writer_as_they_were_given(redis_versions: ValkeyServer) -> None:
    seen: list[Item] = []

    def write(items: Sequence[Item]) -> None:
        seen.extend(items)

    with Cache(redis_versions.url, budget=5) as cache:
        region = cache.region("opens", tenant=True, together="region", behind=UNSAFE)
        region.tenant("acme").write_behind(("c", 7), [1, 2])
        assert region.tenant("acme").name(("c", 7)) == "opens:%{opens}@acme:(c,7"
        with cache.flusher("opens", write, **QUICK):
            region.behind.flush()
    assert [(item.tenant, item.key, item.value) for item in seen] == [("acme", ("c", 7), [1, 2])]


def test_what_cannot_be_read_is_a_dead_letter_that_says_why(redis_versions: ValkeyServer) -> None:
    table = Table()
    with Cache(redis_versions.url, budget=5) as cache, Cache(redis_versions.url, budget=5) as deployed:
        region = scores(cache)
        region.write_behind(1, Score(1))
        scores(deployed, type=str | None)
        with deployed.flusher("scores", table.write, **QUICK):
            region.behind.flush()
        letters = region.behind.dead()
        assert [letter.key for letter in letters] == [1]
        assert "is no value of this region: type" in letters[0].error
        assert region.get(1) is MISS
        assert region.behind.replay(letters) == 1
        with cache.flusher("scores", table.write, **QUICK):
            region.behind.flush()
    assert table.load(1) == Score(1)


def test_what_could_not_be_put_in_order_is_refused(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis, Cache(redis) as cache:
        region = scores(cache)
        table = Table()
        for refused in (
            region.set,
            lambda key, value: region.set_many({key: value}),
            lambda key, value: region.write_through(key, value, table.load),
        ):
            with pytest.raises(ConfigError, match=r"\$\.cache\.scores\.behind: .* use write_behind"):
                refused(1, Score(1))
        assert redis.call("EXISTS", region.name(1)) == 0
        plain = cache.region("plain")
        with pytest.raises(ConfigError, match=r"\$\.cache\.plain\.behind: .* set behind=Behind"):
            plain.write_behind(1, 1)
        with pytest.raises(ConfigError, match=r"\$\.cache\.plain\.behind"):
            cache.flusher("plain", table.write)
        with pytest.raises(ConfigError, match="there is no such region"):
            cache.flusher("other", table.write)
        safe = cache.region("safe", behind=Behind())
        with pytest.raises(ConfigError, match="appendonly"):
            safe.write_behind(1, 1)


def test_without_a_server_a_write_is_refused_and_a_value_of_before_is_not_served() -> None:
    with Cache("redis://127.0.0.1:1") as cache:
        region = scores(cache, on_redis_down="keep")
        assert region.delete(1) is False
        with pytest.raises(RedisUnavailable):
            region.write_behind(1, Score(1))
        assert cache.metrics().owed == 1  # the deletion, still; a write is not kept here
    with pytest.raises(ConfigError, match=r"behind\.maxlen: 0 is out of range"):
        Region(name="scores", behind=Behind(maxlen=0))
