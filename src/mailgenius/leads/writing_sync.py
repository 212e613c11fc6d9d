# Made from writing_async.py by `python -m tools.twin`: edit that one.
"""Writing leads. Every call is one transaction, repeated if PostgreSQL gave it up for another one (deadlock)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailgenius.errors import ConfigError

from .model import SUPPRESSION_REASONS, Upserted
from .segment import Segment
from .sql import query
from .upserts import Upserts
from .values import addresses, changes, checked, is_segment, tag_list, upsert_parts
from .workspaces_sync import Workspaces

if TYPE_CHECKING:
    import psycopg

    from mailgenius.pool.rows import Row


class Writing(Workspaces):
    def upsert(
        self,
        workspace: str,
        leads: Sequence[Mapping[str, Any]],
        *,
        allow_quoted: bool = False,
        allow_special_use: bool = False,
    ) -> list[Upserted]:
        """Inserts leads, or updates those with the same address; what became of each, in their order.

        A lead is a dict with ``email`` and any of first_name, last_name, phone, company, city, country, tags,
        attributes, status, score. As in an import: what is not given stays, tags and attributes are added, opted-out
        leads stay so, suppressed addresses are left out, the first of two spellings of an address counts. ``None``
        erases. An address that cannot be is rejected with its reason; any other mistake raises ``ConfigError``
        (``$[3].score``), and nothing is written. At most 10,000 leads; the importer takes more.
        """
        given = Upserts(leads, allow_quoted=allow_quoted, allow_special_use=allow_special_use)
        number = self.ensure_workspace(workspace)

        def do(connection: psycopg.Connection[Row]) -> list[Row]:
            found: list[Row] = []
            for columns, rows in given.batches():
                text = query("lead_upsert", **upsert_parts(columns))
                cursor = connection.execute(text.encode(), {"workspace": number, "leads": rows})
                found += cursor.fetchall()
            return found

        return given.outcomes(self._pool.run(do) if given.any else [])

    def update_many(self, workspace: str, segment: Segment, values: Mapping[str, Any]) -> int:
        """Gives the leads of a segment these values; how many that changed. ``attributes`` are added to those there."""
        sets, differs, new = changes(checked("$", values))
        condition, params = self._where(workspace, is_segment("segment", segment))
        return self._change(query("lead_update", segment=condition, changes=sets, differs=differs), params | new)

    def tag(self, workspace: str, segment: Segment, tags: str | Iterable[str]) -> int:
        """Adds tags to the leads of a segment; how many that changed."""
        return self._retag("lead_tag", workspace, segment, tags)

    def untag(self, workspace: str, segment: Segment, tags: str | Iterable[str]) -> int:
        """Takes tags from the leads of a segment; how many that changed."""
        return self._retag("lead_untag", workspace, segment, tags)

    def unsubscribe(self, workspace: str, emails: str | Iterable[str]) -> int:
        """These addresses, in any spelling, want no more mail: their leads, if there are any, get the status
        ``unsubscribed``, and all go on the suppression list, both or neither. How many leads that changed."""
        found = addresses("emails", emails)
        params = {"workspace": self.ensure_workspace(workspace), "emails": found, "reason": "unsubscribed"}

        def do(connection: psycopg.Connection[Row]) -> int:
            connection.execute(query("suppress").encode(), params)
            cursor = connection.execute(query("lead_unsubscribe").encode(), params)
            return cursor.rowcount

        return self._pool.run(do)

    def suppress(self, workspace: str, emails: Iterable[str], reason: str = "manual") -> int:
        """Puts normalised addresses on the suppression list: imports leave them out. How many were not on it before."""
        if reason not in SUPPRESSION_REASONS:
            raise ConfigError(f"reason: {reason!r} is unknown; one of {', '.join(SUPPRESSION_REASONS)}")
        if isinstance(emails, str):
            emails = [emails]
        params = {"workspace": self.ensure_workspace(workspace), "emails": list(emails), "reason": reason}
        return self._pool.execute(query("suppress"), params)

    def unsuppress(self, workspace: str, emails: str | Iterable[str], *, erased: bool = False) -> int:
        """Takes addresses, in any spelling, off the suppression list; how many were on it. Leads keep their status.

        ``erased``: also those of whom ``delete`` left a hash. Do it only if they themselves ask for it.
        """
        params = {"emails": addresses("emails", emails), "erased": erased}
        return self._pool.execute(query("unsuppress"), params | {"workspace": self.workspace_id(workspace)})

    def delete(self, workspace: str, which: str | Iterable[str] | Segment, *, erase: bool = True) -> int:
        """Deletes leads (addresses in any spelling, or a segment) with their sends and activities; how many leads.

        ``erase``: nothing that names them stays, only a hash of each address on the suppression list, so that neither
        ``upsert`` nor an import brings them back: ``"sha256:"`` and the SHA-256 of the normalised address in hex. False:
        the suppression list stays as it is.
        """
        emails: list[str] = []
        if isinstance(which, Segment):
            condition, params = self._where(workspace, which)
        else:
            emails = addresses("which", which)
            condition, params = self._where(workspace, None)
            condition = "l.email = any (%(emails)s::text[])"
        params |= {"emails": emails, "erase": erase}

        def do(connection: psycopg.Connection[Row]) -> int:
            cursor = connection.execute(query("lead_delete", segment=condition).encode(), params)
            row = cursor.fetchone()
            return int(row[0]) if row else 0

        return self._pool.run(do)

    def _retag(self, name: str, workspace: str, segment: Segment, tags: str | Iterable[str]) -> int:
        wanted = tag_list(tags)
        condition, params = self._where(workspace, is_segment("segment", segment))
        return self._change(query(name, segment=condition), params | {"tags": wanted})

    def _change(self, text: str, params: dict[str, Any]) -> int:
        def do(connection: psycopg.Connection[Row]) -> int:
            return (connection.execute(text.encode(), params)).rowcount

        return self._pool.run(do)
