"""Write-behind over a network that resets, swallows and delays: nothing accepted twice out of order, nothing half done."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from mailgenius.cache import AsyncFlusher, AsyncWriteBehind, Item, Region
from mailgenius.cache.behind import names, names_in
from mailgenius.errors import RedisOutcomeUnknown, RedisUnavailable
from mailgenius.link import AsyncRedis
from mailgenius.servers import valkey
from tests.faults.proxy import FaultProxy, at, through
from tests.faults.test_link_faults_async import back

REGION = Region(name="lead", serializer="raw")
SETTINGS = {"requirepass": "", "save": ""}


async def log(redis: AsyncRedis) -> list[bytes]:
    """The names in the stream, one for each write."""
    found = await redis.call("XRANGE", names("lead").log, "-", "+")
    return [name for _, fields in found for name in names_in(fields)]


async def test_a_reset_is_tried_again(tmp_path: Path) -> None:
    with valkey(tmp_path / "v", port=0, settings=SETTINGS) as server, FaultProxy(at(server)) as proxy:
        async with AsyncRedis(through(proxy)) as redis:
            own = AsyncWriteBehind(redis, REGION)
            await own.put("a", b"1")
            proxy.arm(1, proxy.cut)
            second = await own.put("a", b"2")
            assert proxy.done.is_set()
            assert await redis.get("lead:a") == b"2"
            assert await own.put("a", b"3") > second
        async with AsyncRedis(server.url) as good:
            assert await good.get("lead:a") == b"3"
            assert await log(good) in ([b"lead:a"] * 3, [b"lead:a"] * 4)


async def test_what_was_given_up_is_not_carried_out_later(tmp_path: Path) -> None:
    """The first write lies in the network; its caller gives up, writes another value over another connection, and only then
    the network delivers the first."""
    with valkey(tmp_path / "v", port=0, settings=SETTINGS) as server, FaultProxy(at(server)) as slow:
        async with AsyncRedis(through(slow), timeout=0.2, connect_timeout=0.5) as redis, AsyncRedis(server.url) as good:
            own = AsyncWriteBehind(redis, REGION)
            await own.put("a", b"0")
            slow.stall()
            with pytest.raises((RedisOutcomeUnknown, RedisUnavailable)):
                await own.put("a", b"1", timeout=0.3)
            own._put = good.script(own._put.source)  # its next connection takes a way that is free
            await own.put("a", b"2")
            before = await calls(good)
            slow.mend()
            await back(redis)
            while await calls(good) == before:
                await good.call("PING")
            assert await good.get("lead:a") == b"2"
            assert await log(good) == [b"lead:a"] * 2


async def calls(redis: AsyncRedis) -> bytes:
    """How often scripts were called."""
    text: bytes | str = await redis.call("INFO", "commandstats")
    lines = (text.encode() if isinstance(text, str) else text).splitlines()
    return b"".join(line.partition(b",")[0] for line in lines if line.startswith(b"cmdstat_eval"))


async def test_a_flusher_waits_until_redis_is_back(tmp_path: Path) -> None:
    seen: list[Item] = []

    async def write(items: Sequence[Item]) -> None:
        if not seen:
            proxy.cut()  # the acknowledgement finds no connection
        seen.extend(items)

    with valkey(tmp_path / "v", port=0, settings=SETTINGS) as server, FaultProxy(at(server)) as proxy:
        async with AsyncRedis(through(proxy), timeout=0.3) as redis, AsyncRedis(server.url) as good:
            own = AsyncWriteBehind(good, REGION)
            await own.put("a", b"1")
            async with AsyncFlusher(redis, REGION, write, every=0.0, lease=1.0):
                await own.flush(10)
                proxy.stall()
                await own.put("a", b"2")
                assert (await own.pending()).writes == 1
                proxy.mend()
                await own.flush(10)
    assert seen[-1].value == b"2"
    assert [item.version for item in seen] == sorted(item.version for item in seen)
