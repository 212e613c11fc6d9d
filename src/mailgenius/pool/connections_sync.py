# Made from connections_async.py by `python -m tools.twin`: edit that one.
"""Connections to one PostgreSQL: made when first needed, lent one by one, replaced when the server comes back.

Invariants: nothing connects before the first use; a connection is handed out only if its socket shows no sign of
death; a lost connection raises ``DatabaseUnavailable``; no password reaches an error or a repr. What sets a session up
(read-only, prepared statements) is used only where the server is PostgreSQL itself, not a pooler in front of it. A
forked child starts with a pool that has not connected.
"""

from __future__ import annotations

import os
import select
import time
import traceback
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from mailgenius.config import PoolSettings
from mailgenius.errors import DatabaseUnavailable
from mailgenius.pool import recent, threads
from mailgenius.pool.conninfo import brief, parse, read_only, where
from mailgenius.pool.deadlines_sync import Deadlines
from mailgenius.pool.meters import Meters
from mailgenius.pool.poolers_sync import behind_pooler, keeps_statements
from mailgenius.pool.replicas_sync import Replicas
from mailgenius.pool.rows import Row
from mailgenius.pool.tracked_sync import Tracked
from mailgenius.rt import threads as rt

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Connections"]

_Inner: TypeAlias = "ConnectionPool[Tracked]"
PREPARED = 5  # executions after which the driver prepares a statement
SUSPICIOUS = 0.3  # seconds without a connection after which we look whether the server is there at all


class Connections:
    """What of a pool is about connections; statements are its heirs' affair."""

    def __init__(
        self,
        conninfo: str,
        *,
        settings: PoolSettings | None,
        on_connect: Callable[[psycopg.Connection[Row]], rt.Awaits[None]] | None,
        on_lost: Callable[[Exception], object] | None,
        **chosen: Any,
    ) -> None:
        base = settings or PoolSettings()
        chosen = {name: value for name, value in chosen.items() if value is not None}
        if "max_size" in chosen and "min_size" not in chosen:
            chosen["min_size"] = min(base.min_size, chosen["max_size"])
        self.settings = PoolSettings(**({name: getattr(base, name) for name in base.__struct_fields__} | chosen))
        self._parts = self._home = parse(conninfo, self.settings)
        self._moves = 0  # to another server
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
        self._counting = self.settings.statistics
        self._meters: Meters[Tracked] = Meters(on_lost)
        self._polls: weakref.WeakKeyDictionary[Any, select.poll] = weakref.WeakKeyDictionary()
        self._shared = self._make_shared()
        self._reading = False  # on a replica: nothing may be written
        self._replicas = self._make_replicas()
        _pools.add(self)

    @property
    def conninfo(self) -> str:
        """The connection string, password included: for drivers, not for people."""
        return self._conninfo

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes idle connections now and the others when they come back. Safe to repeat."""
        with self._lock:
            self._closed = self._meters.closing = True
            pool, self._pool = self._pool, None
        if self._replicas is not None:
            self._replicas.close()
        self._shared.close()
        if pool is not None:
            pool.close()

    def _abandon(self) -> None:
        """Closes at once, whoever uses it: they get an error now instead of waiting for a server that is gone."""
        self._closed = self._meters.closing = True
        pool, self._pool = self._pool, None
        self._shared.abandon()
        self._deadlines.cut()
        if pool is not None:
            pool.close()

    def _move(self, parts: dict[str, Any]) -> None:
        """From now on, connections are made to the server of ``parts``. Those in use are closed when they come back."""
        self._parts, self._conninfo, self._where = parts, make_conninfo("", **parts), where(parts)
        pool, self._pool = self._pool, None
        shared, self._shared = self._shared, self._make_shared()
        self._refused = None
        self._moves += 1
        shared.close()
        if pool is not None:
            pool.close()

    def _look_again(self, moves: int) -> bool:
        """The server refuses writes. Is there another one by now? Then the next connection leads to it.

        ``moves``: how often the pool had moved when the statement began.
        """
        if self._replicas is not None:
            return self._replicas.look_again(moves)
        try:
            with Tracked.connect(self._conninfo, meters=self._meters, reason="probe", autocommit=True) as connection:
                if not _writable(connection):
                    return False
        except psycopg.OperationalError:
            return False
        if self._moves == moves:  # nobody else was faster
            self._move(self._parts)
        return True

    def connection(self, *, timeout: float | None = None) -> Borrowed:
        """``with`` gives a connection in autocommit mode, which goes back at the end of the block. ``timeout``:
        seconds to wait for a free one."""
        return Borrowed(self, self.settings.timeout if timeout is None else timeout)

    def _checkout(self, timeout: float) -> tuple[_Inner, Tracked]:
        """A connection and the inner pool it goes back to.

        The inner pool reconnects in the background, pausing longer and longer, and tells nobody why it fails; its
        callers wait for the whole timeout. So after a short wait we look ourselves: a server that is down is
        reported at once, and one that is back gets a new inner pool instead of waiting for the pause to end.
        """
        began = time.monotonic()
        deadline = began + timeout
        wait = min(timeout, SUSPICIOUS)
        while True:
            pool = self._pool or self._opened(timeout)
            try:
                connection = pool.getconn(wait)
            except PoolClosed:
                if self._closed:
                    raise DatabaseUnavailable(f"The pool for {self._where} is closed.") from None
                wait = max(deadline - time.monotonic(), 0.001)  # replaced meanwhile
            except PoolTimeout:
                if pool.get_stats().get("connections_errors"):
                    self._try_once(timeout)
                    self._replace(pool)
                elif time.monotonic() >= deadline:
                    self._meters.timeouts.observe(time.monotonic() - began)
                    raise DatabaseUnavailable(
                        f"No connection to {self._where} became free within {timeout:g} s; all of at most"
                        f" {self.settings.max_size} were in use. Raise $.pool.max_size or $.pool.timeout, or give"
                        " connections back sooner."
                    ) from None
                wait = max(deadline - time.monotonic(), 0.001)
            else:
                state = connection.state
                state.since = now = time.monotonic()
                if self._counting:
                    self._meters.acquire.observe(now - began)
                if self.settings.leak_after is not None:
                    state.stack = traceback.extract_stack(limit=20)
                return pool, connection

    def _opened(self, timeout: float) -> _Inner:
        began = time.monotonic()
        with self._lock:
            if self._closed:
                raise DatabaseUnavailable(f"The pool for {self._where} is closed.")
            while (pool := self._pool) is None:
                if self._refused is not None and self._refused[0] > began:  # somebody else tried, while we waited
                    raise DatabaseUnavailable(self._refused[1])
                self._try_once(timeout)  # a wrong password or a missing server is told at once
                self._install()
                if self._closed:
                    raise DatabaseUnavailable(f"The pool for {self._where} is closed.")
                if self._replicas is not None:
                    self._replicas.used(time.monotonic())
            return pool

    def _install(self) -> None:
        """A new inner pool, unless there is no use for it any more: we were abandoned, or have moved, meanwhile."""
        moves = self._moves
        self._pool = pool = self._make()
        if self._closed or self._moves != moves:
            if self._pool is pool:
                self._pool = None
            pool.close()

    def _make(self) -> _Inner:
        pool: _Inner = ConnectionPool(
            read_only(self._parts) if self._reading and not self._pooled else self._conninfo,
            connection_class=Tracked,
            min_size=self.settings.min_size,
            max_size=self.settings.max_size,
            timeout=self.settings.timeout,
            max_idle=self.settings.max_idle,
            max_lifetime=self.settings.max_lifetime,
            kwargs={
                "autocommit": True,
                "prepare_threshold": None if self._pooled else PREPARED,
                "meters": self._meters,
            },
            configure=self._greet,
            check=self._check,
            open=False,
            name="mailgenius",
        )
        pool.open()
        return pool

    def _replace(self, old: _Inner) -> None:
        with self._lock:
            if self._pool is not old or self._closed:
                return
            self._install()
            self._meters.closing = True
            try:
                old.close()  # connections still in use are closed when they come back
            finally:
                self._meters.closing = self._closed

    def _try_once(self, timeout: float) -> None:
        moves = self._moves
        patience = min(
            float(self._parts["connect_timeout"]), max(timeout, 2.0)
        )  # less than 2 s the driver does not take
        try:
            with Tracked.connect(
                self._conninfo,
                meters=self._meters,
                reason="probe",
                autocommit=True,
                connect_timeout=round(patience),
            ) as connection:
                self._pooled = behind_pooler(connection)
        except psycopg.OperationalError as error:
            if self._replicas is not None and self._replicas.look_again(moves):
                self._try_once(timeout)
                return
            why = f"Cannot connect to {self._where}: {brief(error)}"
            self._refused = (time.monotonic(), why)
            raise DatabaseUnavailable(why) from error
        if self._pooled:
            self._shared.connections = 0

    def _check(self, connection: Tracked) -> None:
        """Refuses a connection the server has closed; free of charge for a healthy one, whose idle socket has nothing
        to read."""
        poll = self._polls.get(connection)
        if poll is None:
            poll = self._polls[connection] = select.poll()
            poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):  # a farewell, the end of the stream, or just a notice: a round trip tells
            try:
                ConnectionPool.check_connection(connection)
            except psycopg.Error as error:
                if connection.closed:
                    connection.ended("check", error)
                raise

    def _greet(self, connection: Tracked) -> None:
        if self._pooled and keeps_statements(connection):  # each is asked: there may be several poolers
            connection.prepare_threshold = PREPARED
        if self._on_connect is not None:
            try:
                self._on_connect(connection)
            except BaseException:
                connection.state.reason = "hook"
                connection.close()
                raise

    def _make_shared(self) -> threads.Shared:
        return threads.Shared(
            self._connect_shared,
            connections=self.settings.shared_connections,
            bound=self.settings.shared_bound,
        )

    def _make_replicas(self) -> Replicas | None:
        urls = self.settings.replicas
        return Replicas(self, urls, self._home) if urls else None  # type: ignore[arg-type]

    def _connect_shared(self) -> Tracked:
        """A read-only connection in a state that its session keeps; ``Elsewhere`` if there can be none."""
        if self._closed:
            raise DatabaseUnavailable(f"The pool for {self._where} is closed.")
        # libpq does not take a read-only session for one of the primary's: such a one has to become read-only later.
        late = self._parts.get("target_session_attrs") == "read-write"
        try:
            connection = Tracked.connect(
                self._conninfo if late else read_only(self._parts), meters=self._meters, autocommit=True
            )
        except psycopg.OperationalError as error:
            if "startup parameter" in str(error):  # a pooler speaks
                self._shared.connections = 0
            raise threads.Elsewhere from None  # if the server is away, the other way says so better
        try:
            if behind_pooler(connection):
                self._shared.connections = 0
                connection.state.reason = "probe"
                return connection
            if late:
                connection.execute("set session characteristics as transaction read only")
            self._greet(connection)
        except BaseException as error:
            connection.close()
            if isinstance(error, psycopg.OperationalError):
                raise threads.Elsewhere from None
            raise
        return connection

    def _forked(self) -> None:
        """In a child process: the parent's connections and threads are not ours. Starts anew, and keeps the old objects
        so that nothing of them is finalised here."""
        self._lock = rt.Lock()
        _inherited.extend((self._pool, self._shared, self._replicas, self._meters))
        self._pool = None
        self._meters = Meters(self._on_lost)
        self._shared = self._make_shared()
        self._deadlines = Deadlines()
        self._parts, self._conninfo, self._where = self._home, make_conninfo("", **self._home), where(self._home)
        self._replicas = self._make_replicas()


class Borrowed:
    """A connection for the time of a block. (A class, since a generator would cost a tenth of a small read.)"""

    __slots__ = ("_connection", "_inner", "_mark", "_pool", "_timeout")

    _inner: _Inner
    _connection: Tracked
    _mark: recent.Mark | None  # only with replicas

    def __init__(self, pool: Connections, timeout: float) -> None:
        self._pool = pool
        self._timeout = timeout

    def __enter__(self) -> Tracked:
        self._inner, self._connection = self._pool._checkout(self._timeout)
        if self._pool._replicas is not None:
            self._mark = recent.current()
            if self._mark is not None:
                self._mark.begins()
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pool, connection = self._pool, self._connection
        state = connection.state
        if pool._counting:
            pool._meters.usage.observe_since(state.since)
        closed = connection.closed
        if closed:
            connection.ended("", error if isinstance(error, Exception) else None)
        elif not connection.autocommit:
            try:
                connection.rollback()
                connection.set_autocommit(True)
            except psycopg.Error as failed:
                connection.ended("reset", failed)
                connection.close()
        moves = pool._moves
        refused = error is not None and not closed and self._refused(error)
        state.since, state.stack = 0.0, None
        state.returning = None if self._inner.closed else True
        self._inner.putconn(connection)
        state.returning = False
        if pool._replicas is not None and self._mark is not None:
            self._mark.ended(time.monotonic())
        if refused and self._inner is pool._pool:  # else the pool has left that server already
            pool._look_again(moves)
        if closed and isinstance(error, psycopg.OperationalError):
            raise DatabaseUnavailable(f"The connection to {pool._where} was lost: {brief(error)}") from error

    def _refused(self, error: BaseException) -> bool:
        """Was it a write, and the server one that takes none?"""
        if self._pool._reading or not isinstance(error, pg.ReadOnlySqlTransaction):
            return False
        return not _writable(self._connection)


_pools: weakref.WeakSet[Connections] = weakref.WeakSet()
_inherited: list[object] = []


def _after_fork_in_child() -> None:
    for pool in _pools:
        pool._forked()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _writable(connection: psycopg.Connection[Any]) -> bool:
    """Does this server take writes? (A transaction may also be read-only because somebody asked for that.)"""
    try:
        cursor = connection.execute(
            "select not pg_is_in_recovery() and not current_setting('default_transaction_read_only')::bool"
        )
        row = cursor.fetchone()
    except psycopg.Error:
        return False
    return row is not None and bool(row[0])
