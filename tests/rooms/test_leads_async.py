"""Reading leads, workspaces, suppressions: this file is for asyncio, its twin for threads."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import AsyncLeads
from mailgenius.pool import AsyncPool
from mailgenius.rt import aio as rt

from .acme_async import acme


async def test_get(database: str) -> None:
    async with acme(database) as leads:
        lead = await leads.get("acme", "p3@example.com")
        assert lead is not None
        found = lead.first_name, lead.tags, lead.attributes, lead.status, lead.score
        assert found == ("Ana 3", ["a", "b"], {"n": 3}, "active", 0)
        assert await leads.by_id("acme", lead.id) == lead
        assert await leads.get("acme", "none@example.com") is None
        assert await leads.by_id("acme", 10**12) is None


async def test_workspaces_do_not_see_each_other(database: str) -> None:
    async with acme(database) as leads:
        await leads.ensure_workspace("other")
        assert await leads.count("acme") == 7
        assert await leads.count("other") == 0
        assert await leads.get("other", "p3@example.com") is None
        with pytest.raises(NotFound, match="'nobody'"):
            await leads.count("nobody")


async def test_pages(database: str) -> None:
    async with acme(database) as leads:
        first = await leads.page("acme", limit=3)
        second = await leads.page("acme", after=first.next, limit=3)
        third = await leads.page("acme", after=second.next, limit=3)
        assert [len(page.leads) for page in (first, second, third)] == [3, 3, 1]
        assert third.next is None
        numbers = [lead.id for page in (first, second, third) for lead in page.leads]
        assert numbers == sorted(set(numbers))
        assert (await leads.page("acme", limit=7)).next is None
        with pytest.raises(ConfigError, match="limit"):
            await leads.page("acme", limit=0)


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "a" * 64, "é", "a\n", "x;drop", None, 5])
async def test_slugs(database: str, slug: Any) -> None:
    async with AsyncPool(database) as pool:
        with pytest.raises(ConfigError, match="workspace"):
            await AsyncLeads(pool).ensure_workspace(slug)


async def test_ensure_workspace_by_many_at_once(database: str) -> None:
    async with AsyncPool(database, max_size=8) as pool:
        racers = [rt.spawn(AsyncLeads(pool).ensure_workspace, "race") for _ in range(8)]
        assert len({await racer.join() for racer in racers}) == 1


async def test_suppress(database: str) -> None:
    async with acme(database) as leads:
        assert await leads.suppress("acme", ["b@x.org", "a@x.org", "b@x.org"], "bounced") == 2
        assert await leads.suppress("acme", ["a@x.org", "c@x.org"]) == 1
        assert await leads.suppress("acme", []) == 0
        assert await leads.suppress("acme", "d@x.org") == 1
        rows = await leads.pool.fetch("select email, reason from mailgenius.suppressions order by email")
        assert rows == [("a@x.org", "bounced"), ("b@x.org", "bounced"), ("c@x.org", "manual"), ("d@x.org", "manual")]
        with pytest.raises(ConfigError, match="reason"):
            await leads.suppress("acme", ["a@x.org"], "dislike")


async def test_the_table_refuses_nonsense(database: str) -> None:
    async with acme(database) as leads:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await leads.pool.execute(
                "insert into mailgenius.leads (workspace_id, email) values (%s, 'p1@example.com')", (leads.number,)
            )
        with pytest.raises(psycopg.errors.CheckViolation):
            await leads.pool.execute("update mailgenius.leads set status = 'gone'")
