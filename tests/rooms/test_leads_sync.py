# Made from test_leads_async.py by `python -m tools.twin`: edit that one.
"""Reading leads, workspaces, suppressions: this file is for asyncio, its twin for threads."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import Leads
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


def test_pages(database: str) -> None:
    with acme(database) as leads:
        first = leads.page("acme", limit=3)
        second = leads.page("acme", after=first.next, limit=3)
        third = leads.page("acme", after=second.next, limit=3)
        assert [len(page.leads) for page in (first, second, third)] == [3, 3, 1]
        assert third.next is None
        numbers = [lead.id for page in (first, second, third) for lead in page.leads]
        assert numbers == sorted(set(numbers))
        assert (leads.page("acme", limit=7)).next is None
        with pytest.raises(ConfigError, match="limit"):
            leads.page("acme", limit=0)


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "a" * 64, "é", "a\n", "x;drop", None, 5])
def test_slugs(database: str, slug: Any) -> None:
    with Pool(database) as pool:
        with pytest.raises(ConfigError, match="workspace"):
            Leads(pool).ensure_workspace(slug)


def test_ensure_workspace_by_many_at_once(database: str) -> None:
    with Pool(database, max_size=8) as pool:
        racers = [rt.spawn(Leads(pool).ensure_workspace, "race") for _ in range(8)]
        assert len({racer.join() for racer in racers}) == 1


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
