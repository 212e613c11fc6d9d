"""Redis that freezes, vanishes, restarts, loses replies or sends rubbish: nobody hangs, nobody gets another one's reply."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from math import inf
from pathlib import Path
from time import monotonic, perf_counter

import pytest

from mailgenius import AsyncRedis
from mailgenius.errors import RedisOutcomeUnknown, RedisTimeout, RedisUnavailable
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer, valkey
from tests.faults.proxy import FaultProxy, at, through


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[ValkeyServer]:
    with valkey(tmp_path / "valkey", port=0, settings={"requirepass": "", "save": ""}) as server:
        yield server


@pytest.fixture
def proxy(own_server: ValkeyServer) -> Iterator[FaultProxy]:
    with FaultProxy(at(own_server)) as made:
        yield made


async def back(redis: AsyncRedis, seconds: float = 10.0) -> None:
    """Until it answers again, by itself."""
    until = monotonic() + seconds
    while monotonic() < until:
        try:
            assert await redis.call("PING") == b"PONG"
        except RedisUnavailable:
            await rt.wait(rt.Event(), 0.01)
        else:
            return
    raise AssertionError("it did not come back")


async def fastest(redis: AsyncRedis) -> float:
    """Seconds that a call takes to fail."""
    best = inf
    for _ in range(200):
        began = perf_counter()
        try:
            await redis.call("GET", "a")
        except RedisUnavailable:
            best = min(best, perf_counter() - began)
    return best


@pytest.mark.alone
async def test_a_frozen_server_costs_one_timeout(own_server: ValkeyServer) -> None:
    async with AsyncRedis(own_server.url, timeout=0.05) as redis:
        await redis.call("SET", "a", "before")
        own_server.pause()
        began = monotonic()
        with pytest.raises(RedisTimeout):
            await redis.call("GET", "a")
        assert monotonic() - began < 0.25
        assert not redis.available
        assert await fastest(redis) < 100e-6
        own_server.resume()
        await back(redis)
        assert redis.available
        assert await redis.call("GET", "a") == b"before"


@pytest.mark.alone
async def test_a_frozen_server_at_the_first_call(own_server: ValkeyServer) -> None:
    own_server.pause()
    async with AsyncRedis(own_server.url, timeout=0.05, connect_timeout=0.5) as redis:
        began = monotonic()
        with pytest.raises(RedisUnavailable):
            await redis.call("GET", "a")
        assert monotonic() - began < 0.25
        assert await fastest(redis) < 100e-6
        own_server.resume()
        await back(redis)


async def test_a_server_that_is_not_there(own_server: ValkeyServer) -> None:
    host, port = at(own_server)
    own_server.stop()
    async with AsyncRedis(f"redis://{host}:{port}") as redis:
        with pytest.raises(RedisUnavailable, match="is down: Cannot connect"):
            await redis.call("GET", "a")
        assert await fastest(redis) < 100e-6


async def test_a_cable_that_was_pulled(proxy: FaultProxy) -> None:
    async with AsyncRedis(through(proxy), timeout=0.1, connect_timeout=0.3) as redis:
        await redis.call("SET", "a", 1)
        proxy.stall()
        with pytest.raises(RedisTimeout):
            await redis.call("GET", "a")
        assert not redis.available
        proxy.mend()
        await back(redis)


async def test_reads_are_sent_anew_and_writes_are_not(proxy: FaultProxy) -> None:
    async with AsyncRedis(through(proxy)) as redis:
        await redis.call("SET", "a", "x")
        proxy.arm(1, proxy.cut)
        assert await redis.call("GET", "a") == b"x"
        assert proxy.done.is_set()
        proxy.arm(1, proxy.cut)
        with pytest.raises(RedisOutcomeUnknown):
            await redis.call("INCR", "n")
        await back(redis)
        proxy.arm(1, proxy.cut)
        with pytest.raises(RedisOutcomeUnknown):
            await redis.calls([("GET", "a"), ("INCR", "n")])
        await back(redis)
        assert redis.metrics().unknown == 2


async def test_a_connection_closed_while_idle_is_no_fault(proxy: FaultProxy) -> None:
    async with AsyncRedis(through(proxy)) as redis:
        await redis.call("SET", "a", "x")
        async with AsyncRedis(through(proxy)) as other:
            await other.call("CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES")
        assert await redis.call("GET", "a") == b"x"
        assert redis.available


async def test_late_replies_reach_nobody_else(own_server: ValkeyServer) -> None:
    async with AsyncRedis(own_server.url, slow_timeout=5) as redis:
        late = 0
        for n in range(5):
            busy = rt.spawn(redis.call, "EVAL", "local s = 0 for i = 1, 1e7 do s = s + i end return ARGV[1]", 0, n)
            while not redis.metrics().pending and busy.running:
                await rt.wait(rt.Event(), 0.0001)
            for m in range(3):
                try:
                    assert await redis.call("ECHO", f"{n}-{m}", timeout=0.002) == f"{n}-{m}".encode()
                except RedisTimeout:
                    late += 1
            assert await busy.join() == b"%d" % n
            assert await redis.call("ECHO", f"after {n}") == f"after {n}".encode()
        assert late
        assert redis.metrics().lost == 0


async def test_a_restart(own_server: ValkeyServer) -> None:
    async with AsyncRedis(own_server.url) as redis:
        await redis.call("SET", "a", 1)
        own_server.restart()
        await back(redis)


async def test_calls_may_wait_while_it_is_down(own_server: ValkeyServer) -> None:
    async with AsyncRedis(own_server.url, timeout=0.1, offline_queue=10, connect_timeout=0.5) as redis:
        await redis.call("SET", "a", 1)
        own_server.pause()
        with pytest.raises(RedisTimeout):
            await redis.call("GET", "a")
        waiting = rt.spawn(lambda: redis.call("GET", "a", timeout=20))
        own_server.resume()
        assert await waiting.join() == b"1"


async def test_a_connection_of_ones_own_says_that_it_is_lost(proxy: FaultProxy) -> None:
    told = []
    async with AsyncRedis(through(proxy)) as redis, redis.dedicated(on_lost=lambda: told.append(1)) as connection:
        await connection.send("SUBSCRIBE", "c")
        assert await connection.next_push(5) == [b"subscribe", b"c", 1]
        proxy.cut()
        with pytest.raises(RedisUnavailable):
            await connection.next_push(10)
        assert told == [1]


async def test_blocking_calls_after_a_restart(proxy: FaultProxy) -> None:
    async with AsyncRedis(through(proxy)) as redis:
        await redis.call("RPUSH", "list", "a", "b")
        assert await redis.blocking("BLPOP", "list", 1) == [b"list", b"a"]
        proxy.cut()
        await back(redis)
        before = redis.metrics().connects
        assert await redis.blocking("BLPOP", "list", 1, timeout=5) == [b"list", b"b"]
        assert redis.metrics().connects == before + 1


async def test_connections_that_are_given_up_by_somebody_else(own_server: ValkeyServer) -> None:
    """Nobody who asks meanwhile is forgotten: each call ends, or goes on over the next connection, at once."""
    async with AsyncRedis(own_server.url, timeout=10.0, offline_queue=100) as redis:
        done = rt.Event()
        longest = 0.0

        async def caller(mine: int) -> None:
            nonlocal longest
            while not done.is_set():
                began = monotonic()
                with contextlib.suppress(RedisUnavailable):
                    await redis.call("GET", "a")
                longest = max(longest, monotonic() - began)

        running = [rt.spawn(caller, mine) for mine in range(8)]
        for _ in range(100):
            await back(redis)
            await redis.distrust("a test wants it so")
        done.set()
        for one in running:
            await one.join()
        assert longest < 5.0
