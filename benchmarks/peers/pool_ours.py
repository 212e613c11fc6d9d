"""mailgenius for threads. ``how``: ``fetch``, or ``connection`` (borrowed, asked and given back like psycopg_pool's)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mailgenius.pool import Pool

from ._calls import CONNECTIONS, threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._calls import Args, Ask, Rows


@contextlib.contextmanager
def opened(conninfo: str, question: str, *, how: str) -> Iterator[Ask]:
    sql = question.format("%s")
    with Pool(conninfo, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:

        def fetch(args: Args) -> Rows:
            return pool.fetch(sql, args or None)

        def connection(args: Args) -> Rows:
            with pool.connection() as conn:
                return conn.execute(sql, args or None).fetchall()

        yield {"fetch": fetch, "connection": connection}[how]


load = threads(opened)
