"""``Importer``: the four things one can ask for (run, preview, resume, undo), each put together from the passes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from mailgenius.address import IdnResolver
from mailgenius.config import ImporterSettings
from mailgenius.errors import ImportFailed, SourceError
from mailgenius.importer.job import Job, OnProgress
from mailgenius.importer.ledger import Entry, Ledger
from mailgenius.importer.options import ImportOptions, make_options
from mailgenius.importer.report import ImportPreview, ImportReport, UndoReport
from mailgenius.importer.undo import undo
from mailgenius.pool import Pool

__all__ = ["Importer"]


class Importer:
    """Imports CSV files and Arrow streams into the leads of a workspace.

    ``pool``: where the leads live. ``settings``: threads, connections and limits (``ImporterSettings``).
    One Importer may be used by several threads, and several imports may run into one workspace at once.
    """

    def __init__(self, pool: Pool, settings: ImporterSettings | None = None) -> None:
        self._pool = pool
        self._settings = settings or ImporterSettings()
        self._ledger = Ledger(pool)
        self._resolver = IdnResolver()

    def run(
        self,
        source: Any,
        *,
        workspace: str,
        columns: Mapping[str, str] | None = None,
        on_existing: str = "skip",
        update_columns: Iterable[str] | None = None,
        tags: Iterable[str] = (),
        rejects: str | os.PathLike[str] | None = None,
        duplicates: str | os.PathLike[str] | None = None,
        dates: str = "auto",
        encoding: str | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        has_header: bool | None = None,
        atomic: bool = False,
        dry_run: bool = False,
        pad_short_rows: bool = False,
        allow_quoted: bool = False,
        allow_special_use: bool = False,
        keep_undo: bool = True,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Imports ``source`` and accounts for every row of it.

        ``source``: path, binary or text file object, bytes, iterable of bytes, or anything with ``__arrow_c_stream__``;
        gzip and zstd are recognised. ``columns``: header name -> lead field, ``"attributes"``, ``"attribute:<name>"`` or
        ``"ignore"``; what is left out is matched by its name (English, Portuguese, Spanish). ``on_existing``: ``"skip"``,
        ``"update"`` (``update_columns``: which fields; an empty cell erases nothing) or ``"fail"``. ``rejects``: file for
        the rows that were refused, importable once corrected. ``duplicates``: file for (line, line of its first, address).
        ``atomic``: all or nothing, in one transaction. ``dry_run``: reads, checks and counts, and stores nothing.

        SourceError: the source as a whole cannot be read; nothing was imported. ConfigError: the options contradict one
        another. ImportConflict: ``on_existing="fail"`` found leads. ImportFailed: it stopped half way; ``resume`` goes on
        from there.
        """
        options = make_options(
            columns=columns,
            on_existing=on_existing,
            update_columns=update_columns,
            tags=tags,
            dates=dates,
            encoding=encoding,
            delimiter=delimiter,
            quote=quote,
            has_header=has_header,
            atomic=atomic or on_existing == "fail",
            pad_short_rows=pad_short_rows,
            allow_quoted=allow_quoted,
            allow_special_use=allow_special_use,
            keep_undo=keep_undo,
        )
        with self._job(source, options, workspace, rejects, duplicates, on_progress) as job:
            return job.rehearse() if dry_run else job.run()

    def preview(
        self,
        source: Any,
        *,
        rows: int = 10,
        columns: Mapping[str, str] | None = None,
        dates: str = "auto",
        encoding: str | None = None,
        delimiter: str | None = None,
        quote: str | None = None,
        has_header: bool | None = None,
        pad_short_rows: bool = False,
        allow_quoted: bool = False,
        allow_special_use: bool = False,
    ) -> ImportPreview:
        """How ``source`` would be read: dialect, mapping and the first ``rows`` rows with their verdict.

        Touches no database. A source that cannot be rewound (a stream) has lost what was looked at.
        """
        options = make_options(
            columns=columns,
            on_existing="skip",
            update_columns=None,
            tags=(),
            dates=dates,
            encoding=encoding,
            delimiter=delimiter,
            quote=quote,
            has_header=has_header,
            pad_short_rows=pad_short_rows,
            allow_quoted=allow_quoted,
            allow_special_use=allow_special_use,
        )
        with self._job(source, options, "preview") as job:
            return job.preview(rows)

    def resume(
        self,
        import_id: int,
        *,
        source: Any = None,
        workspace: str | None = None,
        on_progress: OnProgress | None = None,
    ) -> ImportReport:
        """Goes on with an import that was interrupted, with the options it was started with.

        ``source`` is needed when it was not a path, or when the file has moved. It must hold the same bytes: SourceError
        if not. An import that is done answers with its report. NotFound: no such import.
        """
        entry = self._ledger.get(import_id, workspace)
        if entry.state == "undone":
            raise ImportFailed(f"import {import_id} was undone; run it anew", import_id=import_id)
        if entry.report is not None:
            return entry.report
        if source is None:
            source = entry.request.path
            if source is None:
                raise SourceError(
                    f"import {import_id} came from {entry.source}, which cannot be opened again: "
                    "give the same data as resume(import_id, source=...)"
                )
        request = entry.request
        files = request.rejects, request.duplicates
        with self._job(source, request.options, entry.workspace, *files, on_progress) as job:
            return job.run(entry)

    def undo(self, import_id: int, *, workspace: str | None = None, force: bool = False) -> UndoReport:
        """Takes an import back: deletes the leads it inserted and restores the ones it updated, in one transaction.

        Leads that changed after the import are kept, unless ``force``. NotFound: no such import.
        """
        return undo(self._pool, self._ledger.get(import_id, workspace), force)

    def imports(self, workspace: str) -> list[Entry]:
        """The imports of a workspace, newest first; ``state`` "loading" or "failed" means that ``resume`` is possible."""
        return self._ledger.all(workspace)

    def close(self) -> None:
        """Nothing to close: the connections are the pool's. ``AsyncImporter`` has some of its own."""

    def _job(
        self,
        source: Any,
        options: ImportOptions,
        workspace: str,
        rejects: str | os.PathLike[str] | None = None,
        duplicates: str | os.PathLike[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Job:
        return Job(
            self._pool, self._settings, self._resolver, source, options, workspace, rejects, duplicates, on_progress
        )
