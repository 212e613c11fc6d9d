"""The first pass: every row of the source is parsed, validated and encoded, and the good ones end up in sorted runs.

Nothing is written to the database here, so a source that turns out to be unreadable leaves nothing behind. Scanning goes
on under one lock, in file order; encoding, the larger part, happens outside it with the GIL released. Rejected rows are
reported in file order whatever thread met them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from mailgenius._native import REASONS, ArrowReader, Batch, Plan, Records
from mailgenius.address import IdnResolver
from mailgenius.config import ImporterSettings
from mailgenius.importer.blocks import BlockStore
from mailgenius.importer.interpret import Reading, make_scanner
from mailgenius.importer.rejects import RejectsWriter
from mailgenius.importer.report import SAMPLE, Problem
from mailgenius.importer.source import Source

__all__ = ["ArrowFeed", "CsvFeed", "Feed", "Intake"]

_IDN = REASONS.index("email.idn")
_MAX_ROWS = 1 << 20
_VALUE_CHARS = 200


class Feed(Protocol):
    """Where batches of rows come from. ``next`` is called by one thread at a time."""

    def next(self, batch: Batch) -> Batch | None:
        """The next rows, in ``batch`` unless some are at hand in another one; None: there are no more."""


class CsvFeed:
    """Blocks of text to batches of rows. What is left of a block goes in front of the next one."""

    def __init__(self, source: Source, reading: Reading, settings: ImporterSettings) -> None:
        self._source = source
        self._block = settings.block_bytes
        self._scanner = make_scanner(
            reading.dialect,
            max_field=settings.max_field_bytes,
            max_row=settings.max_row_bytes,
            max_columns=settings.max_columns,
        )
        self._carry = b""
        self._eof = False
        if reading.dialect.skip:
            source.readinto(memoryview(bytearray(reading.dialect.skip)))
        if reading.has_header:
            self._fill(Batch(), 1)

    def next(self, batch: Batch) -> Batch | None:
        return batch if self._fill(batch, _MAX_ROWS) else None

    def _fill(self, batch: Batch, max_rows: int) -> bool:
        room = self._block
        while True:
            kept = len(self._carry)
            data = bytearray(kept + room)
            data[:kept] = self._carry
            end = kept
            if not self._eof:
                with memoryview(data)[kept:] as view:
                    got = self._source.readinto(view)
                    self._eof = got < len(view)
                end += got
            used = self._scanner.scan(batch, data, 0, end, self._eof, max_rows)
            with memoryview(data)[used:end] as rest:
                self._carry = bytes(rest)
            if len(batch):
                return True
            if self._eof and not self._carry:
                return False
            if not used:  # one record is longer than all this: read on, in larger steps (the scanner bounds a record)
                room *= 2


class ArrowFeed:
    """An Arrow stream. Its first batch has been read to look at the columns; it is handed out first."""

    def __init__(self, reader: ArrowReader, first: Batch | None) -> None:
        self._reader = reader
        self._first = first

    def next(self, batch: Batch) -> Batch | None:
        first, self._first = self._first, None
        if first is not None:
            return first
        return batch if self._reader.next(batch) else None


class Intake:
    """Runs the first pass and keeps its counts."""

    def __init__(
        self,
        feed: Feed,
        reading: Reading,
        plan: Plan,
        settings: ImporterSettings,
        store: BlockStore,
        resolver: IdnResolver,
        rejects: RejectsWriter | None,
    ) -> None:
        self.rows = 0
        self.accepted = 0
        self.reasons: Counter[str] = Counter()
        self.problems: list[Problem] = []
        self._feed = feed
        self._reading = reading
        self._plan = plan
        self._settings = settings
        self._store = store
        self._resolver = resolver
        self._rejects = rejects
        self._feed_lock = threading.Lock()
        self._report_lock = threading.Lock()
        self._next_batch = 0  # number of the batch that will be read next
        self._next_report = 0  # number of the batch whose problems are to be reported next
        self._waiting: dict[int, list[Rejected]] = {}
        self._ended = False
        self._error: BaseException | None = None
        self._finished = threading.Condition()

    @property
    def rejected(self) -> int:
        return self.reasons.total()

    def run(self, threads: int, tick: Callable[[], None]) -> None:
        """Reads the whole source. One thread means the caller's own: a generator or file object of an app may be bound
        to the thread that made it. ``tick`` is called in the caller's thread every now and then."""
        if threads == 1:
            self._work(tick)
        else:
            workers = [
                threading.Thread(target=self._work, name=f"mailgenius-read-{i}", daemon=True) for i in range(threads)
            ]
            for worker in workers:
                worker.start()
            try:
                for worker in workers:
                    while worker.is_alive():
                        worker.join(0.1)
                        tick()
            except BaseException as error:
                self._error = self._error or error
                raise
            finally:
                for worker in workers:
                    worker.join()
        if self._error is not None:
            raise self._error

    def _work(self, tick: Callable[[], None] | None = None) -> None:
        records, own = Records(), Batch()
        try:
            while True:
                with self._feed_lock:
                    if self._ended or self._error is not None:
                        break
                    batch = self._feed.next(own)
                    if batch is None:
                        self._ended = True
                        break
                    number, self._next_batch = self._next_batch, self._next_batch + 1
                rejected = self._encode(records, batch)
                self._report(number, len(batch), rejected)
                if records.nbytes >= self._settings.run_bytes:
                    self._keep(records)
                if tick is not None:
                    tick()
            self._keep(records)
        except BaseException as error:
            self._error = self._error or error
            if tick is not None:
                raise
        finally:
            own.clear()

    def _keep(self, records: Records) -> None:
        if self._error is None:
            count = records.count
            self._store.add(records)
            records.clear()
            with self._report_lock:
                self.accepted += count

    def _encode(self, records: Records, batch: Batch) -> list[Rejected]:
        records.encode(self._plan, batch)
        problems = records.take_problems()
        if not problems:
            return []
        rejected = []
        for row, column, reason, _ in problems:
            if reason == _IDN:
                address = batch.row(row)[self._reading.email_column].strip(b" \t")
                resolved = self._resolver.resolve(address, self._reading.address_options)
                if isinstance(resolved, bytes):
                    records.encode_row(self._plan, batch, row, resolved)
                    continue
                reason = resolved
            rejected.append((row, column, reason))
        rejected += [(row, column, reason) for row, column, reason, _ in records.take_problems()]
        rejected.sort()
        return [Rejected(batch, row, column, reason) for row, column, reason in rejected]

    def _report(self, number: int, rows: int, rejected: list[Rejected]) -> None:
        with self._report_lock:
            self.rows += rows
            self._waiting[number] = rejected
            while (ready := self._waiting.pop(self._next_report, None)) is not None:
                self._next_report += 1
                for row in ready:
                    self._write(row)

    def _write(self, row: Rejected) -> None:
        name = self._reading.column_name(row.column, row.code)
        self.reasons[row.code] += 1
        if len(self.problems) < SAMPLE:
            value = row.fields[row.column] if name and row.column < len(row.fields) else row.raw
            text = value[: _VALUE_CHARS * 4].decode("utf-8", "replace")[:_VALUE_CHARS]
            self.problems.append(Problem(row.line, name, row.code, text))
        if self._rejects is not None:
            self._rejects.write(row.line, name, row.code, row.raw, row.fields)


class Rejected:
    """A rejected row, copied out of its batch, which is overwritten next."""

    __slots__ = ("code", "column", "fields", "line", "raw")

    def __init__(self, batch: Batch, row: int, column: int, reason: int) -> None:
        self.line = batch.line(row)
        self.column = column
        self.code = REASONS[reason]
        self.raw = batch.raw(row)
        self.fields = batch.row(row)
