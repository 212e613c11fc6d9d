# Made from test_campaigns_async.py by `python -m tools.twin`: edit that one.
"""What became of campaigns, as applications ask for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailgenius.errors import ConfigError, NotFound
from mailgenius.leads import CampaignPoint

from .acme_sync import Acme, acme

SENDS = (
    "insert into mailgenius.email_sends (workspace_id, campaign_id, lead_id, email, status, error, created_at)"
    " select %s, %s, n, 'p' || n, (array['queued', 'failed', 'sent', 'delivered', 'complained', 'bounced', 'bounced',"
    " 'bounced'])[n], case n when 6 then '550 no such user' when 7 then '4.2.2 full' end,"
    " '2026-03-01 22:30Z'::timestamptz + n * interval '20 minutes' from generate_series(1, 8) n"
)
ACTIVITIES = (
    "insert into mailgenius.lead_activities (workspace_id, campaign_id, lead_id, kind, created_at)"
    " select %s, %s, n / 2, (array['open', 'click', 'unsubscribe'])[1 + n %% 3],"
    " '2026-03-02 10:00Z'::timestamptz + n * interval '6 hours' from generate_series(0, 8) n"
)


def campaign(leads: Acme, name: str) -> int:
    text = "insert into mailgenius.campaigns (workspace_id, name) values (%s, %s) returning id"
    return int(leads.pool.fetch_value(text, (leads.number, name)))


def test_a_campaign(database: str) -> None:
    with acme(database, 0) as leads:
        spring = campaign(leads, "Spring")
        for text in (SENDS, ACTIVITIES):
            leads.pool.execute(text, (leads.number, spring))
        one = leads.campaign_stats("acme", spring)
        assert (one.id, one.name, one.status) == (spring, "Spring", "draft")
        assert (one.queued, one.sent, one.delivered, one.failed, one.complained) == (1, 6, 2, 1, 1)
        assert (one.bounced, one.bounced_hard, one.bounced_soft) == (3, 1, 1)
        assert (one.opens, one.unique_opens, one.clicks, one.unique_clicks) == (3, 3, 3, 3)
        assert (one.unsubscribes, one.unique_unsubscribes) == (3, 3)
        assert (one.reached, one.bounce_rate, one.delivery_rate, one.open_rate) == (3, 0.5, 2 / 6, 1.0)
        assert (one.click_rate, one.click_to_open_rate, one.unsubscribe_rate, one.complaint_rate) == (1, 1, 1, 1 / 3)
        assert (one.first_sent, one.last_sent) == (
            datetime(2026, 3, 1, 23, tzinfo=UTC),
            datetime(2026, 3, 2, 1, tzinfo=UTC),
        )
        assert one.first_activity == datetime(2026, 3, 2, 10, tzinfo=UTC)
        assert one.last_activity == datetime(2026, 3, 4, 10, tzinfo=UTC)
        # the same person again, and one who is erased
        leads.pool.execute(ACTIVITIES, (leads.number, spring))
        again = leads.campaign_stats("acme", spring)
        assert (again.opens, again.unique_opens) == (6, 3)
        leads.pool.execute("delete from mailgenius.lead_activities where lead_id = 0")
        assert (leads.campaign_stats("acme", spring)).unique_opens == 2


def test_by_day_and_hour(database: str) -> None:
    with acme(database, 0) as leads:
        spring = campaign(leads, "Spring")
        for text in (SENDS, ACTIVITIES):
            leads.pool.execute(text, (leads.number, spring))
        days = leads.campaign_series("acme", spring)
        assert [(point.at.day, point.sent, point.failed, point.opens, point.clicks) for point in days] == [
            (1, 2, 1, 0, 0), (2, 4, 0, 1, 1), (3, 0, 0, 2, 1), (4, 0, 0, 0, 1),
        ]  # fmt: skip
        hours = leads.campaign_series("acme", spring, by="hour")
        for field in CampaignPoint.__struct_fields__[1:]:
            assert sum(getattr(point, field) for point in hours) == sum(getattr(point, field) for point in days)
        assert (hours[0].at, hours[0].queued, hours[0].sent) == (datetime(2026, 3, 1, 22, tzinfo=UTC), 1, 0)
        since, until = datetime(2026, 3, 2, 0, 30, tzinfo=UTC), datetime(2026, 3, 2, 1, tzinfo=UTC)
        later = leads.campaign_series("acme", spring, by="hour", since=since)
        assert later[0].at == datetime(2026, 3, 2, tzinfo=UTC)
        some = leads.campaign_series("acme", spring, by="hour", since=since, until=until)
        assert [point.at.hour for point in some] == [0]
        some = leads.campaign_series("acme", spring, since=since, until=datetime(2026, 3, 3, 0, 0, 1, tzinfo=UTC))
        assert [point.at.day for point in some] == [2, 3]
        assert leads.campaign_series("acme", 999) == []


def test_the_campaigns_of_a_workspace(database: str) -> None:
    with acme(database, 0) as leads:
        numbers = [campaign(leads, f"C{n}") for n in range(5)]
        leads.pool.execute(SENDS, (leads.number, numbers[1]))
        found = leads.campaigns("acme")
        assert [one.id for one in found] == numbers[::-1]
        assert [one.sent for one in found] == [0, 0, 0, 6, 0]
        assert found[0].open_rate is None
        assert (leads.campaign_stats("acme", numbers[0])).first_sent is None
        page = leads.campaigns("acme", limit=2)
        assert [one.name for one in page] == ["C4", "C3"]
        assert [one.name for one in leads.campaigns("acme", limit=2, before=page[-1].id)] == ["C2", "C1"]
        assert [one.name for one in leads.campaigns("acme", only=[numbers[0], numbers[3], 999])] == ["C3", "C0"]
        leads.ensure_workspace("other")
        assert leads.campaigns("other") == []
        with pytest.raises(NotFound, match="no campaign"):
            leads.campaign_stats("other", numbers[0])
        with pytest.raises(NotFound, match="no workspace"):
            leads.campaigns("nobody")


@pytest.mark.parametrize(
    ("call", "given", "path"),
    [
        ("campaigns", {"limit": 0}, "limit"),
        ("campaigns", {"only": []}, "only: is an empty list"),
        ("campaigns", {"only": ["1"]}, r"only\[0\]: expected int"),
        ("campaigns", {"before": 2**63}, "before"),
        ("campaign_stats", {"campaign": "x"}, "expected int"),
        ("campaign_series", {"campaign": 0}, "campaign"),
        ("campaign_series", {"campaign": 1, "by": "week"}, "by: 'week' is none of hour, day"),
        ("campaign_series", {"campaign": 1, "since": datetime(2026, 1, 1)}, "since: .* has no time zone"),
    ],
)
def test_mistakes(database: str, call: str, given: dict[str, Any], path: str) -> None:
    with acme(database, 0) as leads:
        with pytest.raises(ConfigError, match=path):
            getattr(leads, call)("acme", **given)
