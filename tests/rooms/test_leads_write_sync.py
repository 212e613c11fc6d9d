# Made from test_leads_write_async.py by `python -m tools.twin`: edit that one.
"""Writing leads: one by one, by segment, at once from several sides."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import Attribute, Segment, Upserted
from mailgenius.rt import threads as rt

from .acme_sync import acme


def test_upsert(database: str) -> None:
    with acme(database, 1) as leads:
        before = leads.get("acme", "p1@example.com")
        assert before is not None
        leads.suppress("acme", ["no@example.com"])
        done = leads.upsert(
            "acme",
            [
                {
                    "email": "Zoë@Bücher.example",
                    "first_name": "Zoë",
                    "tags": ["x", "x"],
                    "attributes": {"k": [1, None]},
                },
                {"email": "P1@example.com", "tags": ["b", "c"], "attributes": {"plan": "pro"}, "score": 5},
                {"email": "p1@EXAMPLE.com", "score": 9},
                {"email": "no@example.com"},
                {"email": "not an address"},
                {"email": "plain@example.com"},
            ],
        )
        assert [one.outcome for one in done] == [
            "inserted", "updated", "duplicate", "suppressed", "rejected", "inserted",
        ]  # fmt: skip
        assert done[0].email == "zoë@xn--bcher-kva.example"
        assert done[1] == Upserted("p1@example.com", "updated", before.id)
        assert done[4] == Upserted("not an address", "rejected", reason="email.no_at")
        zoe = leads.by_id("acme", done[0].id or 0)
        assert zoe is not None
        assert (zoe.first_name, zoe.tags, zoe.attributes, zoe.status) == ("Zoë", ["x"], {"k": [1, None]}, "active")
        after = leads.get("acme", "p1@example.com")
        assert after is not None
        assert (after.first_name, after.tags, after.score) == ("Ana 1", ["a", "b", "c"], 5)
        assert after.attributes == {"n": 1, "plan": "pro"}
        assert after.updated_at > before.updated_at
        assert after.created_at == before.created_at
        assert leads.count("acme") == 3
        assert leads.upsert("acme", []) == []
        assert (leads.upsert("new", [{"email": "a@example.com"}]))[0].outcome == "inserted"


def test_upsert_of_what_is_there(database: str) -> None:
    with acme(database, 1) as leads:
        before = leads.get("acme", "p1@example.com")
        same = {"email": "p1@example.com", "first_name": "Ana 1", "tags": ["a"], "attributes": {"n": 1}}
        assert [one.outcome for one in leads.upsert("acme", [same])] == ["unchanged"]
        assert [one.outcome for one in leads.upsert("acme", [{"email": "p1@example.com"}])] == ["unchanged"]
        assert leads.get("acme", "p1@example.com") == before
        leads.update_many("acme", Segment(), {"status": "bounced"})
        leads.upsert("acme", [{"email": "p1@example.com", "status": "active", "first_name": None}])
        after = leads.get("acme", "p1@example.com")
        assert after is not None
        assert (after.first_name, after.status) == (None, "bounced")  # opted out is opted out
        leads.upsert("acme", [{"email": "p1@example.com", "status": "complained"}])
        assert leads.count("acme", Segment(status="complained")) == 1


@pytest.mark.parametrize(
    ("lead", "path"),
    [
        ({"email": "a@example.com", "scroe": 1}, r"\$\[1\]\.scroe: cannot be written"),
        ({"email": "a@example.com", "id": 1}, r"\$\[1\]\.id"),
        ({"email": "a@example.com", "score": "high"}, r"\$\[1\]\.score: expected int"),
        ({"email": "a@example.com", "score": 2**31}, r"\$\[1\]\.score"),
        ({"email": "a@example.com", "status": "gone"}, r"\$\[1\]\.status"),
        ({"email": "a@example.com", "status": None}, r"\$\[1\]\.status"),
        ({"email": "a@example.com", "tags": "vip"}, r"\$\[1\]\.tags"),
        ({"email": "a@example.com", "tags": [1]}, r"\$\[1\]\.tags\[0\]"),
        ({"email": "a@example.com", "first_name": "a\0"}, r"\$\[1\]\.first_name"),
        ({"email": "a@example.com", "attributes": []}, r"\$\[1\]\.attributes"),
        ({"email": "a@example.com", "attributes": {"a": "\0"}}, r"\$\[1\]\.attributes"),
        ({"email": "a@example.com", "attributes": {"a": object()}}, r"\$\[1\]\.attributes"),
        ({"email": 5}, r"\$\[1\]\.email"),
        ({"score": 5}, r"\$\[1\]\.email: is missing"),
        ("a@example.com", r"\$\[1\]: expected a dict"),
    ],
)
def test_mistakes_are_named_and_nothing_is_written(database: str, lead: Any, path: str) -> None:
    with acme(database, 0) as leads:
        with pytest.raises(ConfigError, match=path):
            leads.upsert("acme", [{"email": "good@example.com"}, lead])
        assert leads.count("acme") == 0


def test_upserts_of_the_same_leads_at_once(database: str) -> None:
    with acme(database, 0) as leads:

        def work(number: int) -> list[Upserted]:
            rows = [{"email": f"p{n}@example.com", "tags": [f"t{number}"]} for n in range(200)]
            rows += [{"email": f"q{n}@example.com", "score": number} for n in range(200)]
            return leads.upsert("acme", rows if number % 2 else rows[::-1])

        workers = [rt.spawn(work, number) for number in range(6)]
        done = [one for worker in workers for one in worker.join()]
        assert leads.count("acme") == 400
        assert sum(one.outcome == "inserted" for one in done) == 400
        assert {one.outcome for one in done} <= {"inserted", "updated", "unchanged"}
        assert leads.count("acme", Segment(tags_all=[f"t{number}" for number in range(6)])) == 200  # none was lost


def test_update_many(database: str) -> None:
    with acme(database) as leads:
        few = Segment(attributes=[Attribute("n", "<=", 3)])
        assert leads.update_many("acme", few, {"country": "BR", "attributes": {"plan": "pro"}}) == 3
        assert leads.update_many("acme", few, {"country": "BR", "attributes": {"plan": "pro"}}) == 0
        assert leads.update_many("acme", Segment(country="BR"), {"country": None, "score": -3}) == 3
        assert leads.count("acme", Segment(score_max=-3, attributes=[Attribute("plan", "=", "pro")])) == 3
        lead = leads.get("acme", "p2@example.com")
        assert lead is not None
        assert (lead.country, lead.attributes) == (None, {"n": 2, "plan": "pro"})
        for values, path in (
            ({}, r"\$: names no"),
            ({"tags": ["x"]}, r"\$\.tags: use tag"),
            ({"email": "x"}, r"\$\.email"),
        ):
            with pytest.raises(ConfigError, match=path):
                leads.update_many("acme", few, values)
        with pytest.raises(NotFound):
            leads.update_many("nobody", few, {"score": 1})


def test_tags(database: str) -> None:
    with acme(database) as leads:
        few = Segment(attributes=[Attribute("n", "<=", 3)])
        assert leads.tag("acme", few, ["vip", "b", "vip"]) == 3
        assert leads.tag("acme", Segment(), "vip") == 4
        assert leads.tag("acme", Segment(), ["vip", "a"]) == 0
        lead = leads.get("acme", "p1@example.com")
        assert lead is not None
        assert lead.tags == ["a", "b", "vip"]
        assert leads.untag("acme", few, ["a", "none"]) == 3
        lead = leads.get("acme", "p1@example.com")
        assert lead is not None
        assert lead.tags == ["b", "vip"]
        assert leads.untag("acme", Segment(), ["a", "b", "vip"]) == 7
        assert leads.count("acme", Segment(tags_any=["a", "b", "vip"])) == 0
        for wrong in ([], [""], [5]):
            with pytest.raises(ConfigError, match="tags"):
                leads.tag("acme", few, wrong)  # type: ignore[arg-type]


def test_tagging_at_once_loses_nothing(database: str) -> None:
    with acme(database, 200) as leads:
        workers = [rt.spawn(leads.tag, "acme", Segment(), f"t{number}") for number in range(6)]
        assert [worker.join() for worker in workers] == [200] * 6
        assert leads.count("acme", Segment(tags_all=[f"t{number}" for number in range(6)])) == 200


def test_unsubscribe(database: str) -> None:
    with acme(database) as leads:
        assert leads.unsubscribe("acme", ["P1@Example.com", "p2@example.com", "stranger@example.com"]) == 2
        assert leads.unsubscribe("acme", "p2@example.com") == 0
        assert leads.count("acme", Segment(status="unsubscribed")) == 2
        rows = leads.pool.fetch("select email, reason from mailgenius.suppressions order by email")
        assert rows == [(f"{name}@example.com", "unsubscribed") for name in ("p1", "p2", "stranger")]
        with pytest.raises(ConfigError, match=r"emails\[1\]"):
            leads.unsubscribe("acme", ["p3@example.com", 5])  # type: ignore[list-item]
        assert leads.count("acme", Segment(status="unsubscribed")) == 2


def test_delete(database: str) -> None:
    with acme(database) as leads:
        for number in (1, 2):
            lead = leads.get("acme", f"p{number}@example.com")
            assert lead is not None
            for text in (
                "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email) values (%s, 1, %s, %s)",
                "insert into mailgenius.lead_activities (workspace_id, lead_id, kind, data)"
                " values (%s, %s, 'open', to_jsonb(%s::text))",
            ):
                leads.pool.execute(text, (leads.number, lead.id, lead.email))
        leads.unsubscribe("acme", "p1@example.com")
        assert leads.delete("acme", ["P1@example.com", "never@example.com"]) == 1
        kept = [f"sha256:{hashlib.sha256(f'{name}@example.com'.encode()).hexdigest()}" for name in ("p1", "never")]
        rows = leads.pool.fetch("select email, reason from mailgenius.suppressions")
        assert sorted(rows) == sorted((mark, "erased") for mark in kept)
        for table in ("email_sends", "lead_activities"):
            assert leads.pool.fetch_value(f"select count(*) from mailgenius.{table}") == 1
        done = leads.upsert("acme", [{"email": name} for name in ("p1@example.com", "never@example.com")])
        assert [one.outcome for one in done] == ["suppressed", "suppressed"]
        assert leads.delete("acme", "p2@example.com", erase=False) == 1
        assert (leads.upsert("acme", [{"email": "p2@example.com"}]))[0].outcome == "inserted"
        assert leads.delete("acme", Segment(attributes=[Attribute("n", ">", 5)])) == 2
        assert leads.pool.fetch_value("select count(*) from mailgenius.suppressions") == 4
        assert leads.delete("acme", []) == 0
        assert leads.count("acme") == 4
        wrong: Any = [None]
        with pytest.raises(ConfigError, match=r"which\[0\]"):
            leads.delete("acme", wrong)
