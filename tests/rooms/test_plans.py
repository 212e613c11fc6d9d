"""Each question is answered through the index that is meant for it, on a small world."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from benchmarks.plans import Plan, explain, statements
from benchmarks.questions import Questions
from benchmarks.world import Size, World, fill
from mailgenius.leads import Leads
from mailgenius.leads.orders import INDEXES
from mailgenius.pool import Pool

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
    from tests.conftest import _create, _drop

    conninfo = _create(postgres_server, _template)
    with psycopg.connect(conninfo, autocommit=True) as conn:
        for name, columns in INDEXES.items():  # as in a table that is large enough for them
            conn.execute(f"create index {name} on mailgenius.leads {columns}".encode())
    yield conninfo, fill(conninfo, Size("test", 20_000, 60_000), lambda _text: None)
    _drop(postgres_server, conninfo)


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
