"""What the pool promises, in both worlds: this file is for asyncio, its twin for threads."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mailgenius.errors import ConfigError, DatabaseUnavailable, OutcomeUnknown, QueryTimeout
from mailgenius.pool import AsyncPool
from mailgenius.rt import aio as rt
from mailgenius.servers import postgres


class Pair(msgspec.Struct):
    n: int
    word: str


@dataclasses.dataclass
class Point:
    n: int
    word: str


async def test_rows_take_the_form_that_is_asked_for(database: str) -> None:
    text = "select n::int4, chr(96 + n) as word from generate_series(1, %s) n"
    async with AsyncPool(database) as pool:
        assert await pool.fetch(text, (2,)) == [(1, "a"), (2, "b")]
        assert await pool.fetch(text, (2,), as_=dict) == [{"n": 1, "word": "a"}, {"n": 2, "word": "b"}]
        assert await pool.fetch(text, (1,), as_=Pair) == [Pair(1, "a")]
        assert await pool.fetch_one(text, (1,), as_=Point) == Point(1, "a")
        assert await pool.fetch_one("select 1 where false") is None
        assert await pool.fetch_value("select 1 where false") is None
        assert await pool.fetch("select 'per % cent'") == [("per % cent",)]
        assert await pool.fetch("select '50%%' || %(a)s::text || %(a)s::text", {"a": "x"}) == [("50%xx",)]
        with pytest.raises(TypeError):
            await pool.fetch("select 1 as other", as_=Pair)
        assert await pool.fetch_value("select 7") == 7


async def test_statements_that_write(database: str) -> None:
    async with AsyncPool(database) as pool:
        assert await pool.execute("create table t (n int unique, word text)") == -1
        assert await pool.execute("insert into t select generate_series(1, 3)") == 3
        assert await pool.fetch("insert into t values (4) returning n") == [(4,)]
        assert await pool.fetch("with x as (insert into t values (5) returning n) select n from x") == [(5,)]
        assert await pool.fetch_value("select count(*) from t") == 5
        assert await pool.execute_many("insert into t values (%s, %s)", [(6, "a"), (7, "b")]) == 2
        with pytest.raises(psycopg.errors.UniqueViolation):
            await pool.execute_many("insert into t values (%s)", [(8,), (1,)])
        assert await pool.fetch_value("select max(n) from t") == 7  # all of them or none
        await pool.execute("create sequence s")
        assert [await pool.fetch_value("select nextval('s')") for _ in range(3)] == [1, 2, 3]


async def test_copy(database: str) -> None:
    async with AsyncPool(database) as pool:
        await pool.execute("create table t (n int, word text)")
        assert await pool.copy_in("copy t from stdin", [b"1\ta\n2", b"\tb\n"]) == 2
        with pytest.raises(psycopg.errors.InvalidTextRepresentation):
            await pool.copy_in("copy t from stdin", [b"3\tc\n", b"x\td\n"])
        blocks = [block async for block in pool.copy_out("copy t to stdout")]
        assert b"".join(blocks) == b"1\ta\n2\tb\n"


async def test_wrong_parameters_say_so(database: str) -> None:
    async with AsyncPool(database) as pool:
        for text, params in (
            ("select %s", ()),
            ("select %s", (1, 2)),
            ("select %(a)s", {"b": 1}),
            ("select %(a)s", (1,)),
            ("select %s", {"a": 1}),
            ("select %s, %(a)s", (1,)),
            ("select %x", (1,)),
        ):
            with pytest.raises((ConfigError, psycopg.ProgrammingError, TypeError)):
                await pool.fetch(text, params)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await pool.fetch("select * from nowhere")
        assert await pool.fetch_value("select 1") == 1


async def test_transactions(database: str) -> None:
    async with AsyncPool(database) as pool:
        await pool.execute("create table t (n int)")
        async with pool.transaction() as connection:
            await connection.execute("insert into t values (1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            async with pool.transaction() as connection:
                await connection.execute("insert into t select 1 / (2 - n) from generate_series(1, 2) n")
        assert await pool.fetch("select * from t") == [(1,)]
        with pytest.raises(psycopg.errors.QueryCanceled):
            async with pool.transaction(statement_timeout=0.05) as connection:
                await connection.execute("select pg_sleep(20)")
        assert await pool.fetch_value("show statement_timeout") == "0"  # it went with its transaction


async def test_a_transaction_that_met_another_is_run_again(database: str) -> None:
    async with AsyncPool(database) as pool:
        await pool.execute("create table t (n int)")
        await pool.execute("insert into t values (0)")
        tries = []

        async def increment(connection: psycopg.AsyncConnection[Any]) -> int:
            tries.append(1)
            await connection.execute("set transaction isolation level repeatable read")
            cursor = await connection.execute("select n from t")
            row = await cursor.fetchone()
            assert row is not None
            if len(tries) < 3:
                await pool.execute("update t set n = n + 10")
            await connection.execute("update t set n = %s", (row[0] + 1,))
            return len(tries)

        assert await pool.run(increment) == 3
        assert await pool.fetch_value("select n from t") == 21
        tries[:] = []
        with pytest.raises(psycopg.errors.SerializationFailure):
            await pool.run(increment, attempts=2)


async def test_a_statement_that_takes_too_long_is_cancelled_on_the_server(database: str) -> None:
    async with AsyncPool(database) as pool:
        for call in (pool.fetch, pool.execute):
            started = time.monotonic()
            with pytest.raises(QueryTimeout):
                await call("select pg_sleep(20)", timeout=0.1)
            assert time.monotonic() - started < 5
        with Other(database) as other:
            deadline = time.monotonic() + 10
            while other.execute(RUNNING).fetchone() != (0,):
                assert time.monotonic() < deadline
        assert await pool.fetch_value("select 1") == 1


#: Another session's view, so that the pool under test is not asked.
Other = psycopg.connect
RUNNING = "select count(*) from pg_stat_activity where query like '%pg_sleep(20)%' and state = 'active'" + (
    " and pid <> pg_backend_pid()"
)


async def test_it_can_be_watched(database: str) -> None:
    async with AsyncPool(database, slow_query=0.05) as pool:
        for n in range(4):
            assert await pool.fetch(f"select {n} as x, %s::text", ("secret",)) == [(n, "secret")]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await pool.fetch("select 1 / 0")
        await pool.execute("select pg_sleep(0.06)")
        known = {stat.statement: stat for stat in pool.queries(by="calls")}
        mine = known["select ? as x, ?::text"]
        assert (mine.calls, mine.errors, mine.rows) == (4, 0, 4)
        assert 0 < mine.p50 <= mine.p99 <= mine.max
        assert known["select ? / ?"].errors == 1
        (slow,) = (call for call in pool.slow_queries() if "pg_sleep" in call.statement)
        assert slow.seconds >= 0.05
        assert "secret" not in repr(pool.slow_queries()) + repr(pool.queries())
        metrics = pool.metrics()
        assert metrics.acquire.count == metrics.usage.count >= 1
        assert "Result" in await pool.explain("select 1 where %s::int4 > 5", (7,))
        await pool.execute("create table t (n int)")
        assert "actual time" in await pool.explain("insert into t values (1)", analyze=True)
        assert await pool.fetch("select * from t") == []


async def test_all_busy(database: str) -> None:
    async with AsyncPool(database, max_size=1, timeout=0.1) as pool, pool.connection():
        with pytest.raises(DatabaseUnavailable, match=r"at most 1 .*max_size"):
            await pool.execute("select 1")


async def test_leaks_name_who_took_the_connection(database: str) -> None:
    async with AsyncPool(database, leak_after=0.0) as pool:
        async with pool.connection():
            ((age, stack),) = pool.leaks()
            assert age >= 0
            assert "test_leaks_name_who_took_the_connection" in stack
            assert pool.leaks(60) == []
        assert pool.leaks() == []


async def test_a_lost_connection_leaves_the_outcome_unknown(database: str) -> None:
    async with AsyncPool(database) as pool:
        with pytest.raises(OutcomeUnknown, match="was lost"):
            await pool.execute("select pg_terminate_backend(pg_backend_pid())")
        assert await pool.fetch_value("select 1") == 1


async def test_closed(database: str) -> None:
    pool = AsyncPool(database)
    await pool.fetch("select 1")
    await pool.close()
    await pool.close()
    for call in (pool.fetch, pool.execute):
        with pytest.raises(DatabaseUnavailable, match="closed"):
            await call("select 1")


async def test_connections_cut_by_the_server_are_replaced(database: str) -> None:
    lost: list[Exception] = []
    async with AsyncPool(database, min_size=3, max_size=3, on_lost=lost.append) as pool:
        async with pool.connection(), pool.connection(), pool.connection():
            await pool.fetch("select 1 where true", timeout=5) if pool.stats().get("shared_size") else None
        with psycopg.connect(database, autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        for _ in range(6):
            assert await pool.fetch_value("select 1") == 1
            assert await pool.execute("select 1") == 1
        assert lost


async def test_every_new_connection_is_shown(database: str) -> None:
    seen = []

    async def greet(connection: psycopg.AsyncConnection[Any]) -> None:
        seen.append(connection)

    async with AsyncPool(database, on_connect=greet) as pool:
        await pool.execute("select 1")
    assert seen


async def test_server_restart(fast_path: Any) -> None:
    with postgres(fast_path / "restarted_async") as server:
        async with AsyncPool(server.dsn) as pool:
            assert await pool.fetch_value("select 1") == 1
            server.kill()
            started = time.monotonic()
            with contextlib.suppress(DatabaseUnavailable):
                while True:  # the server's children outlive it for a moment, and still answer
                    await pool.fetch_value("select 1")
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await pool.fetch_value("select 1")
            server.restart()
            assert await pool.fetch_value("select 1") == 1
            assert time.monotonic() - started < 15


async def test_many_at_once(database: str) -> None:
    async with AsyncPool(database, max_size=4) as pool:

        async def work(mine: int) -> None:
            for n in range(50):
                assert await pool.fetch("select %s::int4, %s::text", (mine, f"{n}")) == [(mine, f"{n}")]

        for one in [rt.spawn(work, mine) for mine in range(12)]:
            await one.join()


async def test_unreachable_says_where_but_not_the_password() -> None:
    pool = AsyncPool("postgresql://someone:s3cr%40t@127.0.0.1:1/x")
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1.* as someone") as caught:
        await pool.fetch("select 1")
    assert "s3cr" not in str(caught.value) + repr(caught.value.__cause__) + repr(pool)


async def test_wrong_password_is_told_at_once(database: str) -> None:
    pool = AsyncPool(make_conninfo(database, password="wrong-one"))
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught:
        await pool.fetch("select 1")
    assert "wrong-one" not in str(caught.value)
