"""Finding leads who look like one person, and making one lead of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mailgenius.errors import NotFound

from . import merge
from .merge import DuplicateGroup, DuplicatePage, Groups, Merged
from .model import COLUMNS, Lead
from .segment_check import integer, text
from .sql import query
from .workspaces_async import Workspaces

if TYPE_CHECKING:
    import psycopg

    from mailgenius.pool.rows import Row


class _DryRun(Exception):
    """Takes back a transaction whose result is known."""

    def __init__(self, merged: Merged) -> None:
        self.merged = merged


class Merging(Workspaces):
    async def duplicates(
        self, workspace: str, *, by: str = "email", limit: int = 50, cursor: str | None = None
    ) -> DuplicatePage:
        """Groups of leads who look like one person, up to ``limit`` (at most 1,000), in the order of what they share.

        ``by``: ``email``, the same mailbox (without +something; at Gmail without dots too); ``phone``, the same digits;
        ``name``, the same first and last name and company, whatever case, accents and punctuation. A guess: look before
        you merge. Reads the workspace for each page, unless there is an index on the key.
        """
        integer("limit", limit, low=1, high=1000)
        params = {
            "workspace": await self.workspace_id(workspace),
            "after": "" if cursor is None else text("cursor", cursor),
            "limit": limit + 1,
            "shown": merge.MAX_LEADS,
        }
        key = merge.check_key(by)
        groups: dict[str, DuplicateGroup] = {}
        for shared, count, *lead in await self._pool.fetch(query("duplicates", key=key), params):
            group = groups.setdefault(shared, DuplicateGroup(shared, count, []))
            group.leads.append(Lead(**dict(zip(COLUMNS, lead, strict=True))))
        found = list(groups.values())
        return DuplicatePage(found[:limit], found[limit - 1].key if len(found) > limit else None)

    async def merge(
        self, workspace: str, keep: int, duplicates: int | Iterable[int], *, prefer: str = "keep", dry_run: bool = False
    ) -> Merged:
        """Makes one lead of several, in one transaction. ``NotFound`` if there is no lead ``keep``.

        It gets what it lacks from the duplicates, in their order, or with ``prefer="newest"`` each value from the lead
        changed last that has one; all tags and attributes, the highest score, the earliest ``created_at``, and the
        strictest status: complained, unsubscribed, bounced. Sends and activities are its own now; of several sends of
        one campaign, those still queued are dropped but for one, and that too if another was sent. The duplicates are
        deleted; who opted out stays on the suppression list, or is put there. ``dry_run``: nothing is changed.
        """
        others = [duplicates] if isinstance(duplicates, int) else list(duplicates)
        merged = await self.merge_many(workspace, {keep: others}, prefer=prefer, dry_run=dry_run)
        if keep in merged.missing:
            raise NotFound(f"There is no lead {keep} in workspace {workspace!r}.")
        return merged

    async def merge_many(
        self, workspace: str, groups: Mapping[int, Iterable[int]], *, prefer: str = "keep", dry_run: bool = False
    ) -> Merged:
        """``merge`` of each lead in ``groups`` (at most 10,000) with its duplicates. Each group is merged as a whole or
        not at all; some hundred leads are one transaction, and those before an error stay merged."""
        if isinstance(groups, Mapping):
            groups = {keep: list(others) if isinstance(others, Iterable) else others for keep, others in groups.items()}
        number = await self.workspace_id(workspace)
        fixed = {"workspace": number, "newest": merge.check_preference(prefer) == "newest"}
        parts = [await self._merge(batch, fixed, dry_run=dry_run) for batch in list(merge.batches(groups))]
        return merge.total(parts)

    async def _merge(self, groups: Groups, fixed: dict[str, Any], *, dry_run: bool) -> Merged:
        async def do(connection: psycopg.AsyncConnection[Row]) -> Merged:
            async def rows(name: str, params: dict[str, Any]) -> list[Row]:
                return await (await connection.execute(query(name).encode(), fixed | params)).fetchall()

            async def change(name: str, params: dict[str, Any]) -> int:
                return (await connection.execute(query(name).encode(), fixed | params)).rowcount

            there = [row[0] for row in await rows("merge_lock", {"ids": groups.ids})]
            params, missing = groups.params(there)
            await rows("merge_lock_sends", params)
            dropped = await change("merge_drop", params)
            sends = await change("merge_sends", params)
            activities = await change("merge_activities", params)
            suppressed = await change("merge_suppress", params)
            leads = [Lead(**dict(zip(COLUMNS, row, strict=True))) for row in await rows("merge_leads", params)]
            await change("merge_delete", params)
            merged = Merged(
                leads=leads,
                merged=len(params["gone"]),
                missing=missing,
                sends=sends,
                dropped=dropped,
                activities=activities,
                suppressed=suppressed,
            )
            if dry_run:
                raise _DryRun(merged)
            return merged

        try:
            return await self._pool.run(do)
        except _DryRun as done:
            return done.merged
