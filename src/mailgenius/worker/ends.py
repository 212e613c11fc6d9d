"""What runners tell of jobs: the core hears it, and so do those who listen. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mailgenius._native import Histogram
from mailgenius.errors import JobFailed

from .batch import Entry
from .core import Core
from .job import Job

__all__ = ["Cores", "Ends", "unreadable"]

_encode = msgspec.msgpack.Encoder().encode


class Cores:
    """Of the shards of a queue: the one that a job is of hears what became of it."""

    def done(self, entry: Entry, took: float, now: float) -> None:
        entry[0].core.done(entry, took, now)

    def kept(self, entry: Entry, result: bytes, keep: float, took: float, now: float) -> None:
        entry[0].core.kept(entry, result, keep, took, now)

    def raised(self, entry: Entry, error: BaseException, now: float) -> None:
        entry[0].core.raised(entry, error, now)

    def back(self, entry: Entry) -> None:
        entry[0].core.back(entry)


class Ends:
    """``poke()`` says that there may be a call to make; ``broke(error)`` that something of ours failed; ``note(id, kind,
    what)``, from any thread, what a job says of itself."""

    def __init__(
        self,
        core: Core | Cores,
        poke: Callable[[], object],
        broke: Callable[[BaseException], object],
        note: Callable[[str, str, bytes], object],
        on_done: Callable[[Entry, Any], object] | None,
    ) -> None:
        self.run = Histogram()
        self.poke, self.broke, self.note = poke, broke, note
        self._core, self._on_done = core, on_done
        self._observe, self._done = self.run.observe, core.done

    def done(self, entry: Entry, took: float, now: float) -> None:
        """There is nothing to keep."""
        self._observe(took)
        self._done(entry, took, now)
        if self._on_done is not None:
            self._on_done(entry, None)
        self.poke()

    def returned(self, entry: Entry, result: Any, job: Job | None, took: float, now: float) -> None:
        like = entry[2]
        if like.plain and (job is None or not job.touched):
            self.done(entry, took, now)
            return
        keep = like.keep_result or 0.0
        try:
            data = _encode(result) if keep else b""
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            failed = JobFailed(f"what it returned cannot be kept as msgpack: {error}")
            failed.__cause__ = error
            self.raised(entry, failed, now)
            return
        self._observe(took)
        self._core.kept(entry, data, keep, took, now)
        if self._on_done is not None:
            self._on_done(entry, result)
        self.poke()

    def raised(self, entry: Entry, error: BaseException, now: float) -> None:
        self._core.raised(entry, error, now)
        self.poke()

    def back(self, entry: Entry) -> None:
        self._core.back(entry)
        self.poke()


def unreadable(error: Exception) -> JobFailed:
    """The payload does not decode: a newer schema, perhaps."""
    failed = JobFailed(f"its payload is not what its handler takes: {error}")
    failed.__cause__ = error
    return failed
