"""Naming the attributes that bitmaps know: this file is for asyncio, its twin for threads."""

from __future__ import annotations

import time

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from mailgenius.errors import ConfigError, SchemaError
from mailgenius.leads import AsyncLeads, Attribute, Segment
from mailgenius.leads.attributes_async import MOST_VALUES
from mailgenius.pool import AsyncPool
from mailgenius.rt import aio as rt

from .acme_async import Acme, acme

ODD = 'it\'s \\ "%s" 😀'
FEW = Segment(attributes=[Attribute("few", "<=", 1)])


async def give(leads: Acme, name: str, values: int) -> None:
    await leads.pool.execute(
        "update mailgenius.leads set attributes = attributes || jsonb_build_object(%s::text, id %% %s)", (name, values)
    )


async def bits(leads: Acme) -> int:
    found = await leads.pool.fetch_value("select count(*) from mailgenius.lead_bitmaps where facet like 'attribute:%'")
    return int(found)


async def test_named_asked_for_and_dropped(database: str) -> None:
    async with acme(database, 90) as leads:
        await give(leads, "few", 3)
        assert await leads.indexed_attributes() == []
        assert await leads.count("acme", FEW) == 60
        assert await leads.index_attributes("few", ODD, "few") == sorted(["few", ODD])
        assert await leads.index_attributes("few") == []
        assert await leads.indexed_attributes() == sorted(["few", ODD])
        assert await bits(leads) > 0
        assert await leads.count("acme", FEW) == 60
        await give(leads, ODD, 9)
        assert await leads.count("acme", Segment(attributes=[Attribute(ODD, "=", 4)]) & FEW) == 10
        await give(leads, "few", 1)
        assert await leads.count("acme", FEW) == 90
        assert await leads.unindex_attributes("few", "never indexed") == ["few"]
        assert await leads.unindex_attributes("few") == []
        assert await leads.indexed_attributes() == [ODD]
        assert await leads.unindex_attributes(ODD) == [ODD]
        assert await bits(leads) == 0
        assert await leads.count("acme", FEW) == 90


async def test_bits_answer_and_not_the_rows(database: str) -> None:
    """What triggers did not see is not counted: the answer came from bits."""
    async with acme(database, 10) as leads:
        await leads.index_attributes("few")
        async with leads.pool.transaction() as connection:
            await connection.execute("set local session_replication_role = replica")
            await connection.execute("update mailgenius.leads set attributes = '{\"few\": 1}'")
        assert await leads.count("acme", FEW) == 0
        await leads.pool.execute("select mailgenius.rebuild_lead_bitmaps()")
        assert await leads.count("acme", FEW) == 10


async def test_an_attribute_with_a_value_for_each_lead_is_refused(database: str) -> None:
    async with acme(database, MOST_VALUES + 1) as leads:
        with pytest.raises(ConfigError, match=rf"^names: 'n' has {MOST_VALUES + 1} different .* 'acme'.* at most"):
            await leads.index_attributes("few", "n")
        assert await leads.indexed_attributes() == []
        await leads.delete("acme", ["p1@example.com"], erase=False)
        await leads.ensure_workspace("other")
        await leads.upsert("other", [{"email": "a@example.com", "attributes": {"n": "one more, elsewhere"}}])
        assert await leads.index_attributes("n") == ["n"]
        await leads.upsert("acme", [{"email": "b@example.com", "attributes": {"n": -5}}])  # more, later, is slower
        assert await leads.count("acme", Segment(attributes=[Attribute("n", "<", 3)])) == 2


@pytest.mark.parametrize("names", [(), ("",), (" ",), ("a\0",), (3,), (["a"],)])
async def test_names_that_cannot_be(database: str, names: tuple[str, ...]) -> None:
    async with acme(database, 0) as leads:
        with pytest.raises(ConfigError, match=r"^names"):
            await leads.index_attributes(*names)
        with pytest.raises(ConfigError, match=r"^names"):
            await leads.unindex_attributes(*names)


async def test_who_does_not_own_the_tables(database: str) -> None:
    async with acme(database, 10) as leads:
        for text in (
            "do $$ begin create role mg_app login password 'x'; exception when duplicate_object then end $$",
            "grant usage on schema mailgenius to mg_app",
            "grant select, insert, update, delete on all tables in schema mailgenius to mg_app",
        ):
            await leads.pool.execute(text)
        await leads.index_attributes("few")
        async with AsyncPool(make_conninfo(database, user="mg_app", password="x")) as pool:
            app = AsyncLeads(pool)
            assert await app.index_attributes("few") == []
            with pytest.raises(SchemaError, match=r"may not index attributes.*as the owner of the table"):
                await app.index_attributes("few", "more")
            with pytest.raises(SchemaError, match=r"may not unindex attributes.*as the owner of the table"):
                await app.unindex_attributes("few")
            await app.update_many("acme", Segment(tags_any=["a"]), {"attributes": {"few": 1}})
            assert await app.count("acme", FEW) == 10
        assert await leads.indexed_attributes() == ["few"]
        await leads.pool.execute("drop owned by mg_app")


async def test_many_at_once(database: str) -> None:
    """While others write: one of them names the attributes, every count is right."""
    async with acme(database, 100) as leads:
        done = False

        async def index() -> list[str]:
            return await AsyncLeads(leads.pool).index_attributes("few", "many")

        async def write(number: int) -> None:
            turn = 0
            while not done or turn < 20:
                turn += 1
                given = [{"email": f"w{number}.{turn}.{n}@example.com", "attributes": {"few": 0}} for n in range(10)]
                await leads.upsert("acme", given)
                if turn % 3 == 0:
                    await leads.delete("acme", [lead["email"] for lead in given], erase=False)

        writers = [rt.spawn(write, number) for number in range(2)]
        for _ in range(5):
            racers = [rt.spawn(index) for _ in range(3)]
            made = [await racer.join() for racer in racers]
            assert sorted(made) == [[], [], ["few", "many"]]
            assert await leads.count("acme", FEW) % 10 == 0
            assert await leads.unindex_attributes("few", "many") == ["few", "many"]
            assert await leads.count("acme", FEW) % 10 == 0
        done = True
        for writer in writers:
            await writer.join()
        await leads.index_attributes("few")
        rows = "select count(*) from mailgenius.leads where attributes ? 'few'"
        assert await leads.count("acme", FEW) == await leads.pool.fetch_value(rows)


async def test_readers_do_not_wait_and_old_snapshots_stay_right(database: str) -> None:
    """Somebody has read already and goes on writing: his rows have bits, though he does not see that they have a name."""
    async with acme(database, 100) as leads:
        await give(leads, "few", 2)
        count = "select count(*) from mailgenius.leads"
        with psycopg.connect(database) as old:
            old.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            assert old.execute(count).fetchone() == (100,)
            assert await leads.index_attributes("few") == ["few"]
            old.execute(
                "insert into mailgenius.leads (workspace_id, email, attributes) values (%s, 'x', '{\"few\": 1}')",
                (leads.number,),
            )
            indexing = rt.spawn(leads.unindex_attributes, "few")  # waits for the writer
            waiting = "select count(*) from pg_locks where not granted and relation = 'mailgenius.leads'::regclass"
            deadline = time.monotonic() + 30
            while await leads.pool.fetch_value(waiting) == 0:
                assert time.monotonic() < deadline
            assert await leads.count("acme", FEW) == 100
            old.commit()
            assert await indexing.join() == ["few"]
            assert await leads.index_attributes("few") == ["few"]
        assert await leads.count("acme", FEW) == 101
