"""Reading what became of campaigns, from kept counters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mailgenius.errors import NotFound

from .campaign import CampaignCounts, CampaignPoint, CampaignStats, check_period, counts, points, stats
from .segment_check import integer, many, moment
from .sql import query
from .workspaces_async import Workspaces

_LAST = (1 << 63) - 1


class Campaigns(Workspaces):
    async def campaign_stats(self, workspace: str, campaign: int) -> CampaignStats:
        """What became of a campaign, exact and kept. ``NotFound`` if there is none with this number."""
        params = {
            "workspace": await self.workspace_id(workspace),
            "campaign": _number("campaign", campaign),
            "before": _LAST,
            "only": [campaign],
            "limit": 1,
        }
        row = await self._pool.fetch_one(query("campaigns"), params)
        times = await self._pool.fetch_one(query("campaign_times"), params)
        if row is None or times is None:
            raise NotFound(f"There is no campaign {campaign} in workspace {workspace!r}.")
        return stats(row, times)

    async def campaigns(
        self, workspace: str, *, only: Iterable[int] | None = None, limit: int = 50, before: int | None = None
    ) -> list[CampaignCounts]:
        """The campaigns of a workspace with what became of them, the newest first; with ``only``, those of these
        numbers that there are. Up to ``limit`` (at most 1,000), and on from ``before``, the number of a campaign."""
        integer("limit", limit, low=1, high=1000)
        params = {
            "workspace": await self.workspace_id(workspace),
            "before": _LAST if before is None else integer("before", before, low=0, high=_LAST),
            "only": None if only is None else list(many(_number, "only", list(only))),
            "limit": limit,
        }
        return [counts(row) for row in await self._pool.fetch(query("campaigns"), params)]

    async def campaign_series(
        self,
        workspace: str,
        campaign: int,
        *,
        by: str = "day",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[CampaignPoint]:
        """A campaign by ``hour`` or ``day`` (UTC), the oldest first; those without anything are left out. From the hour
        or day of ``since`` on, and those that begin before ``until``."""
        name = f"campaign_{check_period(by)}s"
        params = {
            "workspace": await self.workspace_id(workspace),
            "campaign": _number("campaign", campaign),
            "since": None if since is None else moment("since", since),
            "until": None if until is None else moment("until", until),
        }
        return points(await self._pool.fetch(query(name), params))


def _number(path: str, value: int) -> int:
    return integer(path, value, low=1, high=_LAST)
