"""Writes that the server has to be told when it is back: for each name the latest, within a bound. Pure.

Until then a read of such a name does not ask the server, which would answer with what was before. Beyond the bound, all
values of the region are deleted later, and none of them is read until that is done.
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["DROP", "KEEP", "RENEW", "Owed", "Wish"]

DROP: Final = "drop"
KEEP: Final = "keep"
RENEW: Final = "renew"  # of a tag: another token


class Wish:
    """What is wanted of a name: DROP, RENEW, or KEEP of a value, in its envelope, until ``ends``."""

    __slots__ = ("data", "ends", "kind", "prefix", "value")

    def __init__(self, kind: str, prefix: str, data: bytes = b"", ends: float = 0.0, value: Any = None) -> None:
        self.kind, self.prefix, self.data, self.ends, self.value = kind, prefix, data, ends, value


class Owed:
    """What threads add and take away meanwhile is neither lost nor taken for done: no flag stands beside the dicts."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.wishes: dict[str, Wish] = {}
        self.regions: dict[str, object] = {}  # prefix: something of its own for each time that it was too much
        self.overflows = 0

    @property
    def any(self) -> bool:
        """There is something; the one thing that every read looks at."""
        return bool(self.wishes or self.regions)

    def __len__(self) -> int:
        return len(self.wishes)

    def add(self, name: str, wish: Wish) -> None:
        self.wishes.pop(name, None)
        self.wishes[name] = wish
        if len(self.wishes) > self.most:
            self.regions[wish.prefix] = object()
            self.overflows += 1
            for other, old in list(self.wishes.items()):
                if old.prefix == wish.prefix:
                    self.wishes.pop(other, None)

    def done(self, name: str, wish: Wish | None = None) -> None:
        """It was told; or, with a ``wish``, that one was."""
        if wish is None or self.wishes.get(name) is wish:
            self.wishes.pop(name, None)

    def cleared(self, prefix: str, since: object) -> None:
        """All values of that region are gone, that there were when ``regions`` had ``since`` for it."""
        if self.regions.get(prefix) is since:
            self.regions.pop(prefix, None)

    def __contains__(self, name: str) -> bool:
        return name in self.wishes

    def region(self, prefix: str) -> bool:
        return prefix in self.regions
