"""What reading, writing and exporting leads have in common: the pool, workspaces, segments as conditions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mailgenius.errors import NotFound

from .model import check_slug
from .segment_sql import compile
from .sql import query
from .values import is_segment

if TYPE_CHECKING:
    from mailgenius.pool import AsyncPool

    from .segment import Segment


class Workspaces:
    """A workspace is named by its slug, such as "acme"."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool

    async def workspace_id(self, workspace: str) -> int:
        """The number of a workspace; ``NotFound`` if there is none of this name."""
        found = await self._pool.fetch_value(query("workspace_id"), {"slug": check_slug(workspace)})
        if found is None:  # or not yet, on a replica
            with self._pool.read_from_primary():
                found = await self._pool.fetch_value(query("workspace_id"), {"slug": workspace})
        if found is None:
            raise NotFound(f"There is no workspace {workspace!r}.")
        return int(found)

    async def ensure_workspace(self, workspace: str) -> int:
        """The number of a workspace, which is made if there is none. Safe by many processes at once."""
        slug = {"slug": check_slug(workspace)}
        # Look first: an insert that meets its conflict would burn a number each time.
        with self._pool.read_your_writes():
            for name in ("workspace_id", "workspace_create", "workspace_id"):
                found = await self._pool.fetch_value(query(name), slug)
                if found is not None:
                    return int(found)
        raise NotFound(f"The workspace {workspace!r} was deleted while it was being made.")

    async def _where(self, workspace: str, segment: Segment | None) -> tuple[str, dict[str, Any]]:
        """The condition of a segment, and its parameters with the workspace's."""
        condition = "true"
        params: dict[str, Any] = {}
        if segment is not None:
            condition, params = compile(is_segment("segment", segment), datetime.now(UTC))
        return condition, params | {"workspace": await self.workspace_id(workspace)}
