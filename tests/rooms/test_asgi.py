"""The example app, served by uvicorn on a free port, and the load generator of its benchmark."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from benchmarks.load import load
from benchmarks.serving import served
from mailgenius.leads import Leads
from mailgenius.pool import Pool


@pytest.fixture
def app(database: str) -> Iterator[int]:
    with Pool(database) as pool:
        leads = Leads(pool)
        leads.ensure_workspace("acme")
        leads.upsert(
            "acme",
            [{"email": f"lead{n}@example.com", "country": "BR" if n % 2 else "PT", "tags": ["vip"]} for n in range(9)],
        )
    with served(database) as port:
        yield port


def ask(port: int, path: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def test_everything_it_answers(app: int) -> None:
    status, lead = ask(app, f"/acme/lead?email={quote('lead3@example.com')}")
    assert (status, lead["email"], lead["country"]) == (200, "lead3@example.com", "BR")
    assert ask(app, "/acme/lead?email=nobody@example.com")[0] == 404
    status, page = ask(app, "/acme/leads?limit=4&order=email")
    assert [lead["email"] for lead in page["leads"]] == [f"lead{n}@example.com" for n in range(4)]
    status, page = ask(app, f"/acme/leads?limit=4&order=email&cursor={quote(page['next'])}")
    assert [lead["email"] for lead in page["leads"]] == [f"lead{n}@example.com" for n in range(4, 8)]
    assert len(ask(app, "/acme/search?q=lead")[1]) == 9
    assert ask(app, "/acme/stats")[1]["total"] == 9
    assert ask(app, "/acme/count") == (200, {"count": 9})
    assert ask(app, "/acme/count?country=BR&tag=vip") == (200, {"count": 4})

    for path, status in (
        ("/nowhere/count", 404),
        ("/acme/leads?limit=many", 400),
        ("/acme/leads?order=shoe+size", 400),
        ("/acme/leads?cursor=nonsense", 400),
    ):
        found, body = ask(app, path)
        assert (found, set(body)) == (status, {"error"})

    run = asyncio.run(load(app, 200, 0.5, 8, ["/acme/lead?email=lead1@example.com", "/acme/count"]))
    assert run.failed == 0
    assert 0 < run.p50 <= run.p95 <= run.p99
    assert set(run.slowest) == {"lead", "count"}
    assert asyncio.run(load(app, 50, 0.5, 2, ["/nowhere/count"])).failed > 0
