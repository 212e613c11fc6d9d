"""The indexes of orders are made once they are worth it, by whoever may, once."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest

from mailgenius.importer import Importer
from mailgenius.leads import Leads, migrate, orders
from mailgenius.pool import Pool

LEADS = "email,score\n" + "".join(f"p{number}@example.com,{number % 100}\n" for number in range(200))


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(orders, "ENOUGH", 150)


def indexes(pool):
    return {name for (name,) in pool.fetch("select indexname::text from pg_indexes where tablename = 'leads'")}


def test_an_import_makes_them(pool):
    assert not indexes(pool) & set(orders.INDEXES)
    Importer(pool).run(LEADS[:1500].encode(), workspace="acme")
    assert not indexes(pool) & set(orders.INDEXES)  # too few leads
    Importer(pool).run(LEADS.encode(), workspace="acme")
    assert indexes(pool) >= set(orders.INDEXES)
    page = Leads(pool).page("acme", order="score", descending=True, limit=2)
    assert [lead.score for lead in page.leads] == [99, 99]


def test_migrate_makes_what_is_missing(pool):
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email) select 1, n || '@x.org' from generate_series(1, 150) n"
    )
    assert not indexes(pool) & set(orders.INDEXES)
    assert migrate(pool) == []
    assert indexes(pool) >= set(orders.INDEXES)
    pool.execute("drop index mailgenius.leads_score")
    migrate(pool)
    assert "leads_score" in indexes(pool)


def test_several_at_once(pool):
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email) select 1, n || '@x.org' from generate_series(1, 150) n"
    )
    failures = []

    def ensure():
        try:
            orders.ensure_orders(pool)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=ensure) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert indexes(pool) >= set(orders.INDEXES)


def test_with_one_connection(database, pool):
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email) select 1, n || '@x.org' from generate_series(1, 150) n"
    )
    with Pool(database, min_size=1, max_size=1) as narrow:
        orders.ensure_orders(narrow)
    assert indexes(pool) >= set(orders.INDEXES)


def test_what_another_session_makes_is_waited_for(pool):
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email) select 1, n || '@x.org' from generate_series(1, 150) n"
    )
    ensure = threading.Thread(target=orders.ensure_orders, args=(pool,))
    with pool.transaction() as other:
        other.execute("select pg_advisory_xact_lock(%s)", (orders.LOCK + 1,))
        other.execute(f"create index leads_score on mailgenius.leads {orders.INDEXES['leads_score']}".encode())
        ensure.start()
        deadline = time.monotonic() + 30
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while other.execute(waiting).fetchone() == (0,):
            assert time.monotonic() < deadline, "nobody waits"
        assert ensure.is_alive()
    ensure.join()
    assert indexes(pool) >= set(orders.INDEXES)


def test_who_may_not_make_them_goes_on_without(database, pool):
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email) select 1, n || '@x.org' from generate_series(1, 150) n"
    )
    pool.execute("do $$ begin create role mg_guest; exception when duplicate_object then end $$")
    pool.execute("grant usage on schema mailgenius to mg_guest")
    pool.execute("grant select on all tables in schema mailgenius to mg_guest")
    with psycopg.connect(database, autocommit=True) as guest:
        guest.execute("set role mg_guest")
        orders.make_orders(guest)
    assert not indexes(pool) & set(orders.INDEXES)
