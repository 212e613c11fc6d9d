"""A job, as its handler sees it. Pure."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from mailgenius.queue.options import Options

from .batch import Entry, id_of

__all__ = ["Job"]

_encode = msgspec.msgpack.Encoder().encode


class Job:
    """``id``, ``name``; ``attempts`` that failed before this one; ``stalls``: times that a worker died with it;
    ``added_at``; ``trace``: the W3C traceparent that it was added with."""

    __slots__ = ("_entry", "_note", "cancelled", "deadline", "touched")

    def __init__(self, entry: Entry, note: Callable[[str, str, bytes], object], deadline: float | None) -> None:
        self._entry, self._note = entry, note
        self.deadline = deadline  # of time.monotonic(), None: it has none
        #: It was removed, is overdue, or another worker has it now: what it still does is of no use. An async handler is
        #: cancelled; a plain one should look, and raise.
        self.cancelled = False
        self.touched = False  # it left progress or a log

    @property
    def id(self) -> str:
        return id_of(self._entry)

    @property
    def name(self) -> str:
        return self._entry[2].name

    @property
    def attempts(self) -> int:
        return self._entry[2].attempts

    @property
    def stalls(self) -> int:
        return self._entry[4][2]

    @property
    def added_at(self) -> datetime:
        return datetime.fromtimestamp(int.from_bytes(self._entry[4][3:9], "big") / 1000, UTC)

    @property
    def options(self) -> Options | None:
        """What it asked for beyond its queue's policy."""
        return self._entry[2].options

    @property
    def trace(self) -> str:
        options = self._entry[2].options
        return "" if options is None else options.trace

    def progress(self, value: Any) -> None:
        """How far it is: anything that msgspec can write as msgpack. Told to Redis within 50 ms; the last value counts."""
        self.touched = True
        self._note(self.id, "progress", _encode(value))

    def log(self, line: str) -> None:
        """Adds a line to the job's log. The last 1,000 are kept, for a day."""
        self.touched = True
        self._note(self.id, "log", line.encode())

    def __repr__(self) -> str:
        return f"<Job {self.name!r} {self.id}>"
