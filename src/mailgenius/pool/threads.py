"""The threads' half of ``aio``: nothing is shared. A thread that waits for an answer needs one of its own anyway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from mailgenius.pool.queries import Query

__all__ = ["Elsewhere", "Shared"]


class Elsewhere(Exception):
    """This statement needs a connection of its own. Nothing that it did is left."""


class Shared:
    def __init__(
        self, connect: Callable[[], psycopg.Connection[Any]], *, connections: int, bound: float, prepare: bool
    ) -> None:
        self.connections = connections
        self.prepare = prepare

    def takes(self, query: Query) -> bool:
        return False

    def rows(self, query: Query, values: Sequence[Any], kind: Any, timeout: float) -> list[Any]:
        raise Elsewhere

    def avoid(self, query: Query) -> None:
        """Nothing to remember."""

    def stats(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        """Nothing to close."""
