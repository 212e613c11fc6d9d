# Made from test_leads_async.py by `python -m tools.twin`: edit that one.
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
from mailgenius.leads import Attribute, Leads, Segment
from mailgenius.pool import Pool
from mailgenius.rt import threads as rt

from .acme_sync import acme


def test_get(database: str) -> None:
    with acme(database) as leads:
        lead = leads.get("acme", "p3@example.com")
        assert lead is not None
        found = lead.first_name, lead.tags, lead.attributes, lead.status, lead.score
        assert found == ("Ana 3", ["a", "b"], {"n": 3}, "active", 0)
        assert leads.by_id("acme", lead.id) == lead
        assert leads.get("acme", "none@example.com") is None
        assert leads.by_id("acme", 10**12) is None


def test_workspaces_do_not_see_each_other(database: str) -> None:
    with acme(database) as leads:
        leads.ensure_workspace("other")
        assert leads.count("acme") == 7
        assert leads.count("other") == 0
        assert leads.get("other", "p3@example.com") is None
        with pytest.raises(NotFound, match="'nobody'"):
            leads.count("nobody")


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "a" * 64, "é", "a\n", "x;drop", None, 5])
def test_slugs(database: str, slug: Any) -> None:
    with Pool(database) as pool:
        with pytest.raises(ConfigError, match="workspace"):
            Leads(pool).ensure_workspace(slug)


def test_ensure_workspace_by_many_at_once(database: str) -> None:
    with Pool(database, max_size=8) as pool:
        racers = [rt.spawn(Leads(pool).ensure_workspace, "race") for _ in range(8)]
        assert len({racer.join() for racer in racers}) == 1


def test_counts_and_estimates(database: str) -> None:
    with acme(database, 2000) as leads:
        segment = Segment(attributes=[Attribute("n", "<=", 500)], tags_any=["a"])
        assert leads.count("acme", segment) == 500
        assert leads.count("acme", Segment()) == 2000
        assert leads.count("acme", Segment(email_domain=["example.com", "elsewhere.org"])) == 2000
        assert leads.count("acme", Segment(email_domain="elsewhere.org")) == 0
        leads.pool.execute("analyze mailgenius.leads")
        assert leads.estimate("acme") == 2000
        assert leads.estimate("acme", Segment(email_domain="elsewhere.org")) < 100
        assert leads.estimate("acme", Segment(score_min=0)) == 2000
        wrong: Any = "vip"
        with pytest.raises(ConfigError, match="segment: expected Segment, got str"):
            leads.count("acme", wrong)


def test_search(database: str) -> None:
    people = [
        {"email": "ana@example.com", "first_name": "Ana", "last_name": "Souza", "company": "50% Sol"},
        {"email": "ANA.b@example.com", "first_name": "Bia"},
        {"email": "z@example.com", "first_name": "Ana", "last_name": "Lima"},
        {"email": "x@bücher.example", "last_name": "Brandt", "company": r"a_b\c"},
    ]
    with acme(database, 0) as leads:
        leads.upsert("acme", people)

        def found(text: str, limit: int = 20) -> list[str]:
            return [lead.email.partition("@")[0] for lead in leads.search("acme", text, limit)]

        assert found("ana") == ["ana.b", "ana", "z"]  # addresses first, in the order of their bytes
        assert found(" Ana ", 1) == ["ana.b"]
        assert found("ana", 2) == ["ana.b", "ana"]
        assert found("ana souza") == ["ana"]
        assert found("a l") == ["z"]
        assert found("brandt") == ["x"]
        assert found("X@BÜCHER.example") == ["x"]
        assert found("%") == ["ana"]
        assert found("_") == ["x"]
        assert found("b\\c") == ["x"]
        assert found("ana@example") == ["ana"]
        assert found("@") == []
        assert found("nobody") == []
        for text, limit, what in (("", 1, "text"), ("a\0", 1, "text"), ("a", 0, "limit"), ("a", 1001, "limit")):
            with pytest.raises(ConfigError, match=what):
                leads.search("acme", text, limit)


def test_stats(database: str) -> None:
    with acme(database, 9) as leads:
        assert leads.unsubscribe("acme", ["p1@example.com", "p2@example.com"]) == 2
        leads.tag("acme", Segment(status="unsubscribed"), "gone")
        leads.upsert("acme", [{"email": "q@example.org"}])
        leads.pool.execute(
            "update mailgenius.leads set created_at = created_at - interval '90 days' where email = 'p1@example.com'"
        )
        stats = leads.stats("acme")
        assert stats.total == 10
        assert stats.by_status == {"active": 8, "unsubscribed": 2}
        assert len(stats.by_day) == 30
        assert list(stats.by_day) == sorted(stats.by_day)
        assert sum(stats.by_day.values()) == 9
        assert list(stats.top_tags.items()) == [("a", 9), ("b", 9), ("gone", 2)]
        assert list(stats.top_domains.items()) == [("example.com", 9), ("example.org", 1)]
        leads.ensure_workspace("empty")
        assert (leads.stats("empty")).total == 0


def test_an_exact_recount(database: str) -> None:
    """Every way to count says what counting the exported leads says."""
    dice = random.Random(7)
    with acme(database, 300) as leads:
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
        leads.upsert("acme", people)
        leads.unsubscribe("acme", [person["email"] for person in dice.sample(people, 50)])
        leads.delete("acme", Segment(score_min=8))
        to = io.BytesIO()
        leads.export("acme", None, to, format="jsonl")
        rows = [json.loads(line) for line in to.getvalue().splitlines()]
        stats = leads.stats("acme")
        assert stats.total == leads.count("acme") == len(rows)
        assert stats.by_status == Counter(row["status"] for row in rows)
        assert stats.top_tags == Counter(tag for row in rows for tag in row["tags"])
        assert stats.top_domains == Counter(row["email"].partition("@")[2] for row in rows)
        assert sum(stats.by_day.values()) == len(rows)
        for segment, holds in (
            (Segment(country="BR"), lambda row: row["country"] == "BR"),
            (~Segment(country="BR"), lambda row: row["country"] != "BR"),
            (Segment(tags_any=["x", "y"], score_max=0), lambda row: {"x", "y"} & {*row["tags"]} and row["score"] <= 0),
        ):
            assert leads.count("acme", segment) == sum(bool(holds(row)) for row in rows)


def test_suppress(database: str) -> None:
    with acme(database) as leads:
        assert leads.suppress("acme", ["b@x.org", "a@x.org", "b@x.org"], "bounced") == 2
        assert leads.suppress("acme", ["a@x.org", "c@x.org"]) == 1
        assert leads.suppress("acme", []) == 0
        assert leads.suppress("acme", "d@x.org") == 1
        rows = leads.pool.fetch("select email, reason from mailgenius.suppressions order by email")
        assert rows == [("a@x.org", "bounced"), ("b@x.org", "bounced"), ("c@x.org", "manual"), ("d@x.org", "manual")]
        with pytest.raises(ConfigError, match="reason"):
            leads.suppress("acme", ["a@x.org"], "dislike")


def test_the_table_refuses_nonsense(database: str) -> None:
    with acme(database) as leads:
        with pytest.raises(psycopg.errors.UniqueViolation):
            leads.pool.execute(
                "insert into mailgenius.leads (workspace_id, email) values (%s, 'p1@example.com')", (leads.number,)
            )
        with pytest.raises(psycopg.errors.CheckViolation):
            leads.pool.execute("update mailgenius.leads set status = 'gone'")
