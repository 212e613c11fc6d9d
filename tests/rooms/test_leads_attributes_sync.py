# Made from test_leads_attributes_async.py by `python -m tools.twin`: edit that one.
"""Naming the attributes that bitmaps know: this file is for asyncio, its twin for threads."""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mailgenius.errors import ConfigError, SchemaError
from mailgenius.leads import Attribute, Leads, Segment
from mailgenius.leads.attributes_sync import MOST_VALUES
from mailgenius.pool import Pool
from mailgenius.rt import threads as rt

from .acme_sync import Acme, acme

ODD = 'it\'s \\ "%s" 😀'
FEW = Segment(attributes=[Attribute("few", "<=", 1)])


def give(leads: Acme, name: str, values: int) -> None:
    leads.pool.execute(
        "update mailgenius.leads set attributes = attributes || jsonb_build_object(%s::text, id %% %s)", (name, values)
    )


def bits(leads: Acme) -> int:
    found = leads.pool.fetch_value("select count(*) from mailgenius.lead_bitmaps where facet like 'attribute:%'")
    return int(found)


def test_named_asked_for_and_dropped(database: str) -> None:
    with acme(database, 90) as leads:
        give(leads, "few", 3)
        assert leads.indexed_attributes() == []
        assert leads.count("acme", FEW) == 60
        assert leads.index_attributes("few", ODD, "few") == sorted(["few", ODD])
        assert leads.index_attributes("few") == []
        assert leads.indexed_attributes() == sorted(["few", ODD])
        assert bits(leads) > 0
        assert leads.count("acme", FEW) == 60
        give(leads, ODD, 9)
        assert leads.count("acme", Segment(attributes=[Attribute(ODD, "=", 4)]) & FEW) == 10
        give(leads, "few", 1)
        assert leads.count("acme", FEW) == 90
        assert leads.unindex_attributes("few", "never indexed") == ["few"]
        assert leads.unindex_attributes("few") == []
        assert leads.indexed_attributes() == [ODD]
        assert leads.unindex_attributes(ODD) == [ODD]
        assert bits(leads) == 0
        assert leads.count("acme", FEW) == 90


def test_bits_answer_and_not_the_rows(database: str) -> None:
    """What triggers did not see is not counted: the answer came from bits."""
    with acme(database, 10) as leads:
        leads.index_attributes("few")
        with leads.pool.transaction() as connection:
            connection.execute("set local session_replication_role = replica")
            connection.execute("update mailgenius.leads set attributes = '{\"few\": 1}'")
        assert leads.count("acme", FEW) == 0
        leads.pool.execute("select mailgenius.rebuild_lead_bitmaps()")
        assert leads.count("acme", FEW) == 10


def test_an_attribute_with_a_value_for_each_lead_is_refused(database: str) -> None:
    with acme(database, MOST_VALUES + 1) as leads:
        with pytest.raises(ConfigError, match=rf"^names: 'n' has {MOST_VALUES + 1} different .* 'acme'.* at most"):
            leads.index_attributes("few", "n")
        assert leads.indexed_attributes() == []
        leads.delete("acme", ["p1@example.com"], erase=False)
        leads.ensure_workspace("other")
        leads.upsert("other", [{"email": "a@example.com", "attributes": {"n": "one more, elsewhere"}}])
        assert leads.index_attributes("n") == ["n"]
        leads.upsert("acme", [{"email": "b@example.com", "attributes": {"n": -5}}])  # more, later, is slower
        assert leads.count("acme", Segment(attributes=[Attribute("n", "<", 3)])) == 2


@pytest.mark.parametrize("names", [(), ("",), (" ",), ("a\0",), (3,), (["a"],)])
def test_names_that_cannot_be(database: str, names: tuple[str, ...]) -> None:
    with acme(database, 0) as leads:
        with pytest.raises(ConfigError, match=r"^names"):
            leads.index_attributes(*names)
        with pytest.raises(ConfigError, match=r"^names"):
            leads.unindex_attributes(*names)


def test_who_does_not_own_the_tables(database: str) -> None:
    with acme(database, 10) as leads:
        for text in (
            "do $$ begin create role mg_app login password 'x'; exception when duplicate_object then end $$",
            "grant usage on schema mailgenius to mg_app",
            "grant select, insert, update, delete on all tables in schema mailgenius to mg_app",
        ):
            leads.pool.execute(text)
        leads.index_attributes("few")
        with Pool(make_conninfo(database, user="mg_app", password="x")) as pool:
            app = Leads(pool)
            assert app.index_attributes("few") == []
            with pytest.raises(SchemaError, match=r"may not index attributes.*as the owner of the table"):
                app.index_attributes("few", "more")
            with pytest.raises(SchemaError, match=r"may not unindex attributes.*as the owner of the table"):
                app.unindex_attributes("few")
            app.update_many("acme", Segment(tags_any=["a"]), {"attributes": {"few": 1}})
            assert app.count("acme", FEW) == 10
        assert leads.indexed_attributes() == ["few"]
        leads.pool.execute("drop owned by mg_app")


def test_many_at_once(database: str) -> None:
    """While others write: one of them names the attributes, every count is right."""
    with acme(database, 100) as leads:
        done = False

        def index() -> list[str]:
            return Leads(leads.pool).index_attributes("few", "many")

        def write(number: int) -> None:
            turn = 0
            while not done or turn < 20:
                turn += 1
                given = [{"email": f"w{number}.{turn}.{n}@example.com", "attributes": {"few": 0}} for n in range(10)]
                leads.upsert("acme", given)
                if turn % 3 == 0:
                    leads.delete("acme", [lead["email"] for lead in given], erase=False)

        writers = [rt.spawn(write, number) for number in range(2)]
        for _ in range(5):
            racers = [rt.spawn(index) for _ in range(3)]
            made = [racer.join() for racer in racers]
            assert sorted(made) == [[], [], ["few", "many"]]
            assert leads.count("acme", FEW) % 10 == 0
            assert leads.unindex_attributes("few", "many") == ["few", "many"]
            assert leads.count("acme", FEW) % 10 == 0
        done = True
        for writer in writers:
            writer.join()
        leads.index_attributes("few")
        rows = "select count(*) from mailgenius.leads where attributes ? 'few'"
        assert leads.count("acme", FEW) == leads.pool.fetch_value(rows)


def test_readers_do_not_wait_and_old_snapshots_stay_right(database: str) -> None:
    """Somebody has read already and goes on writing: his rows have bits, though he does not see that they have a name."""
    with acme(database, 100) as leads:
        give(leads, "few", 2)
        count = "select count(*) from mailgenius.leads"
        with psycopg.connect(database) as old:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            assert old.execute(count).fetchone() == (100,)
            assert leads.index_attributes("few") == ["few"]
            old.execute(
                "insert into mailgenius.leads (workspace_id, email, attributes) values (%s, 'x', '{\"few\": 1}')",
                (leads.number,),
            )
            indexing = rt.spawn(leads.unindex_attributes, "few")  # waits for the writer
            waiting = "select count(*) from pg_locks where not granted and relation = 'mailgenius.leads'::regclass"
            deadline = time.monotonic() + 30
            while leads.pool.fetch_value(waiting) == 0:
                assert time.monotonic() < deadline
            assert leads.count("acme", FEW) == 100
            old.commit()
            assert indexing.join() == ["few"]
            assert leads.index_attributes("few") == ["few"]
        assert leads.count("acme", FEW) == 101
