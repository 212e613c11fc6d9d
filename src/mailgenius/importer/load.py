"""The second pass: sorted chunks go into PostgreSQL, one transaction each, exactly counted.

For one chunk: ask which keys are there or suppressed, COPY the new ones straight into the table (sorted input is what makes
its indexes cheap), update existing ones if asked, move the lane's checkpoint, commit. Somebody else inserting one of the
keys in between makes the COPY fail as a whole; then the chunk is asked for and stored again. Because counts and checkpoint
commit with the rows, whatever is killed at whatever moment leaves a table and an account that agree.

Chunks commit without waiting for the disk (range.sql): a server that crashes may lose the last of them, whole, with their
checkpoints. So when all lanes are done, one commit that does wait makes everything durable, the checkpoints are compared,
and lanes that have lost something go on from what is there. Only then is anything reported as stored.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import msgspec
import numpy as np
import psycopg
from psycopg import errors as pg
from psycopg.adapt import Dumper
from psycopg.pq import Format

from mailgenius._native import LEAD_FIELDS, Chunk
from mailgenius.config import ImporterSettings
from mailgenius.errors import DatabaseUnavailable, ImportBusy, ImportConflict, ImportFailed
from mailgenius.importer import statements
from mailgenius.importer.blocks import BlockStore
from mailgenius.importer.lanes import Lane, chunks
from mailgenius.pool import Pool

__all__ = ["Counts", "Loader", "Target"]

NEW, EXISTING, SUPPRESSED = 0, 1, 2
_LISTED = 10_000  # duplicates handed on at a time
_PIECE_BYTES = 120_000  # of COPY data at a time: what psycopg hands to libpq without cutting it up
_ATTEMPTS = 6  # of one chunk; the last one uses the slower statement that cannot collide
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + struct.pack("!ii", 0, 0)
_COPY_TRAILER = struct.pack("!h", -1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_ALL_FIELDS = (1 << len(LEAD_FIELDS)) - 1
_TAGS = LEAD_FIELDS.index("tags")
_T = TypeVar("_T")


class Counts(msgspec.Struct):
    """Final outcomes so far. They add up: each row of a chunk is in exactly one of them."""

    inserted: int = 0
    updated: int = 0
    existing: int = 0
    duplicates: int = 0
    suppressed: int = 0

    @property
    def rows(self) -> int:
        return self.inserted + self.updated + self.existing + self.duplicates + self.suppressed

    def add(self, other: Counts) -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where the leads go and what is the same for all of them."""

    workspace_id: int
    import_id: int | None  # None: dry run, nothing is written
    stamp: datetime  # created_at of leads whose source says none, updated_at of all
    on_existing: str
    update_columns: frozenset[str]
    tags: tuple[str, ...]
    atomic: bool
    keep_undo: bool

    @property
    def micros(self) -> int:
        """``stamp`` as PostgreSQL counts it: microseconds since 2000-01-01."""
        delta = self.stamp - _EPOCH
        return (delta.days * 86_400 + delta.seconds) * 1_000_000 + delta.microseconds


def _field(data: bytes) -> bytes:
    return struct.pack("!i", len(data)) + data


def _text_array(values: Sequence[str]) -> bytes:
    if not values:
        return struct.pack("!iii", 0, 0, 25)
    return struct.pack("!iiiii", 1, 0, 25, len(values), 1) + b"".join(_field(v.encode()) for v in values)


def _key(text: str | None) -> bytes | None:
    return None if text is None else text.encode()


class _Keys(bytes):
    """A text[] parameter that is encoded already."""


class _KeysDumper(Dumper):
    format = Format.BINARY
    oid = psycopg.adapters.types["text"].array_oid

    def dump(self, obj: bytes) -> bytes:
        return obj


class Loader:
    """Loads all lanes on a few connections: each takes the next lane when it is done with one."""

    def __init__(
        self,
        pool: Pool,
        target: Target,
        store: BlockStore,
        settings: ImporterSettings,
        on_duplicates: Callable[[list[tuple[int, int, bytes]]], None],
    ) -> None:
        self.pool = pool
        self.target = target
        self.store = store
        self.settings = settings
        self.on_duplicates = on_duplicates
        self.lock = threading.Lock()
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        stamp = struct.pack("!q", target.micros)
        self.head = (
            _field(struct.pack("!i", target.workspace_id))
            + (_field(struct.pack("!q", target.import_id)) if target.import_id is not None else b"")
            + _field(stamp)
        )
        default = {
            "tags": _text_array(target.tags),
            "attributes": b"\x01{}",
            "status": b"active",
            "score": struct.pack("!i", 0),
            "created_at": stamp,
        }
        self.defaults = [_field(default[name]) if name in default else b"" for name in LEAD_FIELDS]
        self.stage_defaults = [b""] * len(LEAD_FIELDS)
        if target.tags:
            self.stage_defaults[_TAGS] = self.defaults[_TAGS]
        self.range_sql = statements.text("range")
        self.existing_sql = statements.text("existing")
        self.suppressed_sql = statements.text("suppressed")
        self.erased_sql = statements.text("erased")
        self.advance_sql = statements.text("advance")
        self.update = statements.Update(target.update_columns) if target.update_columns else None

    def run(self, lanes: Sequence[Lane], connections: int, tick: Callable[[int], None]) -> Counts:
        """Loads every lane to its end. ``tick(rows loaded)`` is called in this thread every now and then."""
        loaders = [LaneLoader(self, lane) for lane in lanes]
        undone = loaders
        while undone:
            self._work(undone, connections, lambda: tick(sum(lane.rows for lane in loaders)))
            undone = [] if self.target.import_id is None else self.patiently(partial(self._lost, loaders))
        total = Counts()
        for lane in loaders:
            total.add(lane.counts)
        return total

    def _work(self, loaders: Sequence[LaneLoader], connections: int, tick: Callable[[], None]) -> None:
        waiting = iter(loaders)

        def work() -> None:
            while not self.stopped.is_set() and (lane := self._next(waiting)) is not None:
                lane.run()

        threads = [
            threading.Thread(target=work, name=f"mailgenius-load-{number}", daemon=True)
            for number in range(min(connections, len(loaders)))
        ]
        tick()
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.1)
                    tick()
        except BaseException:
            self.stopped.set()
            raise
        finally:
            for thread in threads:
                thread.join()
        if self.error is not None:
            raise self.error

    def _next(self, waiting: Iterator[LaneLoader]) -> LaneLoader | None:
        with self.lock:
            return next(waiting, None)

    def _lost(self, loaders: Sequence[LaneLoader], conn: psycopg.Connection[Any]) -> list[LaneLoader]:
        """Makes all that was committed durable; the lanes of which a crash had taken something before."""
        which = (self.target.workspace_id, self.target.import_id)
        conn.execute(
            "update mailgenius.imports set updated_at = now() where workspace_id = %s::int4 and id = %s::int8", which
        )
        done = dict(
            conn.execute(
                "select lane, done_key from mailgenius.import_lanes"
                " where workspace_id = %s::int4 and import_id = %s::int8",
                which,
            ).fetchall()
        )
        return [lane for lane in loaders if lane.done_key != _key(done.get(lane.lane.number))]

    def patiently(self, do: Callable[[psycopg.Connection[Any]], _T], progress: Callable[[], int] = lambda: 0) -> _T:
        """``do`` on a connection; when that is lost, again on another one, unless there is none for too long a time
        without progress."""
        deadline: float | None = None
        before = -1
        while True:
            try:
                with self.pool.connection(timeout=self.settings.reconnect_seconds) as conn:
                    return do(conn)
            except (psycopg.OperationalError, psycopg.InterfaceError, DatabaseUnavailable) as error:
                if isinstance(error, psycopg.Error) and error.sqlstate and not _connection_lost(error):
                    raise self._failed(error) from error
                if progress() > before:  # since the last loss: start a new period of patience
                    before, deadline = progress(), time.monotonic() + self.settings.reconnect_seconds
                if deadline is not None and time.monotonic() > deadline:
                    raise self._failed(error) from error
                if self.stopped.wait(0.1):
                    raise Stopped from None
            except psycopg.Error as error:
                raise self._failed(error) from error

    def _failed(self, error: Exception) -> ImportFailed:
        what = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        mend = "What is committed stays counted; resume the import when the cause is mended."
        if isinstance(error, pg.DiskFull):
            mend = "The database's disk is full: free some space, then resume the import."
        return ImportFailed(f"the import stopped: {what}. {mend}", import_id=self.target.import_id)


class Stopped(Exception):
    """Another lane failed, or the caller gave up."""


class LaneLoader:
    """One lane: a range of keys on one connection at a time."""

    def __init__(self, loader: Loader, lane: Lane) -> None:
        self.loader = loader
        self.target = loader.target
        self.lane = lane
        self.counts = Counts()
        self.done_key: bytes | None = None
        self.noted: bytes | None = None  # duplicates up to this key have been reported by this process

    @property
    def rows(self) -> int:
        return self.counts.rows

    def run(self) -> None:
        """Loads the lane; on another connection it goes on from what the database says is done."""
        try:
            self.loader.patiently(self._load, lambda: self.rows)
        except Stopped:
            pass
        except BaseException as error:
            if self.loader.error is None:
                self.loader.error = error
            self.loader.stopped.set()

    def _load(self, conn: psycopg.Connection[Any]) -> None:
        conn.adapters.register_dumper(_Keys, _KeysDumper)
        self._recall(conn)
        if self.target.atomic:
            with conn.transaction():
                self._chunks(conn)
        else:
            self._chunks(conn)

    def _recall(self, conn: psycopg.Connection[Any]) -> None:
        """Where this lane stands, by the database's account."""
        self.counts, self.done_key = Counts(), None
        if self.target.import_id is None:
            return
        row = conn.execute(
            "select done_key, inserted, updated, existing, duplicates, suppressed from mailgenius.import_lanes"
            " where workspace_id = %s::int4 and import_id = %s::int8 and lane = %s::int4",
            (self.target.workspace_id, self.target.import_id, self.lane.number),
        ).fetchone()
        if row is None:
            raise ImportBusy("this import was undone or removed by another process", import_id=self.target.import_id)
        self.done_key = _key(row[0])
        self.counts = Counts(*row[1:])

    def _chunks(self, conn: psycopg.Connection[Any]) -> None:
        lo = self.lane.lo if self.done_key is None else self.done_key
        if self.done_key is not None and (self.noted is None or self.noted < self.done_key):
            behind = self.lane.lo if self.noted is None else self.noted
            for chunk in self._merged(behind, self.done_key):
                self._note(chunk)
        for chunk in self._merged(lo, self.lane.hi):
            if self.loader.stopped.is_set():
                raise Stopped
            counts = self._store(conn, chunk)
            self.done_key = chunk.key(len(chunk) - 1)
            self.counts.add(counts)
            self._note(chunk)

    def _merged(self, lo: bytes | None, hi: bytes | None) -> Iterator[Chunk]:
        return chunks(self.loader.store, lo, hi, self.loader.settings.chunk_rows, self._list)

    def _note(self, chunk: Chunk) -> None:
        """Reports the chunk's duplicates, once even if the chunk is stored again."""
        key = chunk.key(len(chunk) - 1)
        if self.noted is None or self.noted < key:
            self._list(chunk)
            self.noted = key

    def _list(self, chunk: Chunk) -> None:
        for start in range(0, chunk.duplicate_count, _LISTED):
            if not (found := chunk.duplicates(start, start + _LISTED)):
                return
            self.loader.on_duplicates(found)

    def _store(self, conn: psycopg.Connection[Any], chunk: Chunk) -> Counts:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with conn.transaction():
                    counts = self._apply(conn, chunk, careful=attempt > 1, last=attempt == _ATTEMPTS)
                    self._advance(conn, chunk, counts)
                return counts
            except (pg.UniqueViolation, pg.DeadlockDetected, pg.SerializationFailure):
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable")

    def _apply(self, conn: psycopg.Connection[Any], chunk: Chunk, *, careful: bool, last: bool) -> Counts:
        target, size = self.target, len(chunk)
        lo, hi = chunk.key(0).decode(), chunk.key(size - 1).decode()
        where = {"workspace": target.workspace_id, "lo": lo, "hi": hi}
        row = conn.execute(self.loader.range_sql, where).fetchone()
        assert row is not None  # noqa: S101 - a select without from
        mask = None
        if row[0] or row[1] or row[2] or careful:
            mask = np.zeros(size, np.uint8)
            where["keys"] = _Keys(chunk.keys())
            if row[0] or careful:
                self._mark(conn, chunk, mask, self.loader.existing_sql, where, EXISTING)
            if row[1]:
                self._mark(conn, chunk, mask, self.loader.suppressed_sql, where, SUPPRESSED)
            if row[2]:
                self._mark(conn, chunk, mask, self.loader.erased_sql, where, SUPPRESSED)
        suppressed = int(np.count_nonzero(mask == SUPPRESSED)) if mask is not None else 0
        existing = int(np.count_nonzero(mask == EXISTING)) if mask is not None else 0
        if existing and target.on_existing == "fail":
            raise self._conflict(chunk, mask, existing)
        inserted, updated = size - suppressed - existing, 0
        if target.import_id is None:
            updated = existing if target.update_columns else 0
        else:
            if inserted and last:
                stored = self._insert_staged(conn, chunk, mask)
                existing, inserted = existing + inserted - stored, stored
            elif inserted:
                self._copy(conn, statements.COPY_LEADS, chunk, mask, NEW)
            if existing and self.loader.update is not None and mask is not None:
                updated = self._update(conn, chunk, mask, where, self.loader.update)
        return Counts(inserted, updated, existing - updated, chunk.duplicate_count, suppressed)

    @staticmethod
    def _mark(
        conn: psycopg.Connection[Any], chunk: Chunk, mask: Any, query: str, where: dict[str, Any], value: int
    ) -> None:
        with conn.cursor(binary=True) as cur:
            cur.execute(query, where)
            assert cur.pgresult is not None  # noqa: S101 - a select has a result
            found = cur.pgresult.get_value(0, 0)
        if found is not None:
            chunk.mark(found, mask, value)

    def _copy(
        self,
        conn: psycopg.Connection[Any],
        statement: Any,
        chunk: Chunk,
        mask: Any,
        want: int,
        *,
        staged: bool = False,
    ) -> None:
        fields, head, count = _ALL_FIELDS, self.loader.head, len(statements.HEAD_COLUMNS)
        defaults = self.loader.defaults
        if staged:
            fields, head, count, defaults = statements.STAGE_FIELDS, b"", 0, self.loader.stage_defaults
        with conn.cursor() as cur, cur.copy(statement) as copy:
            copy.write(_COPY_HEADER)
            for piece in chunk.copy(mask, want, fields, head, count, defaults, _PIECE_BYTES):
                copy.write(piece)
            copy.write(_COPY_TRAILER)

    def _insert_staged(self, conn: psycopg.Connection[Any], chunk: Chunk, mask: Any) -> int:
        self._stage(conn)
        self._copy(conn, statements.COPY_STAGE_ALL, chunk, mask, NEW)
        return conn.execute(statements.INSERT_STAGE).rowcount

    def _update(
        self,
        conn: psycopg.Connection[Any],
        chunk: Chunk,
        mask: Any,
        where: dict[str, Any],
        update: statements.Update,
    ) -> int:
        self._stage(conn)
        self._copy(conn, statements.COPY_STAGE, chunk, mask, EXISTING, staged=True)
        params = {**where, "import_id": self.target.import_id, "stamp": self.target.stamp}
        if self.target.keep_undo:
            conn.execute(update.keep, params)
        return conn.execute(update.overwrite, params).rowcount

    @staticmethod
    def _stage(conn: psycopg.Connection[Any]) -> None:
        conn.execute(statements.MAKE_STAGE)
        conn.execute(statements.EMPTY_STAGE)

    def _advance(self, conn: psycopg.Connection[Any], chunk: Chunk, counts: Counts) -> None:
        if self.target.import_id is None:
            return
        values = {
            **msgspec.structs.asdict(counts),
            "workspace": self.target.workspace_id,
            "import_id": self.target.import_id,
            "lane": self.lane.number,
            "done_key": chunk.key(len(chunk) - 1).decode(),
            "expected": self.done_key.decode() if self.done_key is not None else None,
        }
        if conn.execute(self.loader.advance_sql, values).rowcount != 1:
            raise ImportBusy(
                f"another process is running import {self.target.import_id}; this one stopped without storing its chunk",
                import_id=self.target.import_id,
            )

    def _conflict(self, chunk: Chunk, mask: Any, existing: int) -> ImportConflict:
        lines = sorted(chunk.line(int(i)) for i in np.flatnonzero(mask == EXISTING)[:1000])[:5]
        return ImportConflict(
            f'on_existing="fail": {existing:,} or more rows are leads already, for example on line '
            f'{", ".join(map(str, lines))}. Nothing was imported. Use on_existing="skip" or "update" to import the rest',
            import_id=self.target.import_id,
        )


def _connection_lost(error: psycopg.Error) -> bool:
    """Class 08 and the shutdown codes of 57P: the connection is gone, what was committed is to be looked up."""
    state = error.sqlstate or ""
    return state.startswith("08") or state in ("57P01", "57P02", "57P03", "57P05")
