# Made from acme_async.py by `python -m tools.twin`: edit that one.
"""A workspace for the tests of leads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from mailgenius.leads import Leads
from mailgenius.pool import Pool


class Acme(Leads):
    """``Leads`` whose pool a test may use, and the number of its workspace "acme"."""

    def __init__(self, pool: Pool) -> None:
        super().__init__(pool)
        self.pool = pool
        self.number = 0


@contextlib.contextmanager
def acme(database: str, count: int = 7) -> Iterator[Acme]:
    """Leads p1@example.com … of workspace "acme"."""
    with Pool(database, max_size=8) as pool:
        leads = Acme(pool)
        leads.number = leads.ensure_workspace("acme")
        pool.execute(
            "insert into mailgenius.leads (workspace_id, email, first_name, tags, attributes)"
            " select %s, 'p' || n || '@example.com', 'Ana ' || n, array['a', 'b'], jsonb_build_object('n', n)"
            " from generate_series(1, %s) n",
            (leads.number, count),
        )
        yield leads
