"""Indexes that large tables get: what pages by ``created_at`` and ``score`` read, and who works for a company or lives in a
city. The orders ``id`` and ``email`` have theirs from the beginning, the others sort the workspace.

A row's entry in such an index costs as much as the row itself, an index made at once a tenth of that. So there are none
before they are worth it: the import that brings the table to ``ENOUGH`` leads makes them when it has loaded, or else the
next ``migrate``; below that, sorting takes some milliseconds. Invariants: an index is made by one session; others make
other ones meanwhile, then wait, and find it; who may not make them leaves that to ``migrate``, run by the table's owner.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg

from mailgenius.errors import DatabaseUnavailable

if TYPE_CHECKING:
    from mailgenius.pool import Pool

__all__ = ["ENOUGH", "INDEXES", "ensure_orders", "make_orders"]

ENOUGH = 100_000
INDEXES = {
    "leads_created": "(workspace_id, created_at, id)",
    # Scores change and come in any order, so there is room in its pages. And so it is larger than the primary key, or the
    # planner would read whole workspaces in the order of scores, which takes three times as long.
    "leads_score": "(workspace_id, score, id) with (fillfactor = 65)",
    # Not of leads without one: an index of all leads that is smaller than the primary key tempts the planner to read a
    # whole workspace through it, in the order of cities.
    "leads_company": "(workspace_id, company) where company is not null",
    # With the score: most of what is asked of a large city is its best leads.
    "leads_city": "(workspace_id, city, score) where city is not null",
}
LOCK = 0x6F7264657273  # "orders", plus the place of the index
SESSIONS = 2  # at once: an index is sorted by several processes, but written by one


def ensure_orders(pool: Pool) -> None:
    """Makes the indexes if they are missing and there are enough leads. Writers of leads wait, readers do not."""
    with pool.connection() as connection:
        if not _missing(connection) or not _enough(connection):
            return
    with ThreadPoolExecutor(SESSIONS, "mailgenius-orders") as sessions:
        for done in [sessions.submit(_help, pool) for _ in range(SESSIONS)]:
            done.result()
    with pool.connection() as connection:  # what others make, we wait for; what they gave up, we make
        make_orders(connection)


def make_orders(connection: psycopg.Connection[Any]) -> None:
    """The same with one session, in the caller's transaction if there is one."""
    if not _missing(connection) or not _enough(connection):
        return
    with connection.transaction():
        # All of them before the first index, which locks leads: who has one of them is about to lock leads.
        for place in range(len(INDEXES)):
            connection.execute("select pg_advisory_xact_lock(%s)", (LOCK + place,))
        _make(connection, *INDEXES)


def _help(pool: Pool) -> None:
    """Makes what is missing and nobody is making, each index in a transaction of its own."""
    try:
        with pool.connection() as connection:
            for place, name in enumerate(INDEXES):
                with connection.transaction():
                    row = connection.execute("select pg_try_advisory_xact_lock(%s)", (LOCK + place,)).fetchone()
                    if row == (True,):
                        _make(connection, name)
    except DatabaseUnavailable:
        return  # perhaps all connections are in use; make_orders makes what is left, or says what is wrong


def _make(connection: psycopg.Connection[Any], *names: str) -> None:
    missing = _missing(connection)
    try:
        with connection.transaction():
            connection.execute("set local maintenance_work_mem = '256MB'")
            for name in names:
                if name in missing:
                    connection.execute(f"create index {name} on mailgenius.leads {INDEXES[name]}".encode())
    except psycopg.errors.InsufficientPrivilege:
        return


def _missing(connection: psycopg.Connection[Any]) -> list[str]:
    rows = connection.execute(
        "select indexname::text from pg_indexes where schemaname = 'mailgenius' and tablename = 'leads'"
    ).fetchall()
    return [name for name in INDEXES if (name,) not in rows]


def _enough(connection: psycopg.Connection[Any]) -> bool:
    text = "select count(*) from (select from mailgenius.leads limit %s) l"
    found = connection.execute(text, (ENOUGH,)).fetchone()
    return found is not None and found[0] == ENOUGH
