"""The pool: lazy, careful with secrets, safe to fork. (test_pool_async.py: what it promises in both worlds.)"""

from __future__ import annotations

import subprocess
import sys
import time

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from mailgenius.errors import ConfigError, DatabaseUnavailable
from mailgenius.pool import Pool


def test_nothing_connects_before_the_first_use():
    with Pool("postgresql://someone:secret@127.0.0.1:1/nothing") as pool:
        assert pool.stats()["shared_size"] == 0


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


@pytest.mark.parametrize("bad", ["postgresql://u:s3cret%zz@h/d", "nonsense://u:s3cret@h/d", "password=s3cret nonsense"])
def test_malformed_conninfo(bad):
    with pytest.raises(ConfigError, match=r"^\$\.database_url") as caught:
        Pool(bad)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__suppress_context__


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
