# Made from _async.py by `python -m tools.twin`: edit that one.
"""``Leads``: reading leads and keeping the suppression list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailgenius.errors import ConfigError, NotFound

from .model import COLUMNS, SUPPRESSION_REASONS, Lead, LeadPage, check_slug
from .sql import query

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mailgenius.pool import Pool
    from mailgenius.pool.rows import Row


class Leads:
    """The leads of all workspaces. A workspace is named by its slug, such as "acme"."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def workspace_id(self, workspace: str) -> int:
        """The number of a workspace; ``NotFound`` if there is none of this name."""
        found = self._pool.fetch_value(query("workspace_id"), {"slug": check_slug(workspace)})
        if found is None:
            raise NotFound(f"There is no workspace {workspace!r}.")
        return int(found)

    def ensure_workspace(self, workspace: str) -> int:
        """The number of a workspace, which is made if there is none. Safe by many processes at once."""
        slug = {"slug": check_slug(workspace)}
        # Look first: an insert that meets its conflict would burn a number each time.
        for name in ("workspace_id", "workspace_create", "workspace_id"):
            found = self._pool.fetch_value(query(name), slug)
            if found is not None:
                return int(found)
        raise NotFound(f"The workspace {workspace!r} was deleted while it was being made.")

    def get(self, workspace: str, email: str) -> Lead | None:
        """The lead with this normalised address, or None."""
        params = {"workspace": self.workspace_id(workspace), "email": email}
        row = self._pool.fetch_one(query("lead_by_email"), params)
        return None if row is None else _lead(row)

    def by_id(self, workspace: str, lead_id: int) -> Lead | None:
        """The lead with this number, or None."""
        row = self._pool.fetch_one(query("lead_by_id"), {"workspace": self.workspace_id(workspace), "id": lead_id})
        return None if row is None else _lead(row)

    def count(self, workspace: str) -> int:
        """How many leads the workspace has, counted now."""
        return int(self._pool.fetch_value(query("lead_count"), {"workspace": self.workspace_id(workspace)}))

    def page(self, workspace: str, *, after: int | None = None, limit: int = 50) -> LeadPage:
        """Up to ``limit`` leads in order of their numbers, from the one after ``after`` on (``LeadPage.next``)."""
        if not 1 <= limit <= 10_000:
            raise ConfigError(f"limit: {limit} is out of range; give a value between 1 and 10000")
        params = {"workspace": self.workspace_id(workspace), "after": after or 0, "limit": limit + 1}
        leads = [_lead(row) for row in self._pool.fetch(query("lead_page"), params)]
        if len(leads) > limit:
            return LeadPage(leads[:limit], leads[limit - 1].id)
        return LeadPage(leads, None)

    def suppress(self, workspace: str, emails: Iterable[str], reason: str = "manual") -> int:
        """Puts normalised addresses on the suppression list: imports leave them out. How many were not on it before."""
        if reason not in SUPPRESSION_REASONS:
            raise ConfigError(f"reason: {reason!r} is unknown; one of {', '.join(SUPPRESSION_REASONS)}")
        if isinstance(emails, str):
            emails = [emails]
        params = {"workspace": self.ensure_workspace(workspace), "emails": list(emails), "reason": reason}
        return self._pool.execute(query("suppress"), params)


def _lead(row: Row) -> Lead:
    return Lead(**dict(zip(COLUMNS, row, strict=True)))
