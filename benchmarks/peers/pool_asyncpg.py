"""asyncpg's pool with its default settings; outside a transaction every statement commits by itself."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg
from psycopg.conninfo import conninfo_to_dict

from ._calls import CONNECTIONS, tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._calls import Args, AskAsync, Rows

NAMES = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}


def arguments(conninfo: str) -> dict[str, Any]:
    """asyncpg takes URLs and keywords, but no libpq connection string."""
    return {NAMES[k]: v for k, v in conninfo_to_dict(conninfo).items() if k in NAMES}


@contextlib.asynccontextmanager
async def opened(conninfo: str, question: str) -> AsyncIterator[AskAsync]:
    sql = question.format("$1")
    async with asyncpg.create_pool(**arguments(conninfo), min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:

        async def ask(args: Args) -> Rows:
            return await pool.fetch(sql, *args)

        yield ask


load = tasks(opened)
