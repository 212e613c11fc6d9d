"""The pool: lazy, careful with secrets, clear when the database is away."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from mailgenius.errors import ConfigError, DatabaseUnavailable
from mailgenius.pool import Pool
from mailgenius.servers import postgres


def test_fetching(pool):
    assert pool.fetch("select n, n * 2 from generate_series(1, %s) n", (2,)) == [(1, 2), (2, 4)]
    assert pool.fetch_one("select 1 where false") is None
    assert pool.fetch_value("select %(a)s::int", {"a": 7}) == 7
    assert pool.fetch_value("select 1 where false") is None
    assert pool.execute("create table t (n int)") == -1
    assert pool.execute("insert into t select generate_series(1, 3)") == 3
    assert pool.stats()["requests_num"] >= 6


def test_transactions(pool):
    pool.execute("create table t (n int)")
    with pool.transaction() as connection:
        connection.execute("insert into t values (1)")
    with pytest.raises(psycopg.errors.DivisionByZero), pool.transaction() as connection:
        connection.execute("insert into t select 1 / (2 - n) from generate_series(1, 2) n")
    assert pool.fetch("select * from t") == [(1,)]


def test_errors_of_sql_are_the_drivers(pool):
    with pytest.raises(psycopg.errors.UndefinedTable):
        pool.fetch("select * from nowhere")
    assert pool.fetch_value("select 1") == 1


def test_nothing_connects_before_the_first_use():
    with Pool("postgresql://someone:secret@127.0.0.1:1/nothing") as pool:
        assert pool.stats() == {}


@pytest.mark.parametrize(
    "scheme", ["postgresql://someone:s3cr%40t@127.0.0.1:1/x", "host=127.0.0.1 port=1 user=someone password=s3cr@t"]
)
def test_unreachable_says_where_but_not_the_password(scheme):
    pool = Pool(scheme)
    started = time.monotonic()
    with pytest.raises(DatabaseUnavailable, match=r"127\.0\.0\.1:1.* as someone") as caught:
        pool.fetch("select 1")
    assert time.monotonic() - started < 5
    assert "s3cr" not in str(caught.value) + repr(caught.value.__cause__) + repr(pool)


def test_wrong_password_is_told_at_once(database):
    pool = Pool(make_conninfo(database, password="wrong-one"))
    with pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught:
        pool.fetch("select 1")
    assert "wrong-one" not in str(caught.value)


@pytest.mark.parametrize("bad", ["postgresql://u:s3cret%zz@h/d", "nonsense://u:s3cret@h/d", "password=s3cret nonsense"])
def test_malformed_conninfo(bad):
    with pytest.raises(ConfigError, match=r"^\$\.database_url") as caught:
        Pool(bad)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_all_busy(database):
    with (
        Pool(database, max_size=1, timeout=0.1) as pool,
        pool.connection(),
        pytest.raises(DatabaseUnavailable, match=r"at most 1 .*max_size"),
    ):
        pool.fetch("select 1")


def test_closed(pool):
    pool.fetch("select 1")
    pool.close()
    pool.close()
    with pytest.raises(DatabaseUnavailable, match="closed"):
        pool.fetch("select 1")


def test_a_connection_comes_back_in_autocommit(database):
    with Pool(database, max_size=1) as pool:
        with pool.connection() as connection:
            connection.autocommit = False
            connection.execute("create table t (n int)")
        with pool.connection() as connection:
            assert connection.autocommit
            assert connection.execute("select to_regclass('t')").fetchone() == (None,)


def test_idle_connections_cut_by_the_server_are_replaced(database):
    with Pool(database, min_size=3, max_size=3) as pool:
        with pool.connection(), pool.connection(), pool.connection():
            pass
        with psycopg.connect(database, autocommit=True) as other:
            other.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
            )
        for _ in range(6):
            assert pool.fetch_value("select 1") == 1


def test_cut_while_in_use(pool):
    with pytest.raises(DatabaseUnavailable, match="was lost"):
        pool.fetch("select pg_terminate_backend(pg_backend_pid())")
    assert pool.fetch_value("select 1") == 1


def test_server_restart(fast_path):
    with postgres(fast_path / "restarted") as server, Pool(server.dsn) as pool:
        assert pool.fetch_value("select 1") == 1
        server.kill()
        started = time.monotonic()
        with contextlib.suppress(DatabaseUnavailable):
            while True:  # the server's children outlive it for a moment, and still answer
                pool.fetch_value("select 1")
        for _ in range(3):
            with pytest.raises(DatabaseUnavailable):
                pool.fetch_value("select 1")
        server.restart()
        assert pool.fetch_value("select 1") == 1
        assert time.monotonic() - started < 15


def test_a_forked_child_connects_anew(database):
    code = """
import os, sys
from mailgenius.pool import Pool
with Pool(sys.argv[1], min_size=2) as pool:
    mine = pool.fetch_value("select pg_backend_pid()")
    if (child := os.fork()) == 0:
        theirs = pool.fetch_value("select pg_backend_pid()")
        pool.close()
        os._exit(0 if theirs != mine else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert pool.fetch_value("select 1") == 1
"""
    subprocess.run([sys.executable, "-c", code, database], check=True, timeout=60)


def test_importing_connects_to_nothing_and_loads_little():
    code = "import sys, mailgenius; print('psycopg' in sys.modules, 'psycopg_pool' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_application_name(database):
    with Pool(database, application_name="mine") as pool:
        assert pool.fetch_value("select application_name from pg_stat_activity where pid = pg_backend_pid()") == "mine"
    assert "application_name" not in conninfo_to_dict(database)
