"""Each question is answered through the index that is meant for it, on a small world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from benchmarks.plans import Plan, explain, statements
from benchmarks.questions import Ask, Questions
from benchmarks.world import Size, World, fill
from mailgenius.leads import Leads, Segment, reading_sync
from mailgenius.leads.orders import INDEXES
from mailgenius.leads.paging import INDEXED
from mailgenius.pool import Pool
from tests.conftest import new_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mailgenius.servers import PostgresServer

#: kind of question -> an index that its first statement must use
USES = {
    "get": "leads_email",
    "get, not there": "leads_email",
    "by_id": "leads_pkey",
    "page by id: first": "leads_pkey",
    "page by id: anywhere, next": "leads_pkey",
    "page by id: anywhere, previous": "leads_pkey",
    "page by id: among the last": "leads_pkey",
    "page by email: first": "leads_email",
    "page by email: anywhere, next": "leads_email",
    "page by email: anywhere, previous": "leads_email",
    "page by email: among the last": "leads_email",
    "page by created_at: first": "leads_created",
    "page by created_at: anywhere, next": "leads_created",
    "page by created_at: anywhere, previous": "leads_created",
    "page by created_at: among the last": "leads_created",
    "page by score: first": "leads_score",
    "page by score: anywhere, next": "leads_score",
    "page by score: anywhere, previous": "leads_score",
    "page by score: among the last": "leads_score",
    "search: two or three letters of an address": "leads_email",
    "search: an address but for its end": "leads_email",
}


@pytest.fixture(scope="module")
def small_world(postgres_server: PostgresServer, _template: str) -> Iterator[tuple[str, World]]:
    with new_database(postgres_server, _template) as conninfo:
        with psycopg.connect(conninfo, autocommit=True) as conn:
            for name, columns in INDEXES.items():  # as in a table that is large enough for them
                conn.execute(f"create index {name} on mailgenius.leads {columns}".encode())
        yield conninfo, fill(conninfo, Size("test", 20_000, 60_000), lambda _text: None)


@pytest.fixture(scope="module")
def plans(small_world: tuple[str, World]) -> dict[str, list[Plan]]:
    conninfo, world = small_world
    with Pool(conninfo) as pool, psycopg.connect(conninfo, autocommit=True) as conn:
        questions = Questions(world, Leads(pool), counts=1)
        return {
            name: [explain(conn, *asked) for asked in statements(pool, questions.named(name).asks[0])] for name in USES
        }


@pytest.mark.parametrize("name", USES)
def test_named_index_is_used(plans: dict[str, list[Plan]], name: str) -> None:
    first = plans[name][0]
    assert USES[name] in first.indexes, first
    assert "leads" not in first.scanned
    assert "Sort" not in {node["Node Type"] for node in first.walk()}


def test_counts_agree_with_plain_sql(small_world: tuple[str, World]) -> None:
    """Every kind of segment that the benchmark asks for."""
    conninfo, world = small_world
    with Pool(conninfo) as pool, psycopg.connect(conninfo, autocommit=True) as conn:
        leads = Leads(pool)
        for kind in Questions(world, leads, counts=3).kinds:
            for ask in kind.asks:
                if ask.where:
                    assert conn.execute(*ask.plain()).fetchone() == (ask.of(leads),), (kind.name, ask.args)


@pytest.mark.parametrize("order", ["id", "email", "created_at", "score", "updated_at"])
def test_pages_of_rare_segments(small_world: tuple[str, World], order: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of them is served by the indexes that its file names, and no step reads the workspace."""
    monkeypatch.setattr(reading_sync, "NEAR", 500)
    monkeypatch.setattr(reading_sync, "NEAR_EACH", 0)
    conninfo, world = small_world
    big = world.largest.slug

    def asked(segment: Segment) -> list[Plan]:
        found = statements(pool, Ask("page", (big, segment), {"order": order}))
        return [explain(conn, *statement) for statement in found]

    with Pool(conninfo) as pool, psycopg.connect(conninfo, autocommit=True) as conn:
        *near, bits = asked(Segment(status="complained", tags_all=["newsletter"]))
        assert [plan.indexes for plan in near] == ([[INDEXED[order]]] if order in INDEXED else [])
        assert bits.indexes == ["lead_bitmaps_pkey", "leads_pkey"]
        company = next(lead.company for lead in Questions(world, Leads(pool), counts=1).some if lead.company)
        [of_company] = asked(Segment(company=company))
        assert of_company.indexes == ["leads_company"]
        [city] = asked(Segment(city="Lisboa", score_min=95))
        [scan] = [node for node in city.walk() if node.get("Index Name") == "leads_city"]
        assert "score >= " in scan["Index Cond"]
        assert not any(plan.scanned for plan in (*near, bits, of_company, city))
