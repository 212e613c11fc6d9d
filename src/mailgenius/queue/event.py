"""What happened in a queue, as its stream tells it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec

from .views import decoded, when

__all__ = ["Event", "events_of", "place"]


class Event(msgspec.Struct, frozen=True):
    """``kind``: completed, failed, retried, stalled, removed, progress, or another one of a newer version. ``cursor``: give
    it to ``events(since=…)`` for what follows. ``more``: the name of a job that failed or is retried; of progress, what the
    job says."""

    kind: str
    ids: tuple[str, ...]
    at: datetime
    cursor: str
    more: Any = None


def events_of(entries: Iterable[Sequence[Any]]) -> list[Event]:
    """Of entries of the stream."""
    found = []
    for cursor, fields in entries:
        field = dict(zip(fields[::2], fields[1::2], strict=True))
        kind, more = field.get(b"e", b"").decode(errors="replace"), field.get(b"m", b"")
        found.append(
            Event(
                kind=kind,
                ids=tuple(_ids(field.get(b"i", b"").decode(errors="replace"))),
                at=when(int(cursor.partition(b"-")[0])),
                cursor=cursor.decode(),
                more=decoded(more) if kind == "progress" else more.decode(errors="replace") or None,
            )
        )
    return found


def _ids(text: str) -> Iterator[str]:
    """Of ``5-1 5-7..9``: ids, and ranges of them."""
    for word in text.split():
        begin, _, end = word.partition("..")
        if end:
            lane, _, first = begin.rpartition("-")
            for position in range(int(first), int(end) + 1):
                yield f"{lane}-{position}"
        else:
            yield word


def place(since: str | datetime) -> str:
    """From where a stream is read: behind a cursor, or from a time on."""
    if isinstance(since, datetime):
        milliseconds = int(since.timestamp() * 1000)
        return f"{milliseconds - 1}-{2**64 - 1}" if milliseconds > 0 else "0-0"
    return since
