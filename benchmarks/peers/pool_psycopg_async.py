"""psycopg_pool for asyncio: a connection borrowed for every statement, as its documentation shows."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from psycopg_pool import AsyncConnectionPool

from ._calls import CONNECTIONS, tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._calls import Args, AskAsync, Rows


@contextlib.asynccontextmanager
async def opened(conninfo: str, question: str) -> AsyncIterator[AskAsync]:
    sql = question.format("%s")
    async with AsyncConnectionPool(
        conninfo, min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs={"autocommit": True}, open=False
    ) as pool:
        await pool.wait()

        async def ask(args: Args) -> Rows:
            async with pool.connection() as conn:
                cursor = await conn.execute(sql, args or None)
                return await cursor.fetchall()

        yield ask


load = tasks(opened)
