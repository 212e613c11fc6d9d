"""``Pool``: a thread-safe pool of autocommit connections, psycopg_pool inside.

Invariants: nothing connects before the first use; a connection is handed out only if its socket shows no sign of
death; a lost connection raises ``DatabaseUnavailable``; no password reaches an error or a repr. Prepared statements
are never used implicitly, so it works behind PgBouncer in transaction mode too. A forked child starts with a pool
that has not connected.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from mailgenius.config import PoolSettings
from mailgenius.errors import ConfigError, DatabaseUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from psycopg.abc import Params

Row = tuple[Any, ...]
_Inner: TypeAlias = "ConnectionPool[psycopg.Connection[Row]]"
SUSPICIOUS = 0.3  # seconds without a connection after which we look whether the server is there at all


class Pool:
    """``Pool(conninfo)`` where ``conninfo`` is a PostgreSQL URL or a libpq connection string.

    Keywords as in ``PoolSettings``. Give ``settings`` to take them all from there.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        min_size: int | None = None,
        max_size: int | None = None,
        timeout: float | None = None,
        connect_timeout: int | None = None,
        max_idle: float | None = None,
        application_name: str | None = None,
        settings: PoolSettings | None = None,
    ) -> None:
        given = {
            "min_size": min_size,
            "max_size": max_size,
            "timeout": timeout,
            "connect_timeout": connect_timeout,
            "max_idle": max_idle,
            "application_name": application_name,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        base = settings or PoolSettings()
        if "max_size" in chosen and "min_size" not in chosen:
            chosen["min_size"] = min(base.min_size, chosen["max_size"])
        self.settings = PoolSettings(**({name: getattr(base, name) for name in base.__struct_fields__} | chosen))
        try:
            parsed = conninfo_to_dict(conninfo)
            parsed.setdefault("connect_timeout", self.settings.connect_timeout)
            parsed.setdefault("application_name", self.settings.application_name)
            self._conninfo = make_conninfo("", **parsed)
        except psycopg.Error:
            # libpq quotes the string it cannot read, password and all: neither its text nor its traceback may be shown.
            raise ConfigError(
                "$.database_url: not a PostgreSQL URL or connection string; expected"
                " postgresql://user:password@host:port/database"
            ) from None
        self._where = _where(parsed)
        self._pool: _Inner | None = None
        self._lock = threading.Lock()
        self._closed = False
        _pools.add(self)

    @property
    def conninfo(self) -> str:
        """The connection string, password included: for drivers, not for people."""
        return self._conninfo

    def __repr__(self) -> str:
        size = f"{self.settings.min_size}-{self.settings.max_size}"
        return f"<Pool {self._where}, {size} connections{', closed' if self._closed else ''}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes idle connections now and the others when they come back. Safe to repeat."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.close()

    @contextlib.contextmanager
    def connection(self, *, timeout: float | None = None) -> Iterator[psycopg.Connection[Row]]:
        """A connection in autocommit mode, given back at the end. ``timeout``: seconds to wait for a free one."""
        pool, connection = self._checkout(self.settings.timeout if timeout is None else timeout)
        try:
            yield connection
        except psycopg.OperationalError as error:
            if connection.closed:
                raise DatabaseUnavailable(f"The connection to {self._where} was lost: {_brief(error)}") from error
            raise
        finally:
            if not connection.closed and not connection.autocommit:
                connection.rollback()
                connection.autocommit = True
            pool.putconn(connection)

    @contextlib.contextmanager
    def transaction(self, *, timeout: float | None = None) -> Iterator[psycopg.Connection[Row]]:
        """A connection inside a transaction: committed at the end of the block, rolled back if it raises."""
        with self.connection(timeout=timeout) as connection, connection.transaction():
            yield connection

    def fetch(self, query: str, params: Params | None = None) -> list[Row]:
        """All rows. ``query`` is SQL text with psycopg's placeholders; never put values into it."""
        with self.connection() as connection:
            return _run(connection, query, params).fetchall()

    def fetch_one(self, query: str, params: Params | None = None) -> Row | None:
        """The first row, or None."""
        with self.connection() as connection:
            return _run(connection, query, params).fetchone()

    def fetch_value(self, query: str, params: Params | None = None) -> Any:
        """The first column of the first row, or None."""
        row = self.fetch_one(query, params)
        return None if row is None else row[0]

    def execute(self, query: str, params: Params | None = None) -> int:
        """Runs a statement; the number of rows it touched (-1 where that means nothing)."""
        with self.connection() as connection:
            return _run(connection, query, params).rowcount

    def stats(self) -> dict[str, int]:
        """Counters since the pool opened (names of psycopg_pool: pool_size, pool_available, requests_num, …)."""
        pool = self._pool
        return {} if pool is None else dict(pool.get_stats())

    def _checkout(self, timeout: float) -> tuple[_Inner, psycopg.Connection[Row]]:
        """A connection and the inner pool it goes back to.

        The inner pool reconnects in the background, pausing longer and longer, and tells nobody why it fails; its
        callers wait for the whole timeout. So after a short wait we look ourselves: a server that is down is
        reported at once, and one that is back gets a new inner pool instead of waiting for the pause to end.
        """
        deadline = time.monotonic() + timeout
        wait = min(timeout, SUSPICIOUS)
        while True:
            pool = self._opened()
            try:
                return pool, pool.getconn(wait)
            except PoolClosed:
                if self._closed:
                    raise DatabaseUnavailable(f"The pool for {self._where} is closed.") from None
                wait = max(deadline - time.monotonic(), 0.001)  # replaced meanwhile
            except PoolTimeout:
                if pool.get_stats().get("connections_errors"):
                    self._try_once()
                    self._replace(pool)
                elif time.monotonic() >= deadline:
                    raise DatabaseUnavailable(
                        f"No connection to {self._where} became free within {timeout:g} s; all of at most"
                        f" {self.settings.max_size} were in use. Raise $.pool.max_size or $.pool.timeout, or give"
                        " connections"
                        " back sooner."
                    ) from None
                wait = max(deadline - time.monotonic(), 0.001)

    def _opened(self) -> _Inner:
        pool = self._pool
        if pool is not None:
            return pool
        with self._lock:
            if self._closed:
                raise DatabaseUnavailable(f"The pool for {self._where} is closed.")
            if self._pool is None:
                self._try_once()  # a wrong password or a missing server is told at once
                self._pool = self._make()
            return self._pool

    def _make(self) -> _Inner:
        pool: _Inner = ConnectionPool(
            self._conninfo,
            min_size=self.settings.min_size,
            max_size=self.settings.max_size,
            timeout=self.settings.timeout,
            max_idle=self.settings.max_idle,
            kwargs={"autocommit": True, "prepare_threshold": None},
            check=_check,
            open=False,
            name="mailgenius",
        )
        pool.open()
        return pool

    def _replace(self, old: _Inner) -> None:
        with self._lock:
            if self._pool is not old or self._closed:
                return
            self._pool = self._make()
        old.close()  # connections still in use are closed when they come back

    def _try_once(self) -> None:
        try:
            psycopg.connect(self._conninfo).close()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"Cannot connect to {self._where}: {_brief(error)}") from error


_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_inherited: list[_Inner] = []


def _after_fork_in_child() -> None:
    """Connections and threads of the parent are not ours: start anew, and keep the old objects so that nothing of
    them is finalised here."""
    for pool in _pools:
        pool._lock = threading.Lock()
        if pool._pool is not None:
            _inherited.append(pool._pool)
            pool._pool = None


os.register_at_fork(after_in_child=_after_fork_in_child)


def _run(connection: psycopg.Connection[Row], query: str, params: Params | None) -> psycopg.Cursor[Row]:
    return connection.execute(query.encode(), params)


def _check(connection: psycopg.Connection[Any]) -> None:
    """Refuses a connection the server has closed; free of charge for a healthy one, whose idle socket has nothing to
    read."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):  # a farewell, the end of the stream, or just a notice: a round trip tells
        ConnectionPool.check_connection(connection)


def _where(parsed: dict[str, Any]) -> str:
    host = parsed.get("host") or parsed.get("hostaddr") or "local socket"
    user = parsed.get("user")
    text = f"{host}:{parsed.get('port') or 5432}"
    if database := parsed.get("dbname"):
        text += f"/{database}"
    return f"{text} as {user}" if user else text


def _brief(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
