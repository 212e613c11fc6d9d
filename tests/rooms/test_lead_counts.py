"""The kept counters equal a recount: after every kind of statement, in every snapshot, whoever writes, folds or dies."""

from __future__ import annotations

import random
import threading
from datetime import date

import psycopg
import pytest

from mailgenius.config import ImporterSettings
from mailgenius.importer import Importer
from mailgenius.leads import migrate, migrations, schema
from mailgenius.leads.sql import query
from mailgenius.pool import Pool
from tests.rooms.crashes import crash_while_writing, wait_until

TINY = ImporterSettings(threads=2, block_bytes=16 << 10, run_bytes=64 << 10, spill_bytes=0, chunk_rows=300)
STATUSES = ("active", "unsubscribed", "bounced", "complained", "pending")
COUNTS = ("lead_counts", "lead_days")

# Both sides in one statement, so in one snapshot: it may be asked at any time, whatever others are doing.
DIFFERENCES = """
with truth as (
    select workspace_id, status collate "C" as key, count(*) as n from mailgenius.leads group by 1, 2
    union all
    select workspace_id, ((created_at at time zone 'UTC')::date)::text collate "C", count(*)
    from mailgenius.leads group by 1, 2
), kept as (
    select workspace_id, status as key, sum(n)::int8 as n from mailgenius.lead_counts group by 1, 2 having sum(n) <> 0
    union all
    select workspace_id, day::text collate "C", sum(n)::int8
    from mailgenius.lead_day_counts group by 1, 2 having sum(n) <> 0
)
(select 'true' as which, * from (table truth except table kept) t)
union all
(select 'kept', * from (table kept except table truth) k)
order by 2, 3, 1
"""


def differences(conn):
    return conn.execute(DIFFERENCES).fetchall()


def size(conn, table="lead_counts"):
    return conn.execute(f"select count(*) from mailgenius.{table}").fetchone()[0]


@pytest.fixture
def conn(database):
    with psycopg.connect(database, autocommit=True) as made:
        yield made


@pytest.fixture
def seeded(conn):
    """Two workspaces, all statuses, days on both sides of 1970 and 2000, more of them than one statement brings."""
    for workspace in (1, 2):
        conn.execute(
            "insert into mailgenius.leads (workspace_id, email, status, created_at)"
            " select %s, 'u' || i || '@x.org', (%s::text[])[1 + i %% 5],"
            " '1969-12-30 23:59:59.999999+00'::timestamptz + i * interval '53 days 7 hours' from generate_series(1, 400) i",
            (workspace, list(STATUSES)),
        )
    assert differences(conn) == []
    return conn


EVERY_KIND = {
    "insert": "insert into mailgenius.leads (workspace_id, email) values (1, 'new@x.org'), (3, 'new@x.org')",
    "insert nothing": "insert into mailgenius.leads (workspace_id, email) select 1, 'x' where false",
    "do nothing": "insert into mailgenius.leads (workspace_id, email) values (1, 'u1@x.org'), (1, 'new@x.org')"
    " on conflict (workspace_id, email) do nothing",
    "do nothing at all": "insert into mailgenius.leads (workspace_id, email) values (1, 'u1@x.org')"
    " on conflict (workspace_id, email) do nothing",
    "do update": "insert into mailgenius.leads (workspace_id, email, status)"
    " select 1, 'u' || i || '@x.org', 'bounced' from generate_series(390, 410) i"
    " on conflict (workspace_id, email) do update set status = excluded.status, created_at = excluded.created_at",
    "status of one": "update mailgenius.leads set status = 'complained' where workspace_id = 1 and email = 'u1@x.org'",
    "status of all": "update mailgenius.leads set status = 'pending'",
    "other columns": "update mailgenius.leads set score = score + 1",
    "day of all": "update mailgenius.leads set created_at = created_at + interval '30 hours'",
    "hour of all": "update mailgenius.leads set created_at = date_trunc('day', created_at, 'UTC')",
    "forever": "update mailgenius.leads set created_at = case when id % 2 = 0 then 'infinity' else '-infinity' end"
    "::timestamptz where id < 20",
    "before Christ": "update mailgenius.leads set created_at = '0044-03-15 12:00:00+00 BC' where id < 20",
    "swap": "update mailgenius.leads set status = case status when 'active' then 'bounced' else 'active' end"
    " where status in ('active', 'bounced')",
    "move": "update mailgenius.leads set workspace_id = 3 where workspace_id = 2 and id % 3 = 0",
    "move and change": "update mailgenius.leads set workspace_id = 3, status = 'bounced', created_at = now()"
    " where workspace_id = 2",
    "delete some": "delete from mailgenius.leads where id % 3 = 0",
    "delete all": "delete from mailgenius.leads",
    "merge": "merge into mailgenius.leads l using (select generate_series(350, 450) as i) s"
    " on l.workspace_id = 1 and l.email = 'u' || s.i || '@x.org'"
    " when matched and s.i % 2 = 0 then delete"
    " when matched then update set status = 'bounced'"
    " when not matched then insert (workspace_id, email) values (1, 'u' || s.i || '@x.org')",
    "several in one": "with gone as (delete from mailgenius.leads where workspace_id = 1 and id % 2 = 0 returning *),"
    " changed as (update mailgenius.leads set status = 'pending' where workspace_id = 2 returning *)"
    " insert into mailgenius.leads (workspace_id, email, status) select 4, email, status from gone",
    "truncate": "truncate mailgenius.leads",
    "truncate cascade": "truncate mailgenius.workspaces, mailgenius.leads cascade",
    "truncate, insert": "truncate mailgenius.leads;"
    " insert into mailgenius.leads (workspace_id, email) values (1, 'a@x.org')",
    "fold": "select mailgenius.fold_lead_counts(1)",
    "recount": "select mailgenius.recount_leads()",
}


@pytest.mark.parametrize("statement", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_kind_of_statement(seeded, statement):
    before = seeded.execute(query("lead_counts"), {"workspace": 2}).fetchall()
    for end in ("rollback", "savepoint", "commit"):
        with seeded.transaction(force_rollback=end == "rollback"):
            with seeded.transaction(force_rollback=end == "savepoint"):
                seeded.execute(statement)
                assert differences(seeded) == []  # within the transaction too
            assert differences(seeded) == []
        assert differences(seeded) == []
        if end != "commit":
            assert seeded.execute(query("lead_counts"), {"workspace": 2}).fetchall() == before
    seeded.execute("select mailgenius.fold_lead_counts(w) from generate_series(1, 4) w")
    assert differences(seeded) == []


def test_an_update_of_other_columns_leaves_nothing_behind(seeded):
    before = [seeded.execute(f"select * from mailgenius.{table} order by id").fetchall() for table in COUNTS]
    seeded.execute("update mailgenius.leads set score = score + 1, updated_at = now(), tags = '{x}'")
    assert [seeded.execute(f"select * from mailgenius.{t} order by id").fetchall() for t in COUNTS] == before


def test_readers_by_pool(pool):
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email, status, created_at) values"
        " (1, 'a', 'active', '2026-01-31 23:59:59.999999+00'), (1, 'b', 'active', '2026-02-01 00:00+00'),"
        " (1, 'c', 'bounced', '2026-02-01 00:30+01'), (1, 'd', 'pending', '2026-02-03 00:00+00'), (2, 'a', 'active', now())"
    )
    pool.execute("update mailgenius.leads set status = 'active' where email = 'd'")
    assert pool.fetch(query("lead_counts"), {"workspace": 1}) == [("active", 3), ("bounced", 1)]
    assert pool.fetch(query("lead_counts"), {"workspace": 9}) == []
    january, february, third = date(2026, 1, 31), date(2026, 2, 1), date(2026, 2, 3)
    for since, until, found in [
        (None, None, [(january, 2), (february, 1), (third, 1)]),
        (february, None, [(february, 1), (third, 1)]),
        (None, february, [(january, 2), (february, 1)]),
        (february, february, [(february, 1)]),
        (third, january, []),
    ]:
        assert pool.fetch(query("lead_days"), {"workspace": 1, "since": since, "until": until}) == found


def test_a_day_is_a_day_in_utc_wherever_the_writer_lives(conn):
    for zone in ("Pacific/Kiritimati", "America/Sao_Paulo", "Asia/Kathmandu"):
        conn.execute(f"set timezone = '{zone}'")
        conn.execute(
            "insert into mailgenius.leads (workspace_id, email, created_at)"
            " select 1, %s || i, '2018-02-17 00:00+00'::timestamptz + i * interval '30 minutes'"
            " from generate_series(0, 100) i",
            (zone,),
        )
        assert differences(conn) == []


def test_reading_needs_no_right_to_write(database, seeded):
    with psycopg.connect(database, options="-c default_transaction_read_only=on") as reader:
        assert len(reader.execute(query("lead_counts"), {"workspace": 1}).fetchall()) == 5
        every = {"workspace": 1, "since": None, "until": None}
        assert len(reader.execute(query("lead_days"), every).fetchall()) == 400


def test_writing_leads_needs_no_right_to_write_counters(seeded):
    seeded.execute("do $$ begin create role mg_writer; exception when duplicate_object then end $$")
    seeded.execute("grant usage on schema mailgenius to mg_writer")
    seeded.execute("grant select, insert, update, delete, truncate on mailgenius.leads to mg_writer")
    seeded.execute("set role mg_writer")
    for kind in ("insert", "status of all", "delete some", "truncate, insert"):
        seeded.execute(EVERY_KIND[kind])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seeded.execute("update mailgenius.lead_counts set n = n + 1")
    seeded.execute("reset role")
    assert differences(seeded) == []


# -- imports -------------------------------------------------------------------------------------------------------------


def csv(numbers, status, day):
    return (
        "email,status,signup date\n"
        + "".join(f"user{i}@example.com,{status},{day + i % 20:04}-03-01\n" for i in numbers)
    ).encode()


def test_imports_and_their_undo(pool, conn):
    importer = Importer(pool, TINY)
    first = importer.run(csv(range(3000), "active", 1990), workspace="acme")
    assert first.inserted == 3000
    assert differences(conn) == []
    importer.run(csv(range(2000, 4000), "bounced", 2000), workspace="acme", on_existing="skip")
    assert differences(conn) == []
    update = importer.run(csv(range(500, 4500), "unsubscribed", 1995), workspace="acme", on_existing="update")
    assert update.updated > 0
    assert update.inserted == 500
    assert differences(conn) == []
    importer.run(csv(range(6000, 8000), "pending", 1995), workspace="other", atomic=True)
    assert differences(conn) == []
    counts = dict(conn.execute(query("lead_counts"), {"workspace": 1}).fetchall())
    assert sum(counts.values()) == 4500
    importer.undo(update.import_id)
    assert differences(conn) == []
    importer.undo(first.import_id)
    assert differences(conn) == []


# -- at the same time ----------------------------------------------------------------------------------------------------


def test_writers_do_not_wait_for_one_another(database):
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        for conn in (one, two):
            conn.execute("set lock_timeout = '1s'")
        for turn in range(300):  # enough for several folds by each, of rows that the other one holds
            for number, conn in enumerate((one, two)):
                conn.execute("insert into mailgenius.leads (workspace_id, email) values (1, %s)", (f"{number}-{turn}",))
        one.execute("select mailgenius.fold_lead_counts(1)")
        two.execute("select mailgenius.fold_lead_counts(1)")
        assert differences(one) == []
        one.rollback()
        two.commit()
        assert differences(two) == []
        assert two.execute(query("lead_counts"), {"workspace": 1}).fetchall() == [("active", 300)]


def test_two_folders_share_the_rows(database, seeded):
    for number in range(40):
        seeded.execute("insert into mailgenius.leads (workspace_id, email) values (5, %s)", (str(number),))
    rows = seeded.execute("select count(*) from mailgenius.lead_counts where workspace_id = 5").fetchone()[0]
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        fold = "select mailgenius.fold_lead_counts(5)"
        first = one.execute(fold).fetchone()[0]
        assert first >= rows - 1
        assert two.execute(fold).fetchone()[0] == 0  # all are taken; and it did not wait
        assert differences(two) == []
        one.rollback()
        assert two.execute(fold).fetchone()[0] == first
        two.commit()
    assert differences(seeded) == []
    assert size(seeded, "lead_counts where workspace_id = 5") == 1


def test_writers_fold(conn):
    for number in range(1500):
        conn.execute("insert into mailgenius.leads (workspace_id, email) values (1, %s)", (str(number),))
    # a die of 64 sides that shows nothing for 1,000 throws: once in seven million runs
    assert size(conn) < 1000
    assert size(conn, "lead_days") < 1000
    assert differences(conn) == []


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_stricter_transactions_never_fail_for_a_counter(database, seeded, level):
    """They do not fold: two of them that took the same rows would be told to start again."""
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        for conn in (one, two):
            conn.execute(f"set transaction isolation level {level}")
            conn.execute("select 1")  # takes the snapshot; to read the tables would make a conflict of our own
        for number in range(300):
            one.execute("insert into mailgenius.leads (workspace_id, email) values (1, %s)", (f"one{number}",))
            seeded.execute("select mailgenius.fold_lead_counts(1)")
        two.execute("insert into mailgenius.leads (workspace_id, email) values (1, 'two')")
        if level == "repeatable read":
            assert differences(two) == []  # an old snapshot, of leads and of counters
        one.commit()
        two.commit()
    assert differences(seeded) == []


def churn(database, number, rounds, failures):
    """Single and bulk changes of leads that others change too; some transactions are rolled back, some are strict."""
    rng = random.Random(number)
    try:
        with psycopg.connect(database, autocommit=True) as conn:
            for _ in range(rounds):
                try:
                    with conn.transaction(force_rollback=rng.random() < 0.3):
                        if rng.random() < 0.2:
                            conn.execute("set transaction isolation level repeatable read")
                        for _ in range(rng.randrange(1, 5)):
                            change(conn, rng)
                except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                    pass  # about leads: the order in which these transactions take them is random
    except BaseException as error:
        failures.append(error)


def change(conn, rng):
    low = rng.randrange(1000)
    values = {"w": rng.randrange(1, 3), "lo": low, "hi": low + rng.choice((0, 0, 0, 100)), "s": rng.choice(STATUSES)}
    values["day"] = rng.randrange(20)
    rows = (
        "insert into mailgenius.leads (workspace_id, email, status, created_at) select %(w)s, 'c' || i, %(s)s,"
        " '2026-01-01'::timestamptz + %(day)s * interval '1 day' from generate_series(%(lo)s::int4, %(hi)s::int4) i"
        " on conflict (workspace_id, email) "
    )
    some = " where workspace_id = %(w)s and email = any (select 'c' || generate_series(%(lo)s::int4, %(hi)s::int4))"
    conn.execute(
        rng.choice(
            (
                rows + "do nothing",
                rows + "do nothing",
                rows + "do update set status = excluded.status, created_at = excluded.created_at",
                "update mailgenius.leads set status = %(s)s" + some,
                "update mailgenius.leads set score = score + 1" + some,
                "delete from mailgenius.leads" + some,
            )
        ),
        values,
    )


def test_many_writers_folders_and_readers_at_once(database, conn):
    failures = []
    writers = [threading.Thread(target=churn, args=(database, number, 120, failures)) for number in range(4)]
    done = threading.Event()

    def fold():
        try:
            with psycopg.connect(database, autocommit=True) as mine:
                while not done.is_set():
                    mine.execute("select mailgenius.fold_lead_counts(w) from generate_series(1, 2) w")
        except BaseException as error:
            failures.append(error)

    folders = [threading.Thread(target=fold) for _ in range(2)]
    for thread in (*writers, *folders):
        thread.start()
    looks = 0
    try:
        while any(thread.is_alive() for thread in writers):
            assert differences(conn) == []
            looks += 1
            if looks % 20 == 0:
                conn.execute("truncate mailgenius.leads")
            if looks % 20 == 10:
                conn.execute("select mailgenius.recount_leads()")
    finally:
        done.set()
        for thread in (*writers, *folders):
            thread.join()
    assert failures == []
    assert looks > 1
    assert differences(conn) == []


def test_two_imports_at_once(pool, conn):
    failures = []

    def load(start):
        try:
            Importer(pool, TINY).run(csv(range(start, start + 3000), "active", 1990), workspace="acme")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=load, args=(start,)) for start in (0, 2000)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert differences(conn) == []
    assert failures == []
    assert differences(conn) == []
    assert conn.execute("select sum(n) from mailgenius.lead_counts where status = 'active'").fetchone() == (5000,)


# -- crashes and repairs -------------------------------------------------------------------------------------------------


@pytest.mark.faults
def test_a_crash_leaves_leads_and_counters_that_agree(place):
    def agrees(conn):
        assert differences(conn) == []
        assert size(conn)

    crash_while_writing(place / "pg", churn, agrees, turns=3)


def test_recount_mends_what_went_past_the_triggers(seeded):
    seeded.execute("alter table mailgenius.leads disable trigger user")
    seeded.execute("delete from mailgenius.leads where id % 2 = 0")
    seeded.execute("alter table mailgenius.leads enable trigger user")
    assert differences(seeded) != []
    seeded.execute("set default_transaction_isolation = 'repeatable read'")
    with pytest.raises(psycopg.errors.InvalidTransactionState):
        seeded.execute("select mailgenius.recount_leads()")
    seeded.execute("reset default_transaction_isolation")
    seeded.execute("select mailgenius.recount_leads()")
    assert differences(seeded) == []


@pytest.mark.parametrize("level", ["read committed", "serializable"])
def test_migration_counts_what_is_there_and_what_is_being_written(empty_database, monkeypatch, level):
    known = migrations()
    monkeypatch.setattr(schema, "migrations", lambda: known[:2])
    options = f"-c default_transaction_isolation={level.replace(' ', chr(92) + ' ')}"
    with (
        psycopg.connect(empty_database, autocommit=True) as watch,
        psycopg.connect(empty_database) as writer,
        psycopg.connect(empty_database, autocommit=True, options=options) as migrating,
    ):
        migrate(watch)
        insert = "insert into mailgenius.leads (workspace_id, email) select %s, i::text from generate_series(1, 1000) i"
        watch.execute(insert, (1,))
        writer.execute(insert, (2,))
        monkeypatch.setattr(schema, "migrations", lambda: known)
        failures = []

        def work():
            try:
                migrate(migrating)
            except BaseException as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        waiting = "select count(*) from pg_locks where not granted and relation = 'mailgenius.leads'::regclass"
        wait_until(lambda: watch.execute(waiting).fetchone()[0] or failures)
        assert watch.execute("select count(*) from mailgenius.leads").fetchone() == (1000,)  # readers do not wait
        writer.commit()
        thread.join()
        assert failures == []
        watch.execute(insert, (3,))
        assert differences(watch) == []
        assert size(watch) == 3


def test_a_pool_that_fetches_them_sees_its_own_writes(database):
    with Pool(database, max_size=2) as pool:
        for number in range(20):
            pool.execute("insert into mailgenius.leads (workspace_id, email) values (1, %s)", (str(number),))
            assert pool.fetch(query("lead_counts"), {"workspace": 1}) == [("active", number + 1)]
