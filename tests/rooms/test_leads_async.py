"""Reading leads, workspaces, suppressions: this file is for asyncio, its twin for threads."""

from __future__ import annotations

import io
import json
import random
from collections import Counter
from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import AsyncLeads, Attribute, Segment
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


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "a" * 64, "é", "a\n", "x;drop", None, 5])
async def test_slugs(database: str, slug: Any) -> None:
    async with AsyncPool(database) as pool:
        with pytest.raises(ConfigError, match="workspace"):
            await AsyncLeads(pool).ensure_workspace(slug)


async def test_ensure_workspace_by_many_at_once(database: str) -> None:
    async with AsyncPool(database, max_size=8) as pool:
        racers = [rt.spawn(AsyncLeads(pool).ensure_workspace, "race") for _ in range(8)]
        assert len({await racer.join() for racer in racers}) == 1


async def test_counts_and_estimates(database: str) -> None:
    async with acme(database, 2000) as leads:
        segment = Segment(attributes=[Attribute("n", "<=", 500)], tags_any=["a"])
        assert await leads.count("acme", segment) == 500
        assert await leads.count("acme", Segment()) == 2000
        assert await leads.count("acme", Segment(email_domain=["example.com", "elsewhere.org"])) == 2000
        assert await leads.count("acme", Segment(email_domain="elsewhere.org")) == 0
        await leads.pool.execute("analyze mailgenius.leads")
        assert await leads.estimate("acme") == 2000
        assert await leads.estimate("acme", Segment(email_domain="elsewhere.org")) < 100
        assert await leads.estimate("acme", Segment(score_min=0)) == 2000
        wrong: Any = "vip"
        with pytest.raises(ConfigError, match="segment: expected Segment, got str"):
            await leads.count("acme", wrong)


async def test_search(database: str) -> None:
    people = [
        {"email": "ana@example.com", "first_name": "Ana", "last_name": "Souza", "company": "50% Sol"},
        {"email": "ANA.b@example.com", "first_name": "Bia"},
        {"email": "z@example.com", "first_name": "Ana", "last_name": "Lima"},
        {"email": "x@bücher.example", "last_name": "Brandt", "company": r"a_b\c"},
    ]
    async with acme(database, 0) as leads:
        await leads.upsert("acme", people)

        async def found(text: str, limit: int = 20) -> list[str]:
            return [lead.email.partition("@")[0] for lead in await leads.search("acme", text, limit)]

        assert await found("ana") == ["ana.b", "ana", "z"]  # addresses first, in the order of their bytes
        assert await found(" Ana ", 1) == ["ana.b"]
        assert await found("ana", 2) == ["ana.b", "ana"]
        assert await found("ana souza") == ["ana"]
        assert await found("a l") == ["z"]
        assert await found("brandt") == ["x"]
        assert await found("X@BÜCHER.example") == ["x"]
        assert await found("%") == ["ana"]
        assert await found("_") == ["x"]
        assert await found("b\\c") == ["x"]
        assert await found("ana@example") == ["ana"]
        assert await found("@") == []
        assert await found("nobody") == []
        for text, limit, what in (("", 1, "text"), ("a\0", 1, "text"), ("a", 0, "limit"), ("a", 1001, "limit")):
            with pytest.raises(ConfigError, match=what):
                await leads.search("acme", text, limit)


async def test_stats(database: str) -> None:
    async with acme(database, 9) as leads:
        assert await leads.unsubscribe("acme", ["p1@example.com", "p2@example.com"]) == 2
        await leads.tag("acme", Segment(status="unsubscribed"), "gone")
        await leads.upsert("acme", [{"email": "q@example.org"}])
        await leads.pool.execute(
            "update mailgenius.leads set created_at = created_at - interval '90 days' where email = 'p1@example.com'"
        )
        stats = await leads.stats("acme")
        assert stats.total == 10
        assert stats.by_status == {"active": 8, "unsubscribed": 2}
        assert len(stats.by_day) == 30
        assert list(stats.by_day) == sorted(stats.by_day)
        assert sum(stats.by_day.values()) == 9
        assert list(stats.top_tags.items()) == [("a", 9), ("b", 9), ("gone", 2)]
        assert list(stats.top_domains.items()) == [("example.com", 9), ("example.org", 1)]
        await leads.ensure_workspace("empty")
        assert (await leads.stats("empty")).total == 0


async def test_an_exact_recount(database: str) -> None:
    """Every way to count says what counting the exported leads says."""
    dice = random.Random(7)
    async with acme(database, 300) as leads:
        people: list[dict[str, Any]] = [
            {
                "email": f"q{n}@{dice.choice(['a.com', 'b.org', 'c.net'])}",
                "tags": dice.sample(["a", "x", "y", "z"], dice.randrange(4)),
                "status": dice.choice(["active", "pending", "bounced"]),
                "country": dice.choice(["BR", "PT", None]),
                "score": dice.randint(-9, 9),
            }
            for n in range(500)
        ]
        await leads.upsert("acme", people)
        await leads.unsubscribe("acme", [person["email"] for person in dice.sample(people, 50)])
        await leads.delete("acme", Segment(score_min=8))
        to = io.BytesIO()
        await leads.export("acme", None, to, format="jsonl")
        rows = [json.loads(line) for line in to.getvalue().splitlines()]
        stats = await leads.stats("acme")
        assert stats.total == await leads.count("acme") == len(rows)
        assert stats.by_status == Counter(row["status"] for row in rows)
        assert stats.top_tags == Counter(tag for row in rows for tag in row["tags"])
        assert stats.top_domains == Counter(row["email"].partition("@")[2] for row in rows)
        assert sum(stats.by_day.values()) == len(rows)
        for segment, holds in (
            (Segment(country="BR"), lambda row: row["country"] == "BR"),
            (~Segment(country="BR"), lambda row: row["country"] != "BR"),
            (Segment(tags_any=["x", "y"], score_max=0), lambda row: {"x", "y"} & {*row["tags"]} and row["score"] <= 0),
        ):
            assert await leads.count("acme", segment) == sum(bool(holds(row)) for row in rows)


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
