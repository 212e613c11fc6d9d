"""Attributes that bitmaps know, so that counts by them take milliseconds: naming them, dropping them. Of all workspaces:
an application knows what it asks for, and workspaces come and go."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from psycopg.errors import InsufficientPrivilege

from mailgenius.errors import ConfigError, SchemaError
from mailgenius.rt import aio as rt

from .segment_check import many, text
from .sql import query
from .workspaces_async import Workspaces

if TYPE_CHECKING:
    import psycopg

    from mailgenius.pool.rows import Row

MOST_VALUES = 200  # of an attribute in a workspace: each has a block of bits for every 1,024 leads


class Attributes(Workspaces):
    async def indexed_attributes(self) -> list[str]:
        """The attributes that ``index_attributes`` named, by name."""
        return [name for (name,) in await self._pool.fetch(query("attributes_indexed"))]

    async def index_attributes(self, *names: str) -> list[str]:
        """Makes ``count`` fast for segments with these attributes, in all workspaces, from now on; the names that were not
        indexed before. Needs the rights of the owner of the tables if there are any (else ``SchemaError``). Reads all
        leads twice; writers wait for the second time, readers do not. Safe to call at each start and by many
        processes at once.

        ``ConfigError`` if leads of one workspace have more than 200 different values of an attribute, such as a number of
        their own: a bitmap of each would be larger than the leads. If they get more later, answers stay right, but
        writing and counting become slower.
        """
        names = many(text, "names", names)
        with self._pool.read_from_primary():
            known = await self.indexed_attributes()
        fresh = [name for name in names if name not in known]
        if not fresh:
            return []

        async def do(connection: psycopg.AsyncConnection[Row]) -> list[str]:
            await connection.execute("set local statement_timeout = 0")
            cursor = await connection.execute(query("attribute_values").encode(), {"names": fresh})
            for name, workspace, count in await cursor.fetchall():
                if count > MOST_VALUES:
                    raise ConfigError(
                        f"names: {name!r} has {count} different values in workspace {workspace!r}; an attribute that is"
                        f" indexed has at most {MOST_VALUES}. Without an index it is counted row by row."
                    )
            cursor = await connection.execute(query("attributes_index").encode(), {"names": fresh})
            return [name for (name,) in await cursor.fetchall()]

        return await self._as_owner("index", do)

    async def unindex_attributes(self, *names: str) -> list[str]:
        """Takes back ``index_attributes``; the names that were indexed. Needs the same rights."""
        names = many(text, "names", names)

        async def do(connection: psycopg.AsyncConnection[Row]) -> list[str]:
            await connection.execute("set local statement_timeout = 0")
            cursor = await connection.execute(query("attributes_unindex").encode(), {"names": list(names)})
            return [name for (name,) in await cursor.fetchall()]

        return await self._as_owner("unindex", do)

    async def _as_owner(
        self, what: str, do: Callable[[psycopg.AsyncConnection[Row]], rt.Awaits[list[str]]]
    ) -> list[str]:
        try:
            return await self._pool.run(do)
        except InsufficientPrivilege as error:
            raise SchemaError(
                f"This role may not {what} attributes: {error.diag.message_primary}. Do it once as the owner of the table"
                " mailgenius.leads, who runs `mailgenius migrate`; for attributes that are indexed, others need no rights."
            ) from error
