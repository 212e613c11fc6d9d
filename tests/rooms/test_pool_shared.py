"""Shared pipelines: many callers on one connection, and nobody sees anything of the others."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import psycopg
import pytest

from mailgenius.errors import DatabaseUnavailable, QueryTimeout
from mailgenius.pool import AsyncPool


def one_lane(database: str, **settings: Any) -> AsyncPool:
    return AsyncPool(database, shared_connections=1, **settings)


async def test_many_callers_get_their_own_answers(database: str) -> None:
    async with one_lane(database) as pool:

        async def caller(mine: int) -> None:
            for n in range(30):
                if n % 7 == 3:
                    with pytest.raises(psycopg.errors.DivisionByZero):
                        await pool.fetch("select 1 / (%s::int4 - %s::int4)", (n, n))
                elif n % 7 == 5:
                    with pytest.raises(psycopg.errors.UndefinedColumn):
                        await pool.fetch(f"select nothing_{mine}")
                else:
                    rows = await pool.fetch("select %s::int4, repeat('x', %s::int4)", (mine, n * 100))
                    assert rows == [(mine, "x" * (n * 100))]

        await asyncio.gather(*(caller(mine) for mine in range(60)))
        stats = pool.stats()
        assert stats["shared_size"] == 1
        assert stats["shared_pending"] == 0


async def test_a_failure_is_its_callers_alone(database: str) -> None:
    async with one_lane(database) as pool:
        await pool.fetch("select 1")
        answers = await asyncio.gather(
            *(pool.fetch(text) for text in ("select 1", "select 1 / 0", "select 2", "select nowhere", "select 3")),
            return_exceptions=True,
        )
        assert answers[::2] == [[(1,)], [(2,)], [(3,)]]
        assert [type(error) for error in answers[1::2]] == [
            psycopg.errors.DivisionByZero,
            psycopg.errors.UndefinedColumn,
        ]


async def test_a_broken_row_class_is_its_callers_alone(database: str) -> None:
    class Picky:
        def __init__(self, n: int) -> None:
            raise ValueError(n)

    async with one_lane(database) as pool:
        answers = await asyncio.gather(
            pool.fetch("select 1 as n"),
            pool.fetch("select 2 as n", as_=Picky),
            pool.fetch("select 3 as n"),
            return_exceptions=True,
        )
        assert answers[0] == [(1,)]
        assert isinstance(answers[1], ValueError)
        assert answers[2] == [(3,)]


async def test_writes_find_their_way_and_run_once(database: str) -> None:
    async with one_lane(database) as pool:
        await pool.execute("create table t (n int)")
        await pool.execute(
            "create function put(x int) returns int language sql as 'insert into t values (x) returning n'"
        )
        answers = await asyncio.gather(*(pool.fetch("select put(%s::int4)", (n,)) for n in range(20)))
        assert sorted(rows[0][0] for rows in answers) == list(range(20))
        assert await pool.fetch("select n from t order by n") == [(n,) for n in range(20)]
        await pool.fetch("select n from t where n = 1 for update")


async def test_something_slow_holds_nobody_up_for_long(database: str) -> None:
    async with one_lane(database, shared_bound=0.05) as pool:
        await pool.fetch("select 1")
        slow = asyncio.ensure_future(pool.fetch("select pg_sleep(1.5), 'slept'"))
        await asyncio.sleep(0)
        worst = 0.0
        while not slow.done():
            started = time.monotonic()
            assert await pool.fetch("select 1") == [(1,)]
            worst = max(worst, time.monotonic() - started)
        assert slow.result() == [("", "slept")]
        assert worst < 1.0, "a short read waited for a long one"
        assert pool.stats()["shared_evicted"] <= 1


async def test_a_slow_statement_alone_is_left_alone(database: str) -> None:
    async with one_lane(database, shared_bound=0.02) as pool:
        assert await pool.fetch("select pg_sleep(0.3), 1") == [("", 1)]
        assert pool.stats()["shared_evicted"] == 0


async def test_deadlines(database: str) -> None:
    async with one_lane(database) as pool:
        started = time.monotonic()
        answers = await asyncio.gather(
            pool.fetch("select pg_sleep(30)", timeout=0.2), pool.fetch("select 1"), return_exceptions=True
        )
        assert isinstance(answers[0], QueryTimeout)
        assert answers[1] == [(1,)]
        assert time.monotonic() - started < 5
        assert await pool.fetch_value("select 2") == 2


async def test_who_waits_behind_a_late_statement_is_served(database: str) -> None:
    async with one_lane(database, shared_bound=0.2) as pool:
        await pool.fetch("select 1")
        late = asyncio.ensure_future(pool.fetch("select pg_sleep(30)", timeout=0.05))
        await asyncio.sleep(0)
        started = time.monotonic()
        assert await pool.fetch("select 1") == [(1,)]
        assert time.monotonic() - started < 2
        with pytest.raises(QueryTimeout):
            await late


async def test_a_cancelled_task_leaves_no_trace(database: str) -> None:
    async with one_lane(database) as pool:
        await pool.fetch("select 1")
        rng = random.Random(1)
        for _ in range(50):
            tasks = [asyncio.ensure_future(pool.fetch("select %s::int4", (n,))) for n in range(10)]
            await asyncio.sleep(0)
            gone = set(rng.sample(range(10), 5))
            for n in gone:
                tasks[n].cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            for n, answer in enumerate(answers):
                assert isinstance(answer, asyncio.CancelledError) if n in gone else answer == [(n,)]
        assert pool.stats()["shared_pending"] == 0


async def test_prepared_statements_survive_a_change_of_the_table(database: str) -> None:
    async with one_lane(database) as pool:
        await pool.execute("create table t (n int)")
        await pool.execute("insert into t values (1)")
        for _ in range(3):
            assert await pool.fetch("select * from t") == [(1,)]
        await pool.execute("alter table t add word text default 'x'")
        for _ in range(3):
            assert await pool.fetch("select * from t") == [(1, "x")]


async def test_statements_are_named_by_what_they_say_and_bounded(database: str) -> None:
    async with one_lane(database) as pool:
        for n in range(300):
            for _ in range(2):
                assert await pool.fetch(f"select {n}, %s::int4", (n,)) == [(n, n)]
        names = [name for (name,) in await pool.fetch("select name from pg_prepared_statements")]
        assert 100 < len(names) <= 256
        assert all(name.startswith("mg_") and len(name) == 23 for name in names)


async def test_the_connection_is_lost(database: str) -> None:
    async with one_lane(database) as pool:
        await pool.fetch("select 1")
        with psycopg.connect(database, autocommit=True) as other:
            for _ in range(5):
                tasks = [asyncio.ensure_future(pool.fetch("select %s::int4", (n,))) for n in range(10)]
                await asyncio.sleep(0)
                other.execute(
                    "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
                for n, answer in enumerate(await asyncio.gather(*tasks, return_exceptions=True)):
                    assert answer == [(n,)] or isinstance(answer, DatabaseUnavailable)
                assert await pool.fetch("select 1") == [(1,)]


async def test_large_answers_and_large_questions(database: str) -> None:
    async with one_lane(database) as pool:
        big = "x" * 3_000_000
        answers = await asyncio.gather(
            *(pool.fetch("select length(%s::text)", (big,)) for _ in range(4)),
            *(pool.fetch("select repeat('y', 2000000)") for _ in range(4)),
        )
        assert answers[:4] == [[(3_000_000,)]] * 4
        assert all(rows == [("y" * 2_000_000,)] for rows in answers[4:])


async def test_turned_off(database: str) -> None:
    async with AsyncPool(database, shared_connections=0) as pool:
        assert await pool.fetch("select 1") == [(1,)]
        assert pool.stats()["shared_size"] == 0
