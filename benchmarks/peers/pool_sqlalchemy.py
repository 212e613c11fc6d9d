"""SQLAlchemy's asyncio engine over asyncpg (its usual pair), text statements, no ORM, isolation level AUTOCOMMIT."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from ._calls import CONNECTIONS, tasks
from .pool_asyncpg import arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from ._calls import Args, AskAsync, Rows


@contextlib.asynccontextmanager
async def opened(conninfo: str, question: str) -> AsyncIterator[AskAsync]:
    statement = text(question.format(":email"))
    engine = create_async_engine(
        "postgresql+asyncpg://",
        connect_args=arguments(conninfo),
        pool_size=CONNECTIONS,
        max_overflow=0,
        isolation_level="AUTOCOMMIT",
    )

    async def ask(args: Args) -> Rows:
        async with engine.connect() as conn:
            return (await conn.execute(statement, {"email": args[0]} if args else None)).all()

    try:
        yield ask
    finally:
        await engine.dispose()


load = tasks(opened)
