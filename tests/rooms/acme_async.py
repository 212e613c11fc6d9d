"""A workspace for the tests of leads."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from mailgenius.leads import AsyncLeads
from mailgenius.pool import AsyncPool


class Acme(AsyncLeads):
    """``AsyncLeads`` whose pool a test may use, and the number of its workspace "acme"."""

    def __init__(self, pool: AsyncPool) -> None:
        super().__init__(pool)
        self.pool = pool
        self.number = 0


@contextlib.asynccontextmanager
async def acme(database: str, count: int = 7) -> AsyncIterator[Acme]:
    """Leads p1@example.com … of workspace "acme"."""
    async with AsyncPool(database, max_size=8) as pool:
        leads = Acme(pool)
        leads.number = await leads.ensure_workspace("acme")
        await pool.execute(
            "insert into mailgenius.leads (workspace_id, email, first_name, tags, attributes)"
            " select %s, 'p' || n || '@example.com', 'Ana ' || n, array['a', 'b'], jsonb_build_object('n', n)"
            " from generate_series(1, %s) n",
            (leads.number, count),
        )
        yield leads
