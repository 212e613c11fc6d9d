"""Which statements may run on shared, read-only connections, and under which names they are prepared there. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import TypeAlias

from mailgenius.pool.queries import Query
from mailgenius.pool.statements import statement_hash

__all__ = ["Elsewhere", "Key", "Prepared", "Routes"]

STATEMENTS = 256  # prepared on one connection
REMEMBERED = 1024  # statements that are better run elsewhere

Key: TypeAlias = tuple[bytes, Sequence[int]]  # the statement, and the types of its parameters


class Elsewhere(Exception):
    """This statement needs a connection of its own. Nothing that it did is left."""


class Routes:
    """What has been learnt about the statements of a program. Safe with threads: one step of a dict each."""

    def __init__(self, connections: int) -> None:
        self.connections = connections  # 0: nothing is shared
        self._elsewhere: OrderedDict[str, None] = OrderedDict()

    def takes(self, query: Query) -> bool:
        return query.reads and query.plain and self.connections > 0 and query.text not in self._elsewhere

    def avoid(self, query: Query) -> None:
        """From now on, this statement is to be run elsewhere."""
        self._elsewhere[query.text] = None
        while len(self._elsewhere) > REMEMBERED:
            self._elsewhere.popitem(last=False)


class Prepared:
    """The prepared statements of one connection, named by a hash of text and types.

    A statement is prepared at its second meeting, since those that are made up on the spot do not return.
    """

    def __init__(self) -> None:
        self._names: OrderedDict[Key, bytes] = OrderedDict()
        self._met: OrderedDict[Key, None] = OrderedDict()
        self._stale: set[bytes] = set()  # may be there, and must be closed before they are prepared anew

    def get(self, key: Key) -> bytes | None:
        return self._names.get(key)

    def name(self, key: Key) -> tuple[bytes | None, list[bytes]]:
        """Under which name to prepare it now (None: not yet), and which names to close before that."""
        if key not in self._met:
            self._met[key] = None
            if len(self._met) > 2 * STATEMENTS:
                self._met.popitem(last=False)
            return None, []
        name = statement_hash(repr(key)).encode()
        close = []
        if len(self._names) >= STATEMENTS:
            close.append(self._names.popitem(last=False)[1])
        if name in self._stale:
            self._stale.discard(name)
            close.append(name)
        self._names[key] = name
        return name, close

    def forget(self, key: Key) -> bool:
        """It is not, or no longer, what it was prepared as. False: it was not prepared."""
        name = self._names.pop(key, None)
        if name is not None:
            self._stale.add(name)
        return name is not None

    def not_closed(self, name: bytes) -> None:
        self._stale.add(name)
