"""Reads on standbys, writes on the primary, in both worlds: this file is for asyncio, its twin for threads."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mailgenius.app import open_async
from mailgenius.errors import DatabaseUnavailable
from mailgenius.pool import AsyncPool
from mailgenius.rt import aio as rt
from mailgenius.servers import PostgresServer
from tests.standby import caught_up, copy, primary, promote, standby

pytestmark = pytest.mark.timeout(60)
WHO = "select pg_is_in_recovery()"


@pytest.fixture(scope="module")
def pair(fast_path: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its standby, both of which stay what they are."""
    with tempfile.TemporaryDirectory(dir=fast_path, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with primary(Path(name, "a")) as one, standby(Path(name, "b"), one.dsn) as other:
            yield one, other


@pytest.fixture
def fallible(place: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Another two, to be killed and promoted."""
    with primary(place / "a") as one, standby(place / "b", one.dsn) as other:
        yield one, other


def fresh_table(one: PostgresServer, other: PostgresServer) -> None:
    with psycopg.connect(one.dsn, autocommit=True) as direct:
        direct.execute("drop table if exists t; drop sequence if exists s; create table t (n int4); create sequence s")
    caught_up(one, other)


async def until(what: Callable[[], rt.Awaits[Any]], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < deadline


async def reads_on(pool: AsyncPool, is_replica: bool) -> None:
    async def there() -> bool:
        return await pool.fetch_value(WHO) is is_replica

    await until(there)


async def test_reads_go_to_the_replica_and_writes_to_the_primary(pair: tuple[PostgresServer, PostgresServer]) -> None:
    fresh_table(*pair)
    async with AsyncPool(pair[0].dsn, replicas=[pair[1].dsn]) as pool:
        assert [node.role for node in pool.nodes()] == ["primary", "replica"]
        await reads_on(pool, True)
        assert await pool.execute("insert into t values (1)") == 1
        async with pool.transaction() as connection:
            cursor = await connection.execute(WHO)
            assert await cursor.fetchone() == (False,)
        # What looks like a read and is none finds its way; only once by way of the replica.
        for n in range(3):
            assert await pool.fetch_value("select nextval('s')") == n + 1
            assert await pool.fetch("insert into t values (2) returning n") == [(2,)]
            assert await pool.fetch("select n from t where n = 1 for update") == [(1,)]
        with pytest.raises(psycopg.errors.DivisionByZero):
            await pool.fetch("select 1 / 0")
        with pytest.raises(psycopg.errors.UndefinedTable):
            await pool.fetch("select * from nowhere")
        assert await pool.fetch("select %(n)s::int4 as n", {"n": 5}, as_=dict) == [{"n": 5}]
        first, second = pool.nodes()
        assert (first.up, first.lag, first.reads) == (True, 0.0, 0)
        assert second.up
        assert second.lag is not None
        assert second.lag < 1.0
        assert second.reads == pool.stats()["replica_reads"] > 0
        password = str(conninfo_to_dict(pair[0].dsn)["password"])
        assert password not in repr(pool.nodes()) + repr(pool) + repr(pool.settings)
    assert pool.stats()["replicas_up"] == 0


async def test_a_replica_that_is_behind_is_not_read(pair: tuple[PostgresServer, PostgresServer]) -> None:
    fresh_table(*pair)
    with psycopg.connect(pair[1].dsn, autocommit=True) as direct:
        async with AsyncPool(pair[0].dsn, replicas=[pair[1].dsn], replica_lag=0.2) as pool:
            await reads_on(pool, True)
            direct.execute("select pg_wal_replay_pause()")
            try:
                await pool.execute("insert into t values (1)")
                written = time.monotonic()
                await reads_on(pool, False)
                assert await pool.fetch("select * from t") == [(1,)]
                assert time.monotonic() - written < 5
                assert pool.nodes()[1].up
                while time.monotonic() < written + 0.3:
                    assert time.monotonic() < written + 0.2 or await pool.fetch("select * from t") == [(1,)]
            finally:
                direct.execute("select pg_wal_replay_resume()")
            await reads_on(pool, True)  # by itself
            assert await pool.fetch("select * from t") == [(1,)]


async def test_replicas_take_turns(database: str) -> None:
    async with AsyncPool(database, replicas=[database, database]) as pool:

        async def both() -> bool:
            await pool.fetch("select 1")
            return pool.stats()["replicas_up"] == 2

        await until(both)
        before = [node.reads for node in pool.nodes()]
        for _ in range(100):
            await pool.fetch("select 1")
        none, first, second = (node.reads - then for node, then in zip(pool.nodes(), before, strict=True))
        assert none == 0
        assert first + second == 100
        assert min(first, second) > 25


async def test_an_idle_primary_does_not_make_its_replica_old(pair: tuple[PostgresServer, PostgresServer]) -> None:
    with psycopg.connect(pair[0].dsn, autocommit=True) as direct:
        direct.execute("select pg_switch_wal()")  # the log ends at the beginning of an empty page
    caught_up(*pair)
    async with AsyncPool(pair[0].dsn, replicas=[pair[1].dsn], replica_lag=0.5) as pool:
        await reads_on(pool, True)
        began = time.monotonic()
        while time.monotonic() < began + 1.0:
            lag = pool.nodes()[1].lag
            assert lag is not None
            assert lag < 0.5
            await pool.fetch("select 1")


async def test_a_block_sees_its_own_writes(pair: tuple[PostgresServer, PostgresServer]) -> None:
    fresh_table(*pair)
    with psycopg.connect(pair[1].dsn, autocommit=True) as direct:
        async with AsyncPool(pair[0].dsn, replicas=[pair[1].dsn], replica_lag=600) as pool:
            pool._replicas._interval = 0.02  # type: ignore[union-attr]
            await reads_on(pool, True)
            direct.execute("select pg_wal_replay_pause()")
            try:
                with pool.read_your_writes():
                    assert await pool.fetch_value(WHO) is True  # nothing was written yet
                    await pool.execute("insert into t values (1)")
                    assert await pool.fetch("select * from t") == [(1,)]
                    assert await pool.fetch("select * from t") == [(1,)]
                    async with pool.connection() as connection:
                        await connection.execute("insert into t values (2)")
                        assert await pool.fetch_value("select count(*) from t") == 2
                    assert await pool.fetch_value("select count(*) from t") == 2
                assert await pool.fetch("select * from t") == []  # old, as the bound allows
                with pool.read_from_primary():
                    assert await pool.fetch_value("select count(*) from t") == 2
            finally:
                direct.execute("select pg_wal_replay_resume()")
            with pool.read_your_writes():
                for n in range(3, 100):
                    await pool.execute("insert into t values (%s)", (n,))
                    assert await pool.fetch_value("select max(n) from t") == n
                await reads_on(pool, True)  # once it has replayed the last one
                assert await pool.fetch_value("select max(n) from t") == 99


async def test_leads_are_read_on_replicas(pair: tuple[PostgresServer, PostgresServer]) -> None:
    url, replicas = pair[0].dsn, [pair[1].dsn]
    async with open_async(url, pool={"replicas": replicas}, migrate=True) as mg:
        await reads_on(mg.pool, True)
        for n in range(3):
            with mg.pool.read_your_writes():
                await mg.leads.upsert(f"acme{n}", [{"email": f"a{k}@example.com"} for k in range(5)])
                assert await mg.leads.count(f"acme{n}") == 5
        await mg.leads.ensure_workspace("new")
        assert await mg.leads.count("new") == 0  # it is there at once
        with mg.pool.read_your_writes():
            rows = b"email\n" + b"".join(b"n%d@example.com\n" % n for n in range(50))
            report = await mg.importer.run(rows, workspace="new")
            assert report.inserted == await mg.leads.count("new") == 50
        assert (await mg.importer.imports("new"))[0].import_id == report.import_id
        before = mg.pool.stats()["replica_reads"]
        await reads_on(mg.pool, True)
        assert await mg.leads.count("acme0") == 5
        assert mg.pool.stats()["replica_reads"] > before


async def test_a_replica_of_something_else_is_not_read(
    pair: tuple[PostgresServer, PostgresServer], postgres_server: PostgresServer
) -> None:
    async with AsyncPool(pair[0].dsn, replicas=[postgres_server.dsn]) as pool:

        async def known() -> bool:
            await pool.fetch("select 1")
            return "another cluster" in (pool.nodes()[1].error or "")

        await until(known)
        assert await pool.fetch_value("select count(*) from pg_database where datname = 'nowhere'") == 0
        assert pool.stats()["replica_reads"] == 0


async def test_a_replica_goes_and_comes_back(fallible: tuple[PostgresServer, PostgresServer]) -> None:
    one, other = fallible
    async with AsyncPool(one.dsn, replicas=[other.dsn]) as pool:
        await reads_on(pool, True)
        other.kill()
        longest = 0.0
        for n in range(200):
            began = time.monotonic()
            assert await pool.fetch_value("select %s::int4", (n,)) == n
            longest = max(longest, time.monotonic() - began)
        assert longest < 1.0
        await reads_on(pool, False)  # its processes outlive their parent by a moment

        async def down() -> bool:
            await pool.fetch("select 1")
            return not pool.nodes()[1].up

        await until(down)
        assert pool.nodes()[1].error
        other.restart()
        await reads_on(pool, True)
        assert pool.nodes()[1].error is None


async def test_another_primary_is_found(fallible: tuple[PostgresServer, PostgresServer]) -> None:
    one, other = fallible
    fresh_table(one, other)
    async with AsyncPool(one.dsn, replicas=[other.dsn]) as pool:
        await pool.execute("insert into t values (1)")
        await reads_on(pool, True)
        caught_up(one, other)
        port = one.port
        one.kill()
        with pytest.raises(DatabaseUnavailable):
            await pool.execute("insert into t values (2)")
        promote(other)

        async def written() -> bool:
            try:
                return await pool.execute("insert into t values (3)") == 1
            except DatabaseUnavailable:
                return False

        await until(written)
        assert await pool.fetch("select n from t order by n") == [(1,), (3,)]
        assert [node.role for node in pool.nodes()] == ["replica", "primary"]
        assert f"port={other.port}" in pool.conninfo
        copy(one.data_dir, other.dsn)  # what was the primary follows now, at its old address
        one.restart()
        assert one.port == port
        await reads_on(pool, True)
        with pool.read_your_writes():
            await pool.execute("insert into t values (4)")
            assert await pool.fetch("select max(n) from t") == [(4,)]


@pytest.mark.parametrize("listed", [True, False])
async def test_a_primary_that_refuses_writes_is_left(
    fallible: tuple[PostgresServer, PostgresServer], listed: bool
) -> None:
    """A fenced primary keeps its connections. ``listed``: as a replica; else as a second host of the primary."""
    one, other = fallible
    fresh_table(one, other)
    more: dict[str, Any] = {"replicas": [other.dsn]} if listed else {}
    dsn = one.dsn if listed else make_conninfo(one.dsn, host="127.0.0.1,127.0.0.1", port=f"{one.port},{other.port}")
    async with AsyncPool(dsn, **more) as pool:
        await pool.execute("insert into t values (1)")
        assert await pool.fetch("select count(*) from t") == [(1,)]
        caught_up(one, other)
        with psycopg.connect(one.dsn, autocommit=True) as direct:
            direct.execute("alter system set default_transaction_read_only = on")
            direct.execute("select pg_reload_conf()")
            while direct.execute("show default_transaction_read_only").fetchone() != ("on",):
                pass
        promote(other)
        assert await pool.execute("insert into t values (2)") == 1  # refused there, so repeated here
        async with pool.transaction() as connection:
            await connection.execute("insert into t values (3)")
        with pool.read_from_primary():
            assert await pool.fetch("select n from t order by n") == [(1,), (2,), (3,)]
        async with pool.transaction() as connection:
            await connection.execute("set transaction read only")
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):  # asked for: that is another matter
                await connection.execute("insert into t values (4)")
