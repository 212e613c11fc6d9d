"""mailgenius for asyncio. ``how``: ``fetch``, or ``connection`` (borrowed, asked and given back like psycopg_pool's)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from mailgenius.pool import AsyncPool

from ._calls import CONNECTIONS, tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._calls import Args, AskAsync, Rows


@contextlib.asynccontextmanager
async def opened(conninfo: str, question: str, *, how: str) -> AsyncIterator[AskAsync]:
    sql = question.format("%s")
    async with AsyncPool(conninfo, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:

        async def fetch(args: Args) -> Rows:
            return await pool.fetch(sql, args or None)

        async def connection(args: Args) -> Rows:
            async with pool.connection() as conn:
                cursor = await conn.execute(sql, args or None)
                return await cursor.fetchall()

        yield {"fetch": fetch, "connection": connection}[how]


load = tasks(opened)
