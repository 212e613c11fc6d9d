# Made from reading_async.py by `python -m tools.twin`: edit that one.
"""Reading leads: one, some in an order, how many, what they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .model import COLUMNS, Lead, LeadPage, LeadStats
from .paging import INDEXED, check_order, cursor_to, keyset, read_cursor, turned
from .search_text import looks_like_address, search_params
from .segment_bits import compile_bits
from .segment_check import integer
from .segment_sql import compile
from .sql import planned_for, query
from .values import is_segment
from .workspaces_sync import Workspaces

if TYPE_CHECKING:
    from .segment import Segment

DAYS = 30
TOP = 10


class Reading(Workspaces):
    def get(self, workspace: str, email: str) -> Lead | None:
        """The lead with this normalised address, or None."""
        params = {"workspace": self.workspace_id(workspace), "email": email}
        row = self._pool.fetch_one(query("lead_by_email"), params)
        return None if row is None else _lead(row)

    def by_id(self, workspace: str, lead_id: int) -> Lead | None:
        """The lead with this number, or None."""
        params = {"workspace": self.workspace_id(workspace), "id": lead_id}
        row = self._pool.fetch_one(query("lead_by_id"), params)
        return None if row is None else _lead(row)

    def count(self, workspace: str, segment: Segment | None = None) -> int:
        """How many leads are in the segment (None: all of the workspace). Exact. Of all, and of a domain, the
        number is kept; others are counted now, from bitmaps where those can tell (docs/design/bitmaps.md)."""
        number = self.workspace_id(workspace)
        params: dict[str, Any] = {}
        if segment is None:
            text = query("lead_total")
        elif is_segment("segment", segment).given().keys() == {"email_domain"}:
            text, params = query("lead_count_domains"), {"domains": list(segment.email_domain or ())}
        elif (bits := compile_bits(segment, datetime.now(UTC))) is not None:
            text, params = query("lead_count_bits", **bits.parts), bits.params
        else:
            condition, params = compile(segment, datetime.now(UTC))
            text = planned_for(number, query("lead_count", segment=condition))
        return int(self._pool.fetch_value(text, params | {"workspace": number}))

    def estimate(self, workspace: str, segment: Segment | None = None) -> int:
        """About how many leads are in the segment: what PostgreSQL's planner expects from its statistics. Takes a
        millisecond whatever the number of leads; as good as the last ANALYZE, and poor where conditions depend on one
        another."""
        condition, params = self._where(workspace, segment)
        plan = self._pool.fetch_value(query("lead_estimate", segment=condition), params)
        return int(plan[0]["Plan"]["Plan Rows"])

    def page(
        self,
        workspace: str,
        segment: Segment | None = None,
        *,
        order: str = "id",
        descending: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> LeadPage:
        """Up to ``limit`` (at most 10,000) leads of the segment in an order, leads without a value last.

        ``order``: a column that sorts (``paging.ORDERS``); equal values are in the order of their numbers. ``cursor``:
        ``next`` or ``previous`` of another page of the same order. What others write meanwhile neither repeats nor
        skips a lead, unless it moves the lead itself.
        """
        integer("limit", limit, low=1, high=10_000)
        at = None if cursor is None else read_cursor(cursor, check_order(order), descending)
        reaches, by, more = keyset(check_order(order), descending, at)
        condition, params = self._where(workspace, segment)
        found: list[Lead] = []
        for (
            reach
        ) in reaches:  # the second one only where the first is exhausted: without an index, each reads a workspace
            text = query("lead_page", segment=condition, reach=reach, order=by)
            if order not in INDEXED:
                text = planned_for(params["workspace"], text)
            rows = self._pool.fetch(text, params | more | {"limit": limit + 1 - len(found)})
            found += [_lead(row) for row in rows]
            if len(found) > limit:
                break
        leads, further = found[:limit], len(found) > limit
        back = at is not None and at.back
        if back:
            leads.reverse()

        def way(lead: Lead, back: bool) -> str:
            return cursor_to(lead, order, descending=descending, back=back)

        if not leads:
            home = None if at is None else turned(at)
            return LeadPage([], home if back else None, None if back else home)
        has_next = back or further
        has_previous = further if back else at is not None
        return LeadPage(
            leads, way(leads[-1], False) if has_next else None, way(leads[0], True) if has_previous else None
        )

    def search(self, workspace: str, text: str, limit: int = 20) -> list[Lead]:
        """Up to ``limit`` (at most 1,000) leads whose address begins with ``text``, then those who have it in their
        name or company, in upper or lower case. A text with an ``@`` within is part of an address and of nothing else."""
        integer("limit", limit, low=1, high=1000)
        params = search_params(text) | {"workspace": self.workspace_id(workspace), "limit": limit}
        found = self._pool.fetch(query("lead_search_email"), params)
        if len(found) < limit and not looks_like_address(text):
            more = params | {"limit": limit - len(found)}
            found = [*found, *self._pool.fetch(query("lead_search_text"), more)]
        return [_lead(row) for row in found]

    def stats(self, workspace: str) -> LeadStats:
        """What the workspace consists of, at one moment. Kept, so it takes milliseconds however many leads there are."""
        today = datetime.now(UTC).date()
        days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
        params = {"workspace": self.workspace_id(workspace), "since": days[0], "top": TOP}
        found: dict[str, dict[str, int]] = {"status": {}, "day": {}, "tag": {}, "domain": {}}
        for kind, key, count in self._pool.fetch(query("lead_stats"), params):
            found[kind][key] = count
        created = {date.fromisoformat(day): count for day, count in found["day"].items()}
        return LeadStats(
            total=sum(found["status"].values()),
            by_status=found["status"],
            by_day={day: created.get(day, 0) for day in days},
            top_tags=found["tag"],
            top_domains=found["domain"],
        )


def _lead(row: Sequence[Any]) -> Lead:
    return Lead(**dict(zip(COLUMNS, row, strict=True)))
