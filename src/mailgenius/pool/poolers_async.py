"""What stands between us and PostgreSQL, found out by asking.

Measured with PgBouncer 1.18 and 1.24; docs/guides/pool.md says what follows for users.
"""

from __future__ import annotations

import secrets
from typing import Any

import psycopg
from psycopg.generators import execute
from psycopg.pq import ExecStatus

__all__ = ["behind_pooler", "keeps_statements"]


async def behind_pooler(connection: psycopg.AsyncConnection[Any]) -> bool:
    """A pooler answers with a process number of its own, not with that of the server's process."""
    cursor = await connection.execute("select pg_backend_pid()")
    row = await cursor.fetchone()
    return row is None or row[0] != connection.pgconn.backend_pid


async def keeps_statements(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Does the pooler carry prepared statements from one session to another?

    PgBouncer does from 1.21 on where max_prepared_statements is not 0, and then gives them names of its own. Under our
    own name, a statement exists in one session only: the next one would lack it, or have another client's. In a
    transaction all of it meets one session, so that it can be closed there. Closing by the protocol takes libpq 17, and
    without that nobody may prepare anything here.
    """
    if not psycopg.capabilities.has_send_close_prepared():
        return False
    pgconn, name = connection.pgconn, f"mg_{secrets.token_hex(10)}".encode()
    async with connection.transaction(force_rollback=True):
        pgconn.send_prepare(name, b"select name from pg_prepared_statements")
        made = (await connection.wait(execute(pgconn)))[-1]
        if made.status != ExecStatus.COMMAND_OK:
            return False
        pgconn.send_query_prepared(name, None)
        found = (await connection.wait(execute(pgconn)))[-1]
        pgconn.send_close_prepared(name)
        closed = (await connection.wait(execute(pgconn)))[-1]
        names = [found.get_value(row, 0) or b"" for row in range(found.ntuples)]
        theirs = any(one.startswith(b"PGBOUNCER_") for one in names)
        return closed.status == ExecStatus.COMMAND_OK and theirs and name not in names
