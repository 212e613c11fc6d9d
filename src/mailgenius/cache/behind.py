"""What write-behind decides: names on the server, versions, which writes count, whose fault an error is. Pure.

Invariants:
- The version of a write is the id of its entry in the region's stream, as one number. It grows with every write, whatever
  the clock does, for as long as the stream is there (the server keeps the last id with it).
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
    "entries",
    "id_of",
    "names",
    "transient",
    "version_of",
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
    """A write that the writer does not take. ``data``: the value as it was stored."""

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
    """What stands beside the value in the stream."""

    key: str | int | tuple[str | int, ...]
    tenant: str | int | None
    deleted: bool
    live: int  # milliseconds that the cached value may live once it is in the database


class Entry(msgspec.Struct, frozen=True):
    """One entry of the stream."""

    id: bytes
    name: bytes
    meta: bytes
    data: bytes


class Names(msgspec.Struct, frozen=True):
    """Keys of one region on the server, in one slot of a Cluster."""

    log: str
    open: str
    dead: str
    lease: str
    lifted: str
    hurry: str
    synced: str
    producer: str  # with the producer's own name behind it


def names(region: str) -> Names:
    start = f"mg:behind:{{{region}}}:"
    return Names(*(start + part for part in ("log", "open", "dead", "lease", "lifted", "hurry", "synced", "producer:")))


def version_of(id: bytes) -> int:
    """1700000000000-5 as a number."""
    ms, _, sequence = id.partition(b"-")
    return (int(ms) << _SEQUENCE) | int(sequence)


def id_of(version: int) -> str:
    """The id that belongs to a version."""
    return f"{version >> _SEQUENCE}-{version & _MASK}"


def entries(reply: Iterable[Sequence[Any]]) -> list[Entry]:
    """Of a reply to XRANGE."""
    return [Entry(id, fields[1], fields[3], fields[5]) for id, fields in reply]


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
