# Made from test_pool_metrics_async.py by `python -m tools.twin`: edit that one.
"""What the pool says about itself: where its connections went, what was slow and why."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError, DatabaseUnavailable, QueryTimeout
from mailgenius.pool import Pool
from mailgenius.pool.metrics import PoolMetrics
from mailgenius.rt import threads as rt

#: Another session's view, so that the pool under test is not asked.
Other = psycopg.connect
OPEN = "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'counted'"
KILL = (
    "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity"
    " where datname = current_database() and application_name = 'counted'"
)


def nothing() -> None:
    pass


def turn() -> None:
    """Others have theirs: tasks, or threads."""
    rt.spawn(nothing).join()


def by_reason(metrics: PoolMetrics) -> dict[str, int]:
    return {reason: ages.count for reason, ages in metrics.closed.items()}


def until(pool: Pool, reason: str, count: int) -> PoolMetrics:
    deadline = time.monotonic() + 20
    while by_reason(pool.metrics()).get(reason, 0) < count:
        assert time.monotonic() < deadline, by_reason(pool.metrics())
        turn()
    return pool.metrics()


def agrees(pool: Pool, other: psycopg.Connection[Any]) -> None:
    """Opened less closed is what the server sees; a session needs a moment to begin or end there."""
    deadline = time.monotonic() + 20
    while True:
        metrics = pool.metrics()
        there = other.execute(OPEN).fetchone()
        if there == (metrics.opened - sum(by_reason(metrics).values()),):
            return
        assert time.monotonic() < deadline, (there, metrics)
        turn()


def test_connections_and_callers(database: str) -> None:
    with Pool(database, max_size=2, application_name="counted") as pool:
        with pool.connection(), pool.connection():
            metrics = pool.metrics()
            assert (metrics.active, metrics.idle, metrics.pending, metrics.max_size) == (2, 0, 0, 2)
            with pytest.raises(DatabaseUnavailable):
                with pool.connection(timeout=0.05):
                    pass
            waiting = rt.spawn(pool.execute, "select 1")
            deadline = time.monotonic() + 20
            while pool.metrics().pending < 1:
                assert time.monotonic() < deadline
                turn()
        waiting.join()
        pool.fetch("select 1")
        metrics = pool.metrics()
        assert (metrics.active, metrics.pending, metrics.shared) == (0, 0, 1)
        assert metrics.acquire.count == metrics.usage.count == 3
        assert metrics.timeouts.count == 1
        assert metrics.timeouts.max >= 0.05
        assert metrics.opened == 4  # one that looked whether the server is there, two, and a shared one
        assert by_reason(metrics) == {"probe": 1}
        with Other(database, autocommit=True) as other:
            agrees(pool, other)
    assert by_reason(pool.metrics()) == {"probe": 1, "close": 3}


def test_why_connections_went(database: str) -> None:
    lost: list[Exception] = []
    with Pool(
        database, min_size=1, max_size=2, shared_connections=1, application_name="counted", on_lost=lost.append
    ) as pool:
        with Other(database, autocommit=True) as other:
            with pool.connection() as connection:
                connection.close()
            until(pool, "caller", 1)
            with pool.connection() as connection:
                connection.execute("select 1")
                other.execute(KILL)
                with pytest.raises(psycopg.OperationalError):
                    connection.execute("select 1")
            assert by_reason(until(pool, "broken", 1))["caller"] == 1
            assert len(lost) == 1
            pool.execute("select 1")
            agrees(pool, other)  # psycopg_pool makes new ones in the background
            other.execute(KILL)
            pool.execute("select 1")
            metrics = until(pool, "check", 1)
            assert len(lost) == 1 + metrics.closed["check"].count

            pool.fetch("select 1")
            before = len(lost)
            other.execute(KILL)
            assert pool.fetch("select 1") == [(1,)]
            metrics = until(pool, "broken", 2)  # a shared one
            assert len(lost) > before
            agrees(pool, other)
            assert set(by_reason(metrics)) == {"probe", "caller", "broken", "check"}


def test_old_and_idle_ones(database: str) -> None:
    with Pool(database, min_size=1, max_size=3, max_idle=1, shared_connections=0, application_name="counted") as pool:
        with pool.connection(), pool.connection():
            pass
        until(pool, "idle", 1)
    with Pool(database, min_size=1, max_size=1, max_lifetime=1, shared_connections=0) as pool:
        deadline = time.monotonic() + 20
        while not pool.metrics().closed.get("lifetime"):
            assert time.monotonic() < deadline
            pool.execute("select 1")
            turn()
        assert 0.9 < pool.metrics().closed["lifetime"].max < 10


def test_what_could_not_be_undone(database: str) -> None:
    with Pool(database, min_size=1, max_size=1, shared_connections=0) as pool:
        with pool.connection() as connection:
            connection.execute("select 1")
            connection.pgconn.send_query(b"select pg_sleep(20)")  # and nobody takes its answer
        until(pool, "reset", 1)
        assert pool.execute("select 1") == 1


def test_attempts_that_failed() -> None:
    pool = Pool("postgresql://someone@127.0.0.1:1/x")
    with pytest.raises(DatabaseUnavailable):
        pool.execute("select 1")
    metrics = pool.metrics()
    assert metrics.refused.count == 1
    assert metrics.opened == 0
    assert metrics.closed == {}


def test_hooks_see_shared_connections(database: str) -> None:
    seen: list[bool] = []

    def greet(connection: psycopg.Connection[Any]) -> None:
        cursor = connection.execute("show default_transaction_read_only")
        seen.append(cursor.fetchone() == ("on",))

    with Pool(database, on_connect=greet) as pool:
        pool.fetch("select 1")
        assert seen == [True]
        pool.execute("select 1")
        assert False in seen

    def rude(connection: psycopg.Connection[Any]) -> None:
        raise ZeroDivisionError("of the hook")

    with Pool(database, on_connect=rude) as pool:
        with pytest.raises(ZeroDivisionError):
            pool.fetch("select 1")
        assert by_reason(pool.metrics())["hook"] == 1


def test_slow_reads_are_explained_in_the_background(database: str) -> None:
    with Pool(database, slow_query=0, explain_slow=1.0, application_name="counted") as pool:
        text = (
            "select email from mailgenius.leads where workspace_id = %s::int4 and email = %s and company = 'Acme\n Co'"
        )
        assert pool.fetch(text, (1, "ana@example.com")) == []
        until(pool, "explain", 1)
        (slow, *_) = pool.slow_queries()
        assert "Index Scan" in slow.plan
        assert "Cond: " in slow.plan
        assert "cost=" in slow.plan
        assert "ana@" not in slow.plan + repr(slow)
        assert "Acme" not in slow.plan + repr(slow)

        pool.execute("create table t (n int)")
        with pytest.raises(psycopg.errors.UndefinedColumn):
            pool.fetch("select nowhere")
        until(pool, "explain", 2)  # the statement that writes was left out
        assert [call.plan for call in pool.slow_queries()][1:] == ["", "(not explained: UndefinedColumn)"]
        with Other(database, autocommit=True) as other:
            agrees(pool, other)


def test_parameters_are_kept_where_that_is_wanted(database: str) -> None:
    with Pool(database, slow_query=0, explain_slow=1.0, keep_parameters=True) as pool:
        pool.fetch("select 1 from mailgenius.leads where email = %(email)s", {"email": "ana@example.com"})
        until(pool, "explain", 1)
        (slow,) = pool.slow_queries()
        assert slow.detail == {"email": "ana@example.com"}
        assert "ana@example.com" in slow.plan


def test_what_timed_out_is_explained_too_and_one_at_a_time(database: str) -> None:
    with Pool(database, slow_query=0.05, explain_slow=1.0, shared_connections=0) as pool:
        with Other(database) as other:
            other.execute("create table t (n int)")
            other.commit()
            other.execute("lock table t")  # until its end: the statement waits, and so does its explanation
            for _ in range(3):
                with pytest.raises(QueryTimeout):
                    pool.fetch("select * from t", timeout=0.1)
        until(pool, "explain", 1)
        plans = [call.plan for call in pool.slow_queries()]
        assert plans[1:] == ["", ""]
        assert plans[0] in ("(not explained: LockNotAvailable)",) or plans[0].startswith("Seq Scan on t")


def test_statistics_turned_off(database: str) -> None:
    with Pool(database, statistics=False, slow_query=0, explain_slow=1.0) as pool:
        assert pool.fetch("select 1") == [(1,)]
        assert pool.execute("select 1") == 1
        assert pool.queries() == []
        assert pool.slow_queries() == []
        metrics = pool.metrics()
        assert metrics.acquire.count == metrics.usage.count == 0
        assert metrics.opened >= 2  # what is rare is counted all the same


def test_a_share_is_a_share() -> None:
    with pytest.raises(ConfigError, match=r"explain_slow"):
        Pool("postgresql://x@y/z", explain_slow=1.5)
