"""The counters of campaigns equal a recount: after every kind of statement, in every snapshot, whoever writes or dies."""

from __future__ import annotations

import contextlib
import random
import threading

import psycopg
import pytest

from tests.rooms.crashes import crash_while_writing, wait_until

STATUSES = ("queued", "sent", "delivered", "bounced", "complained", "failed")
ERRORS = (None, "550 5.1.1 no such user", "4.2.2 mailbox full", "odd")
KINDS = ("open", "click", "unsubscribe", "note")
EVERY_NINE_HOURS = (
    " '2025-12-30 23:59:59.999999+00'::timestamptz + i * interval '9 hours 21 minutes' from generate_series(1, 200) i"
)
COUNTED = "campaign_id is not null and kind in ('open', 'click', 'unsubscribe')"

# Both sides in one statement, so in one snapshot.
DIFFERENCES = f"""
with events as (
    select workspace_id, campaign_id,
           case when status <> 'bounced' then status when left(error, 1) = '5' then 'bounced_hard'
                when left(error, 1) = '4' then 'bounced_soft' else 'bounced' end as kind,
           date_trunc('hour', created_at at time zone 'UTC') as hour, null::int8 as lead_id
    from mailgenius.email_sends
    union all
    select workspace_id, campaign_id, kind, date_trunc('hour', created_at at time zone 'UTC'), lead_id
    from mailgenius.lead_activities where {COUNTED}
), truth as (
    select 'total' as which, workspace_id, campaign_id, kind, null::timestamp as hour, count(*)::int8 as n
    from events group by 2, 3, 4
    union all
    select 'total', workspace_id, campaign_id, kind || '_unique', null, count(distinct lead_id)
    from events where lead_id is not null group by 2, 3, 4
    union all
    select 'hour', workspace_id, campaign_id, kind, hour, count(*) from events where isfinite(hour) group by 2, 3, 4, 5
    union all
    select 'day', workspace_id, campaign_id, kind, date_trunc('day', hour), count(*)
    from events where isfinite(hour) group by 2, 3, 4, 5
    union all
    select 'response ' || lead_id, workspace_id, campaign_id, kind, null, count(*)
    from events where lead_id is not null group by lead_id, 2, 3, 4
), kept as (
    select 'total' as which, workspace_id, campaign_id, kind, null::timestamp as hour, sum(n)::int8 as n
    from mailgenius.campaign_counts group by 2, 3, 4 having sum(n) <> 0
    union all
    select 'hour', workspace_id, campaign_id, kind, day + make_interval(hours => hour), sum(u.n)::int8
    from mailgenius.campaign_hours h, unnest(h.hours, h.ns) as u (hour, n)
    where isfinite(day) group by 2, 3, 4, 5 having sum(u.n) <> 0
    union all
    select 'day', workspace_id, campaign_id, kind, day::timestamp, sum(n)::int8
    from mailgenius.campaign_hours where isfinite(day) group by 2, 3, 4, 5 having sum(n) <> 0
    union all
    select 'response ' || lead_id, workspace_id, campaign_id, kind, null, n
    from mailgenius.campaign_leads, lateral (values ('open', opens), ('click', clicks), ('unsubscribe', unsubscribes))
        as one (kind, n)
    where n <> 0
    union all
    select 'empty ' || lead_id, workspace_id, campaign_id, null, null, 0
    from mailgenius.campaign_leads where opens = 0 and clicks = 0 and unsubscribes = 0
)
(select 'true' as side, * from (table truth except table kept) t)
union all
(select 'kept', * from (table kept except table truth) k)
order by 2, 3, 4, 5, 6, 1
"""


def differences(conn):
    return conn.execute(DIFFERENCES).fetchall()


def size(conn, table="campaign_counts"):
    return conn.execute(f"select count(*) from mailgenius.{table}").fetchone()[0]


@pytest.fixture
def conn(database):
    with psycopg.connect(database, autocommit=True) as made:
        yield made


@pytest.fixture
def seeded(conn):
    """Two workspaces with three campaigns each, all statuses, months with partitions of their own and others without."""
    for parent in ("email_sends", "lead_activities"):
        for day in ("2026-01-01", "2026-02-01"):
            conn.execute("select mailgenius.create_month(%s, %s)", (parent, day))
    for workspace in (1, 2):
        values = {"w": workspace, "statuses": list(STATUSES), "kinds": list(KINDS), "errors": list(ERRORS)}
        conn.execute(
            "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email, status, error, created_at)"
            " select %(w)s, 1 + i %% 3, i, 'u' || i, (%(statuses)s::text[])[1 + i %% 6],"
            " (%(errors)s::text[])[1 + i / 6 %% 4]," + EVERY_NINE_HOURS,
            values,
        )
        conn.execute(
            "insert into mailgenius.lead_activities (workspace_id, campaign_id, lead_id, kind, created_at)"
            " select %(w)s, nullif(i %% 4, 0), i / 5, (%(kinds)s::text[])[1 + i %% 7 %% 4]," + EVERY_NINE_HOURS,
            values,
        )
    assert differences(conn) == []
    assert size(conn, "email_sends_2026_01") > 100
    assert size(conn, "email_sends_default") > 10
    return conn


SEND = "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email, status, error, created_at) "
ACT = "insert into mailgenius.lead_activities (workspace_id, campaign_id, lead_id, kind, created_at) "
FOLD = "select mailgenius.fold_campaign_counts(w, c) from generate_series(1, 3) w, generate_series(1, 9) c"
EVERY_KIND = {
    "send": SEND
    + "values (1, 1, 1, 'a', 'queued', null, now()), (3, 9, 1, 'a', 'bounced', '5', '2026-01-31 23:00+00')",
    "send nothing": SEND + "select 1, 1, 1, 'a', 'queued', null, now() where false",
    "send into a month": SEND.replace("email_sends", "email_sends_2026_01")
    + "values (1, 1, 1, 'a', 'sent', null, '2026-01-05 10:00+00')",
    "status of one": "update mailgenius.email_sends set status = 'delivered' where workspace_id = 1 and lead_id = 1",
    "status of all": "update mailgenius.email_sends set status = 'bounced'",
    "status of a month": "update mailgenius.email_sends_2026_02 set status = 'sent'",
    "error of all": "update mailgenius.email_sends set error = '5' where status = 'bounced'",
    "other columns": "update mailgenius.email_sends set message_id = id::text",
    "to another month": "update mailgenius.email_sends set created_at = created_at + interval '20 days'",
    "to another campaign": "update mailgenius.email_sends set campaign_id = campaign_id + 1, workspace_id = 3"
    " where lead_id < 9",
    "forever": "update mailgenius.email_sends set created_at = 'infinity' where lead_id < 20",
    "unsend": "delete from mailgenius.email_sends where lead_id % 3 = 0",
    "unsend a month": "delete from mailgenius.email_sends_2026_01",
    "truncate sends": "truncate mailgenius.email_sends",
    "truncate a month": "truncate mailgenius.email_sends_2026_01",
    "truncate the default": "truncate mailgenius.lead_activities_default",
    "opens": ACT + "select 1, 1, i % 7, 'open', now() from generate_series(1, 100) i",
    "first open": ACT + "values (1, 1, 9999, 'open', '-infinity')",
    "of no campaign": ACT + "values (1, null, 9999, 'open', now()), (1, 1, 9999, 'sneeze', now())",
    "open of a month": ACT.replace("activities", "activities_2026_02")
    + "select 1, 2, i % 70, 'click', '2026-02-28 23:59+00' from generate_series(1, 100) i",
    "another lead": "update mailgenius.lead_activities set lead_id = lead_id / 2",
    "another lead in a month": "update mailgenius.lead_activities_2026_01 set lead_id = lead_id + 1",
    "another kind": "update mailgenius.lead_activities set kind = case kind when 'open' then 'click' else 'open' end",
    "another campaign": "update mailgenius.lead_activities set campaign_id = 1",
    "no campaign": "update mailgenius.lead_activities set campaign_id = null where lead_id % 2 = 0",
    "another time": "update mailgenius.lead_activities set created_at = created_at - interval '40 days'",
    "data": "update mailgenius.lead_activities set data = '{\"x\": 1}'",
    "delete some": "delete from mailgenius.lead_activities where id % 3 = 0",
    "delete all": "delete from mailgenius.lead_activities",
    "truncate all": "truncate mailgenius.lead_activities, mailgenius.email_sends",
    "upsert": SEND.replace("(workspace_id", "(id, workspace_id")
    + "select id, workspace_id, campaign_id, lead_id, email, status, error, created_at from mailgenius.email_sends"
    " on conflict (workspace_id, id, created_at) do update set status = 'complained'",
    "both in one": "with gone as (delete from mailgenius.email_sends where lead_id < 50 returning *)"
    ", acts as (delete from mailgenius.lead_activities where lead_id < 50)"
    + ACT
    + "select workspace_id, campaign_id, lead_id, 'open', created_at from gone",
    "new months": "select mailgenius.create_month('email_sends', '2026-03-15'),"
    " mailgenius.create_month('lead_activities', '2025-12-31')",
    "fold": "select mailgenius.fold_campaign_counts(1, 1)",
    "recount": "select mailgenius.recount_sends(), mailgenius.recount_activities()",
}


@pytest.mark.parametrize("statement", EVERY_KIND.values(), ids=EVERY_KIND)
def test_every_kind_of_statement(seeded, statement):
    before = seeded.execute("select kind, sum(n) from mailgenius.campaign_counts group by 1 order by 1").fetchall()
    for end in ("rollback", "savepoint", "commit"):
        with seeded.transaction(force_rollback=end == "rollback"):
            with seeded.transaction(force_rollback=end == "savepoint"):
                seeded.execute(statement)
                assert differences(seeded) == []  # within the transaction too
            assert differences(seeded) == []
        assert differences(seeded) == []
        if end != "commit":
            now = seeded.execute("select kind, sum(n) from mailgenius.campaign_counts group by 1 order by 1").fetchall()
            assert now == before
    seeded.execute(FOLD)
    assert differences(seeded) == []


def test_copy_counts(seeded):
    for table in ("email_sends", "email_sends_2026_01"):
        with seeded.cursor().copy(
            f"copy mailgenius.{table} (workspace_id, campaign_id, lead_id, email, status, created_at) from stdin"
        ) as copy:
            for number in range(1000):
                day = f"2026-01-{1 + number % 31} 10:00+00"
                copy.write_row((1, 1 + number % 3, number, "a", STATUSES[number % 6], day))
        assert differences(seeded) == []


def test_updates_of_other_columns_leave_nothing_behind(seeded):
    tables = ("campaign_counts", "campaign_hours", "campaign_leads")
    before = [seeded.execute(f"select * from mailgenius.{table} order by 1, 2, 3, 4, 5").fetchall() for table in tables]
    seeded.execute("update mailgenius.email_sends set message_id = 'm', updated_at = now()")
    seeded.execute("update mailgenius.lead_activities set data = '{}'")
    assert [seeded.execute(f"select * from mailgenius.{t} order by 1, 2, 3, 4, 5").fetchall() for t in tables] == before


def test_an_hour_is_an_hour_in_utc(conn):
    for zone in ("Asia/Kathmandu", "America/Sao_Paulo"):
        conn.execute(f"set timezone = '{zone}'")
        when = "now() + i * interval '11 minutes' from generate_series(1, 99) i"
        conn.execute(SEND + "select 1, 1, i, 'a', 'sent', null, " + when)
        conn.execute(ACT + "select 1, 1, i, 'open', " + when)
        assert differences(conn) == []


def test_writing_needs_no_right_to_write_counters(seeded):
    seeded.execute("do $$ begin create role mg_sender; exception when duplicate_object then end $$")
    seeded.execute("grant usage on schema mailgenius to mg_sender")
    for table in ("email_sends", "lead_activities"):
        seeded.execute(f"grant select, insert, update, delete on mailgenius.{table} to mg_sender")
    seeded.execute("set role mg_sender")
    for kind in ("send", "status of all", "opens", "another lead", "delete some"):
        seeded.execute(EVERY_KIND[kind])
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        seeded.execute("update mailgenius.campaign_counts set n = n + 1")
    seeded.execute("reset role")
    assert differences(seeded) == []


def test_a_first_open_is_counted_once_whoever_wins(database, conn):
    """Of two who record the first open of a lead, the second waits for the first one's end, and only he."""
    unique = "select coalesce(sum(n), 0) from mailgenius.campaign_counts where kind = 'open_unique'"
    first = ACT + "values (1, 1, %s, 'open', now())"
    for end in ("commit", "rollback"):
        lead = {"commit": 1, "rollback": 2}[end]
        with psycopg.connect(database) as one, psycopg.connect(database) as two:
            one.execute(first, (lead,))
            two.execute("set lock_timeout = '1s'")
            two.execute(first, (lead + 10,))  # another lead: no waiting
            two.commit()
            two.execute("set lock_timeout = 0")
            thread = threading.Thread(target=two.execute, args=(first, (lead,)))
            thread.start()
            wait_until(lambda: waiting(conn))
            getattr(one, end)()
            thread.join()
            two.commit()
        assert differences(conn) == []
    assert conn.execute(unique).fetchone() == (4,)


def waiting(conn):
    found = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    return conn.execute(found).fetchone()[0]


def test_two_who_delete_the_last_two_opens(database, conn):
    conn.execute(ACT + "values (1, 1, 1, 'open', '2026-01-01 10:00Z'), (1, 1, 1, 'open', '2026-01-01 11:00Z')")
    delete = "delete from mailgenius.lead_activities where created_at = %s"
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        one.execute(delete, ("2026-01-01 10:00Z",))
        thread = threading.Thread(target=two.execute, args=(delete, ("2026-01-01 11:00Z",)))
        thread.start()
        wait_until(lambda: waiting(conn))
        one.commit()
        thread.join()
        two.commit()
    assert differences(conn) == []
    assert size(conn, "campaign_leads") == 0


def test_writers_of_other_leads_do_not_wait(database):
    with psycopg.connect(database) as one, psycopg.connect(database) as two:
        for conn in (one, two):
            conn.execute("set lock_timeout = '1s'")
        for turn in range(200):  # enough for several folds by each, of rows that the other one holds
            for number, conn in enumerate((one, two)):
                conn.execute(ACT + "values (1, 1, %s, 'open', now())", (2 * turn + number,))
                conn.execute(SEND + "values (1, 1, %s, 'a', 'sent', null, now())", (turn,))
        one.execute("select mailgenius.fold_campaign_counts(1, 1)")
        two.execute("select mailgenius.fold_campaign_counts(1, 1)")
        assert differences(one) == []
        one.rollback()
        two.commit()
        assert differences(two) == []


def test_writers_fold(conn):
    for number in range(1500):
        conn.execute(SEND + "values (1, 1, %s, 'a', 'sent', null, now())", (number,))
    assert size(conn) < 1000
    assert size(conn, "campaign_hours") < 1000
    assert differences(conn) == []


# -- at the same time ----------------------------------------------------------------------------------------------------


def churn(database, number, rounds, failures):
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
                    pass  # about sends, activities and firsts: the order in which these transactions take them is random
    except BaseException as error:
        failures.append(error)


def change(conn, rng):
    low = rng.randrange(60)
    values = {
        "w": rng.randrange(1, 3), "c": rng.randrange(1, 4), "lo": low, "hi": low + rng.choice((0, 0, 0, 30)),
        "s": rng.choice(STATUSES), "k": rng.choice(KINDS), "h": rng.randrange(1000), "e": rng.choice(ERRORS),
    }  # fmt: skip
    some = " where workspace_id = %(w)s and campaign_id = %(c)s and lead_id between %(lo)s and %(hi)s"
    when = "'2026-01-20Z'::timestamptz + %(h)s * interval '1 hour' from generate_series(%(lo)s::int4, %(hi)s::int4) i"
    conn.execute(
        rng.choice(
            (
                SEND + "select %(w)s, %(c)s, i, 'a', %(s)s, %(e)s, " + when,
                ACT + "select %(w)s, %(c)s, i, %(k)s, " + when,
                ACT + "select %(w)s, %(c)s, i / 2, %(k)s, " + when,
                "update mailgenius.email_sends set status = %(s)s, error = %(e)s" + some,
                "update mailgenius.email_sends set created_at = created_at + interval '25 days'" + some,
                "update mailgenius.lead_activities set lead_id = %(lo)s" + some,
                "update mailgenius.lead_activities set kind = %(k)s" + some,
                "delete from mailgenius.email_sends" + some,
                "delete from mailgenius.lead_activities" + some,
            )
        ),
        values,
    )


def test_many_writers_folders_and_readers_at_once(database, seeded):
    failures = []
    writers = [threading.Thread(target=churn, args=(database, number, 80, failures)) for number in range(4)]
    done = threading.Event()

    def fold():
        try:
            with psycopg.connect(database, autocommit=True) as mine:
                while not done.is_set():
                    mine.execute(FOLD)
        except BaseException as error:
            failures.append(error)

    folder = threading.Thread(target=fold)
    for thread in (*writers, folder):
        thread.start()
    looks = 0
    try:
        while any(thread.is_alive() for thread in writers):
            assert differences(seeded) == []
            looks += 1
            if looks % 20 == 10:
                # It waits for writers of one table while it holds the other one, which they may want next.
                with contextlib.suppress(psycopg.errors.DeadlockDetected):
                    seeded.execute("select mailgenius.recount_sends(), mailgenius.recount_activities()")
    finally:
        done.set()
        for thread in (*writers, folder):
            thread.join()
    assert failures == []
    assert looks > 1
    assert differences(seeded) == []


# -- crashes and repairs -------------------------------------------------------------------------------------------------


def test_the_migration_and_recounts_count_what_is_there(seeded):
    kept = (
        "select workspace_id, campaign_id, kind, sum(n) from mailgenius.campaign_counts"
        " group by 1, 2, 3 order by 1, 2, 3"
    )
    before = seeded.execute(kept).fetchall()
    seeded.execute("update mailgenius.campaign_counts set n = n + 7")
    seeded.execute("delete from mailgenius.campaign_hours where id % 2 = 0")
    seeded.execute("delete from mailgenius.campaign_leads where lead_id % 2 = 0")
    assert differences(seeded) != []
    seeded.execute("select mailgenius.recount_sends(), mailgenius.recount_activities()")
    assert differences(seeded) == []
    assert seeded.execute(kept).fetchall() == before
    for name in ("recount_sends", "recount_activities"):
        seeded.execute("set default_transaction_isolation = 'repeatable read'")
        with pytest.raises(psycopg.errors.InvalidTransactionState):
            seeded.execute(f"select mailgenius.{name}()")
        seeded.execute("reset default_transaction_isolation")


@pytest.mark.faults
def test_a_crash_leaves_campaigns_and_counters_that_agree(place):
    def agrees(conn):
        assert differences(conn) == []
        assert size(conn)

    crash_while_writing(place / "pg", churn, agrees, turns=2)
