"""Write-behind: what is accepted comes into the database, in order, once it counts."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Any

import msgspec
import pytest

from mailgenius.cache import AsyncFlusher, AsyncWriteBehind, Item, Region
from mailgenius.cache.behind import id_of, names, version_of
from mailgenius.errors import ConfigError, FlushTimeout, WriteBehindFull
from mailgenius.link import AsyncRedis
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer

REGION = Region(name="lead", serializer="raw", ttl=100.0)
QUICK: dict[str, Any] = {"every": 0.0, "lease": 0.5}


class Table:
    """What a database with the version condition would hold."""

    def __init__(self) -> None:
        self.rows: dict[Any, tuple[int, bytes | None]] = {}
        self.calls: list[int] = []
        self.refused: set[bytes] = set()
        self.down: Exception | None = None

    async def write(self, items: Sequence[Item]) -> None:
        self.calls.append(len(items))
        if self.down is not None:
            raise self.down
        if bad := [item for item in items if item.value in self.refused]:
            raise ValueError(f"bad: {bad[0].key}")
        for item in items:
            if self.rows.get(item.key, (0, None))[0] < item.version:
                self.rows[item.key] = (item.version, item.value)

    @property
    def values(self) -> dict[Any, bytes | None]:
        return {key: value for key, (_, value) in self.rows.items()}


def behind(redis: AsyncRedis, **more: Any) -> AsyncWriteBehind:
    return AsyncWriteBehind(redis, REGION, unsafe=True, **more)


def meta(key: Any) -> bytes:
    return msgspec.msgpack.encode((key, None, False, 1000))


async def until(true: Any, seconds: float = 10.0) -> None:
    deadline = monotonic() + seconds
    while not true():
        assert monotonic() < deadline
        await rt.wait(rt.Event(), 0.005)


async def test_what_was_put_is_in_the_cache_and_then_in_the_database(redis_versions: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_versions.url) as redis:
        own = behind(redis)
        first = await own.put("a", b"1")
        assert await redis.get("lead:a") == b"1"
        assert await redis.call("PTTL", "lead:a") == -1
        assert await own.put("b", b"2") > first
        assert await own.put(("a", 7), b"3", ttl=5.0)
        assert await own.delete("b", b"none") > first
        waiting = await own.pending()
        assert (waiting.writes, waiting.keys, waiting.dead) == (4, 3, 0)
        assert waiting.since is not None
        async with AsyncFlusher(redis, REGION, table.write, **QUICK) as flusher:
            await own.flush(10)
            assert table.values == {"a": b"1", "b": None, ("a", 7): b"3"}
            assert table.rows["a"][0] == first
            assert flusher.metrics().written == 3
        assert await own.pending() == await own.pending()
        assert (await own.pending()).writes == 0
        assert 90_000 < await redis.call("PTTL", "lead:a") <= 100_000
        assert 0 < await redis.call("PTTL", "lead:(a,7") <= 5_000
        assert await redis.get("lead:b") == b"none"
        assert await redis.call("EXISTS", names("lead").lease, names("lead").open) == 0


async def test_a_value_that_was_put_again_stays_until_that_is_written(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        await own.put("a", b"1")

        async def write(items: Sequence[Item]) -> None:
            if not table.rows:
                await own.put("a", b"2")
            await table.write(items)

        async with AsyncFlusher(redis, REGION, write, every=60.0) as flusher:
            await until(lambda: flusher.metrics().entries == 1 or flusher.metrics().entries == 2)
            await own.flush(10)
        assert table.values == {"a": b"2"}
        assert await redis.call("PTTL", "lead:a") > 0


async def test_writes_of_one_value_become_one(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(250):
            await own.put(n % 5, b"%d" % n)
        async with AsyncFlusher(redis, REGION, table.write, batch=50, **QUICK):
            await own.flush(10)
    assert table.values == {n: b"%d" % (245 + n) for n in range(5)}
    assert table.calls == [5]


async def test_writes_become_one_beyond_a_batch(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(300):
            await own.put(n % 30, b"%d" % n)
        async with AsyncFlusher(redis, REGION, table.write, batch=20, **QUICK) as flusher:
            await own.flush(10)
            counts = flusher.metrics()
    assert table.values == {n: b"%d" % (270 + n) for n in range(30)}
    assert table.calls == [20, 10]  # after 200 entries, with the values of now: the other 100 have nothing new
    assert (counts.entries, counts.written, counts.batches) == (300, 30, 2)


async def test_more_names_than_are_struck_off_at_a_time(redis_server: ValkeyServer) -> None:
    table = Table()
    table.refused = {b"7", b"2345"}
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(2500):
            await own.put(n, b"%d" % n)
        async with AsyncFlusher(redis, REGION, table.write, batch=3000, attempts=1, **QUICK):
            await own.flush(10)
        waiting = await own.pending()
        assert (waiting.writes, waiting.keys, waiting.dead) == (0, 0, 2)
        assert {letter.key for letter in await own.dead()} == {7, 2345}
        assert await redis.call("EXISTS", "lead:7") == 0
        lives = await redis.calls([("PTTL", f"lead:{n}") for n in (0, 999, 1000, 2499)])
        assert all(0 < live <= 100_000 for live in lives)
    assert len(table.rows) == 2498


async def test_tenants_are_apart(redis_server: ValkeyServer) -> None:
    seen: list[Item] = []

    async def write(items: Sequence[Item]) -> None:
        seen.extend(items)

    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        await own.put("a", b"1", tenant="acme")
        await own.put("a", b"2", tenant="beta")
        async with AsyncFlusher(redis, REGION, write, decode=lambda name, data: (name, int(data)), **QUICK):
            await own.flush(10)
    assert {(item.tenant, item.value) for item in seen} == {
        ("acme", ("lead:%@acme:a", 1)),
        ("beta", ("lead:%@beta:a", 2)),
    }


async def test_bad_items_are_found_and_set_aside(redis_server: ValkeyServer) -> None:
    table = Table()
    table.refused = {b"bad"}
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        for n in range(100):
            await own.put(n, b"bad" if n in (17, 80) else b"good")
        async with AsyncFlusher(redis, REGION, table.write, attempts=2, **QUICK):
            await own.flush(20)
            assert len(table.values) == 98
            letters = await own.dead()
            assert [letter.key for letter in letters] == [17, 80]
            assert letters[0].error == "ValueError: bad: 17"
            assert letters[0].attempts == 2
            assert letters[0].data == b"bad"
            assert await redis.get("lead:17") is None
            # A newer value supersedes the dead one; what is replayed is written as it is.
            await own.put(17, b"new")
            table.refused = set()
            assert await own.replay() == 1
            await own.flush(20)
            assert table.values[17] == b"new"
            assert table.values[80] == b"bad"
            assert await own.dead() == []
            assert (await own.pending()).dead == 0


async def test_a_dead_letter_goes_when_a_newer_value_is_written(redis_server: ValkeyServer) -> None:
    table = Table()
    table.refused = {b"bad"}
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        async with AsyncFlusher(redis, REGION, table.write, attempts=1, **QUICK):
            await own.put("a", b"bad")
            await own.put("b", b"bad")
            await own.flush(10)
            letters = await own.dead()
            await own.put("a", b"good")
            await own.flush(10)
            assert [letter.key for letter in await own.dead()] == ["b"]
            assert await own.replay(letters[:1]) == 0
            assert await own.discard(letters) == 1
            assert await own.dead() == []
    assert table.values == {"a": b"good"}


async def test_a_verdict_on_an_old_value_does_not_count_once_there_is_a_newer(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)

        async def write(items: Sequence[Item]) -> None:
            if items[0].value == b"bad":
                await own.put("a", b"good")
                raise ValueError("bad")
            await table.write(items)

        await own.put("a", b"bad")
        async with AsyncFlusher(redis, REGION, write, attempts=1, **QUICK) as flusher:
            await until(lambda: table.values)
            await own.flush(10)
            assert flusher.metrics().failures == 1
        assert await own.dead() == []
        assert await redis.get("lead:a") == b"good"
    assert table.values == {"a": b"good"}


async def test_what_cannot_be_decoded_is_set_aside(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        await own.put("a", b"x")
        await own.put("b", b"1")
        async with AsyncFlusher(redis, REGION, table.write, decode=lambda _, data: b"%d" % int(data), **QUICK):
            await own.flush(10)
        assert table.values == {"b": b"1"}
        assert [letter.key for letter in await own.dead()] == ["a"]


async def test_a_database_that_is_away_stops_everything_and_kills_nothing(redis_server: ValkeyServer) -> None:
    table = Table()
    table.down = ConnectionError("away")
    errors: list[BaseException] = []
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        await own.put("a", b"1")
        async with AsyncFlusher(redis, REGION, table.write, attempts=1, on_error=errors.append, **QUICK) as flusher:
            await until(lambda: len(errors) > 3)
            assert (await own.pending()).dead == 0
            assert flusher.metrics().last_error == "ConnectionError: away"
            with pytest.raises(FlushTimeout, match="1 writes of region 'lead' still wait"):
                await own.flush(0.05)
            table.down = None
            await own.flush(10)
    assert table.values == {"a": b"1"}


async def test_stopping_while_the_database_is_away_keeps_what_waits(redis_server: ValkeyServer) -> None:
    table = Table()
    table.down = ConnectionError("away")
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        await own.put("a", b"1")
        async with AsyncFlusher(redis, REGION, table.write, **QUICK):
            await until(lambda: table.calls)
        table.down = None
        assert (await own.pending()).writes == 1
        async with AsyncFlusher(redis, REGION, table.write, **QUICK):
            await own.flush(10)
    assert table.values == {"a": b"1"}


async def test_full(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis, maxlen=3)
        for n in range(3):
            await own.put(n, b"x")
        began = monotonic()
        with pytest.raises(WriteBehindFull, match="3 writes of region 'lead' wait for the database"):
            await own.put(3, b"x", timeout=0.2)
        assert 0.2 <= monotonic() - began < 2.0
        assert await redis.get("lead:3") is None
        waiting = rt.spawn(own.put, 3, b"y")
        async with AsyncFlusher(redis, REGION, table.write, **QUICK):
            await waiting.join()
            await own.flush(10)
    assert table.values[3] == b"y"


async def test_a_standby_takes_over(redis_server: ValkeyServer) -> None:
    table, other = Table(), Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        async with AsyncFlusher(redis, REGION, table.write, **QUICK) as active:
            await until(lambda: active.metrics().active)
            async with AsyncFlusher(redis, REGION, other.write, **QUICK) as standby:
                await own.put("a", b"1")
                await own.flush(10)
                assert not standby.metrics().active
                assert not other.calls
                await active.stop()
                await until(lambda: standby.metrics().active, 2.0)
                await own.put("b", b"2")
                await own.flush(10)
    assert table.values == {"a": b"1"}
    assert other.values == {"b": b"2"}


async def test_who_lost_the_lease_takes_nothing_off_the_stream(redis_server: ValkeyServer) -> None:
    table = Table()
    lease = names("lead").lease
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        stolen = rt.Event()

        async def write(items: Sequence[Item]) -> None:
            if not stolen.is_set():
                await redis.call("SET", lease, "somebody else", "PX", 300)
                stolen.set()
            await table.write(items)

        await own.put("a", b"1")
        async with AsyncFlusher(redis, REGION, write, every=0.0, lease=5.0) as flusher:
            await until(stolen.is_set)
            await until(lambda: not flusher.metrics().active)
            assert (await own.pending()).writes == 1
            assert flusher.metrics().written == 0
            await redis.call("DEL", lease)
            await own.flush(20)
    assert table.values == {"a": b"1"}
    assert len(table.calls) == 2


async def test_versions_grow_whatever_the_clock_does(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        own = behind(redis)
        log = names("lead").log
        # As if the server's clock had been far ahead, and the second part of the id is about to outgrow its bits.
        await redis.call("XADD", log, f"8000000000000-{(1 << 20) - 3}", "0", "x")
        versions = [await own.put("a", b"%d" % n) for n in range(5)]
        assert versions == sorted(set(versions))
        assert versions[0] > version_of(b"8000000000000-%d" % ((1 << 20) - 3))
        assert version_of(id_of(versions[-1]).encode()) == versions[-1]
        assert versions[-1] < 1 << 63


async def test_versions_are_lifted_above_those_of_the_database(redis_versions: ValkeyServer) -> None:
    """After FLUSHALL, with the clock gone back: new writes count all the same."""

    class Ahead(Table):
        async def highest(self) -> int:
            return max((version for version, _ in self.rows.values()), default=0)

        async def __call__(self, items: Sequence[Item]) -> None:
            await self.write(items)

    table = Ahead()
    table.rows["a"] = (version_of(b"8000000000000-5"), b"old")
    async with AsyncRedis(redis_versions.url) as redis:
        own = behind(redis)
        for n in range(0, 2500, 50):
            await own._send([(f"lead:{key}", meta(key), b"%d" % (n + i)) for i in range(50) for key in "ab"[i % 2]])
        async with AsyncFlusher(redis, REGION, table, **QUICK):
            await own.flush(20)
            assert table.values == {"a": b"2498", "b": b"2499"}
            assert await own.put("a", b"last") > version_of(b"8000000000000-5")
            await own.flush(20)
        assert table.values["a"] == b"last"
        assert (await own.pending()).keys == 0


async def test_writes_of_one_script_have_versions_of_their_own(redis_versions: ValkeyServer) -> None:
    """In the order in which they came, also where their ids would outgrow what a version keeps of them."""
    table = Table()
    async with AsyncRedis(redis_versions.url) as redis:
        own = behind(redis, maxlen=130)
        await redis.call("XADD", names("lead").log, f"8000000000000-{(1 << 20) - 3}", "0", "x")
        await redis.call("INCR", names("lead").count)
        batch = [("lead:a", meta("a"), b"%d" % n) if n % 2 else (f"lead:{n}", meta(n), b"%d" % n) for n in range(50)]
        first = await own._send(batch)
        second = await own._send(batch)
        assert first + second == sorted({*first, *second})
        assert (await own.pending()).writes == 101
        third = await own._send(batch)  # the bound counts writes, not entries
        assert [version > 0 for version in third] == [True] * 29 + [False] * 21
        assert third[0] > second[-1]
        assert third[28] < 1 << 63
        assert (await own.pending()).writes == 130
        async with AsyncFlusher(redis, REGION, table.write, **QUICK) as flusher:
            await own.flush(10)
            assert flusher.metrics().entries == 130
        assert table.rows["a"] == (third[27], b"27")
        assert table.rows[28] == (third[28], b"28")
        assert table.rows[48] == (second[48], b"48")
        waiting = await own.pending()
        assert (waiting.writes, waiting.keys) == (0, 0)


async def test_a_value_that_somebody_deleted_is_a_dead_letter(redis_server: ValkeyServer) -> None:
    table = Table()
    async with AsyncRedis(redis_server.url) as redis:
        own = behind(redis)
        await own.put("a", b"1")
        await own.put("b", b"2")
        await own.delete("c", b"none")
        await redis.call("DEL", "lead:a", "lead:c")
        async with AsyncFlusher(redis, REGION, table.write, **QUICK):
            await own.flush(10)
            assert table.values == {"b": b"2", "c": None}
            letters = await own.dead()
            assert [(letter.key, letter.attempts, letter.data) for letter in letters] == [("a", 0, b"")]
            assert letters[0].error.startswith("LookupError: somebody deleted the cached value")
            assert await own.replay() == 0
            await own.put("a", b"3")
            await own.flush(10)
            assert await own.dead() == []
    assert table.values["a"] == b"3"


async def test_unsafe_servers_are_refused(redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis:
        own = AsyncWriteBehind(redis, REGION)
        with pytest.raises(ConfigError, match=r"\$\.cache\.lead: this Redis is not safe .* set appendonly to yes"):
            await own.put("a", b"1")
        assert await redis.get("lead:a") is None
        await redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        try:
            with pytest.raises(ConfigError, match="set it to noeviction"):
                await own.check()
        finally:
            await redis.call("CONFIG", "SET", "maxmemory-policy", "noeviction")
        assert await behind(redis).put("a", b"1")


async def test_bad_arguments(redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis:
        with pytest.raises(ConfigError, match=r"\$\.cache\.lead\.maxlen"):
            behind(redis, maxlen=0)
        with pytest.raises(ConfigError, match=r"\$\.cache\.lead\.flusher\.batch"):
            AsyncFlusher(redis, REGION, Table().write, batch=0)
