"""The threads' half of ``aio``: short reads on a few read-only connections, one caller at a time on each.

Purpose: what an app asks most takes the shortest way: the protocol itself, with statements prepared, on the connection
that was used last. A thread that finds none free goes elsewhere. The invariants are those of ``aio``, but that a statement
has a connection to itself while it runs, and so keeps nobody waiting.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.adapt import PyFormat, Transformer
from psycopg.generators import execute
from psycopg.pq import ExecStatus

from mailgenius.errors import QueryTimeout
from mailgenius.pool.deadlines_sync import Deadlines
from mailgenius.pool.queries import Query
from mailgenius.pool.routes import Elsewhere, Prepared, Routes
from mailgenius.pool.rows import maker
from mailgenius.pool.tracked_sync import Tracked

__all__ = ["Elsewhere", "Shared"]


class Shared(Routes):
    """The lanes of one pool."""

    def __init__(self, connect: Callable[[], Tracked], *, connections: int, bound: float) -> None:
        super().__init__(connections)
        self._connect = connect
        self._deadlines = Deadlines()
        self._free: list[Lane] = []  # the one used last at the end
        self._count = 0
        self._lock = threading.Lock()
        self._closed = False

    def rows(self, query: Query, values: Sequence[Any], kind: Any, timeout: float, began: float) -> list[Any]:
        """All rows. ``timeout``: seconds, from ``began`` on. ``Elsewhere``: it must be run in another way."""
        try:
            lane = self._free.pop()
        except IndexError:
            lane = self._another()
        watched = self._deadlines.watch(lane.connection, timeout, began)
        lost = False
        try:
            return lane.run(query, values, kind)
        except Elsewhere:
            self.avoid(query)
            raise
        except psycopg.OperationalError as error:
            lost = lane.broken
            if watched.expired:
                raise QueryTimeout(f"The statement took longer than {timeout:g} s and was cancelled.") from error
            if lost:  # it has read at most: it may be asked anew
                raise Elsewhere from None
            raise
        except BaseException:
            lost = lane.broken
            raise
        finally:
            self._deadlines.done(watched)
            self._give_back(lane, lost)

    def stats(self) -> dict[str, int]:
        return {"shared_size": self._count, "shared_pending": self._count - len(self._free), "shared_evicted": 0}

    def close(self) -> None:
        self._closed = True
        while self._free:
            with contextlib.suppress(IndexError):
                self._free.pop().connection.close()

    def abandon(self) -> None:
        """Closes; whoever waits for an answer asks elsewhere."""
        self.close()
        self._deadlines.cut()

    def _another(self) -> Lane:
        with self._lock:
            if self._count >= self.connections:
                raise Elsewhere
            self._count += 1
        try:
            lane = Lane(self._connect())
            if not self.connections:  # it turned out that this server cannot carry it
                lane.connection.close()
                raise Elsewhere
        except BaseException:
            with self._lock:
                self._count -= 1
            raise
        return lane

    def _give_back(self, lane: Lane, lost: bool) -> None:
        if lost or self._closed:
            with self._lock:
                self._count -= 1
            lane.connection.close()
        else:
            self._free.append(lane)


class Lane:
    """One connection."""

    def __init__(self, connection: Tracked) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared = Prepared()

    @property
    def broken(self) -> bool:
        """It cannot be used again: gone, or left in the middle of something."""
        return self._pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def run(self, query: Query, values: Sequence[Any], kind: Any) -> list[Any]:
        transformer = self._transformer
        dumped: Sequence[Any] | None = None
        types: tuple[int, ...] = ()
        formats: Sequence[Any] | None = None
        if values:
            dumped = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
            types, formats = transformer.types or (), transformer.formats
        key = (query.sql, types)
        result = self._result(query, key, dumped, formats)
        if result.status == ExecStatus.FATAL_ERROR:
            error = pg.error_from_result(result, encoding=transformer.encoding)
            if error.sqlstate in ("0A000", "26000") and self._prepared.forget(key):
                result = self._result(query, key, dumped, formats)  # its columns have changed: prepared anew
            elif error.sqlstate == "25006":
                raise Elsewhere
            else:
                raise error
            if result.status == ExecStatus.FATAL_ERROR:
                raise pg.error_from_result(result, encoding=transformer.encoding)
        if result.status != ExecStatus.TUPLES_OK:
            return []
        if kind is not tuple:
            kind = maker(kind, [(result.fname(i) or b"").decode() for i in range(result.nfields)])
        transformer.set_pgresult(result)
        return transformer.load_rows(0, result.ntuples, kind)

    def _result(
        self, query: Query, key: tuple[bytes, tuple[int, ...]], values: Sequence[Any] | None, formats: Any
    ) -> Any:
        pgconn = self._pgconn
        name = self._prepared.get(key)
        if name is None:
            name, close = self._prepared.name(key)
            for old in close:
                pgconn.send_close_prepared(old)
                self._wait()
            if name is not None:
                pgconn.send_prepare(name, query.sql, key[1])
                made = self._wait()
                if made.status == ExecStatus.FATAL_ERROR:
                    self._prepared.forget(key)
                    return made
        if name is not None:
            pgconn.send_query_prepared(name, values, formats)
        else:
            pgconn.send_query_params(query.sql, values, key[1], formats)
        return self._wait()

    def _wait(self) -> Any:
        return self.connection.wait(execute(self._pgconn))[-1]
