# Made from test_cache_async.py by `python -m tools.twin`: edit that one.
"""Cache against real servers: every method, both layers, two clients."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mailgenius import Cache, Redis
from mailgenius.cache import MISS, SOURCE_REGIONS, Region
from mailgenius.errors import ConfigError, RedisRefused
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import coherent, until


class Lead(msgspec.Struct, frozen=True):
    id: int
    email: str


@contextlib.contextmanager
def two(server: ValkeyServer, **policy: Any) -> Iterator[tuple[Any, Any]]:
    """The same region of two caches that are told of changes, as of two processes."""
    with Cache(server.url, budget=5) as one, Cache(server.url, budget=5) as other:
        regions = one.region("lead", **policy), other.region("lead", **policy)
        coherent(one)
        coherent(other)
        yield regions


def test_a_value_comes_back_and_none_is_no_miss(redis_versions: ValkeyServer) -> None:
    with two(redis_versions, type=Lead | None) as (one, other):
        assert one.get(1) is MISS
        assert one.get(1, "nothing") == "nothing"
        assert one.set(1, Lead(1, "ana@example.com"))
        for region in (one, other, other):
            assert region.get(1) == Lead(1, "ana@example.com")
        assert other.peek("1") == Lead(1, "ana@example.com")
        one.set(2, None)
        assert one.get(2) is None
        assert other.get(2, "nothing") is None
        left = one.ttl(1)
        assert left is not None
        assert 260 < left < 331
        assert one.ttl(3) is None


def test_values_in_both_layers_follow_a_change_elsewhere(redis_versions: ValkeyServer) -> None:
    with two(redis_versions) as (one, other):
        one.set("a", 1)
        until(lambda: _kept(other, "a", 1))
        one.set("a", 2)
        until(lambda: _peeked(other, "a", None))
        assert other.get("a") == 2
        until(lambda: _kept(other, "a", 2))
        assert one.delete("a") is True
        until(lambda: _peeked(other, "a", None))
        assert other.get("a") is MISS
        assert one.delete("a") is False


def _kept(region: Any, key: str, value: object) -> bool:
    region.get(key)
    return bool(region.peek(key) == value)


def _are(region: Any, values: dict[int, int]) -> bool:
    return bool(region.get_many(range(2500)) == values)


def _peeked(region: Any, key: str, value: object) -> bool:
    return region.peek(key) == value


def test_many(redis_versions: ValkeyServer) -> None:
    with two(redis_versions) as (one, other):
        one.set_many({n: n * n for n in range(2500)})
        assert other.get_many(range(2600)) == {n: n * n for n in range(2500)}
        assert other.get_many([3, 4, 3, "x"]) == {3: 9, 4: 16}
        assert one.delete_many(range(1, 2500)) == 2499
        assert one.delete_many([]) == 0
        until(lambda: _are(other, {0: 0}))
        assert one.get_many([]) == {}


def test_touch_makes_a_value_last(redis_versions: ValkeyServer) -> None:
    with two(redis_versions, ttl=10, jitter=0) as (one, other):
        one.set("a", {"x": 1}, ttl=5)
        assert 4 < one.ttl("a") <= 5
        assert other.touch("a")
        assert 9 < one.ttl("a") <= 10
        assert one.get("a") == {"x": 1}
        assert one.touch("b") is False


def test_a_newer_version_is_never_replaced(redis_versions: ValkeyServer) -> None:
    with two(redis_versions) as (one, other):
        assert one.set("a", "new", version=300)
        assert not other.set("a", "old", version=299)
        assert not other.set("a", "same", version=300)
        assert other.get("a") == "new"
        assert other.set("a", "newest", version=301)
        assert one.get("a") == "newest"


def test_a_loaded_value_is_stored_and_shared(redis_versions: ValkeyServer) -> None:
    calls: list[Any] = []

    def load(key: Any) -> Any:
        calls.append(key)
        return None if key == "none" else {"of": key}

    with two(redis_versions) as (one, other):
        assert one.get_or_load("a", load) == {"of": "a"}
        assert other.get_or_load("a", load) == {"of": "a"}
        assert one.get_or_load("none", load) is None
        assert other.get_or_load("none", load) is None
        assert calls == ["a", "none"]


def test_what_is_not_there_may_be_remembered_shortly_or_not_at_all(redis_server: ValkeyServer) -> None:
    calls: list[Any] = []

    def load(key: Any) -> None:
        calls.append(key)

    with Cache(redis_server.url, budget=5) as cache:
        never = cache.region("never", negative_ttl=0)
        for _ in range(2):
            assert never.get_or_load("a", load) is None
        assert never.set("b", None) is False
        assert never.get("b") is MISS
        shortly = cache.region("shortly", negative_ttl=5, jitter=0)
        for _ in range(2):
            assert shortly.get_or_load("a", load) is None
        left = shortly.ttl("a")
        assert left is not None
        assert left <= 5
        assert len(calls) == 3


def test_many_are_loaded_at_once(redis_versions: ValkeyServer) -> None:
    calls: list[list[int]] = []

    def load(keys: list[int]) -> dict[int, str]:
        calls.append(keys)
        return {key: str(key) for key in keys if key != 3}

    with two(redis_versions) as (one, other):
        one.set(1, "here")
        wanted = {1: "here", 2: "2", 3: None, 4: "4"}
        assert one.get_or_load_many([1, 2, 3, 4], load) == wanted
        assert other.get_or_load_many([4, 3, 2, 1], load) == wanted
        assert other.get_or_load_many([], load) == {}
        assert calls == [[2, 3, 4]]


def test_decorated_functions(redis_server: ValkeyServer) -> None:
    calls: list[Any] = []
    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("page")

        @region.cached(key=lambda country, limit=10: (country, limit), tags=lambda country, limit=10: [country])
        def page(country: str, limit: int = 10) -> list[str]:
            """A page."""
            calls.append((country, limit))
            return [country] * limit

        @region.cached()
        def plain(a: str, b: int) -> str:
            calls.append((a, b))
            return a * b

        assert page("BR", limit=2) == page("BR", 2) == ["BR", "BR"]
        assert page.__doc__ == "A page."
        assert plain("x", 3) == plain("x", 3) == "xxx"
        assert calls == [("BR", 2), ("x", 3)]
        cache.invalidate_tag("BR")
        page("BR", 2)
        region.delete(plain.key("x", 3))
        plain("x", 3)
        assert len(calls) == 4
        with pytest.raises(TypeError, match="positional"):
            plain(a="x", b=3)


def test_tags(redis_versions: ValkeyServer) -> None:
    calls: list[Any] = []

    def load(key: Any) -> Any:
        calls.append(key)
        return len(calls)

    with two(redis_versions) as (one, other):
        assert one.get_or_load("a", load, tags=["campaign:7", "x"]) == 1
        assert one.get_or_load("b", load, tags=["campaign:8"]) == 2
        for region in (one, other):
            until(lambda region=region: _kept(region, "a", 1))
        other.invalidate_tag("campaign:7")
        assert other.get("a") is MISS
        until(lambda: _peeked(one, "a", None))
        assert one.get("a") is MISS
        assert one.get("b") == 2
        assert one.get_or_load("a", load, tags=["campaign:7", "x"]) == 3
        one.set("c", "set", tags=["x"])
        assert other.get("c") == "set"
        other.invalidate_tag("x")
        assert other.get("c") is MISS
        assert other.get("a") is MISS


def test_a_tag_that_the_server_forgot_is_a_miss(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, local=False, budget=5) as cache:
        region = cache.region("lead")
        region.set("a", 1, tags=["x"])
        assert region.get("a") == 1
        assert cache.redis.call("DEL", "mg:t:x") == 1
        assert region.get("a") is MISS
        region.set("a", 2, tags=["x"])
        assert region.get("a") == 2


def test_tenants_do_not_meet(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("lead", tenant=True)
        acme, other = region.tenant("acme"), region.tenant("other")
        acme.set(1, "acme's", tags=["t"])
        other.set(1, "other's", tags=["t"])
        assert acme.get(1) == "acme's"
        assert other.get(1) == "other's"
        acme.invalidate_tag("t")
        assert acme.get(1) is MISS
        assert other.get(1) == "other's"
        with pytest.raises(ValueError, match="has tenants"):
            region.get(1)


def test_regions_are_checked(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, SOURCE_REGIONS.values(), budget=5) as cache:
        assert cache.region("session").policy.ttl == 3600
        assert cache.region("other", ttl=5).policy.ttl == 5
        assert cache.region("other").policy.ttl == 5
        with pytest.raises(ConfigError, match="another policy"):
            cache.region("other", ttl=6)
        with pytest.raises(ConfigError, match="begins the other"):
            cache.region("more", prefix="session:user:x:")
        with pytest.raises(ConfigError, match=r"\$.cache.nope: unknown setting"):
            Cache("redis://localhost", nope=1)
        with pytest.raises(ConfigError, match=r"\$.cache.budget"):
            Cache("redis://localhost", budget=0)


def test_what_is_not_ours_or_of_another_type_is_a_miss(redis_versions: ValkeyServer) -> None:
    with Redis(redis_versions.url) as redis, Cache(redis, local=False, budget=5) as cache:
        region, raw = cache.region("lead", type=Lead), cache.region("raw", serializer="raw")
        raw.set(1, b"bytes")
        redis.call("SET", "lead:1", redis.get("raw:1") or b"")
        redis.call("SET", "lead:2", b"\x80\x04K\x01.")
        redis.call("SET", "lead:3", b"")
        redis.call("LPUSH", "lead:4", "x")
        for key in (1, 2, 3, 4):
            assert region.get(key) is MISS

        def load(key: int) -> Lead:
            return Lead(key, "x@y.z")

        for key in (1, 2, 3, 4):
            assert region.get_or_load(key, load) == Lead(key, "x@y.z")
        assert region.get(2) == Lead(2, "x@y.z")
        with pytest.raises(TypeError):
            region.set(5, object())
        assert cache.metrics().regions["lead"].unread["foreign"] >= 1


def test_a_full_server_refuses_and_the_old_value_goes(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("lead")
        region.set("a", "old")
        redis_server.ask("CONFIG", "SET", "maxmemory", "1")
        try:
            with pytest.raises(RedisRefused, match="OOM"):
                region.set("a", "new")
            assert region.get("a") is MISS

            def load(key: str) -> str:
                return "loaded"

            assert region.get_or_load("a", load) == "loaded"
        finally:
            redis_server.ask("CONFIG", "SET", "maxmemory", "0")
        assert region.get_or_load("a", load) == "loaded"
        assert region.get("a") == "loaded"


def test_flushing_the_server_flushes_the_process(redis_versions: ValkeyServer) -> None:
    with two(redis_versions) as (one, other):
        one.set("a", 1)
        until(lambda: _kept(other, "a", 1))
        redis_versions.ask("FLUSHALL")
        until(lambda: _peeked(other, "a", None))
        assert other.get("a") is MISS


def test_a_region_that_comes_later_is_told_of_changes_too(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, budget=5) as cache:
        cache.region("first")
        coherent(cache)
        later = cache.region("later")
        later.set("a", 1)
        until(lambda: _kept(later, "a", 1))
        redis_server.ask("SET", "later:a", "x")
        until(lambda: _peeked(later, "a", None))


def test_without_the_local_layer(redis_server: ValkeyServer) -> None:
    with Cache(redis_server.url, local=False, budget=5) as cache:
        region = cache.region("lead")
        region.set("a", 1)
        assert region.get("a") == 1
        assert region.peek("a") is None
        assert not cache.coherent


def test_events_and_metrics(redis_server: ValkeyServer) -> None:
    events: list[str] = []
    cache = Cache(redis_server.url, [Region(name="lead")], on_event=lambda name, why: events.append(name), budget=5)
    with cache:
        coherent(cache)
        region = cache.region("lead")
        region.get("a")
        region.set("a", 1)
        until(lambda: _kept(region, "a", 1))
        redis_server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        until(lambda: _told(events, "incoherent"))
        assert region.peek("a") is None
        coherent(cache)
        metrics = cache.metrics()
        assert metrics.flushes == 1
        assert metrics.regions["lead"].misses >= 1
        assert metrics.regions["lead"].hits >= 1
        assert metrics.regions["lead"].local["invalidated"] >= 1
        assert metrics.invalidations >= 1
    assert events == ["coherent", "incoherent", "coherent", "incoherent"]
    cache.close()


def _told(events: list[str], event: str) -> bool:
    return event in events


def test_closing_twice_and_without_a_server() -> None:
    cache = Cache("redis://127.0.0.1:1")
    with cache:
        region = cache.region("lead")
        assert region.get("a") is MISS
        assert region.ttl("a") is None
        assert not region.touch("a")
    cache.close()
