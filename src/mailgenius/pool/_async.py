"""``AsyncPool``: statements for all tasks of an event loop, over the connections of ``Connections``.

Invariants: a statement ends with its answer or an error that says what the caller can do; a connection that is lost while
one is under way raises ``OutcomeUnknown``; every call is recorded in the statistics.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import psycopg
from psycopg import errors as pg

from mailgenius.config import PoolSettings
from mailgenius.errors import OutcomeUnknown, QueryTimeout
from mailgenius.pool import aio, recent
from mailgenius.pool.connections_async import Connections
from mailgenius.pool.conninfo import brief
from mailgenius.pool.explaining_async import Explainer
from mailgenius.pool.metrics import PoolMetrics, timing
from mailgenius.pool.nodes import NodeStat
from mailgenius.pool.queries import query, values_of
from mailgenius.pool.rows import Row, maker
from mailgenius.pool.statements import QueryStat, QueryStats, SlowCall
from mailgenius.pool.tracked_async import Tracked
from mailgenius.rt import aio as rt

if TYPE_CHECKING:
    from psycopg.abc import Query as Statement

_Params: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
_T = TypeVar("_T")
ATTEMPTS = 4  # of a transaction that met another one


class AsyncPool(Connections):
    """``AsyncPool(conninfo)`` where ``conninfo`` is a PostgreSQL URL or a libpq connection string.

    Keywords as in ``PoolSettings``. Give ``settings`` to take them all from there. ``on_connect(connection)`` is called
    for each connection that the pool makes for its callers, those included that short reads share (they are read-only);
    ``on_lost(error)`` when one of them turns out to be dead.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        settings: PoolSettings | None = None,
        on_connect: Callable[[psycopg.AsyncConnection[Row]], rt.Awaits[None]] | None = None,
        on_lost: Callable[[Exception], object] | None = None,
        **chosen: Any,
    ) -> None:
        super().__init__(conninfo, settings=settings, on_connect=on_connect, on_lost=on_lost, **chosen)
        self._queries = QueryStats(slow_seconds=self.settings.slow_query)
        self._record = self._queries.record_since  # bound once: a look-up less for each call
        self._explainer = self._make_explainer()

    def __repr__(self) -> str:
        size = f"{self.settings.min_size}-{self.settings.max_size}"
        return f"<AsyncPool {self._where}, {size} connections{', closed' if self._closed else ''}>"

    async def close(self) -> None:
        """Closes idle connections now and the others when they come back. Safe to repeat."""
        await super().close()
        await self._explainer.close()

    # -- connections ---------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def transaction(
        self, *, timeout: float | None = None, statement_timeout: float | None = None
    ) -> AsyncIterator[psycopg.AsyncConnection[Row]]:
        """A connection inside a transaction: committed at the end of the block, rolled back if it raises.

        ``statement_timeout``: seconds that each statement in it may take on the server; it ends with the transaction, so
        it holds behind a pooler too and leaks to nobody.
        """
        async with self.connection(timeout=timeout) as connection, connection.transaction():
            if statement_timeout is not None:
                milliseconds = str(max(1, round(statement_timeout * 1000)))
                await connection.execute("select set_config('statement_timeout', %s, true)", (milliseconds,))
            yield connection

    async def run(
        self,
        do: Callable[[psycopg.AsyncConnection[Row]], rt.Awaits[_T]],
        *,
        attempts: int = ATTEMPTS,
        statement_timeout: float | None = None,
    ) -> _T:
        """``do(connection)`` in a transaction, and again if PostgreSQL gave it up in favour of another one (deadlock,
        serialization failure): then nothing of it was applied. Whatever else goes wrong is raised."""
        for attempt in range(1, attempts + 1):
            try:
                async with self.transaction(statement_timeout=statement_timeout) as connection:
                    return await do(connection)
            except (pg.DeadlockDetected, pg.SerializationFailure):
                if attempt == attempts:
                    raise
                await rt.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 - so that two do not meet again
        raise AssertionError("unreachable")

    # -- statements ----------------------------------------------------------------------------------------------

    @overload
    async def fetch(self, text: str, params: _Params = None, *, timeout: float | None = None) -> list[Row]: ...
    @overload
    async def fetch(
        self, text: str, params: _Params = None, *, as_: type[_T], timeout: float | None = None
    ) -> list[_T]: ...
    async def fetch(
        self, text: str, params: _Params = None, *, as_: Any = tuple, timeout: float | None = None
    ) -> list[Any]:
        """All rows. ``text`` is SQL with psycopg's placeholders; never put values into it.

        ``as_``: what a row becomes: tuple, dict, or a class that takes the columns as keywords (a msgspec Struct, a
        dataclass). ``timeout``: seconds, ``PoolSettings.query_timeout`` if left out; then ``QueryTimeout``.
        """
        began = monotonic()
        if not self._counting:
            if self._replicas is None:
                return await self._rows(text, params, as_, timeout, began)
            return await self._replicas.rows(text, params, as_, timeout)
        try:
            if self._replicas is None:
                rows = await self._rows(text, params, as_, timeout, began)
            else:
                rows = await self._replicas.rows(text, params, as_, timeout)
        except BaseException:
            self._failed(text, params, began)
            raise
        if slow := self._record(text, began, rows):
            self._explainer.slow(slow, text, params)
        return rows

    @overload
    async def fetch_one(self, text: str, params: _Params = None, *, timeout: float | None = None) -> Row | None: ...
    @overload
    async def fetch_one(
        self, text: str, params: _Params = None, *, as_: type[_T], timeout: float | None = None
    ) -> _T | None: ...
    async def fetch_one(
        self, text: str, params: _Params = None, *, as_: Any = tuple, timeout: float | None = None
    ) -> Any:
        """The first row, or None."""
        rows = await self.fetch(text, params, as_=as_, timeout=timeout)
        return rows[0] if rows else None

    async def fetch_value(self, text: str, params: _Params = None, *, timeout: float | None = None) -> Any:
        """The first column of the first row, or None."""
        rows = await self.fetch(text, params, timeout=timeout)
        return rows[0][0] if rows else None

    def read_your_writes(self) -> contextlib.AbstractContextManager[None]:
        """A block (``with``) in which ``fetch`` sees what was written in it before: on a replica that has replayed it, else
        on the primary. It holds for the tasks started in the block; without replicas it changes nothing."""
        return recent.marked()

    def read_from_primary(self) -> contextlib.AbstractContextManager[None]:
        """A block (``with``) in which ``fetch`` reads from the primary alone."""
        return recent.marked(recent.ALWAYS)

    async def execute(self, text: str, params: _Params = None, *, timeout: float | None = None) -> int:
        """Runs a statement; the number of rows it touched (-1 where that means nothing)."""
        if not self._counting:
            count: int = await self._alone(text, params, None, timeout)
            return count
        began = monotonic()
        try:
            count = await self._alone(text, params, None, timeout)
        except BaseException:
            self._failed(text, params, began)
            raise
        if slow := self._record(text, began, count):
            self._explainer.slow(slow, text, params)
        return count

    def _failed(self, text: str, params: _Params, began: float) -> None:
        if slow := self._record(text, began, 0, True):
            self._explainer.slow(slow, text, params)

    async def execute_many(self, text: str, many: Iterable[Sequence[Any] | Mapping[str, Any]]) -> int:
        """Runs a statement for each of the parameters, all of them or none; the number of rows touched."""
        async with self.transaction() as connection, connection.cursor() as cursor:
            await cursor.executemany(text.encode(), many)
            return cursor.rowcount

    async def copy_in(self, statement: Statement, blocks: Iterable[bytes]) -> int:
        """``COPY … FROM STDIN`` with these bytes; the number of rows stored: all of them or none."""
        async with self.connection() as connection, connection.cursor() as cursor:
            async with cursor.copy(statement) as copy:
                for block in blocks:
                    await copy.write(block)
            return cursor.rowcount

    async def copy_out(self, statement: Statement) -> AsyncIterator[bytes]:
        """The bytes of ``COPY … TO STDOUT``, as they come. The connection is busy until the last one was taken."""
        async with self.connection() as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
            async for block in copy:
                yield bytes(block)

    async def _rows(
        self, text: str, params: _Params, kind: Any, timeout: float | None, began: float | None = None
    ) -> list[Any]:
        """``began``: when the time limit begins, where the clock was just read for something else."""
        q = query(text, params is not None)
        shared = self._shared
        if shared.takes(q):
            seconds = self.settings.query_timeout if timeout is None else timeout
            with contextlib.suppress(aio.Elsewhere):
                return await shared.rows(
                    q, values_of(q, params), kind, seconds, monotonic() if began is None else began
                )
        rows: list[Any] = await self._alone(text, params, kind, timeout)
        return rows

    async def _alone(self, text: str, params: _Params, kind: Any, timeout: float | None) -> Any:
        """On a connection of its own. ``kind`` None: the number of rows touched instead of the rows."""
        moves = self._moves
        try:
            return await self._once(text, params, kind, timeout)
        except pg.ReadOnlySqlTransaction:
            if self._moves == moves:
                raise
            return await self._once(text, params, kind, timeout)  # refused by who is no longer the primary

    async def _once(self, text: str, params: _Params, kind: Any, timeout: float | None) -> Any:
        async with self.connection() as connection:
            seconds = self.settings.query_timeout if timeout is None else timeout
            watched = self._deadlines.watch(connection, seconds)
            try:
                cursor = await connection.execute(text.encode(), params)
                if kind is None:
                    return cursor.rowcount
                rows = await cursor.fetchall() if cursor.description is not None else []
                if kind is tuple:
                    return rows
                make = maker(kind, [column.name for column in cursor.description or ()])
                return [make(row) for row in rows]
            except psycopg.OperationalError as error:
                if watched.expired:
                    raise QueryTimeout(f"The statement took longer than {seconds:g} s and was cancelled.") from error
                if connection.closed:
                    raise OutcomeUnknown(
                        f"The connection to {self._where} was lost while a statement ran; whether it was applied is not"
                        f" known: {brief(error)}"
                    ) from error
                raise
            finally:
                await self._deadlines.done(watched)

    def _make_explainer(self) -> Explainer:
        return Explainer(
            self._connect_to_explain, share=self.settings.explain_slow, values=self.settings.keep_parameters
        )

    async def _connect_to_explain(self) -> Tracked:
        return await Tracked.connect(
            self._conninfo, meters=self._meters, reason="explain", autocommit=True, prepare_threshold=None
        )

    def _forked(self) -> None:
        super()._forked()
        self._explainer = self._make_explainer()

    # -- what it is like -----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        """Counters since the pool opened (names of psycopg_pool: pool_size, pool_available, requests_num, …)."""
        pool = self._pool
        found = ({} if pool is None else dict(pool.get_stats())) | self._shared.stats()
        return found if self._replicas is None else found | self._replicas.stats()

    def nodes(self) -> list[NodeStat]:
        """The primary and the replicas: up or down, how far behind, reads served, the last error. Empty without replicas.

        What is known of them is up to date while the pool is used."""
        return [] if self._replicas is None else self._replicas.nodes()

    def queries(self, n: int = 20, by: Literal["total", "calls", "mean", "p99", "errors"] = "total") -> list[QueryStat]:
        """What the ``n`` costliest statements of ``fetch`` and ``execute`` cost, literals left out of their texts."""
        return self._queries.top(n, by)

    def slow_queries(self) -> list[SlowCall]:
        """The last calls that took ``PoolSettings.slow_query`` seconds or more, the oldest first. Without parameters,
        which are people's data, unless ``keep_parameters`` is set; with the plans of those that ``explain_slow`` chose."""
        return [self._explainer.known(call) for call in self._queries.slow()]

    def metrics(self) -> PoolMetrics:
        """Connections and callers: how many, how long they waited, held and made them, and why connections went."""
        known, shared, meters = self.stats(), self._shared.stats(), self._meters
        return PoolMetrics(
            active=sum(state.since > 0 for state in meters.states()),
            idle=known.get("pool_available", 0),
            pending=known.get("requests_waiting", 0),
            min_size=self.settings.min_size,
            max_size=self.settings.max_size,
            shared=shared["shared_size"],
            shared_pending=shared["shared_pending"],
            shared_evicted=shared["shared_evicted"],
            acquire=timing(meters.acquire),
            usage=timing(meters.usage),
            creation=timing(meters.creation),
            timeouts=timing(meters.timeouts),
            refused=timing(meters.refused),
            closed=meters.closed(),
        )

    async def explain(self, text: str, params: _Params = None, *, analyze: bool = False) -> str:
        """PostgreSQL's plan of a statement. ``analyze``: it is run, with what it changes taken back, and measured."""
        options = "analyze, buffers" if analyze else "costs"
        async with self.connection() as connection, connection.transaction(force_rollback=True):
            cursor = await connection.execute(f"explain ({options}) {text}".encode(), params)
            return "\n".join(line for (line,) in await cursor.fetchall())

    def leaks(self, seconds: float | None = None) -> list[tuple[float, str]]:
        """(seconds, stack) of connections that were borrowed so long ago and have not come back, the oldest first.

        Who took them is known if ``PoolSettings.leak_after`` is set; ``seconds`` is that if left out.
        """
        limit = seconds if seconds is not None else self.settings.leak_after or 0.0
        now = time.monotonic()
        held = [(now - state.since, state.stack) for state in self._meters.states() if state.since]
        found = [(age, stack) for age, stack in held if age >= limit]
        found.sort(key=lambda one: -one[0])
        return [(age, "".join(stack.format()) if stack else "") for age, stack in found]
