"""Jobs that are part of a transaction of the database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError
from mailgenius.link import AsyncRedis
from mailgenius.pool import AsyncPool
from mailgenius.queue import AsyncQueue, outbox_async
from mailgenius.queue.outbox import AsyncOutbox
from mailgenius.rt import aio as rt
from mailgenius.servers import ValkeyServer
from tests.queue_hand_async import Hand
from tests.waiting_async import until


async def test_jobs_are_added_when_their_transaction_commits(database: str, redis_versions: ValkeyServer) -> None:
    async with AsyncRedis(redis_versions.url) as redis, AsyncPool(database) as pool:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        outbox = AsyncOutbox(pool, redis, unsafe=True)
        async with await psycopg.AsyncConnection.connect(database) as connection:
            await queue.add("send", "never", connection=connection)
            await connection.rollback()
            one = await queue.add("send", "one", priority=2, group="g", connection=connection)
            when = datetime.now(UTC) + timedelta(hours=1)
            later = await queue.add("send", "later", at=when, connection=connection)
            soon = await queue.add("send", "soon", delay=60, connection=connection)
            many = await queue.add_many("send", range(450), connection=connection)
            assert await outbox.flush() == 0
            await connection.commit()
        assert (await queue.counts()).total.added == 0
        assert await outbox.flush() == 12
        assert await outbox.flush() == 0
        job = await queue.show(one)
        assert job is not None
        assert (job.payload, job.priority, job.group) == ("one", 2, "g")
        for id, time in ((later, when), (soon, datetime.now(UTC) + timedelta(seconds=60))):
            job = await queue.show(id)
            assert job is not None
            assert job.due_at is not None
            assert abs(job.due_at - time) < timedelta(seconds=10)
        job = await queue.show(many[449])
        assert job is not None
        assert job.payload == 449
        assert await hand.all() == ["one", *range(450)]
        assert await pool.fetch("select count(*) from mailgenius.outbox") == [(0,)]


async def test_a_unique_job_is_there_once(database: str, redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis, AsyncPool(database) as pool:
        queue = AsyncQueue(redis, "q", unsafe=True)
        for _ in range(3):
            async with pool.transaction() as connection:
                await queue.add("send", 1, unique="k", connection=connection)
        assert await AsyncOutbox(pool, redis, unsafe=True).flush() == 3
        assert (await queue.counts()).waiting == 1


async def test_the_relay_hears_of_new_rows(
    database: str, redis_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox_async, "LOOK", 60.0)
    async with AsyncRedis(redis_server.url) as redis, AsyncPool(database) as pool:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        errors: list[Exception] = []
        found: list[Any] = []
        async with AsyncOutbox(pool, redis, unsafe=True, on_error=errors.append) as outbox:
            for n in range(5):
                async with pool.transaction() as connection:
                    await queue.add("send", n, connection=connection)

                async def here(n: int = n) -> bool:
                    found.extend(await hand.all())
                    return found == list(range(n + 1))

                await until(here)
            # Its connection is cut: it makes another one.
            await pool.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where query = 'listen mailgenius_outbox'"
            )
            async with pool.transaction() as connection:
                await queue.add("send", 5, connection=connection)

            async def there() -> bool:
                found.extend(await hand.all())
                return found == list(range(6))

            await until(there)
        assert outbox.moved == 6
        assert all(isinstance(error, psycopg.OperationalError) for error in errors)


async def test_many_relays_move_each_row_once(database: str, redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis, AsyncPool(database, max_size=6) as pool:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        async with pool.transaction() as connection:
            for n in range(300):
                await queue.add("send", n, connection=connection)
        relays = [AsyncOutbox(pool, redis, unsafe=True) for _ in range(4)]
        moving = [rt.spawn(relay.flush) for relay in relays]
        assert sum([await one.join() for one in moving]) == 300
        assert Counter(await hand.all()) == Counter(range(300))


async def test_a_relay_that_dies_before_it_marks_a_row_doubles_nothing(
    database: str, redis_server: ValkeyServer
) -> None:
    async with AsyncRedis(redis_server.url) as redis, AsyncPool(database) as pool:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        async with pool.transaction() as connection:
            for n in range(10):
                await queue.add("send", n, connection=connection)
        dying = AsyncOutbox(pool, redis, unsafe=True)
        sender = dying._queue("q")
        take = sender.take

        async def take_and_die(key: str, words: Sequence[Any]) -> None:
            await take(key, words)
            if (await queue.counts()).waiting == 7:
                raise KeyboardInterrupt

        sender.take = take_and_die  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            await dying.flush()
        assert (await queue.counts()).waiting == 7
        assert await AsyncOutbox(pool, redis, unsafe=True).flush() == 10
        assert sorted(await hand.all()) == list(range(10))


async def test_what_cannot_be_read_lets_the_others_pass(database: str, redis_server: ValkeyServer) -> None:
    async with AsyncRedis(redis_server.url) as redis, AsyncPool(database) as pool:
        queue, hand = AsyncQueue(redis, "q", unsafe=True), Hand(redis, "q")
        await pool.execute("insert into mailgenius.outbox (queue, key, jobs) values ('q', 'k', '\\xc1')")
        async with pool.transaction() as connection:
            await queue.add("send", 1, connection=connection)
        await AsyncOutbox(pool, redis, unsafe=True).flush()
        assert await hand.all() == [1]
        ((error,),) = await pool.fetch("select error from mailgenius.outbox")
        assert "malformed" in error
        with pytest.raises(ConfigError, match="then and batch are not for jobs of a transaction"):
            await queue.add_many("send", [1], batch="b", connection=object())
