# Made from test_leads_page_async.py by `python -m tools.twin`: edit that one.
"""Pages of leads: complete, in order, both ways, whatever others write meanwhile."""

from __future__ import annotations

import itertools
import random
from datetime import UTC, datetime
from typing import Any

import pytest

from mailgenius.errors import ConfigError
from mailgenius.leads import Attribute, Lead, LeadPage, Leads, Segment, reading_sync
from mailgenius.leads.orders import INDEXES
from mailgenius.leads.paging import ORDERS
from mailgenius.leads.segment_sql import compile

from .acme_sync import acme

SOME = 60


def all_pages(leads: Leads, **asked: Any) -> list[LeadPage]:
    pages = [leads.page("acme", **asked)]
    while (cursor := pages[-1].next) is not None:
        pages.append(leads.page("acme", **asked, cursor=cursor))
    return pages


def together(pages: list[LeadPage]) -> list[Lead]:
    return [lead for page in pages for lead in page.leads]


def scatter(leads: Any) -> None:
    """Values that repeat and are missing."""
    leads.pool.execute(
        "update mailgenius.leads set score = id % 5 - 2, status = case id % 3 when 0 then 'active' else 'pending' end,"
        " last_name = case when id % 4 = 0 then null else chr(97 + (id * 7 % 9)::int) end, city = null,"
        " company = case when id % 7 = 0 then '' when id % 7 < 5 then 'Ü' || id % 6 end,"
        " created_at = timestamptz '2026-01-01' + id % 6 * interval '1 microsecond'"
    )


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("descending", [False, True])
def test_every_order_both_ways(database: str, order: str, descending: bool) -> None:
    with acme(database, SOME) as leads:
        scatter(leads)
        way = "desc nulls last, id desc" if descending else "asc nulls last, id asc"
        wanted = [number for (number,) in leads.pool.fetch(f"select id from mailgenius.leads order by {order} {way}")]
        for limit in (1, 7, SOME - 1, SOME, SOME + 1):
            pages = all_pages(leads, order=order, descending=descending, limit=limit)
            assert [lead.id for lead in together(pages)] == wanted
            assert [len(page.leads) for page in pages[:-1]] == [limit] * (len(pages) - 1)
            assert pages[0].previous is None
            for before, page in itertools.pairwise(pages):  # and back
                back = leads.page("acme", order=order, descending=descending, limit=limit, cursor=page.previous)
                assert back.leads == before.leads
                assert (back.previous is None) == (before.previous is None)
                assert back.next == before.next


def test_pages_of_a_segment(database: str) -> None:
    with acme(database, SOME) as leads:
        scatter(leads)
        segment = Segment(score_min=1) & Segment(not_sent_in=1)
        pages = all_pages(leads, segment=segment, order="last_name", limit=5)
        assert len(together(pages)) == leads.count("acme", segment) == 24
        assert all(lead.score >= 1 for lead in together(pages))
        nobody = leads.page("acme", Segment(country="BR"))
        assert nobody == LeadPage([], None, None)


SEGMENTS = [
    Segment(tags_all=["a", "b"]),
    Segment(tags_any=["b", "c"], country="BR"),
    Segment(tags_none=["a"], status="bounced"),
    Segment(score_min=2, score_max=5, not_sent_in=1),
    Segment(score_min=3, sent_in=[1, 2], tags_all=["c"]),
    Segment(status="bounced", attributes=[Attribute("n", "<", 900)]),  # bits know a part of it
    Segment(status="bounced", sent_in=1, email_domain="other.org"),
    Segment(any_of=[Segment(country="BR"), Segment(company="Ü3")], score_min=4),
    Segment(country="BR", all_of=[Segment(tags_any=["a"]), ~Segment(sent_in=2)]),
    Segment(tags_all=["nobody has it"]),
    Segment(country=["BR", "PT"], company="Ü3"),  # and those that are left to an index
    Segment(attributes=[Attribute("n", ">", 2000)]),
    Segment(attributes=[Attribute("plan", "=", "pro"), Attribute("plan", "exists")]),  # indexed in large tables
    Segment(tags_any=["a"], attributes=[Attribute("plan", "!=", "pro")]),
]


def in_blocks(leads: Any) -> None:
    """Of what bitmaps know too, in several blocks of bits, the last of them far away."""
    scatter(leads)
    leads.pool.execute(
        "update mailgenius.leads set country = (array['BR', 'PT', null])[1 + id % 3],"
        " tags = (array['{}', '{a}', '{a,b}', '{c}', '{b,c}']::text[])[1 + id % 5]::text[], score = (id * 37) % 9 - 2,"
        " status = case when id % 7 = 0 then 'bounced' else 'active' end,"
        " email = case when id % 4 = 0 then id || '@other.org' else email end,"
        ' attributes = attributes || (array[\'{}\', \'{"plan": "pro"}\', \'{"plan": "free"}\'])[1 + id % 3]::jsonb,'
        " id = case when id > 2000 then id + (1::int8 << 40) else id end"
    )
    leads.pool.execute(
        "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email)"
        " select workspace_id, 1 + id % 3, id, '' from mailgenius.leads where id % 4 < 2"
    )


@pytest.mark.parametrize(
    ("near", "few", "large"), [(0, 10_000, False), (0, 150, True), (40, 150, True), (2000, 10_000, True)]
)
def test_pages_through_bits_are_those_through_rows(
    database: str, near: int, few: int, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever way a page goes, and where a segment is found to be of few or of many."""
    monkeypatch.setattr(reading_sync, "NEAR", near)
    monkeypatch.setattr(reading_sync, "NEAR_EACH", 0)
    monkeypatch.setattr(reading_sync, "FEW", few)
    dice = random.Random(near + few)
    with acme(database, 2500) as leads:
        in_blocks(leads)
        for name, columns in INDEXES.items() if large else ():
            leads.pool.execute(f"create index {name} on mailgenius.leads {columns}")
        if large:
            leads.index_attributes("plan")
        for segment in SEGMENTS:
            condition, params = compile(segment, datetime.now(UTC))
            for order in ("id", "email", "created_at", "score", dice.choice(["last_name", "company", "country"])):
                descending = dice.random() < 0.5
                way = "desc nulls last, id desc" if descending else "asc nulls last, id asc"
                truth = leads.pool.fetch(
                    f"select id from mailgenius.leads l where workspace_id = %(workspace)s::int4 and {condition}"
                    f" order by {order} {way}",
                    params | {"workspace": leads.number},
                )
                limit = dice.choice([190, 700])
                asked: dict[str, Any] = {"segment": segment, "order": order, "descending": descending, "limit": limit}
                pages = all_pages(leads, **asked)
                assert [(lead.id,) for lead in together(pages)] == truth, (segment, order, descending)
                for before, page in itertools.pairwise(pages):  # and back
                    assert (leads.page("acme", **asked, cursor=page.previous)).leads == before.leads


def test_what_others_write_neither_repeats_nor_skips(database: str) -> None:
    dice = random.Random(5)
    with acme(database, 200) as leads:
        scatter(leads)
        before = {lead.id for lead in together(all_pages(leads, limit=1000))}
        gone: set[int] = set()
        for order in ("id", "email", "score", "last_name", "created_at"):
            seen: list[int] = []
            cursor = None
            while True:
                page = leads.page("acme", order=order, limit=30, cursor=cursor)
                seen += [lead.id for lead in page.leads]
                cursor = page.next
                if cursor is None:
                    break
                new = f"n{dice.random()}@example.com"
                leads.upsert("acme", [{"email": new, "score": dice.randint(-2, 2), "last_name": dice.choice("aei")}])
                victim = dice.choice(sorted(before - gone))
                gone.add(victim)
                leads.pool.execute("delete from mailgenius.leads where id = %s::int8", (victim,))
            assert len(seen) == len(set(seen))
            assert before - gone <= set(seen)


def test_the_way_back_from_an_empty_page(database: str) -> None:
    with acme(database, 6) as leads:
        first = leads.page("acme", limit=3)
        leads.pool.execute("delete from mailgenius.leads where id > %s::int8", (first.leads[-1].id,))
        empty = leads.page("acme", limit=3, cursor=first.next)
        assert (empty.leads, empty.next) == ([], None)
        again = leads.page("acme", limit=3, cursor=empty.previous)
        assert again.leads == first.leads
        assert again.previous is None


def test_wrong_cursors(database: str) -> None:
    with acme(database) as leads:
        cursor = (leads.page("acme", limit=2)).next
        assert cursor is not None
        with pytest.raises(
            ConfigError, match="cursor: is of a page with order='id', descending=False, not order='email'"
        ):
            leads.page("acme", order="email", cursor=cursor)
        with pytest.raises(ConfigError, match="cursor: is of a page"):
            leads.page("acme", descending=True, cursor=cursor)
        worse: list[Any] = ["", "x", "§", cursor[:-3], cursor + "AAAA", "AAAA", "a" * 100_000, 7, b"x"]
        for wrong in worse:
            with pytest.raises(ConfigError, match="cursor"):
                leads.page("acme", cursor=wrong)
        with pytest.raises(ConfigError, match="order: 'tags' is none of id, email"):
            leads.page("acme", order="tags")
        for limit in (0, 10_001, -1):
            with pytest.raises(ConfigError, match="limit"):
                leads.page("acme", limit=limit)
