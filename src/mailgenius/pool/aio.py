"""Short reads of many callers over a few connections in pipeline mode (asyncio).

Purpose: a caller's ``select`` leaves with those of all other tasks of the same turn of the loop, in one write, and one
read brings their answers. Nobody waits for a connection of his own, and no timer is made for a call.

Invariants:
- The connections are read-only, so whatever runs here may run twice. A statement that turns out to write is refused by
  the server before it did anything, and goes where writes go (``Elsewhere``).
- The statements of a turn share one Sync, and so one implicit transaction. One that fails makes the server skip those
  behind it; they are sent again. So a failure reaches its own caller and nobody else.
- A statement that keeps others waiting for more than ``bound`` seconds is cancelled and goes elsewhere, as do its likes
  from then on. Whom a cancellation that comes too late hits instead goes elsewhere too.
- Statements are named by a hash of their text and parameter types, and closed by the protocol.

Limits: 256 prepared statements a connection; deadlines are kept to within two ticks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus

from mailgenius.errors import QueryTimeout
from mailgenius.pool.queries import Query
from mailgenius.pool.routes import Elsewhere, Key, Prepared, Routes
from mailgenius.pool.rows import maker
from mailgenius.pool.tracked_async import Tracked

__all__ = ["Elsewhere", "Shared"]

TICK = 0.01  # seconds between two looks at who waits for how long
GRACE = 2.0  # seconds that a cancelled statement may take to end before its connection is given up
CROWD = 24  # who wait on one connection before another one is opened


class Entry:
    """One call: what was asked, and where its answer goes."""

    __slots__ = ("deadline", "future", "key", "kind", "query", "renewed", "values")

    def __init__(
        self, query: Query, values: Sequence[Any], kind: Any, deadline: float, future: asyncio.Future[list[Any]]
    ) -> None:
        self.query = query
        self.values = values
        self.kind = kind
        self.deadline = deadline
        self.future = future
        self.key: Key = (b"", ())
        self.renewed = False  # its prepared statement was stale, and was made anew


class Preparing:
    """Stands in the queue for the Parse in front of an entry."""

    __slots__ = ("entry",)

    def __init__(self, entry: Entry) -> None:
        self.entry = entry


class Closing:
    """Stands in the queue for the Close of a prepared statement; without a name, for a Sync."""

    __slots__ = ("name",)

    def __init__(self, name: bytes = b"") -> None:
        self.name = name


SYNC = Closing()


class Shared(Routes):
    """The lanes of one pool, in one event loop."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Tracked]],
        *,
        connections: int,
        bound: float,
    ) -> None:
        super().__init__(connections)
        self.bound = bound
        self.evicted = 0  # statements that kept others waiting
        self._connect = connect
        self._lanes: list[Lane] = []
        self._opening: asyncio.Task[None] | None = None

    async def rows(self, query: Query, values: Sequence[Any], kind: Any, timeout: float, began: float) -> list[Any]:
        """All rows. ``timeout``: seconds, from ``began`` on. ``Elsewhere``: it must be run in another way."""
        lane = self._best() or await self._first()
        entry = Entry(query, values, kind, began + timeout, lane.loop.create_future())
        lane.submit(entry)
        return await entry.future

    def stats(self) -> dict[str, int]:
        return {
            "shared_size": len(self._lanes),
            "shared_pending": sum(lane.waiting for lane in self._lanes),
            "shared_evicted": self.evicted,
        }

    async def close(self) -> None:
        if (opening := self._opening) is not None:
            opening.cancel()
            await asyncio.wait([opening])  # else its connection would outlive the pool
        while self._lanes:
            await self._lanes[0].close()

    async def abandon(self) -> None:
        """Closes; whoever waits for an answer asks elsewhere."""
        await self.close()

    def lost(self, lane: Lane) -> None:
        if lane in self._lanes:
            self._lanes.remove(lane)

    def _best(self) -> Lane | None:
        """The lane with the shortest queue. None: none is open; ``Elsewhere``: something slow holds up each of them."""
        best: Lane | None = None
        for lane in self._lanes:
            if lane.still < 2 and (best is None or len(lane.pending) < len(best.pending)):
                best = lane
        if self._lanes and len(self._lanes) < self.connections and (best is None or len(best.pending) > CROWD):
            self._open_another()
        if best is None and self._lanes:
            raise Elsewhere
        return best

    async def _first(self) -> Lane:
        self._open_another()
        if self._opening is not None:
            await asyncio.wait([opening := self._opening])  # several may wait, and one of them may give up
            if opening.cancelled():  # closed meanwhile
                raise Elsewhere
            opening.result()
        if not self._lanes:  # lost at once, or turned off meanwhile
            raise Elsewhere
        return self._lanes[0]

    def _open_another(self) -> None:
        if self._opening is None:
            self._opening = asyncio.get_running_loop().create_task(self._open())
            self._opening.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # seen by who waited for it; for the others there are other lanes

    async def _open(self) -> None:
        connection = await self._connect()
        if self.connections:
            self._lanes.append(Lane(self, connection))
        else:  # it turned out that this server cannot carry it
            await connection.close()


class Lane:
    """One connection and those who wait for it, in the order in which they were sent."""

    def __init__(self, shared: Shared, connection: Tracked) -> None:
        self.shared = shared
        self.loop = asyncio.get_running_loop()
        self.pending: deque[Entry | Preparing | Closing] = deque()
        self.still = 0  # ticks without an answer
        self._connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._prepared = Prepared()
        self._again: list[Entry] = []  # skipped by the server
        self._batch = 0  # statements sent since the last Sync
        self._crowded = False  # the last batch was of several
        self._writing = False
        self._answers = self._seen = 0  # ever, and by the last sweep
        self._sweeping: asyncio.TimerHandle | None = None
        self._cancelling: asyncio.Task[None] | None = None
        self._cancelled = False  # a statement was, and has not said so yet
        self._cancelled_at = -1  # the number of answers then: once is enough until there is another
        self._closed = False
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        self._socket = self._pgconn.socket
        self.loop.add_reader(self._socket, self._readable)

    @property
    def waiting(self) -> int:
        return sum(isinstance(entry, Entry) and not entry.future.done() for entry in self.pending)

    # -- out -----------------------------------------------------------------------------------------------------

    def submit(self, entry: Entry) -> None:
        idle = not self.pending
        try:
            self._send(entry)
        except psycopg.OperationalError:
            self._again.append(entry)
            self._lose()
            return
        if self._batch == 1:
            if idle and not self._crowded:
                self._sync()  # there is nobody to wait for
            else:
                self.loop.call_soon(self._sync)
        if self._sweeping is None:
            self._sweeping = self.loop.call_later(TICK, self._sweep)

    def _send(self, entry: Entry) -> None:
        values: Sequence[Any] | None = None
        types: tuple[int, ...] = ()
        formats: Sequence[Any] | None = None
        if entry.values:
            transformer = self._transformer
            values = transformer.dump_sequence(entry.values, [PyFormat.AUTO] * len(entry.values))
            types, formats = transformer.types or (), transformer.formats
        entry.key = key = (entry.query.sql, types)
        name = self._prepared.get(key)
        if name is None:
            name = self._prepare(entry)
        if name is not None:
            self._pgconn.send_query_prepared(name, values, formats)
        else:
            self._pgconn.send_query_params(entry.query.sql, values, types, formats)
        self.pending.append(entry)
        self._batch += 1

    def _prepare(self, entry: Entry) -> bytes | None:
        name, close = self._prepared.name(entry.key)
        for old in close:
            self._pgconn.send_close_prepared(old)
            self.pending.append(Closing(old))
        if name is not None:
            self._pgconn.send_prepare(name, entry.query.sql, entry.key[1])
            self.pending.append(Preparing(entry))
        return name

    def _sync(self) -> None:
        if self._closed:
            return
        self._crowded, self._batch = self._batch > 1, 0
        try:
            self._pgconn.pipeline_sync()
            self.pending.append(SYNC)
            if self._pgconn.flush() and not self._writing:
                self._writing = True
                self.loop.add_writer(self._socket, self._writable)
        except psycopg.OperationalError:
            self._lose()

    def _writable(self) -> None:
        try:
            if self._pgconn.flush():
                return
        except psycopg.OperationalError:
            self._lose()
            return
        self._writing = False
        self.loop.remove_writer(self._socket)

    # -- in ------------------------------------------------------------------------------------------------------

    def _readable(self) -> None:
        pgconn, pending = self._pgconn, self.pending
        try:
            pgconn.consume_input()
            while pending and not pgconn.is_busy():
                result = pgconn.get_result()
                if result is None:  # between two statements, or there will be no more
                    if pgconn.status != ConnStatus.OK:
                        break
                    continue
                self._answers += 1
                entry = pending.popleft()
                if isinstance(entry, Entry):
                    self._answer(entry, result)
                elif isinstance(entry, Preparing):
                    self._was_prepared(entry, result)
                elif entry.name:
                    if result.status == ExecStatus.PIPELINE_ABORTED:
                        self._prepared.not_closed(entry.name)
                elif self._again:
                    again, self._again = self._again, []
                    for skipped in again:
                        if not skipped.future.done():
                            self.submit(skipped)
            if pgconn.status != ConnStatus.OK:
                self._lose()
        except psycopg.OperationalError:
            self._lose()

    def _answer(self, entry: Entry, result: Any) -> None:
        future, status = entry.future, result.status
        if future.done():  # timed out, or its task was cancelled
            return
        if status == ExecStatus.TUPLES_OK:
            try:
                kind = entry.kind
                if kind is not tuple:
                    kind = maker(kind, [(result.fname(i) or b"").decode() for i in range(result.nfields)])
                self._transformer.set_pgresult(result)
                future.set_result(self._transformer.load_rows(0, result.ntuples, kind))
            except Exception as error:  # of a loader, or of the caller's class: his alone
                future.set_exception(error)
        elif status == ExecStatus.PIPELINE_ABORTED:
            self._again.append(entry)
        elif status == ExecStatus.FATAL_ERROR:
            self._failed(entry, result)
        else:
            future.set_result([])

    def _was_prepared(self, parse: Preparing, result: Any) -> None:
        if result.status == ExecStatus.COMMAND_OK:
            return
        entry = parse.entry
        self._prepared.forget(entry.key)  # and a Close in front of the Parse may have been skipped as well
        if result.status == ExecStatus.FATAL_ERROR and not entry.future.done():
            self._failed(entry, result)

    def _failed(self, entry: Entry, result: Any) -> None:
        error = pg.error_from_result(result, encoding=self._transformer.encoding)
        state = error.sqlstate
        if state in ("0A000", "26000") and not entry.renewed and self._prepared.forget(entry.key):
            # The columns of a prepared statement have changed, or it was discarded behind our back.
            entry.renewed = True
            self._again.append(entry)
        elif state == "25006" or (state == "57014" and self._cancelled):
            if state == "57014":
                self._cancelled = False
                self.shared.evicted += 1
            self.shared.avoid(entry.query)
            entry.future.set_exception(Elsewhere())
        elif state and state.startswith(("08", "57P")):  # the server's farewell to this connection
            entry.future.set_exception(Elsewhere())
        else:
            entry.future.set_exception(error)

    # -- time ----------------------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        self._sweeping = None
        if self._closed or not self.pending:
            self.still = 0
            return
        self.still = self.still + 1 if self._answers == self._seen else 0
        self._seen = self._answers
        entries = [entry for entry in self.pending if isinstance(entry, Entry)]
        now = monotonic()
        for entry in entries:
            if entry.deadline < now and not entry.future.done():
                entry.future.set_exception(QueryTimeout("The statement took longer than its timeout."))
        held = self.still * TICK
        if self._cancelled and held > self.shared.bound + GRACE:
            self._lose("slow")  # not even a cancellation gets through
            return
        # Is there somebody behind what runs now, or nobody left who wants it?
        unwelcome = len(entries) > 1 or all(entry.future.done() for entry in entries)
        if held >= self.shared.bound and unwelcome and self._answers != self._cancelled_at:
            self._cancelled_at = self._answers
            self._cancelling = self.loop.create_task(self._cancel())
        self._sweeping = self.loop.call_later(TICK, self._sweep)

    async def _cancel(self) -> None:
        self._cancelled = True
        with contextlib.suppress(psycopg.Error, OSError):
            await self._connection.cancel_safe(timeout=GRACE)

    # -- the end -------------------------------------------------------------------------------------------------

    def _lose(self, reason: str = "broken") -> None:
        """The connection is gone. What waited for it has read at most: it is asked for elsewhere."""
        for entry in (*self.pending, *self._again):
            if isinstance(entry, Entry) and not entry.future.done():
                entry.future.set_exception(Elsewhere())
        self.pending.clear()
        self._again.clear()
        if not self._closed:
            self._forget()
            self._connection.ended(reason)
            self._pgconn.finish()

    async def close(self) -> None:
        self._lose("close")
        await self._connection.close()

    def _forget(self) -> None:
        self._closed = True
        self.shared.lost(self)
        self.loop.remove_reader(self._socket)
        if self._writing:
            self.loop.remove_writer(self._socket)
        if self._sweeping is not None:
            self._sweeping.cancel()
