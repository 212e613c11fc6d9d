"""``AsyncImporter``: the importer for programs that must not wait. An import is one blocking call, so it gets a thread."""

from __future__ import annotations

import asyncio
from typing import Any

from mailgenius.config import ImporterSettings
from mailgenius.importer.ledger import Entry
from mailgenius.importer.report import ImportPreview, ImportReport, UndoReport
from mailgenius.importer.run import Importer
from mailgenius.pool import AsyncPool, Pool

__all__ = ["AsyncImporter"]


class AsyncImporter:
    """``Importer`` with the same arguments, to be awaited.

    It works over connections of its own, made when first needed with the settings of ``pool``; ``close`` closes them. A
    cancelled call ends at once, its import goes on in its thread. ``on_progress`` is called in that thread.
    """

    def __init__(self, pool: AsyncPool, settings: ImporterSettings | None = None) -> None:
        self._pool = Pool(pool.conninfo, settings=pool.settings)
        self._importer = Importer(self._pool, settings)

    async def run(self, source: Any, **options: Any) -> ImportReport:
        """As ``Importer.run``."""
        return await asyncio.to_thread(self._importer.run, source, **options)

    async def preview(self, source: Any, **options: Any) -> ImportPreview:
        """As ``Importer.preview``."""
        return await asyncio.to_thread(self._importer.preview, source, **options)

    async def resume(self, import_id: int, **options: Any) -> ImportReport:
        """As ``Importer.resume``."""
        return await asyncio.to_thread(self._importer.resume, import_id, **options)

    async def undo(self, import_id: int, **options: Any) -> UndoReport:
        """As ``Importer.undo``."""
        return await asyncio.to_thread(self._importer.undo, import_id, **options)

    async def imports(self, workspace: str) -> list[Entry]:
        """As ``Importer.imports``."""
        return await asyncio.to_thread(self._importer.imports, workspace)

    async def close(self) -> None:
        """Closes its connections. An import that still runs stops, and can be resumed. Safe to repeat."""
        await asyncio.to_thread(self._pool.close)
