# Made from tags_async.py by `python -m tools.twin`: edit that one.
"""Tags: a random token for each, on the server; a value holds those that its tags had before its load began.

Invalidating a tag gives it another token, however many values have it. A tag that the server does not know (nobody used it,
it was evicted) has no token that a value could hold, so those values are misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from mailgenius._native import LocalStore
from mailgenius.cache.codec import Tags
from mailgenius.cache.marks import MISS, token
from mailgenius.cache.owed import RENEW, Wish
from mailgenius.cache.server_sync import DOWN, TAGS, Server
from mailgenius.errors import RedisUnavailable

__all__ = ["TagBook"]

LIFE = 30 * 86400.0  # seconds that a tag is remembered after its token was made
_MS = int(LIFE * 1000)
SIZE = 4 << 20


class TagBook:
    """Made by ``Cache``. Names of tags are those on the server."""

    def __init__(self, server: Server, clock: Callable[[], float] | None) -> None:
        self._server = server
        self.store = LocalStore(SIZE) if clock is None else LocalStore(SIZE, clock=clock)
        self.coherent = False
        self.forget: Callable[[str | bytes], object] = self.store.pop  # of a tag that has another token; the keeper's

    def begin(self) -> None:
        self.store.clear()
        self.coherent = True

    def end(self) -> None:
        self.coherent = False
        self.store.clear()

    def valid(self, tags: Tags) -> bool:
        """Whether all have these tokens still. Not if nobody knows."""
        unknown = [tag for tag, was in tags if self.store.get(tag, was) != was]
        if unknown:
            return False
        lacking = [tag for tag, _ in tags if self.store.get(tag, MISS) is MISS]
        if not lacking:
            return True
        found = self._read(lacking)
        return found is not None and all(found.get(tag, was) == was for tag, was in tags)

    def tokens(self, names: Iterable[str]) -> Tags | None:
        """Their tokens, made where there are none. None: the server cannot be asked."""
        names = sorted(set(names))
        found: dict[str, bytes | None] = {name: self.store.get(name) for name in names}
        if lacking := [name for name in names if found[name] is None]:
            read = self._read(lacking)
            if read is None:
                return None
            found |= read
        if fresh := [name for name in names if found[name] is None]:
            made = self._make(fresh)
            if made is None:
                return None
            found |= made
        return tuple((name, value) for name in names if (value := found[name]) is not None)

    def _read(self, names: Sequence[str]) -> dict[str, bytes | None] | None:
        owed = self._server.owed
        if owed.any and (owed.region(TAGS) or any(name in owed for name in names)):
            return None
        ticket = self.store.begin()
        values = self._server.ask_many(names)
        if values is DOWN or not all(value is None or type(value) is bytes for value in values):
            return None
        found: dict[str, bytes | None] = dict(zip(names, values, strict=True))
        if self.coherent:
            for name, value in found.items():
                if value is not None:
                    self.store.put_if(ticket, name, value, len(value), LIFE)
        return found

    def _make(self, names: Sequence[str]) -> dict[str, bytes | None] | None:
        commands: list[tuple[object, ...]] = [("SET", name, token(), "NX", "PX", _MS) for name in names]
        try:
            self._server.tell_all(commands)
        except RedisUnavailable:
            return None
        return self._read(names)

    def renew(self, name: str, keep: bool) -> None:
        """Another token. ``keep``: it is owed if the server cannot be told. Raises ``RedisUnavailable`` if not."""
        try:
            self._server.tell("SET", name, token(), "PX", _MS)
        except RedisUnavailable:
            if not keep:
                raise
            self._server.owed.add(name, Wish(RENEW, TAGS, str(_MS).encode()))
        else:
            self._server.owed.done(name)
        finally:
            self.forget(name)
