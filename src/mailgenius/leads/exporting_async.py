"""Leads into a file: read through a cursor at one moment, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, TYPE_CHECKING, Any

from mailgenius.rt import aio as rt

from .export_text import Lines
from .sink import Sink
from .sql import query
from .workspaces_async import Workspaces

if TYPE_CHECKING:
    from .segment import Segment

BATCH = 2000  # leads in memory at once


class Exporting(Workspaces):
    async def export(
        self,
        workspace: str,
        segment: Segment | None,
        to: str | os.PathLike[str] | IO[bytes],
        *,
        format: str = "csv",
        compress: str | None = None,
        safe: bool = True,
    ) -> int:
        """Writes the leads of a segment (None: all) in order of their numbers, as they are at one moment; how many.

        ``to``: a path, which appears when all is written, or a binary file object, which stays open. ``format``:
        ``"csv"`` (with a header; tags joined by ``;``, attributes as JSON) or ``"jsonl"``. ``compress``: ``"gzip"`` or
        ``"zstd"``. ``safe``: text in CSV that a spreadsheet would run as a formula gets an apostrophe in front.
        """
        lines = Lines(format, safe)
        condition, params = await self._where(workspace, segment)
        sink = await rt.blocking(Sink, to, compress)

        def put(rows: Sequence[Sequence[Any]]) -> None:
            sink.write(lines.rows(rows))

        count = 0
        try:
            await rt.blocking(sink.write, lines.head())
            async with self._pool.transaction() as connection, connection.cursor(name="mailgenius_export") as cursor:
                await cursor.execute(query("lead_export", segment=condition).encode(), params)
                while rows := await cursor.fetchmany(BATCH):
                    await rt.blocking(put, rows)
                    count += len(rows)
            await rt.blocking(sink.finish)
        except BaseException:
            await rt.blocking(sink.abandon)
            raise
        return count
