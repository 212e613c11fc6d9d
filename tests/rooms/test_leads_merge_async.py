"""Leads who are one person: finding them, and making one lead of them."""

from __future__ import annotations

from typing import Any

import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import Lead, Segment
from mailgenius.rt import aio as rt

from .acme_async import Acme, acme

ACT = "insert into mailgenius.lead_activities (workspace_id, campaign_id, lead_id, kind) values (%s, 1, %s, 'open')"
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
UNIQUE = "select coalesce(sum(n), 0)::int8 from mailgenius.campaign_counts where kind = 'open_unique'"


async def upsert(leads: Acme, email: str, **values: Any) -> int:
    done = await leads.upsert("acme", [{"email": email, **values}])
    assert done[0].id
    return done[0].id


async def send(leads: Acme, campaign: int, lead: int, status: str) -> int:
    text = (
        "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email, status)"
        " values (%s, %s, %s, 'to-' || %s, %s) returning id"
    )
    return int(await leads.pool.fetch_value(text, (leads.number, campaign, lead, lead, status)))


async def one(leads: Acme, number: int) -> Lead:
    found = await leads.by_id("acme", number)
    assert found is not None
    return found


async def listed(leads: Acme) -> dict[str, str]:
    return dict(await leads.pool.fetch("select email, reason from mailgenius.suppressions"))


@pytest.mark.parametrize("prefer", ["keep", "newest"])
async def test_merge(database: str, prefer: str) -> None:
    async with acme(database, 0) as leads:
        keep = await upsert(
            leads, "a@example.com", first_name="Ana", city="", score=5, tags=["x", "y"], attributes={"a": 1, "n": None}
        )
        old = await upsert(
            leads, "b@example.com", first_name="Bea", city="Rio", tags=["z", "y"], attributes={"a": 2, "b": 2, "n": 2}
        )
        new = await upsert(
            leads, "c@example.com", first_name="Cea", city="Lima", phone="1", score=9, attributes={"b": 3}
        )
        await leads.pool.execute(
            "update mailgenius.leads set created_at = created_at - interval '1 year' where id = %s", (new,)
        )
        before = {number: await one(leads, number) for number in (keep, old, new)}
        rehearsal = await leads.merge("acme", keep, [old, new], prefer=prefer, dry_run=True)
        assert {number: await one(leads, number) for number in (keep, old, new)} == before
        merged = await leads.merge("acme", keep, [old, new], prefer=prefer)
        assert (merged.merged, merged.missing, merged.suppressed) == (2, [], 0)
        assert merged.leads == [await one(leads, keep)]
        lead = merged.leads[0]
        assert rehearsal.leads[0].attributes == lead.attributes
        assert (lead.email, lead.phone, lead.score, lead.status) == ("a@example.com", "1", 9, "active")
        assert lead.tags == ["x", "y", "z"]
        assert lead.created_at == before[new].created_at
        assert lead.updated_at > before[new].updated_at
        if prefer == "keep":
            assert (lead.first_name, lead.city) == ("Ana", "Rio")
            assert lead.attributes == {"a": 1, "b": 2, "n": 2}
        else:
            assert (lead.first_name, lead.city) == ("Cea", "Lima")
            assert lead.attributes == {"a": 2, "b": 3, "n": 2}
        assert await leads.by_id("acme", old) is None
        assert await leads.count("acme") == 1
        assert await leads.pool.fetch_value("select count(*) from mailgenius.leads") == 1


async def test_who_opted_out_stays_out(database: str) -> None:
    async with acme(database, 0) as leads:
        for status, kept in (("pending", "active"), ("bounced", "bounced"), ("unsubscribed", "unsubscribed")):
            keep = await upsert(leads, f"keep-{status}@example.com")
            other = await upsert(leads, f"other-{status}@example.com", status=status)
            await leads.merge("acme", keep, other)
            assert (await one(leads, keep)).status == kept
        assert await listed(leads) == {
            "other-bounced@example.com": "bounced",
            "other-unsubscribed@example.com": "unsubscribed",
            "keep-unsubscribed@example.com": "unsubscribed",
        }
        # complained is stricter, whoever did; and a wish on the list counts, also of a lead that is active
        keep = await upsert(leads, "k@example.com", status="unsubscribed")
        merged = await leads.merge("acme", keep, await upsert(leads, "c@example.com", status="complained"))
        assert (merged.leads[0].status, merged.suppressed) == ("complained", 2)
        keep, other = await upsert(leads, "k2@example.com"), await upsert(leads, "o2@example.com")
        await leads.suppress("acme", ["o2@example.com"], reason="unsubscribed")
        assert (await leads.merge("acme", keep, other)).leads[0].status == "unsubscribed"
        assert (await listed(leads))["o2@example.com"] == "unsubscribed"
        assert (await leads.upsert("acme", [{"email": "o2@example.com"}]))[0].outcome == "suppressed"


async def test_sends_and_activities(database: str) -> None:
    async with acme(database, 3) as leads:
        keep, two, three = [lead.id for lead in (await leads.page("acme")).leads]
        await send(leads, 1, keep, "sent")
        await send(leads, 1, two, "queued")  # dropped: was sent
        await send(leads, 2, keep, "queued")
        await send(leads, 2, two, "sent")  # so the queued one of the lead that stays is dropped
        await send(leads, 3, two, "queued")  # dropped: one is queued already
        stays = await send(leads, 3, keep, "queued")
        moves = await send(leads, 4, three, "queued")
        await send(leads, 5, two, "failed")
        retry = await send(leads, 5, three, "queued")  # the other one failed
        await send(leads, 6, keep, "queued")
        await send(leads, 6, keep, "queued")  # not for us to judge
        await send(leads, 7, two, "delivered")
        await send(leads, 7, three, "delivered")  # what was done was done
        for lead in (keep, two, two, three):
            await leads.pool.execute(ACT, (leads.number, lead))
        assert await leads.pool.fetch_value(UNIQUE) == 3
        merged = await leads.merge("acme", keep, [two, three])
        assert (merged.dropped, merged.sends, merged.activities) == (3, 6, 3)
        assert await leads.pool.fetch_value(UNIQUE) == 1
        rows = await leads.pool.fetch(
            "select campaign_id, status, count(*) from mailgenius.email_sends where lead_id = %s group by 1, 2"
            " order by 1, 2",
            (keep,),
        )
        assert rows == [
            (1, "sent", 1), (2, "sent", 1), (3, "queued", 1), (4, "queued", 1), (5, "failed", 1), (5, "queued", 1),
            (6, "queued", 2), (7, "delivered", 2),
        ]  # fmt: skip
        assert await leads.pool.fetch_value("select count(*) from mailgenius.email_sends") == 10
        emails = dict(await leads.pool.fetch("select id, email from mailgenius.email_sends where status = 'queued'"))
        assert emails[moves] == emails[retry] == "p1@example.com"
        assert emails[stays] == f"to-{keep}"
        kept = "select sum(n)::int8 from mailgenius.campaign_counts where kind = 'queued'"
        assert await leads.pool.fetch_value(kept) == 5
        assert await leads.count("acme", Segment(opened_in=1)) == 1


async def test_many_at_once(database: str) -> None:
    async with acme(database, 1200) as leads:
        numbers = [lead.id for lead in (await leads.page("acme", limit=1200)).leads]
        groups = {numbers[n]: numbers[n + 1 : n + 3] for n in range(0, 1200, 3)}
        merged = await leads.merge_many("acme", groups)
        again = await leads.merge_many("acme", groups)
        assert await leads.tag("acme", Segment(), "later") == 400
        assert (merged.merged, len(merged.leads), merged.missing) == (800, 400, [])
        assert (again.merged, again.leads, len(again.missing)) == (0, [], 800)
        assert await leads.count("acme") == 400
        assert (await leads.merge_many("acme", {})).merged == 0
        assert (await leads.merge_many("acme", {numbers[1]: [numbers[0]]})).missing == [numbers[1]]
        assert await leads.count("acme") == 400
        with pytest.raises(NotFound, match=f"no lead {numbers[1]}"):
            await leads.merge("acme", numbers[1], numbers[0])


async def test_merges_imports_and_tags_at_the_same_time(database: str) -> None:
    async with acme(database, 120) as leads:
        numbers = [lead.id for lead in (await leads.page("acme", limit=120)).leads]

        async def merge(step: int) -> int:
            done = 0
            for n in range(0, 120, 4)[::step]:
                order = numbers[n : n + 4] if step > 0 else numbers[n : n + 4][::-1]
                merged = await leads.merge_many("acme", {order[0]: order[1:]})
                done += merged.merged
            return done

        async def tag(number: int) -> int:
            await leads.tag("acme", Segment(), f"t{number}")
            return 0

        async def write(number: int) -> int:
            for n in range(120, 0, -1):
                await leads.upsert("acme", [{"email": f"p{n}@example.com", "score": number}])
            return 0

        workers = [rt.spawn(merge, 1), rt.spawn(merge, -1), rt.spawn(write, 1), rt.spawn(tag, 2)]
        merged = sum([await worker.join() for worker in workers])
        assert merged >= 90
        rows = await leads.pool.fetch_value("select count(*) from mailgenius.leads")
        assert await leads.count("acme") == rows  # the counters too
        assert 30 <= rows <= 120


async def test_a_sender_at_work_is_waited_for(database: str) -> None:
    """He has taken the duplicate's send and is about to say that it was sent: the queued one must not go out as well."""
    async with acme(database, 2) as leads:
        keep, other = [lead.id for lead in (await leads.page("acme")).leads]
        await send(leads, 1, keep, "queued")
        await send(leads, 1, other, "queued")
        async with leads.pool.transaction() as sender:
            await sender.execute("update mailgenius.email_sends set status = 'sent' where lead_id = %s", (other,))
            worker = rt.spawn(leads.merge, "acme", keep, other)
            while not await leads.pool.fetch_value(WAITING):
                pass
        merged = await worker.join()
        assert (merged.dropped, merged.sends) == (1, 1)
        assert await leads.pool.fetch("select lead_id, status from mailgenius.email_sends") == [(keep, "sent")]


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([1], {}, "groups: expected a dict"),
        ({1: []}, {}, r"groups\[1\]: is an empty list"),
        ({1: 2}, {}, r"groups\[1\]: expected a list"),
        ({1: [1]}, {}, r"groups\[1\]: 1 is named twice"),
        ({1: [2], 3: [2]}, {}, r"groups\[3\]: 2 is named twice"),
        ({1: [3], 3: [2]}, {}, r"groups\[1\]: 3 is named twice"),
        ({"1": [2]}, {}, "groups: expected int"),
        ({1: ["2"]}, {}, r"groups\[1\]\[0\]: expected int"),
        ({1: [2**63]}, {}, "out of range"),
        ({1: [2]}, {"prefer": "best"}, "prefer: 'best' is none of keep, newest"),
    ],
)
async def test_mistakes(database: str, groups: Any, options: dict[str, Any], message: str) -> None:
    async with acme(database, 3) as leads:
        with pytest.raises(ConfigError, match=message):
            await leads.merge_many("acme", groups, **options)
        assert await leads.count("acme") == 3


async def test_duplicates(database: str) -> None:
    async with acme(database, 0) as leads:
        people = {
            "ana.lima@gmail.com": {"phone": "+55 (11) 91234-5678", "first_name": "Ana", "last_name": "Lima"},
            "analima+shop@gmail.com": {"phone": "0055 11 912345678", "first_name": "Ana", "company": "ACME Inc"},
            "a.n.a.lima@googlemail.com": {"phone": "123"},
            "zoe+a@example.com": {"first_name": "Zoé", "last_name": "de Sá", "company": "Acme, Inc."},
            "zoe@example.com": {"first_name": "ZOE", "last_name": "De-Sa", "company": "ACME INC"},
            "zoe.x@example.com": {"phone": "123", "first_name": "Zoe", "last_name": "de Sa"},
            "zo.e@example.com": {"phone": "", "company": "Acme Inc"},
        }
        for email, values in people.items():
            await upsert(leads, email, **values)
        emails = list(people)

        async def found(**options: Any) -> list[tuple[str, int, list[str]]]:
            page = await leads.duplicates("acme", **options)
            assert page.next is None
            return [(group.key, group.count, [lead.email for lead in group.leads]) for group in page.groups]

        assert await found() == [("analima@gmail.com", 3, emails[:3]), ("zoe@example.com", 2, emails[3:5])]
        assert await found(by="phone") == [("5511912345678", 2, emails[:2])]
        assert [(count, mails) for _, count, mails in await found(by="name")] == [(2, emails[3:5])]
        first = await leads.duplicates("acme", limit=1)
        assert ([group.key for group in first.groups], first.next) == (["analima@gmail.com"], "analima@gmail.com")
        second = await leads.duplicates("acme", limit=1, cursor=first.next)
        assert ([group.key for group in second.groups], second.next) == (["zoe@example.com"], None)
        group = first.groups[0]
        await leads.merge("acme", group.leads[0].id, [lead.id for lead in group.leads[1:]])
        assert [key for key, _, _ in await found()] == ["zoe@example.com"]
        await leads.pool.execute(
            "insert into mailgenius.leads (workspace_id, email, phone) select %s, 'x' || n, '12345678'"
            " from generate_series(1, 150) n",
            (leads.number,),
        )
        many = (await leads.duplicates("acme", by="phone")).groups[0]
        assert (many.key, many.count, len(many.leads)) == ("12345678", 150, 100)
        for options, message in (
            ({"by": "shoe size"}, "by: 'shoe size' is none of email, phone, name"),
            ({"limit": 0}, "limit"),
            ({"cursor": ""}, "cursor"),
        ):
            wrong: Any = options
            with pytest.raises(ConfigError, match=message):
                await leads.duplicates("acme", **wrong)


async def test_unsuppress(database: str) -> None:
    async with acme(database, 2) as leads:
        await leads.unsubscribe("acme", "p1@example.com")
        await leads.suppress("acme", ["x@example.com"], reason="erased")
        await leads.delete("acme", "p2@example.com")
        every = ["P1@Example.com", "p2@example.com", "x@example.com", "never@example.com"]
        assert await leads.unsuppress("acme", every) == 1
        assert (await leads.upsert("acme", [{"email": "p2@example.com"}]))[0].outcome == "suppressed"
        lead = await leads.get("acme", "p1@example.com")
        assert lead is not None
        assert lead.status == "unsubscribed"
        assert await leads.unsuppress("acme", every, erased=True) == 2
        assert await listed(leads) == {}
        assert (await leads.upsert("acme", [{"email": "p2@example.com"}]))[0].outcome == "inserted"
        assert await leads.unsuppress("acme", []) == 0
        wrong: Any = [5]
        with pytest.raises(ConfigError, match=r"emails\[0\]"):
            await leads.unsuppress("acme", wrong)
        with pytest.raises(NotFound):
            await leads.unsuppress("nobody", "a@example.com")
