"""Reading leads, workspaces, suppressions."""

from __future__ import annotations

import threading

import psycopg
import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import Leads


@pytest.fixture
def leads(pool):
    made = Leads(pool)
    number = made.ensure_workspace("acme")
    pool.execute(
        "insert into mailgenius.leads (workspace_id, email, first_name, tags, attributes)"
        " select %s, 'p' || n || '@example.com', 'Ana ' || n, array['a', 'b'], jsonb_build_object('n', n)"
        " from generate_series(1, 7) n",
        (number,),
    )
    return made


def test_get(leads):
    lead = leads.get("acme", "p3@example.com")
    assert (lead.first_name, lead.tags, lead.attributes, lead.status, lead.score) == (
        "Ana 3",
        ["a", "b"],
        {"n": 3},
        "active",
        0,
    )
    assert leads.by_id("acme", lead.id) == lead
    assert leads.get("acme", "none@example.com") is None
    assert leads.by_id("acme", 10**12) is None


def test_workspaces_do_not_see_each_other(leads):
    leads.ensure_workspace("other")
    assert leads.count("acme") == 7
    assert leads.count("other") == 0
    assert leads.get("other", "p3@example.com") is None
    with pytest.raises(NotFound, match="'nobody'"):
        leads.count("nobody")


def test_pages(leads):
    first = leads.page("acme", limit=3)
    second = leads.page("acme", after=first.next, limit=3)
    third = leads.page("acme", after=second.next, limit=3)
    assert [len(page.leads) for page in (first, second, third)] == [3, 3, 1]
    assert third.next is None
    numbers = [lead.id for page in (first, second, third) for lead in page.leads]
    assert numbers == sorted(set(numbers))
    assert leads.page("acme", limit=7).next is None
    with pytest.raises(ConfigError, match="limit"):
        leads.page("acme", limit=0)


@pytest.mark.parametrize("slug", ["", "Acme", "a b", "a" * 64, "é", "a\n", "x;drop", None, 5])
def test_slugs(leads, slug):
    with pytest.raises(ConfigError, match="workspace"):
        leads.ensure_workspace(slug)


def test_ensure_workspace_by_many_at_once(pool):
    numbers = []
    start = threading.Barrier(8)

    def work():
        start.wait()
        numbers.append(Leads(pool).ensure_workspace("race"))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(numbers) == 8
    assert len(set(numbers)) == 1


def test_suppress(leads, pool):
    assert leads.suppress("acme", ["b@x.org", "a@x.org", "b@x.org"], "bounced") == 2
    assert leads.suppress("acme", ["a@x.org", "c@x.org"]) == 1
    assert leads.suppress("acme", []) == 0
    assert leads.suppress("acme", "d@x.org") == 1
    rows = pool.fetch("select email, reason from mailgenius.suppressions order by email")
    assert rows == [("a@x.org", "bounced"), ("b@x.org", "bounced"), ("c@x.org", "manual"), ("d@x.org", "manual")]
    with pytest.raises(ConfigError, match="reason"):
        leads.suppress("acme", ["a@x.org"], "dislike")


def test_the_table_refuses_nonsense(leads, pool):
    with pytest.raises(psycopg.errors.UniqueViolation):
        pool.execute(
            "insert into mailgenius.leads (workspace_id, email) values (%s, 'p1@example.com')",
            (leads.workspace_id("acme"),),
        )
    with pytest.raises(psycopg.errors.CheckViolation):
        pool.execute("update mailgenius.leads set status = 'gone'")
