"""What the pool has to know about a statement's text, worked out once for each text. Pure.

Placeholders are psycopg's: ``%s``, ``%(name)s``, ``%%`` for a per cent sign.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from mailgenius.errors import ConfigError

__all__ = ["Query", "query", "values_of"]

_PLACEHOLDER = re.compile(r"%(?:(%)|(s)|\((\w+)\)s)?")
#: Statements that may be reads. The server has the last word: shared connections are read-only.
_READS = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*(?:select|with|values|table)\b", re.IGNORECASE | re.DOTALL)


class Query(msgspec.Struct, frozen=True, eq=False):
    """A statement as the protocol wants it. ``eq=False``: known by identity, which is what makes it a quick key."""

    text: str  # as the caller wrote it
    sql: bytes  # with $1, $2, …
    names: tuple[str, ...] | None  # of named placeholders, one for each number; None: they go by position
    count: int
    reads: bool  # looks like a read
    plain: bool  # nothing in it that only the driver understands (%b, %t)


@lru_cache(maxsize=2048)
def query(text: str, given: bool) -> Query:
    """``given``: parameters come with it. Without them a per cent sign is just that."""
    reads = _READS.match(text) is not None
    if not given:
        return Query(text, text.encode(), None, 0, reads, True)
    numbers: dict[str, int] = {}
    positions = 0
    pieces: list[str] = []
    at = 0
    plain = True
    for found in _PLACEHOLDER.finditer(text):
        pieces.append(text[at : found.start()])
        at = found.end()
        if found[1]:
            pieces.append("%")
        elif found[2]:
            positions += 1
            pieces.append(f"${positions}")
        elif name := found[3]:
            pieces.append(f"${numbers.setdefault(name, len(numbers) + 1)}")
        else:
            plain = False
    pieces.append(text[at:])
    if positions and numbers:
        plain = False  # the driver says what is wrong with that
    names = tuple(numbers) if numbers else None
    return Query(text, "".join(pieces).encode(), names, len(numbers) or positions, reads, plain)


def values_of(q: Query, params: Sequence[Any] | Mapping[str, Any] | None) -> Sequence[Any]:
    """The parameters in the order of their numbers."""
    if params is None:
        return ()
    if isinstance(params, Mapping):
        if q.names is None:
            if q.count:
                raise ConfigError("params: a mapping was given, but the statement's placeholders have no names (%s)")
            return ()
        try:
            return [params[name] for name in q.names]
        except KeyError as missing:
            raise ConfigError(f"params: the statement needs {missing}, which was not given") from None
    if q.names is not None:
        raise ConfigError("params: the statement's placeholders have names (%(name)s); give a mapping")
    if len(params) != q.count:
        raise ConfigError(f"params: the statement has {q.count} placeholders, {len(params)} values were given")
    return params
