"""A stream that is damaged, slow, or comes in small pieces; a server that still loads its data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from time import monotonic

import pytest

from mailgenius import AsyncRedis
from mailgenius.errors import RedisTimeout, RedisUnavailable
from mailgenius.rt import aio as rt
from mailgenius.servers import valkey
from tests.faults.proxy import FaultProxy, at, through
from tests.faults.test_link_faults_async import back, own_server, proxy

__all__ = ["own_server", "proxy"]  # fixtures


async def echoes(redis: AsyncRedis, callers: int, rounds: int, timeout: float | None = None) -> Counter[str]:
    """What became of their calls; "wrong" is the reply of somebody else."""
    found: Counter[str] = Counter()

    async def caller(mine: int) -> None:
        for number in range(rounds):
            word = f"{mine}-{number}".encode() * (1 + number * 7 % 50)
            try:
                reply = await redis.call("ECHO", word, timeout=timeout)
            except RedisUnavailable as error:
                found[type(error).__name__] += 1
            else:
                found["right" if reply == word else "wrong"] += 1

    running = [rt.spawn(caller, mine) for mine in range(callers)]
    for one in running:
        await one.join()
    return found


async def test_damaged_bytes_end_the_connection(proxy: FaultProxy) -> None:
    async with AsyncRedis(through(proxy), retries=0) as redis:
        for times in range(1, 11):
            await back(redis)
            proxy.arm(1 + 397 * times, proxy.damage)
            found = await echoes(redis, 20, 10)
            assert proxy.done.is_set()
            assert not found["wrong"]
            assert found["RedisUnavailable"]
            assert sum(found.values()) == 200
            await back(redis)
            assert redis.metrics().lost == times


async def test_damaged_bytes_among_what_changes(proxy: FaultProxy) -> None:
    async with AsyncRedis(through(proxy)) as redis:
        await redis.call("SET", "n", 0)
        proxy.arm(1, proxy.damage)
        with pytest.raises(RedisUnavailable, match=r"whether the command was carried out is not known.*not RESP"):
            await redis.call("INCR", "n")
        await back(redis)
        assert await redis.call("GET", "n") == b"1"
        proxy.arm(1, proxy.damage)
        assert await redis.call("GET", "n") == b"1"  # sent anew
        assert redis.available


@pytest.mark.parametrize("piece", [1, 7, 1000])
async def test_small_pieces(proxy: FaultProxy, piece: int) -> None:
    proxy.piece = piece
    async with AsyncRedis(through(proxy), timeout=20.0, connect_timeout=10.0) as redis:
        assert await echoes(redis, 10, 10) == {"right": 100}
        assert await redis.calls([("ECHO", number) for number in range(200)]) == [b"%d" % n for n in range(200)]
        assert redis.metrics().connects == 1


async def test_a_slow_way(proxy: FaultProxy) -> None:
    proxy.delay = 0.02
    async with AsyncRedis(through(proxy), timeout=20.0, connect_timeout=10.0) as redis:
        await redis.call("PING")
        began = monotonic()
        assert await echoes(redis, 50, 2) == {"right": 100}
        assert monotonic() - began < 50 * 2 * 0.04  # what one after the other would take at least
        with pytest.raises(RedisTimeout):
            await redis.call("ECHO", "late", timeout=0.005)
        await back(redis)
        assert await echoes(redis, 20, 2) == {"right": 40}


async def test_a_server_that_loads_its_data_is_waited_for(tmp_path: Path) -> None:
    slowly = {"key-load-delay": 2000, "loading-process-events-interval-bytes": 1024, "appendonly": "no"}
    with valkey(tmp_path / "valkey", port=0, settings={"requirepass": "", **slowly}) as server:
        host, port = at(server)
        url = f"redis://{host}:{port}"
        async with AsyncRedis(url) as redis:
            await redis.calls([("SET", f"k{number}", "x" * 100) for number in range(800)])
            await redis.call("SAVE")
            again = rt.spawn(rt.blocking, server.restart)
            patient = AsyncRedis(url, offline_queue=10)
            errors = set()
            until = monotonic() + 60
            while "LOADING" not in str(errors):
                assert monotonic() < until, errors
                try:
                    await redis.call("GET", "k1")
                except RedisUnavailable as error:
                    errors.add(str(error))
                await rt.wait(rt.Event(), 0.005)
            assert not redis.available
            assert await patient.call("GET", "k1", timeout=60) == b"x" * 100  # waits, and is never told LOADING
            assert "LOADING" not in patient.metrics().errors
            await back(redis, 60)
            assert await redis.call("DBSIZE") == 800
            await patient.close()
            await again.join()
