"""One import (or dry run, or preview) from beginning to end: owns the source, the sorted runs and the side files."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mailgenius._native import REASONS, ArrowReader, Batch, Records
from mailgenius.address import IdnResolver
from mailgenius.config import ImporterSettings
from mailgenius.errors import ImportBusy, MailgeniusError, NotFound, SourceError
from mailgenius.importer.blocks import BlockStore
from mailgenius.importer.duplicates import DuplicatesFile
from mailgenius.importer.interpret import Reading, interpret_arrow, interpret_csv, make_plan
from mailgenius.importer.lanes import Lane, split
from mailgenius.importer.ledger import Entry, Ledger, Request
from mailgenius.importer.load import Counts, Loader, Target
from mailgenius.importer.options import UPDATABLE, ImportOptions
from mailgenius.importer.read import ArrowFeed, CsvFeed, Feed, Intake
from mailgenius.importer.rejects import RejectsWriter
from mailgenius.importer.report import SAMPLE, ImportPreview, ImportReport, PreviewRow, Progress
from mailgenius.importer.source import Source, open_source
from mailgenius.leads import Leads
from mailgenius.leads.orders import ensure_orders
from mailgenius.pool import Pool

__all__ = ["Job", "OnProgress"]

_SAMPLE_BYTES = 256 << 10
_TICK_SECONDS = 0.1
#: Below this a second reading thread costs more to start than it saves.
_THREADED_BYTES = 2 << 20

OnProgress = Callable[[Progress], object]


class Job:
    def __init__(
        self,
        pool: Pool,
        settings: ImporterSettings,
        resolver: IdnResolver,
        source: Any,
        options: ImportOptions,
        workspace: str,
        rejects: str | os.PathLike[str] | None,
        duplicates: str | os.PathLike[str] | None,
        on_progress: OnProgress | None,
    ) -> None:
        self.pool = pool
        self.settings = settings
        self.resolver = resolver
        self.ledger = Ledger(pool)
        self.leads = Leads(pool)
        self.options = options
        self.workspace = workspace
        self.rejects_path = None if rejects is None else str(Path(os.fspath(rejects)).absolute())
        self.duplicates_path = None if duplicates is None else str(Path(os.fspath(duplicates)).absolute())
        self.on_progress = on_progress
        self.started = time.monotonic()
        self.last_tick = 0.0
        self.phases: dict[str, float] = {}
        # A caller's own object is read in the caller's thread; only what we open ourselves is read by several.
        self.ours = isinstance(source, str | os.PathLike | bytes | bytearray | memoryview)
        self.source: Source = open_source(
            source,
            encoding=options.encoding,
            max_expansion=self.settings.max_expansion,
            max_bytes=self.settings.max_bytes,
            block_bytes=self.settings.block_bytes,
        )
        self.store = BlockStore(self.settings.spill_bytes, self.settings.temp_dir)
        self.rejects: RejectsWriter | None = None
        self.duplicates: DuplicatesFile | None = None
        self.duplicate_sample: list[tuple[int, int]] = []
        self.intake: Intake | None = None

    def __enter__(self) -> Job:
        return self

    def __exit__(self, *exc: object) -> None:
        self.store.close()
        self.source.close()
        if self.rejects is not None:
            self.rejects.close()
        if self.duplicates is not None:
            self.duplicates.close()

    # -- the passes ----------------------------------------------------------------------------------------------

    def interpret(self) -> tuple[Reading, Callable[[Reading], Feed]]:
        """Decides how to read, and says how to go on from the first row."""
        if self.source.is_arrow:
            reader = ArrowReader(self.source.arrow)
            batch = Batch()
            first = batch if reader.next(batch) else None
            rows = [(batch.line(i), batch.row(i)) for i in range(min(len(batch), 1000))]
            feed = ArrowFeed(reader, first)
            return interpret_arrow(reader.names, rows, self.options), lambda _: feed
        sample = self.source.peek(_SAMPLE_BYTES)
        reading = interpret_csv(sample, len(sample) < _SAMPLE_BYTES, self.options)
        return reading, lambda reading: CsvFeed(self.source, reading, self.settings)

    def read(self) -> tuple[Reading, Intake]:
        begun = time.monotonic()
        reading, feed = self.interpret()
        if self.rejects_path is not None:
            names = [name.encode() for name in reading.header]
            self.rejects = RejectsWriter(self.rejects_path, names, reading.dialect, source=self.source.path)
        intake = self.intake = Intake(
            feed(reading),
            reading,
            make_plan(reading, self.options),
            self.settings,
            self.store,
            self.resolver,
            self.rejects,
        )
        threads = self.settings.threads
        if not self.ours or (self.source.size is not None and self.source.size < _THREADED_BYTES):
            threads = 1
        intake.run(threads, lambda: self.tick("read"))
        self.source.check_unchanged()
        if self.rejects is not None:
            self.rejects.flush()
        self.phases["read"] = time.monotonic() - begun
        self.tick("read", force=True)
        return reading, intake

    def load(self, target: Target, reading: Reading, intake: Intake, lanes: list[Lane]) -> Counts:
        begun = time.monotonic()
        if self.duplicates_path is not None:
            self.duplicates = DuplicatesFile(self.duplicates_path)
        loader = Loader(self.pool, target, self.store, self.settings, self.note_duplicates)
        counts = loader.run(lanes, self.connections, lambda rows: self.tick("load", rows, force=not rows))
        self.phases["load"] = time.monotonic() - begun
        self.tick("load", counts.rows, force=True)
        return counts

    def run(self, entry: Entry | None = None) -> ImportReport:
        """Reads, then loads. With ``entry``: goes on with that import."""
        if entry is None:
            self.workspace_id()  # a bad name or an unreachable database is better known before reading
        reading, intake = self.read()
        digest = self.source.digest()
        lanes = split(self.store.runs, self.connections)
        if entry is None:
            workspace_id = self.leads.ensure_workspace(self.workspace)
            stamp = datetime.now(UTC)
            request = Request(
                options=self.options,
                path=self.source.path,
                rejects=self.rejects_path,
                duplicates=self.duplicates_path,
            )
            import_id = self.ledger.open(
                workspace_id, self.source.name, request, digest, self.source.bytes_read, stamp, lanes
            )
        else:
            if digest != entry.digest:
                raise SourceError(
                    f"{self.source.name} does not hold the bytes that import {entry.import_id} began with, so it cannot go "
                    "on with them. Give the original as resume(import_id, source=...), or undo and run anew"
                )
            workspace_id, import_id, stamp = entry.workspace_id, entry.import_id, entry.started_at
            lanes = self.ledger.reopen(entry, lanes)
        try:
            self.load(self.target(workspace_id, import_id, stamp, reading), reading, intake, lanes)
            ensure_orders(self.pool)
            counts = self.ledger.totals(workspace_id, import_id)
            report = self.report(reading, intake, counts, import_id)
            self.ledger.finish(workspace_id, import_id, report)
        except ImportBusy:
            raise  # whoever is running it answers for its state
        except BaseException as error:
            self.note_failure(workspace_id, import_id, error)
            raise
        return report

    def rehearse(self) -> ImportReport:
        """A dry run: everything but writing."""
        reading, intake = self.read()
        workspace_id = self.workspace_id()
        target = self.target(-1 if workspace_id is None else workspace_id, None, datetime.now(UTC), reading)
        counts = self.load(target, reading, intake, split(self.store.runs, self.connections))
        return self.report(reading, intake, counts, None)

    def preview(self, count: int) -> ImportPreview:
        reading, feed = self.interpret()
        plan = make_plan(reading, self.options)
        records = Records()
        shown: list[PreviewRow] = []
        batch = feed(reading).next(Batch())
        if batch is not None:
            records.encode(plan, batch)
            verdicts = {row: (column, reason) for row, column, reason, _ in records.take_problems()}
            for row in range(min(count, len(batch))):
                column, reason = verdicts.get(row, (0, 0))
                fields = batch.row(row)
                if REASONS[reason] == "email.idn":
                    address = fields[reading.email_column].strip(b" \t")
                    resolved = self.resolver.resolve(address, reading.address_options)
                    reason = 0 if isinstance(resolved, bytes) else resolved
                shown.append(
                    PreviewRow(
                        batch.line(row),
                        "rejected" if reason else "accepted",
                        REASONS[reason],
                        reading.column_name(column, REASONS[reason]) if reason else "",
                        {
                            name: field.decode("utf-8", "replace")
                            for name, field in zip(reading.header, fields, strict=False)
                        },
                    )
                )
        return ImportPreview(
            source=self.source.name,
            encoding=self.source.encoding,
            delimiter=reading.dialect.delimiter.decode(),
            quote=reading.dialect.quote.decode(),
            has_header=reading.has_header,
            header=reading.header,
            mapping=reading.mapping,
            dates=reading.dates,
            warnings=reading.warnings,
            rows=shown,
        )

    def workspace_id(self) -> int | None:
        """None: there is no such workspace yet, and so no leads in it."""
        try:
            return self.leads.workspace_id(self.workspace)
        except NotFound:
            return None

    @property
    def connections(self) -> int:
        """Connections to load with: never more than the pool has, or one would wait for the other to end."""
        return 1 if self.options.atomic else min(self.settings.lanes, self.pool.settings.max_size)

    # -- parts ---------------------------------------------------------------------------------------------------

    def target(self, workspace_id: int, import_id: int | None, stamp: datetime, reading: Reading) -> Target:
        options = self.options
        columns: frozenset[str] = frozenset()
        if options.on_existing == "update":
            said = reading.lead_fields | ({"tags"} if options.tags else set())
            wanted = UPDATABLE if options.update_columns is None else options.update_columns
            columns = frozenset(wanted) & said
        return Target(
            workspace_id=workspace_id,
            import_id=import_id,
            stamp=stamp,
            on_existing=options.on_existing,
            update_columns=columns,
            tags=options.tags,
            atomic=options.atomic,
            keep_undo=options.keep_undo,
        )

    def report(self, reading: Reading, intake: Intake, counts: Counts, import_id: int | None) -> ImportReport:
        if counts.rows != intake.accepted or intake.accepted + intake.rejected != intake.rows:
            raise MailgeniusError(
                f"the account does not add up: {intake.rows:,} rows were read, {intake.rejected:,} rejected and "
                f"{counts.rows:,} loaded of {intake.accepted:,}. This is a bug in mailgenius: please report it"
            )
        return ImportReport(
            import_id=import_id,
            workspace=self.workspace,
            source=self.source.name,
            state="dry_run" if import_id is None else "done",
            rows=intake.rows,
            inserted=counts.inserted,
            updated=counts.updated,
            existing=counts.existing,
            duplicates=counts.duplicates,
            suppressed=counts.suppressed,
            rejected=intake.rejected,
            reasons=dict(intake.reasons.most_common()),
            problems=intake.problems,
            duplicate_lines=sorted(self.duplicate_sample),
            warnings=reading.warnings,
            mapping=reading.mapping,
            encoding=self.source.encoding,
            delimiter=reading.dialect.delimiter.decode(),
            bytes=self.source.bytes_read,
            seconds=time.monotonic() - self.started,
            phases=self.phases,
            rejects=self.rejects_path,
        )

    def note_duplicates(self, found: list[tuple[int, int, bytes]]) -> None:
        if len(self.duplicate_sample) < SAMPLE:
            self.duplicate_sample += [(line, first) for line, first, _ in found[: SAMPLE - len(self.duplicate_sample)]]
        if self.duplicates is not None:
            self.duplicates.write(found)

    def note_failure(self, workspace_id: int, import_id: int, error: BaseException) -> None:
        """Says in the ledger why the import stopped; if even that fails, it is found there as ``loading``."""
        try:
            self.ledger.fail(workspace_id, import_id, str(error) or type(error).__name__)
        except Exception as second:  # the first error is the one to show
            error.add_note(f"(could not be recorded: {second})")

    def tick(self, phase: str, rows: int = 0, *, force: bool = False) -> None:
        now = time.monotonic()
        if self.on_progress is None or (not force and now - self.last_tick < _TICK_SECONDS):
            return
        self.last_tick = now
        intake = self.intake
        assert intake is not None  # noqa: S101 - ticks begin with the reading
        self.on_progress(
            Progress(
                phase="read" if phase == "read" else "load",
                bytes_done=self.source.bytes_read,
                bytes_total=self.source.size,
                rows_read=intake.rows,
                rows_loaded=rows,
                rows_total=intake.accepted if phase == "load" else None,
                rejected=intake.rejected,
                seconds=now - self.started,
            )
        )
