"""What the pool says about itself: where its connections went, what was slow and why."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError, DatabaseUnavailable, QueryTimeout
from mailgenius.pool import AsyncPool
from mailgenius.pool.metrics import PoolMetrics
from mailgenius.rt import aio as rt

#: Another session's view, so that the pool under test is not asked.
Other = psycopg.connect
OPEN = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'counted'"
KILL = (
    "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
    " where datname = current_database() and application_name = 'counted'"
)


async def nothing() -> None:
    pass


async def turn() -> None:
    """Others have theirs: tasks, or threads."""
    await rt.spawn(nothing).join()


def by_reason(metrics: PoolMetrics) -> dict[str, int]:
    return {reason: ages.count for reason, ages in metrics.closed.items()}


async def until(pool: AsyncPool, reason: str, count: int) -> PoolMetrics:
    deadline = time.monotonic() + 20
    while by_reason(pool.metrics()).get(reason, 0) < count:
        assert time.monotonic() < deadline, by_reason(pool.metrics())
        await turn()
    return pool.metrics()


async def agrees(pool: AsyncPool, other: psycopg.Connection[Any]) -> None:
    """Opened less closed is what the server sees; a session needs a moment to begin or end there."""
    deadline = time.monotonic() + 20
    while True:
        metrics = pool.metrics()
        there = other.execute(OPEN).fetchone()
        if there == (metrics.opened - sum(by_reason(metrics).values()),):
            return
        assert time.monotonic() < deadline, (there, metrics)
        await turn()


async def test_connections_and_callers(database: str) -> None:
    async with AsyncPool(database, max_size=2, application_name="counted") as pool:
        async with pool.connection(), pool.connection():
            metrics = pool.metrics()
            assert (metrics.active, metrics.idle, metrics.pending, metrics.max_size) == (2, 0, 0, 2)
            with pytest.raises(DatabaseUnavailable):
                async with pool.connection(timeout=0.05):
                    pass
            waiting = rt.spawn(pool.execute, "select 1")
            deadline = time.monotonic() + 20
            while pool.metrics().pending < 1:
                assert time.monotonic() < deadline
                await turn()
        await waiting.join()
        await pool.fetch("select 1")
        metrics = pool.metrics()
        assert (metrics.active, metrics.pending, metrics.shared) == (0, 0, 1)
        assert metrics.acquire.count == metrics.usage.count == 3
        assert metrics.timeouts.count == 1
        assert metrics.timeouts.max >= 0.05
        assert metrics.opened == 4  # one that looked whether the server is there, two, and a shared one
        assert by_reason(metrics) == {"probe": 1}
        with Other(database, autocommit=True) as other:
            await agrees(pool, other)
    assert by_reason(pool.metrics()) == {"probe": 1, "close": 3}


async def test_why_connections_went(database: str) -> None:
    lost: list[Exception] = []
    async with AsyncPool(
        database, min_size=1, max_size=2, shared_connections=1, application_name="counted", on_lost=lost.append
    ) as pool:
        with Other(database, autocommit=True) as other:
            async with pool.connection() as connection:
                await connection.close()
            await until(pool, "caller", 1)
            async with pool.connection() as connection:
                await connection.execute("select 1")
                other.execute(KILL)
                with pytest.raises(psycopg.OperationalError):
                    await connection.execute("select 1")
            assert by_reason(await until(pool, "broken", 1))["caller"] == 1
            assert len(lost) == 1
            await pool.execute("select 1")
            await agrees(pool, other)  # psycopg_pool makes new ones in the background
            other.execute(KILL)
            await pool.execute("select 1")
            metrics = await until(pool, "check", 1)
            assert len(lost) == 1 + metrics.closed["check"].count

            await pool.fetch("select 1")
            before = len(lost)
            other.execute(KILL)
            assert await pool.fetch("select 1") == [(1,)]
            metrics = await until(pool, "broken", 2)  # a shared one
            assert len(lost) > before
            await agrees(pool, other)
            assert set(by_reason(metrics)) == {"probe", "caller", "broken", "check"}


async def test_old_and_idle_ones(database: str) -> None:
    async with AsyncPool(
        database, min_size=1, max_size=3, max_idle=1, shared_connections=0, application_name="counted"
    ) as pool:
        async with pool.connection(), pool.connection():
            pass
        await until(pool, "idle", 1)
    async with AsyncPool(database, min_size=1, max_size=1, max_lifetime=1, shared_connections=0) as pool:
        deadline = time.monotonic() + 20
        while not pool.metrics().closed.get("lifetime"):
            assert time.monotonic() < deadline
            await pool.execute("select 1")
            await turn()
        assert 0.9 < pool.metrics().closed["lifetime"].max < 10


async def test_what_could_not_be_undone(database: str) -> None:
    async with AsyncPool(database, min_size=1, max_size=1, shared_connections=0) as pool:
        async with pool.connection() as connection:
            await connection.execute("select 1")
            connection.pgconn.send_query(b"select pg_sleep(20)")  # and nobody takes its answer
        await until(pool, "reset", 1)
        assert await pool.execute("select 1") == 1


async def test_attempts_that_failed() -> None:
    pool = AsyncPool("postgresql://someone@127.0.0.1:1/x")
    with pytest.raises(DatabaseUnavailable):
        await pool.execute("select 1")
    metrics = pool.metrics()
    assert metrics.refused.count == 1
    assert metrics.opened == 0
    assert metrics.closed == {}


async def test_hooks_see_shared_connections(database: str) -> None:
    seen: list[bool] = []

    async def greet(connection: psycopg.AsyncConnection[Any]) -> None:
        cursor = await connection.execute("show default_transaction_read_only")
        seen.append(await cursor.fetchone() == ("on",))

    async with AsyncPool(database, on_connect=greet) as pool:
        await pool.fetch("select 1")
        assert seen == [True]
        await pool.execute("select 1")
        assert False in seen

    async def rude(connection: psycopg.AsyncConnection[Any]) -> None:
        raise ZeroDivisionError("of the hook")

    async with AsyncPool(database, on_connect=rude) as pool:
        with pytest.raises(ZeroDivisionError):
            await pool.fetch("select 1")
        assert by_reason(pool.metrics())["hook"] == 1


async def test_slow_reads_are_explained_in_the_background(database: str) -> None:
    async with AsyncPool(database, slow_query=0, explain_slow=1.0, application_name="counted") as pool:
        text = (
            "select email from mailgenius.leads where workspace_id = %s::int4 and email = %s and company = 'Acme\n Co'"
        )
        assert await pool.fetch(text, (1, "ana@example.com")) == []
        await until(pool, "explain", 1)
        (slow, *_) = pool.slow_queries()
        assert "Index Scan" in slow.plan
        assert "Cond: " in slow.plan
        assert "cost=" in slow.plan
        assert "ana@" not in slow.plan + repr(slow)
        assert "Acme" not in slow.plan + repr(slow)

        await pool.execute("create table t (n int)")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await pool.fetch("select nowhere")
        await until(pool, "explain", 2)  # the statement that writes was left out
        assert [call.plan for call in pool.slow_queries()][1:] == ["", "(not explained: UndefinedColumn)"]
        with Other(database, autocommit=True) as other:
            await agrees(pool, other)


async def test_parameters_are_kept_where_that_is_wanted(database: str) -> None:
    async with AsyncPool(database, slow_query=0, explain_slow=1.0, keep_parameters=True) as pool:
        await pool.fetch("select 1 from mailgenius.leads where email = %(email)s", {"email": "ana@example.com"})
        await until(pool, "explain", 1)
        (slow,) = pool.slow_queries()
        assert slow.detail == {"email": "ana@example.com"}
        assert "ana@example.com" in slow.plan


async def test_what_timed_out_is_explained_too_and_one_at_a_time(database: str) -> None:
    async with AsyncPool(database, slow_query=0.05, explain_slow=1.0, shared_connections=0) as pool:
        with Other(database) as other:
            other.execute("create table t (n int)")
            other.commit()
            other.execute("lock table t")  # until its end: the statement waits, and so does its explanation
            for _ in range(3):
                with pytest.raises(QueryTimeout):
                    await pool.fetch("select * from t", timeout=0.1)
        await until(pool, "explain", 1)
        plans = [call.plan for call in pool.slow_queries()]
        assert plans[1:] == ["", ""]
        assert plans[0] in ("(not explained: LockNotAvailable)",) or plans[0].startswith("Seq Scan on t")


async def test_statistics_turned_off(database: str) -> None:
    async with AsyncPool(database, statistics=False, slow_query=0, explain_slow=1.0) as pool:
        assert await pool.fetch("select 1") == [(1,)]
        assert await pool.execute("select 1") == 1
        assert pool.queries() == []
        assert pool.slow_queries() == []
        metrics = pool.metrics()
        assert metrics.acquire.count == metrics.usage.count == 0
        assert metrics.opened >= 2  # what is rare is counted all the same


def test_a_share_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"explain_slow"):
        AsyncPool("postgresql://x@y/z", explain_slow=1.5)
