"""The bitmap indexes say what the tables say: after every statement, in every snapshot, whoever writes and folds."""

from __future__ import annotations

import itertools
import random
import threading

import psycopg
import pytest

from mailgenius import Segment
from mailgenius.leads import Leads
from mailgenius.pool import Pool

STATUSES = ("active", "unsubscribed", "bounced", "complained", "pending")
NAMES = ["it's \\ %s 😀", "plan"]
VALUES = ['"a"', '"1"', "1", "1.0", "true", '"true"', "null", "[1]", '{"a": [1]}', f'"{"x" * 300}"', '""']

# Both sides in one statement, so in one snapshot. Bits of events of leads that are gone may be there: nobody asks for them.
DIFFERENCES = """
with truth as (
    select workspace_id, id, 'lead' as facet, '' as value from mailgenius.leads
    union select workspace_id, id, 'country', mailgenius.bitmap_key(country) from mailgenius.leads where country is not null
    union select workspace_id, id, 'status', status from mailgenius.leads where status <> 'active'
    union select workspace_id, id, 'tag', mailgenius.bitmap_key(unnest(tags)) from mailgenius.leads
    union
    select workspace_id, id, case when slice < 7 then 'score' else 'score_high' end, slice::text
    from mailgenius.leads, generate_series(0, 31) slice
    where score::bit(32)::text like repeat('_', 31 - slice) || '1%'
    union
    select workspace_id, id, 'attribute:' || mailgenius.bitmap_key(name), v.value
    from mailgenius.leads, mailgenius.lead_attributes,
        lateral (values (''), (mailgenius.attribute_key(attributes -> name))) v (value)
    where attributes -> name <> 'null'
    union
    select s.workspace_id, lead_id, 'sent', campaign_id::text
    from mailgenius.email_sends s join mailgenius.leads l on (l.workspace_id, l.id) = (s.workspace_id, lead_id)
    union
    select s.workspace_id, lead_id, 'sent_on', ((s.created_at at time zone 'UTC')::date)::text
    from mailgenius.email_sends s join mailgenius.leads l on (l.workspace_id, l.id) = (s.workspace_id, lead_id)
    union
    select s.workspace_id, lead_id, case kind when 'open' then 'opened' else 'clicked' end, campaign_id::text
    from mailgenius.lead_activities s join mailgenius.leads l on (l.workspace_id, l.id) = (s.workspace_id, lead_id)
    where kind in ('open', 'click') and campaign_id is not null
    union
    select s.workspace_id, lead_id, case kind when 'open' then 'opened_on' else 'clicked_on' end,
           ((s.created_at at time zone 'UTC')::date)::text
    from mailgenius.lead_activities s join mailgenius.leads l on (l.workspace_id, l.id) = (s.workspace_id, lead_id)
    where kind in ('open', 'click')
), kept as (
    select workspace_id, (block << 10) + bit as id, facet, value
    from (select workspace_id, facet, value, block, bit_xor(bits) as bits
          from mailgenius.lead_bitmaps group by 1, 2, 3, 4) b,
        generate_series(0, 1023) bit
    where get_bit(bits, bit) = 1
    union
    select b.workspace_id, l.id, facet,
           case when facet like '%\\_on' then (date '2000-01-01' + value::int)::text else value::text end
    from (select workspace_id, facet, value, block, bit_or(bits) as bits
          from mailgenius.event_bitmaps group by 1, 2, 3, 4) b,
        generate_series(0, 1023) bit,
        mailgenius.leads l
    where get_bit(bits, bit) = 1 and l.workspace_id = b.workspace_id and l.id = (b.block << 10) + bit
), domains as (
    select workspace_id, split_part(email, '@', -1) as domain, count(*) as n from mailgenius.leads group by 1, 2
), kept_domains as (
    select workspace_id, domain, sum(n)::int8 as n
    from mailgenius.lead_domains, unnest(domains, ns) as one (domain, n) group by 1, 2 having sum(n) <> 0
)
(select 'true', t::text from (select * from truth where value is not null except table kept) t)
union all (select 'kept', k::text from (table kept except table truth) k)
union all (select 'true domain', t::text from (table domains except table kept_domains) t)
union all (select 'kept domain', k::text from (table kept_domains except table domains) k)
limit 10
"""


def differences(conn):
    return conn.execute(DIFFERENCES).fetchall()


@pytest.fixture
def conn(database):
    with psycopg.connect(database, autocommit=True) as made:
        yield made


def seed(conn, leads=1100):
    """Two workspaces over two blocks, and sends and activities of most of their leads, some twice. Attributes of two names
    are indexed, one of them before there are leads."""
    conn.execute("select mailgenius.index_lead_attributes(%s)", ([NAMES[0]],))
    conn.execute(
        "select mailgenius.create_month(t, '2026-03-01') from unnest('{email_sends,lead_activities}'::text[]) t"
    )
    conn.execute("select setval(pg_get_serial_sequence('mailgenius.leads', 'id'), 3000)")
    for workspace in (1, 2):
        conn.execute(
            "insert into mailgenius.leads (workspace_id, id, email, status, country, score, attributes, tags)"
            " select %(w)s, i, i || '@d' || i %% 7 || '.org', (%(statuses)s::text[])[1 + i %% 5],"
            " (array['BR', 'PT', null, repeat('x', 300)])[1 + i %% 4], (i * 37) %% 101,"
            " jsonb_build_object(%(name)s::text, (%(values)s::jsonb[])[1 + i %% 11], 'plan', (i / 2) %% 3, 'n', i),"
            " (array['{}', '{a}', '{a,b}', '{b,b,c}']::text[])[1 + i %% 4]::text[] from generate_series(1, %(n)s, 2) i",
            {"w": workspace, "statuses": list(STATUSES), "n": leads, "name": NAMES[0], "values": VALUES},
        )
        conn.execute(
            "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email, created_at)"
            " select %s, 1 + i %% 3, 1 + i %% 1100, '', '2026-03-01T00:00Z'::timestamptz + i * interval '50 minutes'"
            " from generate_series(1, 1200) i",
            (workspace,),
        )
        conn.execute(
            "insert into mailgenius.lead_activities (workspace_id, campaign_id, lead_id, kind, created_at)"
            " select %s, nullif(i %% 4, 0), 1 + i * 7 %% 1100, (array['open', 'click', 'unsubscribe'])[1 + i %% 3],"
            " '2026-03-01T00:00Z'::timestamptz + i * interval '50 minutes' from generate_series(1, 1200) i",
            (workspace,),
        )
    conn.execute("select mailgenius.index_lead_attributes(%s)", (NAMES,))


EVERY_KIND = {
    "insert": "insert into mailgenius.leads (workspace_id, email, score, tags)"
    " values (1, 'new@x.org', -5, '{a,a,null,d}'), (3, 'new@x.org', 2147483647, '{}')",
    "insert nothing": "insert into mailgenius.leads (workspace_id, email) select 1, 'x' where false",
    "do update": "insert into mailgenius.leads (workspace_id, email, status, tags)"
    " select 1, i || '@d' || i % 7 || '.org', 'bounced', '{c,z}' from generate_series(390, 410) i"
    " on conflict (workspace_id, email) do update set status = excluded.status, tags = excluded.tags",
    "tags": "update mailgenius.leads set tags = tags || '{vip}' where id % 3 = 0",
    "tags again": "update mailgenius.leads set tags = tags || tags",
    "no tags": "update mailgenius.leads set tags = '{}'",
    "countries": "update mailgenius.leads set country = nullif(country, 'BR')",
    "all countries": "update mailgenius.leads set country = 'sha256:' || coalesce(country, 'none')",
    "status": "update mailgenius.leads set status = case status when 'active' then 'bounced' else 'active' end",
    "scores": "update mailgenius.leads set score = -score",
    "large scores": "update mailgenius.leads set score = 2000000000 - score where id % 2 = 0 or score > 50",
    "attributes": "update mailgenius.leads set attributes = attributes || '{\"plan\": 7}' where id % 3 = 0",
    "equal numbers": "update mailgenius.leads set attributes = attributes || '{\"plan\": 1.00}'"
    " where attributes @> '{\"plan\": 1}'",
    "other attributes": "update mailgenius.leads set attributes = attributes || '{\"n\": 7}'",
    "no plans": "update mailgenius.leads set attributes = attributes - 'plan' where id % 5 = 0",
    "plans that are null": "update mailgenius.leads set attributes = attributes || '{\"plan\": null}' where id % 3 = 1",
    "lists": "update mailgenius.leads set attributes = attributes || jsonb_build_object('plan', array[id])",
    "no attributes": "update mailgenius.leads set attributes = '{}'",
    "one name less": "select mailgenius.unindex_lead_attributes('{plan}')",
    "no name": "select mailgenius.unindex_lead_attributes(array(select name::text from mailgenius.lead_attributes))",
    "another name": "select mailgenius.index_lead_attributes('{n,plan}')",
    "other columns": "update mailgenius.leads set city = 'x', created_at = now()",
    "addresses": "update mailgenius.leads set email = id || '@other.org' where id % 5 = 0",
    "move": "update mailgenius.leads set workspace_id = 3 where workspace_id = 2 and id % 3 = 0",
    "renumber": "update mailgenius.leads set id = id + 10000, score = 7 where workspace_id = 2",
    "delete some": "delete from mailgenius.leads where id % 3 = 0",
    "delete all": "delete from mailgenius.leads",
    "merge": "merge into mailgenius.leads l using (select generate_series(350, 450) as i) s"
    " on l.workspace_id = 1 and l.id = s.i"
    " when matched and s.i % 5 = 0 then delete"
    " when matched then update set status = 'bounced', tags = '{m}'"
    " when not matched then insert (workspace_id, id, email, country) values (1, s.i, s.i || '@m.org', 'DE')",
    "truncate": "truncate mailgenius.leads",
    "fold": "select mailgenius.fold_lead_bitmaps(w, 0, 100), mailgenius.fold_lead_domains(w) from generate_series(1, 3) w",
    "fold events": "select mailgenius.fold_event_bitmaps(w, 0, 100) from generate_series(1, 3) w",
    "rebuild": "select mailgenius.rebuild_lead_bitmaps(), mailgenius.rebuild_event_bitmaps()",
    "send": "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email)"
    " values (1, 9, 1, ''), (1, 9, 1, '')",
    "sends by status": "update mailgenius.email_sends set status = 'delivered'",
    "sends of others": "update mailgenius.email_sends set lead_id = lead_id + 2 where lead_id % 4 = 1",
    "sends of another campaign": "update mailgenius.email_sends set campaign_id = 7 where campaign_id = 1",
    "sends of another month": "update mailgenius.email_sends set created_at = created_at + interval '1 month'"
    " where id % 9 = 0",
    "no sends of some": "delete from mailgenius.email_sends where id % 2 = 0",
    "no sends": "delete from mailgenius.email_sends",
    "truncate sends": "truncate mailgenius.email_sends",
    "activity": "insert into mailgenius.lead_activities (workspace_id, campaign_id, lead_id, kind)"
    " values (1, 9, 1, 'open'), (1, null, 3, 'click'), (1, 9, 5, 'unsubscribe')",
    "activities of another kind": "update mailgenius.lead_activities set kind ="
    " case kind when 'open' then 'click' when 'click' then 'bounce' else 'open' end where id % 5 = 0",
    "no activities of some": "delete from mailgenius.lead_activities where id % 2 = 0",
    "truncate activities": "truncate mailgenius.lead_activities",
    "leads and all of theirs": "with l as (delete from mailgenius.leads where id % 3 = 0 returning *),"
    " s as (delete from mailgenius.email_sends s using l where (s.workspace_id, s.lead_id) = (l.workspace_id, l.id))"
    " delete from mailgenius.lead_activities a using l where (a.workspace_id, a.lead_id) = (l.workspace_id, l.id)",
    "a month of its own": "select mailgenius.create_month('email_sends', '2026-04-01')",
}


def test_every_kind_of_statement(conn):
    seed(conn)
    assert differences(conn) == []
    for number, (name, statement) in enumerate(EVERY_KIND.items()):
        with conn.transaction(force_rollback=True):
            conn.execute(statement)
            if number % 2:
                assert differences(conn) == [], name
            conn.execute(EVERY_KIND["fold"])
            conn.execute(EVERY_KIND["fold events"])
            assert differences(conn) == [], f"{name}, folded"
    assert differences(conn) == []


def test_all_kinds_one_after_the_other(conn):
    seed(conn)
    order = [name for name in EVERY_KIND if not name.startswith(("truncate", "delete all", "no sends", "leads and"))]
    random.Random(4).shuffle(order)
    for name in order:
        conn.execute(EVERY_KIND[name])
    assert differences(conn) == []


def test_a_crowded_block_is_folded(conn):
    seed(conn, leads=10)
    rows = "select count(*) from mailgenius.lead_bitmaps where workspace_id = 1"
    for number in range(600):
        conn.execute(
            "insert into mailgenius.leads (workspace_id, email, score) values (1, %s, 3)", (f"{number}@x.org",)
        )
    assert conn.execute(rows).fetchone()[0] < 1700  # of 1,800 and more that were appended; a die decides when
    conn.execute(EVERY_KIND["fold"])
    assert conn.execute(rows).fetchone()[0] < 100
    assert differences(conn) == []


def test_many_writers_at_once(conn, database):
    """Inserts, updates, deletes of leads and of what happened to them, folding, in every kind of transaction."""
    seed(conn)
    failures = []

    def write(number):
        pick = random.Random(number)
        try:
            with psycopg.connect(database, autocommit=True) as own:
                for turn in range(60):
                    low = pick.randint(1, 1050)
                    statements = [
                        f"insert into mailgenius.leads (workspace_id, email, country, tags, attributes)"
                        f" select 1, '{number}.{turn}.' || i || '@n.org', 'BR', '{{a}}', jsonb_build_object('plan', i % 5)"
                        " from generate_series(1, 20) i",
                        f"update mailgenius.leads set tags = '{{{pick.choice('abc')}}}', score = {pick.randint(0, 300)},"
                        f" country = '{pick.choice(['BR', 'DE'])}' where id = {low}",
                        f"update mailgenius.leads set attributes = jsonb_build_object('plan', {pick.randint(1, 5)})"
                        f" where id = {low}",
                        f"delete from mailgenius.leads where workspace_id = 2 and id = {low}",
                        "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email)"
                        f" select 1, {pick.randint(1, 4)}, i, '' from generate_series({low}, {low + 50}) i",
                        f"delete from mailgenius.email_sends where lead_id between {low} and {low + 3}"
                        f" and campaign_id = {pick.randint(1, 4)}",
                        f"update mailgenius.email_sends set lead_id = {low} where workspace_id = 1 and lead_id = {low + 2}",
                        "select mailgenius.fold_event_bitmaps(1, 0, 100), mailgenius.fold_lead_bitmaps(1, 0, 100)",
                    ]
                    for statement in pick.sample(statements, 3):
                        while True:
                            try:
                                with own.transaction(force_rollback=pick.random() < 0.2):
                                    own.execute(statement)
                                break
                            except psycopg.errors.DeadlockDetected:  # what two deletes of many rows may always meet
                                continue
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for turn in itertools.cycle(("unindex", "index")):  # attributes come and go meanwhile
        if not any(writer.is_alive() for writer in writers):
            break
        assert differences(conn) == []
        while True:
            try:
                conn.execute(f"select mailgenius.{turn}_lead_attributes('{{plan}}')")
                break
            except psycopg.errors.DeadlockDetected:
                continue
    for writer in writers:
        writer.join()
    assert failures == []
    assert differences(conn) == []


def test_a_workspace_that_is_counted_while_it_is_written(conn, database):
    """Every count is of one moment: leads come and go ten at a time."""
    with Pool(database) as pool:
        leads = Leads(pool)
        number = leads.ensure_workspace("acme")
        done = threading.Event()

        def write():
            with psycopg.connect(database, autocommit=True) as own:
                for turn in range(100):
                    own.execute(
                        "insert into mailgenius.leads (workspace_id, email, country)"
                        " select %s, %s || i || '@x.org', 'BR' from generate_series(1, 10) i",
                        (number, f"{turn}."),
                    )
                    if turn % 3 == 0:
                        own.execute("delete from mailgenius.leads where email like %s", (f"{turn}.%",))
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            assert leads.count("acme", Segment(country="BR", status="active")) % 10 == 0
        writer.join()
        assert leads.count("acme", Segment(country="BR")) == 660
