"""Reading leads: one, some in an order, how many, what they consist of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from .model import COLUMNS, Lead, LeadPage, LeadStats
from .paging import INDEXED, check_order, cursor_to, keyset, read_cursor, turned
from .search_text import looks_like_address, search_params
from .segment_bits import OWN_INDEX, compile_bits, compile_candidates
from .segment_check import integer
from .segment_sql import compile
from .sql import planned_for, query
from .values import is_segment
from .workspaces_async import Workspaces

if TYPE_CHECKING:
    from mailgenius.pool import AsyncPool

    from .segment import Segment

# A page reads so many leads of an order, or so many for each one wanted if that is more, before it asks the bits; and of
# those that bits leave, it sorts so many at most.
NEAR, NEAR_EACH = 10_000, 200
FEW = 5_000
DAYS = 30
TOP = 10


class Reading(Workspaces):
    def __init__(self, pool: AsyncPool) -> None:
        super().__init__(pool)
        self._indexes = {"leads_pkey", "leads_email"}  # of leads, that are there

    async def get(self, workspace: str, email: str) -> Lead | None:
        """The lead with this normalised address, or None."""
        params = {"workspace": await self.workspace_id(workspace), "email": email}
        row = await self._pool.fetch_one(query("lead_by_email"), params)
        return None if row is None else _lead(row)

    async def by_id(self, workspace: str, lead_id: int) -> Lead | None:
        """The lead with this number, or None."""
        params = {"workspace": await self.workspace_id(workspace), "id": lead_id}
        row = await self._pool.fetch_one(query("lead_by_id"), params)
        return None if row is None else _lead(row)

    async def count(self, workspace: str, segment: Segment | None = None) -> int:
        """How many leads are in the segment (None: all of the workspace). Exact. Of all, and of a domain, the
        number is kept; others are counted now, from bitmaps where those can tell (docs/design/bitmaps.md)."""
        number = await self.workspace_id(workspace)
        here = {"workspace": number}
        if segment is None:
            return int(await self._pool.fetch_value(query("lead_total"), here))
        if is_segment("segment", segment).given().keys() == {"email_domain"}:
            domains = {"domains": list(segment.email_domain or ())}
            return int(await self._pool.fetch_value(query("lead_count_domains"), domains | here))
        now = datetime.now(UTC)
        if (bits := compile_bits(segment, now)) is not None:
            found = await self._pool.fetch_value(query("lead_count_bits", **bits.parts), bits.params | here)
            if found is not None:
                return int(found)
        condition, params = compile(segment, now)
        text = planned_for(number, query("lead_count", segment=condition))
        return int(await self._pool.fetch_value(text, params | here))

    async def estimate(self, workspace: str, segment: Segment | None = None) -> int:
        """About how many leads are in the segment: what PostgreSQL's planner expects from its statistics. Takes a
        millisecond whatever the number of leads; as good as the last ANALYZE, and poor where conditions depend on one
        another."""
        condition, params = await self._where(workspace, segment)
        plan = await self._pool.fetch_value(query("lead_estimate", segment=condition), params)
        return int(plan[0]["Plan"]["Plan Rows"])

    async def page(
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
        condition, params = await self._where(workspace, segment)
        found: list[Lead] = []
        for reach in reaches:  # the second one only where the first is exhausted
            parts = {"segment": condition, "reach": reach, "order": by}
            wanted = limit + 1 - len(found)
            found += map(_lead, await self._some(segment, order, parts, params | more | {"limit": wanted}))
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

    async def _some(
        self, segment: Segment | None, order: str, parts: dict[str, str], params: dict[str, Any]
    ) -> list[tuple[Any, ...]]:
        """The first leads of a reach. A statement answers all of it or nothing: what one found is not added to what another
        finds, so no lead can come between them."""
        given = {} if segment is None else segment.given()
        near = max(NEAR, NEAR_EACH * params["limit"])
        of_company = "company" in given and await self._has("leads_company")
        if of_company:
            companies = {"companies": list(given["company"]), "few": near // 2}
            if (rows := await self._few("lead_page_company", parts, params | companies)) is not None:
                return rows
        if segment is not None and (of_company or OWN_INDEX.isdisjoint(given)):
            if order in INDEXED and await self._has(INDEXED[order]):  # those of a segment that many are in are near
                rows = await self._pool.fetch(query("lead_page_near", **parts), params | {"near": near})
                if len(rows) == params["limit"]:
                    return rows
            bits = None if of_company else compile_candidates(segment, datetime.now(UTC))
            if bits is not None:
                more = bits.params | {"few": FEW}
                if (rows := await self._few("lead_page_bits", parts | bits.parts, params | more)) is not None:
                    return rows
        text = query("lead_page", **parts)
        return await self._pool.fetch(text if order in INDEXED else planned_for(params["workspace"], text), params)

    async def _few(self, name: str, parts: dict[str, str], params: dict[str, Any]) -> list[tuple[Any, ...]] | None:
        """What a statement finds that reads and sorts all that can be in a segment, if those are few."""
        rows = await self._pool.fetch(query(name, **parts), params)
        return [row[1:] for row in rows if row[1] is not None] if rows[0][0] else None

    async def _has(self, index: str) -> bool:
        """Whether an index of leads is there; not asked again once it was."""
        if index not in self._indexes and await self._pool.fetch_value(query("leads_index"), {"index": index}):
            self._indexes.add(index)
        return index in self._indexes

    async def search(self, workspace: str, text: str, limit: int = 20) -> list[Lead]:
        """Up to ``limit`` (at most 1,000) leads whose address begins with ``text``, then those who have it in their
        name or company, in upper or lower case. A text with an ``@`` within is part of an address and of nothing else."""
        integer("limit", limit, low=1, high=1000)
        params = search_params(text) | {"workspace": await self.workspace_id(workspace), "limit": limit}
        found = await self._pool.fetch(query("lead_search_email"), params)
        if len(found) < limit and not looks_like_address(text):
            more = params | {"limit": limit - len(found)}
            found = [*found, *await self._pool.fetch(query("lead_search_text"), more)]
        return [_lead(row) for row in found]

    async def stats(self, workspace: str) -> LeadStats:
        """What the workspace consists of, at one moment. Kept, so it takes milliseconds however many leads there are."""
        today = datetime.now(UTC).date()
        days = [today - timedelta(days=ago) for ago in range(DAYS - 1, -1, -1)]
        params = {"workspace": await self.workspace_id(workspace), "since": days[0], "top": TOP}
        found: dict[str, dict[str, int]] = {"status": {}, "day": {}, "tag": {}, "domain": {}}
        for kind, key, count in await self._pool.fetch(query("lead_stats"), params):
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
