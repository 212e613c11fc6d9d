"""psycopg_pool for threads: a connection borrowed for every statement, as its documentation shows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from psycopg_pool import ConnectionPool

from ._calls import CONNECTIONS, threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._calls import Args, Ask, Rows


@contextlib.contextmanager
def opened(conninfo: str, question: str) -> Iterator[Ask]:
    sql = question.format("%s")
    with ConnectionPool(conninfo, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs={"autocommit": True}) as pool:
        pool.wait()

        def ask(args: Args) -> Rows:
            with pool.connection() as conn:
                return conn.execute(sql, args or None).fetchall()

        yield ask


load = threads(opened)
