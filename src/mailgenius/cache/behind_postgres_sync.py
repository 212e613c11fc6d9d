# Made from behind_postgres_async.py by `python -m tools.twin`: edit that one.
"""A writer for ``Flusher``: rows of a table of PostgreSQL, of which the one with the highest version stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from mailgenius.cache.behind import Item
from mailgenius.cache.behind_sql import rows, statements
from mailgenius.rt import threads as rt

__all__ = ["PostgresUpserts", "Runs"]


class Runs(Protocol):
    """What is needed of ``Pool``."""

    def execute(self, text: str, params: Any = None, *, timeout: float | None = None) -> rt.Awaits[int]: ...

    def fetch_value(self, text: str, params: Any = None, *, timeout: float | None = None) -> rt.Awaits[Any]: ...


class PostgresUpserts:
    """``PostgresUpserts(pool, "leads", key="id", columns=("name", "score"), version="version")``.

    ``key``: columns with a unique index, one for each part of the keys. ``columns``: fields of the values and columns of
    the same names; a str instead: the column that takes the whole value. ``version``: a bigint column that nobody else
    writes; null counts as lower than any. ``tenant``: the column of the tenant, part of the unique index. ``deleted``: a
    boolean column that is set instead of deleting the row; with it, a flusher that froze in the middle of a write cannot
    bring back a row that was deleted meanwhile. ``timeout``: seconds of a statement, the pool's if left out.
    """

    def __init__(
        self,
        pool: Runs,
        table: str,
        *,
        key: str | Sequence[str],
        columns: str | Sequence[str],
        version: str = "version",
        tenant: str | None = None,
        deleted: str | None = None,
        timeout: float | None = None,
    ) -> None:
        self._pool, self._timeout = pool, timeout
        self._key = (key,) if isinstance(key, str) else tuple(key)
        self._whole = isinstance(columns, str)
        self._columns = (columns,) if isinstance(columns, str) else tuple(columns)
        self._version, self._tenant, self._deleted = version, tenant, deleted
        unique = self._key if tenant is None else (tenant, *self._key)
        self._statements = statements(table, unique, self._columns, version, deleted)

    def __call__(self, items: Sequence[Item]) -> None:
        """Each of the two statements applies wholly or not at all."""
        for text, some in (
            (self._statements.upsert, [item for item in items if not item.deleted]),
            (self._statements.delete, [item for item in items if item.deleted]),
        ):
            if some:
                made = rows(some, self._key, self._columns, self._version, self._deleted, self._tenant, self._whole)
                self._pool.execute(text, (made.decode(),), timeout=self._timeout)

    def highest(self) -> int:
        """The highest version in the table: a flusher asks for it when it finds a stream that is new."""
        return self._pool.fetch_value(self._statements.highest, timeout=self._timeout) or 0
