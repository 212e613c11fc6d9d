"""What write-behind decides: names on the server, versions, which writes count, whose fault an error is. Pure.

Invariants:
- The version of a write is its id as one number: that of its entry in the region's stream, or one of those that the stream
  leaves out behind it, for further writes of the same entry. It grows with every write, whatever the clock does, for as
  long as the stream is there (the server keeps the last id with it).
- Of several writes of one value, the one with the highest version counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from .keys import Key

__all__ = [
    "DeadLetter",
    "Entry",
    "Item",
    "Meta",
    "Names",
    "Pending",
    "id_of",
    "latest",
    "names",
    "names_in",
    "transient",
    "version_of",
    "waiting",
]

_SEQUENCE = 20  # bits of an id's second part that a version keeps; the first part has 43 left, until the year 2248
_MASK = (1 << _SEQUENCE) - 1


class Item(msgspec.Struct, frozen=True):
    """One write for the database. ``version`` (63 bits) is higher than that of every earlier write of the region: what the
    database holds with the same version or a higher one has to stay as it is."""

    key: Key
    value: Any  # None if deleted
    deleted: bool
    version: int
    tenant: str | int | None = None


class DeadLetter(msgspec.Struct, frozen=True):
    """A write that the writer does not take. ``data``: the value as it was stored; empty if somebody
    had deleted it, and ``attempts`` is 0 then."""

    name: str  # of the cached value
    key: Key
    tenant: str | int | None
    deleted: bool
    version: int
    error: str
    attempts: int
    data: bytes


class Pending(msgspec.Struct, frozen=True):
    """What was accepted and is not known to be in the database. ``since``: when the oldest was accepted, in seconds since
    1970 of the server's clock; None if there is nothing."""

    writes: int
    keys: int
    dead: int
    since: float | None


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What the flusher needs to know beside the value."""

    key: str | int | tuple[str | int, ...]
    tenant: str | int | None
    deleted: bool
    live: int  # milliseconds that the cached value may live once it is in the database


class Entry(msgspec.Struct, frozen=True):
    """The latest write of a value that is pending."""

    name: bytes
    mark: bytes  # id of the write, a space, a Meta: as the server has it
    data: bytes | None  # None if somebody has deleted the value

    @property
    def version(self) -> int:
        return version_of(self.mark.partition(b" ")[0])

    @property
    def meta(self) -> bytes:
        return self.mark.partition(b" ")[2]


class Names(msgspec.Struct, frozen=True):
    """Keys of one region on the server, in one slot of a Cluster."""

    log: str
    open: str
    dead: str
    lease: str
    lifted: str
    hurry: str
    synced: str
    count: str
    producer: str  # with the producer's own name behind it


def names(region: str) -> Names:
    start = f"mg:behind:{{{region}}}:"
    return Names(
        *(start + part for part in ("log", "open", "dead", "lease", "lifted", "hurry", "synced", "count", "producer:"))
    )


def version_of(id: bytes) -> int:
    """1700000000000-5 as a number."""
    ms, _, sequence = id.partition(b"-")
    return (int(ms) << _SEQUENCE) + int(sequence)


def id_of(version: int) -> str:
    """The id that belongs to a version."""
    return f"{version >> _SEQUENCE}-{version & _MASK}"


def names_in(fields: Sequence[bytes]) -> Sequence[bytes]:
    """Those that an entry of the stream has, one for each write."""
    return fields[1:] if fields[-1] else fields[1:-1]


def waiting(oldest: Sequence[Sequence[Any]], count: bytes | None) -> int:
    """How many writes wait: what the stream begins with, how many were ever accepted."""
    return max(1, int(count or 0) - int(oldest[0][1][0])) if oldest else 0


def latest(names: Iterable[bytes], marks: Iterable[bytes | None], values: Iterable[bytes | None]) -> list[Entry]:
    """Of these names, those that are pending."""
    found = zip(names, marks, values, strict=True)
    return [Entry(name, mark, data) for name, mark, data in found if mark is not None]


_UNAVAILABLE = frozenset({"DatabaseUnavailable", "QueryTimeout", "RedisUnavailable", "OSError"})
_DRIVERS = frozenset({"OperationalError", "InterfaceError"})  # names of PEP 249
_DATA = frozenset({"22", "23", "44", "P0"})  # data exception, integrity, WITH CHECK OPTION, raised by a trigger


def transient(error: BaseException) -> bool:
    """Whether another item would fare no better, so that this one is not to blame: the database cannot be reached, is full,
    read-only, shutting down, the table or a right is missing, statements met.

    By the SQLSTATE where the error has one (appendix A of PostgreSQL's manual), else by its class.
    """
    state = getattr(error, "sqlstate", None)
    if isinstance(state, str):
        return state[:2] not in _DATA
    classes = {cls.__name__ for cls in type(error).__mro__}
    return not classes.isdisjoint(_UNAVAILABLE | _DRIVERS)
