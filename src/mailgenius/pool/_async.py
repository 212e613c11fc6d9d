"""``AsyncPool``: autocommit connections for all tasks of an event loop, psycopg_pool inside.

Invariants: nothing connects before the first use; a connection is handed out only if its socket shows no sign of
death; a lost connection raises ``DatabaseUnavailable``, and ``OutcomeUnknown`` where a statement was under way; no
password reaches an error or a repr. What sets a session up (read-only, prepared statements) is used only where the
server is PostgreSQL itself, not a pooler in front of it. A forked child starts with a pool that has not connected.
"""

from __future__ import annotations

import contextlib
import os
import random
import select
import time
import traceback
import weakref
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, TypeVar, overload

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from mailgenius._native import Histogram
from mailgenius.config import PoolSettings
from mailgenius.errors import DatabaseUnavailable, OutcomeUnknown, QueryTimeout
from mailgenius.pool import aio
from mailgenius.pool.conninfo import parse, read_only, where
from mailgenius.pool.deadlines_async import Deadlines
from mailgenius.pool.queries import query, values_of
from mailgenius.pool.rows import Row, maker
from mailgenius.pool.statements import QueryStat, QueryStats, SlowCall
from mailgenius.pool.timings import Timing, timing
from mailgenius.rt import aio as rt

if TYPE_CHECKING:
    from types import TracebackType

    from psycopg.abc import Query as Statement

_Inner: TypeAlias = "AsyncConnectionPool[psycopg.AsyncConnection[Row]]"
_Params: TypeAlias = Sequence[Any] | Mapping[str, Any] | None
_T = TypeVar("_T")
SUSPICIOUS = 0.3  # seconds without a connection after which we look whether the server is there at all
ATTEMPTS = 4  # of a transaction that met another one


class AsyncPool:
    """``AsyncPool(conninfo)`` where ``conninfo`` is a PostgreSQL URL or a libpq connection string.

    Keywords as in ``PoolSettings``. Give ``settings`` to take them all from there. ``on_connect(connection)`` is called
    for each new connection, ``on_lost(error)`` when one turns out to be dead; neither for those that short reads share.
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
        base = settings or PoolSettings()
        chosen = {name: value for name, value in chosen.items() if value is not None}
        if "max_size" in chosen and "min_size" not in chosen:
            chosen["min_size"] = min(base.min_size, chosen["max_size"])
        self.settings = PoolSettings(**({name: getattr(base, name) for name in base.__struct_fields__} | chosen))
        self._parts = parse(conninfo, self.settings)
        self._conninfo = make_conninfo("", **self._parts)
        self._where = where(self._parts)
        self._on_connect = on_connect
        self._on_lost = on_lost
        self._pool: _Inner | None = None
        self._lock = rt.Lock()
        self._closed = False
        self._refused: tuple[float, str] | None = None  # when connecting failed last, and why
        self._pooled = False  # there is a pooler between us and PostgreSQL
        self._deadlines = Deadlines()
        self._queries = QueryStats(slow_seconds=self.settings.slow_query)
        self._waited, self._held, self._connected = Histogram(), Histogram(), Histogram()
        self._polls: weakref.WeakKeyDictionary[Any, select.poll] = weakref.WeakKeyDictionary()
        self._borrowed: dict[int, tuple[float, traceback.StackSummary | None]] = {}
        self._shared = self._make_shared()
        _pools.add(self)

    @property
    def conninfo(self) -> str:
        """The connection string, password included: for drivers, not for people."""
        return self._conninfo

    def __repr__(self) -> str:
        size = f"{self.settings.min_size}-{self.settings.max_size}"
        return f"<AsyncPool {self._where}, {size} connections{', closed' if self._closed else ''}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes idle connections now and the others when they come back. Safe to repeat."""
        async with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        await self._shared.close()
        if pool is not None:
            await pool.close()

    # -- connections ---------------------------------------------------------------------------------------------

    def connection(self, *, timeout: float | None = None) -> Borrowed:
        """``async with`` gives a connection in autocommit mode, which goes back at the end of the block. ``timeout``:
        seconds to wait for a free one."""
        return Borrowed(self, self.settings.timeout if timeout is None else timeout)

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
        began = time.perf_counter()
        rows: list[Any] = []
        failed = True
        try:
            rows = await self._rows(text, params, as_, timeout)
            failed = False
            return rows
        finally:
            self._queries.record(text, time.perf_counter() - began, len(rows), failed)

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

    async def execute(self, text: str, params: _Params = None, *, timeout: float | None = None) -> int:
        """Runs a statement; the number of rows it touched (-1 where that means nothing)."""
        began = time.perf_counter()
        count: int = 0
        failed = True
        try:
            count = await self._alone(text, params, None, timeout)
            failed = False
            return count
        finally:
            self._queries.record(text, time.perf_counter() - began, count, failed)

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

    async def _rows(self, text: str, params: _Params, kind: Any, timeout: float | None) -> list[Any]:
        q = query(text, params is not None)
        shared = self._shared
        if shared.takes(q):
            seconds = self.settings.query_timeout if timeout is None else timeout
            with contextlib.suppress(aio.Elsewhere):
                return await shared.rows(q, values_of(q, params), kind, seconds)
        rows: list[Any] = await self._alone(text, params, kind, timeout)
        return rows

    async def _alone(self, text: str, params: _Params, kind: Any, timeout: float | None) -> Any:
        """On a connection of its own. ``kind`` None: the number of rows touched instead of the rows."""
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
                        f" known: {_brief(error)}"
                    ) from error
                raise
            finally:
                await self._deadlines.done(watched)

    # -- what it is like -----------------------------------------------------------------------------------------

    def stats(self) -> dict[str, int]:
        """Counters since the pool opened (names of psycopg_pool: pool_size, pool_available, requests_num, …)."""
        pool = self._pool
        return ({} if pool is None else dict(pool.get_stats())) | self._shared.stats()

    def queries(self, n: int = 20, by: Literal["total", "calls", "mean", "p99", "errors"] = "total") -> list[QueryStat]:
        """What the ``n`` costliest statements of ``fetch`` and ``execute`` cost, literals left out of their texts."""
        return self._queries.top(n, by)

    def slow_queries(self) -> list[SlowCall]:
        """The last calls that took ``PoolSettings.slow_query`` seconds or more, the oldest first. Without parameters:
        they are people's data."""
        return self._queries.slow()

    def timings(self) -> dict[str, Timing]:
        """``acquire``: how long callers waited for a connection of their own; ``usage``: how long they held it;
        ``connect``: how long one took to make, each time the pool looked whether the server is there."""
        return {
            "acquire": timing(self._waited),
            "usage": timing(self._held),
            "connect": timing(self._connected),
        }

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
        found = [(now - since, stack) for since, stack in tuple(self._borrowed.values()) if now - since >= limit]
        found.sort(key=lambda one: -one[0])
        return [(age, "".join(stack.format()) if stack else "") for age, stack in found]

    # -- the inside ----------------------------------------------------------------------------------------------

    async def _checkout(self, timeout: float) -> tuple[_Inner, psycopg.AsyncConnection[Row]]:
        """A connection and the inner pool it goes back to.

        The inner pool reconnects in the background, pausing longer and longer, and tells nobody why it fails; its
        callers wait for the whole timeout. So after a short wait we look ourselves: a server that is down is
        reported at once, and one that is back gets a new inner pool instead of waiting for the pause to end.
        """
        began = time.monotonic()
        deadline = began + timeout
        wait = min(timeout, SUSPICIOUS)
        while True:
            pool = self._pool or await self._opened(timeout)
            try:
                connection = await pool.getconn(wait)
            except PoolClosed:
                if self._closed:
                    raise DatabaseUnavailable(f"The pool for {self._where} is closed.") from None
                wait = max(deadline - time.monotonic(), 0.001)  # replaced meanwhile
            except PoolTimeout:
                if pool.get_stats().get("connections_errors"):
                    await self._try_once(timeout)
                    await self._replace(pool)
                elif time.monotonic() >= deadline:
                    raise DatabaseUnavailable(
                        f"No connection to {self._where} became free within {timeout:g} s; all of at most"
                        f" {self.settings.max_size} were in use. Raise $.pool.max_size or $.pool.timeout, or give"
                        " connections back sooner."
                    ) from None
                wait = max(deadline - time.monotonic(), 0.001)
            else:
                stack = None if self.settings.leak_after is None else traceback.extract_stack(limit=20)
                now = time.monotonic()
                self._waited.observe(now - began)
                self._borrowed[id(connection)] = (now, stack)
                return pool, connection

    async def _opened(self, timeout: float) -> _Inner:
        began = time.monotonic()
        async with self._lock:
            if self._closed:
                raise DatabaseUnavailable(f"The pool for {self._where} is closed.")
            if self._pool is None:
                if self._refused is not None and self._refused[0] > began:  # somebody else tried, while we waited
                    raise DatabaseUnavailable(self._refused[1])
                await self._try_once(timeout)  # a wrong password or a missing server is told at once
                self._pool = await self._make()
            return self._pool

    async def _make(self) -> _Inner:
        pool: _Inner = AsyncConnectionPool(
            self._conninfo,
            min_size=self.settings.min_size,
            max_size=self.settings.max_size,
            timeout=self.settings.timeout,
            max_idle=self.settings.max_idle,
            max_lifetime=self.settings.max_lifetime,
            kwargs={"autocommit": True, "prepare_threshold": None if self._pooled else 5},
            configure=self._on_connect,
            check=self._check,
            open=False,
            name="mailgenius",
        )
        await pool.open()
        return pool

    async def _replace(self, old: _Inner) -> None:
        async with self._lock:
            if self._pool is not old or self._closed:
                return
            self._pool = await self._make()
        await old.close()  # connections still in use are closed when they come back

    async def _try_once(self, timeout: float) -> None:
        began = time.monotonic()
        patience = min(
            float(self._parts["connect_timeout"]), max(timeout, 2.0)
        )  # less than 2 s the driver does not take
        try:
            async with await psycopg.AsyncConnection.connect(
                self._conninfo, autocommit=True, connect_timeout=round(patience)
            ) as connection:
                self._connected.observe(time.monotonic() - began)
                self._pooled = await _behind_pooler(connection)
        except psycopg.OperationalError as error:
            why = f"Cannot connect to {self._where}: {_brief(error)}"
            self._refused = (time.monotonic(), why)
            raise DatabaseUnavailable(why) from error
        if self._pooled:
            self._shared.connections = 0

    async def _check(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Refuses a connection the server has closed; free of charge for a healthy one, whose idle socket has nothing
        to read."""
        poll = self._polls.get(connection)
        if poll is None:
            poll = self._polls[connection] = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):  # a farewell, the end of the stream, or just a notice: a round trip tells
            try:
                await AsyncConnectionPool.check_connection(connection)
            except psycopg.Error as error:
                if self._on_lost is not None:
                    self._on_lost(error)
                raise

    def _make_shared(self) -> aio.Shared:
        return aio.Shared(
            self._connect_shared,
            connections=self.settings.shared_connections,
            bound=self.settings.shared_bound,
        )

    async def _connect_shared(self) -> psycopg.AsyncConnection[Any]:
        """A read-only connection in a state that its session keeps; ``Elsewhere`` if there can be none."""
        if self._closed:
            raise DatabaseUnavailable(f"The pool for {self._where} is closed.")
        try:
            connection = await psycopg.AsyncConnection.connect(read_only(self._parts), autocommit=True)
        except psycopg.OperationalError as error:
            if "startup parameter" in str(error):  # a pooler speaks
                self._shared.connections = 0
            raise aio.Elsewhere from None  # if the server is away, the other way says so better
        if await _behind_pooler(connection):
            self._shared.connections = 0
        return connection


class Borrowed:
    """A connection for the time of a block. (A class, since a generator would cost a tenth of a small read.)"""

    __slots__ = ("_connection", "_inner", "_pool", "_timeout")

    _inner: _Inner
    _connection: psycopg.AsyncConnection[Row]

    def __init__(self, pool: AsyncPool, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout

    async def __aenter__(self) -> psycopg.AsyncConnection[Row]:
        self._inner, self._connection = await self._pool._checkout(self._timeout)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, connection = self._pool, self._connection
        since, _ = pool._borrowed.pop(id(connection))
        pool._held.observe(time.monotonic() - since)
        closed = connection.closed
        if not closed and not connection.autocommit:
            await connection.rollback()
            await connection.set_autocommit(True)
        await self._inner.putconn(connection)
        if closed and isinstance(error, psycopg.OperationalError):
            raise DatabaseUnavailable(f"The connection to {pool._where} was lost: {_brief(error)}") from error


_pools: weakref.WeakSet[AsyncPool] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    """Connections and threads of the parent are not ours: start anew, and keep the old objects so that nothing of
    them is finalised here."""
    for pool in _pools:
        pool._lock = rt.Lock()
        _inherited.extend((pool._pool, pool._shared))
        pool._pool = None
        pool._shared = pool._make_shared()
        pool._deadlines = Deadlines()


os.register_at_fork(after_in_child=_after_fork_in_child)


async def _behind_pooler(connection: psycopg.AsyncConnection[Any]) -> bool:
    """A pooler answers with a process number of its own, not with that of the server's process."""
    cursor = await connection.execute("select pg_backend_pid()")
    row = await cursor.fetchone()
    return row is None or row[0] != connection.pgconn.backend_pid


def _brief(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
