# Made from campaigns_async.py by `python -m tools.twin`: edit that one.
"""Reading what became of campaigns, from kept counters."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from mailgenius.errors import NotFound

from .campaign import CampaignPoint, CampaignStats, check_period, points, stats
from .segment_check import integer, many, moment
from .sql import query
from .workspaces_sync import Workspaces

_LAST = (1 << 63) - 1


class Campaigns(Workspaces):
    def campaign_stats(self, workspace: str, campaign: int) -> CampaignStats:
        """What became of a campaign, exact and kept. ``NotFound`` if there is none with this number."""
        found = self.campaigns(workspace, only=[campaign])
        if not found:
            raise NotFound(f"There is no campaign {campaign} in workspace {workspace!r}.")
        return found[0]

    def campaigns(
        self, workspace: str, *, only: Iterable[int] | None = None, limit: int = 50, before: int | None = None
    ) -> list[CampaignStats]:
        """The campaigns of a workspace with what became of them, the newest first; with ``only``, those of these
        numbers that there are. Up to ``limit`` (at most 1,000), and on from ``before``, the number of a campaign."""
        integer("limit", limit, low=1, high=1000)
        params = {
            "workspace": self.workspace_id(workspace),
            "before": _LAST if before is None else integer("before", before, low=0, high=_LAST),
            "only": None if only is None else list(many(_number, "only", list(only))),
            "limit": limit,
        }
        return [stats(row) for row in self._pool.fetch(query("campaign_stats"), params)]

    def campaign_series(
        self,
        workspace: str,
        campaign: int,
        *,
        by: str = "day",
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> list[CampaignPoint]:
        """A campaign by ``hour`` or ``day`` (UTC), the oldest first; those without anything are left out. From the hour
        of ``since`` to before ``until``."""
        params = {
            "workspace": self.workspace_id(workspace),
            "campaign": _number("campaign", campaign),
            "by": check_period(by),
            "since": None if since is None else moment("since", since),
            "until": None if until is None else moment("until", until),
        }
        return points(self._pool.fetch(query("campaign_series"), params))


def _number(path: str, value: int) -> int:
    return integer(path, value, low=1, high=_LAST)
