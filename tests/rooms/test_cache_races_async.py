"""The races of a cache, each stopped at its critical point: what is old is not stored, and not served."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from mailgenius import AsyncCache, AsyncRedis
from mailgenius.cache import MISS
from mailgenius.cache.marks import LEASE, WRITERS
from mailgenius.errors import OutcomeUnknown
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer
from tests.waiting_async import coherent, until


class Gate:
    """Where a participant stops, and waits to be let on."""

    def __init__(self) -> None:
        self.reached, self.open = rt.Event(), rt.Event()

    async def stop(self) -> None:
        self.reached.set()
        assert await rt.wait(self.open, 10)

    async def there(self) -> None:
        assert await rt.wait(self.reached, 10)


class Database:
    """One row, with a version."""

    def __init__(self, value: str) -> None:
        self.value, self.version = value, 1
        self.reads = 0

    async def read(self, key: Any) -> str:
        self.reads += 1
        return self.value

    async def write(self, value: str) -> int:
        self.value, self.version = value, self.version + 1
        return self.version


@contextlib.asynccontextmanager
async def processes(server: ValkeyServer, count: int = 2, **policy: Any) -> AsyncIterator[list[Any]]:
    """The same region as so many processes have it."""
    async with contextlib.AsyncExitStack() as stack:
        caches = [await stack.enter_async_context(AsyncCache(server.url, budget=5)) for _ in range(count)]
        regions = [cache.region("lead", jitter=0, **policy) for cache in caches]
        for cache in caches:
            await coherent(cache)
        yield regions


async def raw(server: ValkeyServer) -> bytes | None:
    async with AsyncRedis(server.url) as redis:
        return await redis.get("lead:a")


@pytest.mark.parametrize("change", ["delete", "delete_many", "set", "write_through", "tag"])
async def test_a_slow_loader_does_not_bring_back_what_changed_meanwhile(
    redis_versions: ValkeyServer, change: str
) -> None:
    database, gate = Database("old"), Gate()

    async def slow(key: str) -> str:
        value = await database.read(key)
        await gate.stop()
        return value

    async with processes(redis_versions) as (loader, other):
        loading = rt.spawn(_load, loader, slow)
        await gate.there()
        if change == "write_through":
            await other.write_through("a", "new", database.write)
        else:
            await database.write("new")
            if change == "delete":
                await other.delete("a")
            elif change == "delete_many":
                await other.delete_many(["a"])
            elif change == "set":
                await other.set("a", "new", tags=["t"])
            else:
                await other.invalidate_tag("t")
        gate.open.set()
        assert await loading.join() == "old"  # it had asked before
        if change == "tag":  # of which he hears a moment later
            await until(partial(_reads, loader, MISS))
        for region in (loader, other, loader):
            assert await region.get_or_load("a", database.read) == "new"
        assert loader.peek("a") in (None, "new")


async def _reads(region: Any, value: Any) -> bool:
    return await region.get("a") is value


async def _load(region: Any, load: Any) -> Any:
    return await region.get_or_load("a", load, tags=["t"])


async def test_a_lease_that_expired_stores_nothing(redis_versions: ValkeyServer) -> None:
    gate = Gate()

    async def slow(key: str) -> str:
        await gate.stop()
        return "old"

    async with processes(redis_versions) as (one, _):
        loading = rt.spawn(_load, one, slow)
        await gate.there()
        assert (await raw(redis_versions) or b"").startswith(LEASE)
        redis_versions.ask("DEL", "lead:a")
        gate.open.set()
        assert await loading.join() == "old"
        assert await raw(redis_versions) is None


async def test_two_processes_that_load_store_once(redis_versions: ValkeyServer) -> None:
    gates = Gate(), Gate()

    async def first(key: str) -> str:
        await gates[0].stop()
        return "first"

    async def second(key: str) -> str:
        await gates[1].stop()
        return "second"

    async with processes(redis_versions) as (one, other):
        loads = rt.spawn(_load, one, first), rt.spawn(_load, other, second)
        for gate in gates:
            await gate.there()
        gates[1].open.set()
        assert await loads[1].join() == "second"
        gates[0].open.set()
        assert await loads[0].join() == "first"
        assert await one.get("a") == await other.get("a") == "second"


async def test_an_invalidation_between_reading_and_keeping(redis_versions: ValkeyServer) -> None:
    gate = Gate()
    async with processes(redis_versions) as (one, other):
        await other.set("a", "old")
        ask = one._ask

        async def delayed(*command: Any) -> Any:
            reply = await ask(*command)
            await gate.stop()
            return reply

        one._ask = delayed
        reading = rt.spawn(one.get, "a")
        await gate.there()
        seen = one._shared.local.stats()["refused"]
        before = one._shared.local.begin()
        await other.set("a", "new")

        async def told() -> bool:
            return one._shared.local.begin() > before

        await until(told)
        gate.open.set()
        assert await reading.join() == "old"
        assert one.peek("a") is None
        assert one._shared.local.stats()["refused"] == seen + 1
        one._ask = ask
        assert await one.get("a") == "new"


@pytest.mark.parametrize("versions", [True, False])
async def test_a_slow_writer_does_not_leave_an_older_value(redis_versions: ValkeyServer, versions: bool) -> None:
    database, gate = Database("start"), Gate()

    async def slow(value: str) -> int | None:
        version = await database.write(value)
        await gate.stop()
        return version if versions else None

    async def quick(value: str) -> int | None:
        version = await database.write(value)
        return version if versions else None

    async with processes(redis_versions) as (one, other):
        writing = rt.spawn(_write, one, "older", slow)
        await gate.there()
        assert await other.get("a") is MISS
        await other.write_through("a", "newer", quick)
        assert await other.get("a", "newer") == "newer"
        gate.open.set()
        assert await writing.join() is False
        for region in (one, other, one):
            assert await region.get("a", "newer") == "newer"
            assert await region.get_or_load("a", database.read) == "newer"
        assert await one.write_through("a", "last", quick)
        await until(lambda: _is(other, "last"))


async def _is(region: Any, value: str) -> bool:
    return bool(await region.get("a") == value)


async def _write(region: Any, value: str, write: Any) -> Any:
    return await region.write_through("a", value, write)


async def test_nothing_is_stored_while_a_writer_is_at_work(redis_versions: ValkeyServer) -> None:
    database, gate = Database("old"), Gate()

    async def slow(value: str) -> int:
        await gate.stop()
        return await database.write(value)

    async with processes(redis_versions) as (one, other):
        await one.set("a", "old")
        writing = rt.spawn(_write, one, "new", slow)
        await gate.there()
        assert (await raw(redis_versions) or b"").startswith(WRITERS)
        assert await other.get_or_load("a", database.read) == "old"
        assert await other.get("a") is MISS
        gate.open.set()
        assert await writing.join() is True
        assert await other.get_or_load("a", database.read) == "new"


async def test_a_deletion_while_a_writer_is_at_work(redis_versions: ValkeyServer) -> None:
    database, gate = Database("old"), Gate()

    async def slow(value: str) -> None:
        await gate.stop()

    async with processes(redis_versions) as (one, other):
        writing = rt.spawn(_write, one, "new", slow)
        await gate.there()
        await other.delete("a")
        assert await other.get_or_load("a", database.read) == "old"
        assert await other.get("a") is MISS  # it was not stored: the writer may come to the database any moment
        gate.open.set()
        assert await writing.join() is False
        assert await raw(redis_versions) is None


async def test_a_write_that_failed_leaves_no_trace(redis_versions: ValkeyServer) -> None:
    async def refuse(value: str) -> None:
        raise ValueError("no such lead")

    async def lost(value: str) -> None:
        raise OutcomeUnknown("gone")

    async with processes(redis_versions) as (one, other):
        await one.set("a", "old")
        with pytest.raises(ValueError, match="no such lead"):
            await one.write_through("a", "new", refuse)
        assert await raw(redis_versions) is None
        assert await other.get("a") is MISS
        with pytest.raises(OutcomeUnknown):
            await one.write_through("a", "new", lost)
        # It may still come about: nothing is stored until the mark's time is over.
        assert (await raw(redis_versions) or b"").startswith(WRITERS)
        with pytest.raises(TypeError):
            await one.write_through("a", object(), refuse)


async def test_a_writer_whose_time_was_over_does_not_replace_a_newer_version(redis_versions: ValkeyServer) -> None:
    database, gate = Database("start"), Gate()

    async def slow(value: str) -> int:
        version = await database.write(value)
        await gate.stop()
        return version

    async with processes(redis_versions) as (one, other):
        writing = rt.spawn(_write, one, "older", slow)
        await gate.there()
        redis_versions.ask("DEL", "lead:a")  # as if its time were over
        assert await other.write_through("a", "newer", database.write)
        gate.open.set()
        assert await writing.join() is False
        assert await one.get("a") == await other.get("a") == "newer"


async def test_the_news_of_a_change_that_comes_before_tracking_is_on(redis_server: ValkeyServer) -> None:
    async with AsyncCache(redis_server.url, budget=5) as cache:
        region = cache.region("lead")
        ticket = region._shared.local.begin()
        await coherent(cache)
        assert not region._shared.local.put_if(ticket, "lead:a", 1, 1, 10)
