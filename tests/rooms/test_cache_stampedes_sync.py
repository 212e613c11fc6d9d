# Made from test_cache_stampedes_async.py by `python -m tools.twin`: edit that one.
"""Many who ask at once, and values that end: one load, and nobody waits who need not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mailgenius import Cache
from mailgenius.cache import MISS
from mailgenius.errors import LoadTimeout
from mailgenius.rt import threads as rt
from mailgenius.servers import ValkeyServer
from tests.waiting_sync import until

LOADER = """
import sys
from mailgenius import Cache, Redis
from concurrent.futures import ThreadPoolExecutor
url, callers = sys.argv[1], int(sys.argv[2])
with Redis(url) as redis, Cache(url, budget=10) as cache:
    region = cache.region("lead", lock=True)
    def load(key):
        redis.call("INCR", "loads")
        redis.blocking("BLPOP", "go", 20)
        return "loaded"
    with ThreadPoolExecutor(callers) as pool:
        futures = [pool.submit(region.get_or_load, "a", load) for _ in range(callers)]
        redis.call("INCR", "started")
        assert all(future.result() == "loaded" for future in futures)
"""


class Clock:
    """Seconds since 1970, as the test says."""

    def __init__(self) -> None:
        self.now = 1.7e9

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("callers", [100, 1000])
def test_one_load_for_all_who_ask(redis_server: ValkeyServer, callers: int) -> None:
    loads: list[Any] = []
    go = rt.Event()

    def load(key: Any) -> str:
        loads.append(key)
        assert rt.wait(go, 20)
        return "loaded"

    # A crowd may keep the server, or this process, busy for longer than the usual budget.
    with Cache(redis_server.url, budget=10) as cache:
        region = cache.region("lead")
        asking = [rt.spawn(region.get_or_load, "a", load) for _ in range(callers)]

        def begun() -> bool:
            return bool(loads)

        until(begun)
        go.set()
        assert {one.join() for one in asking} == {"loaded"}
        assert loads == ["a"]
        assert region.get("a") == "loaded"


def test_one_load_in_all_processes(redis_server: ValkeyServer) -> None:
    programs = [rt.blocking(subprocess.Popen, [sys.executable, "-c", LOADER, redis_server.url, "25"]) for _ in range(4)]
    try:

        def started() -> bool:
            return int(redis_server.ask("GET", "started") or 0) == 4 and redis_server.ask("GET", "loads") is not None

        until(started, 30)
        redis_server.ask("RPUSH", "go", *["x"] * 100)
        for program in programs:
            assert rt.blocking(program.wait, 30) == 0
    finally:
        for program in programs:
            program.kill()
            program.wait()
    assert int(redis_server.ask("GET", "loads")) == 1
    assert redis_server.ask("EXISTS", "mg:l:lead:a") == 0


def test_a_holder_that_died_is_waited_for_only_so_long(redis_server: ValkeyServer) -> None:
    redis_server.ask("SET", "mg:l:lead:a", "of somebody dead", "PX", "300")

    def load(key: Any) -> str:
        return "loaded"

    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("lead", lock=True)
        assert region.get_or_load("a", load) == "loaded"
        assert redis_server.ask("EXISTS", "mg:l:lead:a") == 0


def test_a_loader_that_fails_lets_the_lock_go_and_stores_nothing(redis_server: ValkeyServer) -> None:
    def fails(key: Any) -> str:
        raise ValueError("no")

    def load(key: Any) -> str:
        return "loaded"

    with Cache(redis_server.url, budget=5) as cache:
        region = cache.region("lead", lock=True)
        with pytest.raises(ValueError, match="no"):
            region.get_or_load("a", fails)
        assert region.get("a") is MISS
        assert region.get_or_load("a", load) == "loaded"


def test_stale_values_are_served_and_loaded_beside(redis_server: ValkeyServer) -> None:
    clock, go = Clock(), rt.Event()
    loads: list[Any] = []

    def load(key: Any) -> int:
        loads.append(key)
        assert len(loads) == 1 or rt.wait(go, 10)
        return len(loads)

    with Cache(redis_server.url, budget=5, clock=clock) as cache:
        region = cache.region("lead", ttl=100, jitter=0, stale_for=50)
        assert region.get_or_load("a", load) == 1
        clock.now += 99
        assert region.get_or_load("a", load) == 1
        clock.now += 2
        for _ in range(10):
            assert region.get_or_load("a", load) == 1  # nobody waits
        assert region.get("a") is MISS  # who has no loader is told that it is over
        go.set()

        def refreshed() -> bool:
            return bool(region.get("a") == 2)

        until(refreshed)
        assert len(loads) == 2
        assert cache.metrics().regions["lead"].refreshes == 1
        clock.now += 151
        assert region.get_or_load("a", load) == 3


def test_early_refresh(redis_server: ValkeyServer) -> None:
    clock = Clock()
    loads: list[Any] = []

    def load(key: Any) -> int:
        loads.append(key)
        return len(loads)

    with Cache(redis_server.url, budget=5, clock=clock, local=False) as cache:
        region = cache.region("lead", ttl=100, jitter=0, early=100)
        assert region.get_or_load("a", load) == 1
        clock.now += 99.9999999  # any load took longer than the rest of its time, by 100 times

        def refreshed() -> bool:
            return bool(region.get_or_load("a", load) == 2)

        until(refreshed)


def test_fail_safe_and_soft_and_hard_timeouts(redis_server: ValkeyServer) -> None:
    clock, go = Clock(), rt.Event()

    def load(key: Any) -> str:
        return "loaded"

    def fails(key: Any) -> str:
        raise ValueError("no")

    def slow(key: Any) -> str:
        rt.wait(go, 10)
        return "late"

    with Cache(redis_server.url, budget=5, clock=clock) as cache:
        region = cache.region("lead", ttl=100, jitter=0, fail_safe=500, soft_timeout=0.05, hard_timeout=5, local_size=0)
        assert region.get_or_load("a", load) == "loaded"
        clock.now += 101
        assert region.get_or_load("a", fails) == "loaded"
        assert region.get_or_load("a", slow) == "loaded"
        go.set()

        def came() -> bool:
            return bool(region.get("a") == "late")

        until(came)
        assert cache.metrics().regions["lead"].stale == 2
        clock.now += 601
        with pytest.raises(ValueError, match="no"):
            region.get_or_load("a", fails)
        go.clear()
        quick = cache.region("quick", hard_timeout=0.05)
        with pytest.raises(LoadTimeout):
            quick.get_or_load("a", slow)
        go.set()
        # A thread cannot be cancelled: what came too late for its caller may be there for the next one.
        assert quick.get_or_load("a", load) in ("loaded", "late")
