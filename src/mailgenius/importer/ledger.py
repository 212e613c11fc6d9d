"""The database's memory of imports: what was asked, how it is divided, how far it is, how it ended.

A row appears when the source has been read to its end and before the first lead is stored, so whatever is listed here as
unfinished can be resumed or undone.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from mailgenius.errors import ImportFailed, NotFound
from mailgenius.importer import statements
from mailgenius.importer.lanes import Lane
from mailgenius.importer.load import Counts
from mailgenius.importer.options import ImportOptions
from mailgenius.importer.report import ImportReport
from mailgenius.pool import Pool

__all__ = ["Entry", "Ledger", "Request"]


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What ``run`` was asked, as stored in ``imports.options``."""

    options: ImportOptions
    path: str | None  # absolute; None: a stream, to be given again
    rejects: str | None = None
    duplicates: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One import of one workspace."""

    import_id: int
    workspace_id: int
    workspace: str
    source: str
    request: Request
    state: str  # loading, failed, done, undone
    digest: bytes
    started_at: datetime
    error: str | None
    report: ImportReport | None


class Ledger:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def open(
        self,
        workspace_id: int,
        source: str,
        request: Request,
        digest: bytes,
        size: int,
        stamp: datetime,
        lanes: list[Lane],
    ) -> int:
        """Enters a new import with its lanes; the returned id is what ``resume`` and ``undo`` take."""
        with self._pool.transaction() as conn:
            row = conn.execute(
                "insert into mailgenius.imports (workspace_id, source, options, state, digest, bytes, started_at)"
                " values (%s::int4, %s, %s::jsonb, 'loading', %s, %s, %s) returning id",
                (workspace_id, source, msgspec.json.encode(request).decode(), digest, size, stamp),
            ).fetchone()
            assert row is not None  # noqa: S101 - returning
            import_id: int = row[0]
            self._enter_lanes(conn, workspace_id, import_id, lanes)
        return import_id

    def reopen(self, entry: Entry, lanes: list[Lane]) -> list[Lane]:
        """Takes up an unfinished import again; its lanes stay as they were divided first."""
        with self._pool.transaction() as conn:
            conn.execute(
                "update mailgenius.imports set state = 'loading', error = null, updated_at = now()"
                " where workspace_id = %s::int4 and id = %s::int8",
                (entry.workspace_id, entry.import_id),
            )
            rows = conn.execute(
                "select lane, lo, hi from mailgenius.import_lanes"
                " where workspace_id = %s::int4 and import_id = %s::int8 order by lane",
                (entry.workspace_id, entry.import_id),
            ).fetchall()
            if not rows:
                self._enter_lanes(conn, entry.workspace_id, entry.import_id, lanes)
                return lanes
        return [Lane(number, _bytes(lo), _bytes(hi)) for number, lo, hi in rows]

    @staticmethod
    def _enter_lanes(conn: Any, workspace_id: int, import_id: int, lanes: list[Lane]) -> None:
        for lane in lanes:
            conn.execute(
                "insert into mailgenius.import_lanes (workspace_id, import_id, lane, lo, hi)"
                " values (%s::int4, %s::int8, %s::int4, %s, %s)",
                (workspace_id, import_id, lane.number, _str(lane.lo), _str(lane.hi)),
            )

    def totals(self, workspace_id: int, import_id: int) -> Counts:
        """The outcomes that are committed."""
        with self._pool.read_from_primary():
            row = self._pool.fetch_one(
                "select coalesce(sum(inserted), 0)::int8, coalesce(sum(updated), 0)::int8,"
                " coalesce(sum(existing), 0)::int8, coalesce(sum(duplicates), 0)::int8,"
                " coalesce(sum(suppressed), 0)::int8 from mailgenius.import_lanes"
                " where workspace_id = %s::int4 and import_id = %s::int8",
                (workspace_id, import_id),
            )
        assert row is not None  # noqa: S101 - an aggregate
        return Counts(*row)

    def finish(self, workspace_id: int, import_id: int, report: ImportReport) -> None:
        with self._pool.transaction() as conn:
            conn.execute(
                "update mailgenius.imports set state = 'done', counts = %s::jsonb, updated_at = now(), finished_at = now()"
                " where workspace_id = %s::int4 and id = %s::int8",
                (_json(report), workspace_id, import_id),
            )
            conn.execute(
                "delete from mailgenius.import_lanes where workspace_id = %s::int4 and import_id = %s::int8",
                (workspace_id, import_id),
            )

    def fail(self, workspace_id: int, import_id: int, error: str) -> None:
        self._pool.execute(
            "update mailgenius.imports set state = 'failed', error = %s, updated_at = now()"
            " where workspace_id = %s::int4 and id = %s::int8 and state = 'loading'",
            (error[:2000], workspace_id, import_id),
        )

    def get(self, import_id: int, workspace: str | None = None) -> Entry:
        """NotFound: there is no such import (in that workspace)."""
        found = self._entries(import_id, workspace)
        if not found:
            where = f" in workspace {workspace!r}" if workspace is not None else ""
            raise NotFound(f"there is no import {import_id}{where}; list them with importer.imports(workspace)")
        return found[0]

    def all(self, workspace: str) -> list[Entry]:
        return self._entries(None, workspace)

    def _entries(self, import_id: int | None, slug: str | None) -> list[Entry]:
        with self._pool.read_from_primary():
            rows = self._pool.fetch(statements.text("imports"), {"id": import_id, "slug": slug})
        return [_entry(*row) for row in rows]


def _entry(
    import_id: int,
    workspace_id: int,
    workspace: str,
    source: str,
    options: str,
    state: str,
    digest: bytes,
    started_at: datetime,
    error: str | None,
    counts: str,
) -> Entry:
    try:
        request = msgspec.json.decode(options, type=Request)
        report = msgspec.json.decode(counts, type=ImportReport) if counts != "{}" else None
    except msgspec.ValidationError as mistake:
        raise ImportFailed(
            f"import {import_id} was recorded by another version of mailgenius and cannot be read: {mistake}",
            import_id=import_id,
        ) from mistake
    return Entry(
        import_id=import_id,
        workspace_id=workspace_id,
        workspace=workspace,
        source=source,
        request=request,
        state=state,
        digest=bytes(digest),
        started_at=started_at,
        error=error,
        report=report,
    )


def _json(value: Any) -> str:
    """JSON that jsonb can hold: a NUL in a rejected value is shown as U+FFFD."""
    return msgspec.json.encode(value).decode().replace("\\u0000", "\\ufffd")


def _str(key: bytes | None) -> str | None:
    return None if key is None else key.decode()


def _bytes(key: str | None) -> bytes | None:
    return None if key is None else key.encode()
