"""Takes an import back, in one transaction."""

from __future__ import annotations

from mailgenius.errors import ImportBusy
from mailgenius.importer import statements
from mailgenius.importer.ledger import Entry
from mailgenius.importer.report import UndoReport
from mailgenius.pool import Pool

__all__ = ["undo"]


def undo(pool: Pool, entry: Entry, force: bool) -> UndoReport:
    """Deletes what the import inserted and restores what it updated; leads changed since stay, unless ``force``."""
    if entry.state == "undone":
        return UndoReport(import_id=entry.import_id, deleted=0, restored=0, kept=0)
    params = {
        "workspace": entry.workspace_id,
        "import_id": entry.import_id,
        "force": force,
        "stamp": entry.started_at,
    }
    with pool.transaction() as conn:
        if not conn.execute(statements.text("undo_begin"), params).rowcount:
            raise ImportBusy(f"import {entry.import_id} is being undone by another process", import_id=entry.import_id)
        row = conn.execute(statements.text("undo_count"), params).fetchone()
        assert row is not None  # noqa: S101 - counts
        restored = conn.execute(statements.text("undo_restore"), params).rowcount
        deleted = conn.execute(statements.text("undo_delete"), params).rowcount
        conn.execute(statements.text("undo_end"), params)
    return UndoReport(
        import_id=entry.import_id, deleted=deleted, restored=restored, kept=row[0] + row[1] - restored - deleted
    )
