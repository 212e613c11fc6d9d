"""Migrations: complete or not at all, once, by many at once, and never over something newer or edited."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import date

import psycopg
import pytest

from mailgenius.errors import SchemaError
from mailgenius.leads import check_schema, migrate, migration_status, migrations
from mailgenius.pool import Pool


@pytest.fixture
def empty_pool(empty_database):
    with Pool(empty_database) as pool:
        yield pool


def test_numbers_have_no_gap():
    assert [migration.number for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_first_run_applies_all_and_the_second_nothing(empty_pool):
    with pytest.raises(SchemaError, match=r"is missing.*mailgenius migrate"):
        check_schema(empty_pool)
    assert [status.applied_at for status in migration_status(empty_pool)] == [None] * len(migrations())
    assert migrate(empty_pool) == list(migrations())
    assert migrate(empty_pool) == []
    check_schema(empty_pool)
    assert all(status.applied_at is not None for status in migration_status(empty_pool))


def test_a_plain_connection_serves_too(empty_database):
    with psycopg.connect(empty_database, autocommit=True) as connection:
        assert migrate(connection) == list(migrations())
        assert migrate(connection) == []


def test_two_processes_at_once(empty_database):
    code = (
        "import sys, psycopg; from mailgenius.leads import migrate;"
        "c = psycopg.connect(sys.argv[1], autocommit=True); sys.stdin.readline(); print(len(migrate(c)))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, empty_database], stdin=-1, stdout=-1, text=True) for _ in range(3)
    ]
    outputs = []
    threads = [
        threading.Thread(target=lambda p=process: outputs.append(p.communicate("go\n", timeout=60)[0]))
        for process in processes
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(int, outputs)) == [0, 0, len(migrations())]


def test_newer_schema_is_refused(pool):
    pool.execute("insert into mailgenius.schema_migrations (number, name, checksum) values (9999, 'future', 'x')")
    for action in (migrate, migration_status, check_schema):
        with pytest.raises(SchemaError, match=r"newer than this version.*9999 future"):
            action(pool)


def test_edited_migration_is_refused(pool):
    pool.execute("update mailgenius.schema_migrations set checksum = 'other' where number = 1")
    with pytest.raises(SchemaError, match="0001 core was applied with other content"):
        migrate(pool)


def test_a_failing_migration_leaves_nothing(empty_pool):
    empty_pool.execute("create schema mailgenius")
    empty_pool.execute("create table mailgenius.campaigns (theirs int)")
    with pytest.raises(SchemaError, match="0002 sending failed, nothing was changed"):
        migrate(empty_pool)
    assert empty_pool.fetch_value("select to_regclass('mailgenius.leads')") is None
    assert empty_pool.fetch_value("select to_regclass('mailgenius.schema_migrations')") is None


def test_without_the_right_to_create(empty_pool, empty_database):
    empty_pool.execute(
        "do $$ begin create role mg_reader login password 'x'; exception when duplicate_object then end $$"
    )
    poor = psycopg.conninfo.make_conninfo(empty_database, user="mg_reader", password="x")
    with Pool(poor) as pool, pytest.raises(SchemaError, match="GRANT CREATE ON DATABASE"):
        migrate(pool)


def test_months(pool):
    insert = (
        "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email, created_at)"
        " values (1, 1, 1, 'a@x.org', %s)"
    )
    pool.execute(insert, (date(2031, 2, 3),))
    assert pool.fetch_value("select count(*) from mailgenius.email_sends_default") == 1
    assert pool.fetch_value("select mailgenius.create_month('email_sends', '2031-02-28')") is True
    assert pool.fetch_value("select mailgenius.create_month('email_sends', '2031-02-01')") is False
    assert pool.fetch_value("select count(*) from mailgenius.email_sends_default") == 0
    pool.execute(insert, (date(2031, 2, 28),))
    assert pool.fetch_value("select count(*) from mailgenius.email_sends_2031_02") == 2
    assert pool.fetch_value("select mailgenius.create_month('lead_activities', '2031-12-31')") is True
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        pool.fetch("select mailgenius.create_month('leads', '2031-01-01')")
