"""Django's cache while Redis is away, frozen or full: nobody waits, and nobody reads what was to be replaced."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from math import inf
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.test import override_settings

from mailgenius.cache.django import Backend, close_all
from mailgenius.errors import RedisRefused, RedisUnavailable
from mailgenius.servers import ValkeyServer, valkey
from tests.rooms.django_caches import AsyncWay, one
from tests.waiting_sync import until

pytestmark = pytest.mark.faults


@pytest.fixture(autouse=True)
def _stores() -> Iterator[None]:
    """No test leaves anybody who looks for a server that is no more."""
    yield
    close_all()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey(tmp_path / "valkey", port=0, settings={"save": ""}) as server:
        yield server


def ignoring(server: ValkeyServer, **options: Any) -> Backend:
    return Backend(server.url, {"OPTIONS": {"budget": 0.5} | options})


def back(cache: Backend) -> None:
    until(lambda: cache.set("probe", 1) is None and cache.get("probe") == 1, 20)


@pytest.mark.parametrize("way", [lambda cache: cache, AsyncWay], ids=["plain", "async"])
def test_without_redis_reads_miss_and_writes_are_dropped(way: Any, caplog: pytest.LogCaptureFixture) -> None:
    plain = Backend("redis://127.0.0.1:1", {"OPTIONS": {"redis": {"client_name": way.__name__.strip("<>")}}})
    cache = way(plain)
    with caplog.at_level(logging.WARNING, "mailgenius.cache"):
        assert cache.get("key", "default") == "default"
        assert cache.get_many(["a", "b"]) == {}
        assert cache.has_key("key") is False
        assert cache.set("key", 1) is None
        assert cache.set_many({"a": 1, "b": 2}) == ["a", "b"]
        assert cache.add("key", 1) is False
        assert cache.touch("key") is cache.touch("key", None) is cache.touch("key", 0) is False
        assert cache.delete("key") is False
        assert cache.delete_many(["a"]) is None
        assert cache.clear() is None
        assert cache.get_or_set("key", lambda: "worked out") == "worked out"
        for call in (cache.incr, cache.decr, cache.incr_version):
            with pytest.raises(ValueError, match="not found since Redis is down"):
                call("key")
        with pytest.raises(TypeError):
            cache.set("key", object())
    assert [record.message.partition(":")[0] for record in caplog.records] == ["Django's cache goes on without Redis"]
    metrics = plain.metrics()
    assert not metrics.available
    assert metrics.dropped_reads >= 4
    assert metrics.dropped_writes >= 10
    assert metrics.owed == 4  # the new name of incr_version as well


def test_a_call_takes_microseconds_while_redis_is_known_to_be_down() -> None:
    cache = Backend("redis://127.0.0.1:1", {})
    cache.get("key")
    best = inf
    for _ in range(300):
        began = perf_counter()
        cache.get("key")
        best = min(best, perf_counter() - began)
    assert best < 0.0005


def test_errors_are_raised_if_wanted(own_server: ValkeyServer) -> None:
    cache = ignoring(own_server, ignore_errors=False)
    cache.set("key", 1)
    own_server.stop()
    with pytest.raises(RedisUnavailable):
        cache.get("key")
    with pytest.raises(RedisUnavailable):
        cache.set_many({"a": 1})
    assert cache.metrics().owed == 0


def test_a_frozen_server_costs_the_budget_once_and_old_values_are_not_seen_again(own_server: ValkeyServer) -> None:
    cache, elsewhere = ignoring(own_server, budget=0.25), ignoring(own_server)
    cache.set_many({"set": "old", "deleted": "old", "many": "old", "touched": "old", "other": "kept", "n": 1})
    own_server.pause()
    began = perf_counter()
    cache.set("set", "new")
    for _ in range(100):
        assert cache.get("set", "miss") == "miss"
    assert perf_counter() - began < 2.5
    cache.delete("deleted")
    cache.delete_many(["many"])
    cache.touch("touched", 0)
    assert cache.metrics().owed == 4
    own_server.resume()
    until(lambda: cache.get("other") == "kept", 20)
    assert cache.metrics().owed == 0
    assert cache.get_many(["set", "deleted", "many", "touched"]) == {}
    back(elsewhere)
    assert elsewhere.get_many(["set", "deleted", "many", "touched", "n"]) == {"n": 1}


def test_too_many_dropped_writes_empty_the_cache(own_server: ValkeyServer) -> None:
    cache = ignoring(own_server, keep=5)
    other = Backend(own_server.url, {"KEY_PREFIX": "other", "OPTIONS": {"budget": 0.5}})
    cache.set_many({f"k{i}": "old" for i in range(20)})
    other.set("key", "kept")
    own_server.pause()
    for i in range(10):
        cache.delete(f"k{i}")
    own_server.resume()
    back(cache)
    assert cache.get_many(f"k{i}" for i in range(20)) == {}
    until(lambda: other.get("key") == "kept", 20)


def test_a_clear_that_redis_did_not_hear_of_is_made_up_for(own_server: ValkeyServer) -> None:
    cache = ignoring(own_server, redis={"timeout": 0.25})
    cache.set("key", "old")
    own_server.pause()
    cache.clear()
    assert cache.get("key") is None
    own_server.resume()
    back(cache)
    assert cache.get("key") is None


def test_a_logout_that_redis_did_not_hear_of_is_not_undone(own_server: ValkeyServer) -> None:
    with override_settings(CACHES={"default": one(own_server, OPTIONS={"budget": 0.5, "ignore_errors": True})}):
        session = SessionStore()
        session["user"] = 7
        session.save()
        own_server.pause()
        SessionStore(session.session_key).delete()
        own_server.resume()
        back(Backend(own_server.url, {"OPTIONS": {"budget": 0.5}}))  # of this process: they share what is owed
        assert SessionStore(session.session_key).load() == {}


def test_a_server_that_is_full_does_not_keep_what_was_before(own_server: ValkeyServer) -> None:
    cache, strict = ignoring(own_server), ignoring(own_server, ignore_errors=False)
    cache.set_many({"a": "old", "b": "old", "c": "old"})
    own_server.ask("CONFIG", "SET", "maxmemory", "1")
    own_server.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
    cache.set("a", "new")
    assert cache.set_many({"b": "new"}) == ["b"]
    with pytest.raises(RedisRefused, match="OOM"):
        strict.set("c", "new")
    assert cache.add("d", 1) is False
    own_server.ask("CONFIG", "SET", "maxmemory", "0")
    assert cache.get_many(["a", "b", "c", "d"]) == {}


def test_all_threads_share_one_connection_and_come_back(own_server: ValkeyServer) -> None:
    """As under WSGI: each thread has a Backend of its own."""
    stop, wrong = threading.Event(), []

    def work(number: int) -> None:
        cache, count = ignoring(own_server), 0
        while not stop.wait(0.0005):
            count += 1
            cache.set(f"t{number}", count)
            if cache.get(f"t{number}", count) != count:
                wrong.append((number, count))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    cache = ignoring(own_server)
    back(cache)
    assert len([line for line in own_server.ask("CLIENT", "LIST").splitlines() if "name=mailgenius" in line]) == 1
    own_server.restart()
    back(cache)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not wrong
