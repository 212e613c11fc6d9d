"""What jobs have in common, most often all of a batch: their handler, and what stands in their heads. Pure."""

from __future__ import annotations

from mailgenius.queue.frames import Frame

from .handlers import Handler
from .pool import Pool

__all__ = ["Like"]


class Like:
    """``tail``: how their bytes go on from the 9th up to their payload. ``common``: others may be the same. ``timeout``: if
    nobody says another."""

    __slots__ = (
        "attempts",
        "common",
        "handler",
        "id",
        "keep_result",
        "name",
        "options",
        "plain",
        "pool",
        "stalls",
        "start",
        "tail",
        "timeout",
    )

    def __init__(self, frame: Frame, handler: Handler, pool: Pool, tail: bytes, timeout: float | None = None) -> None:
        self.name, self.id, self.options = frame.name, frame.id, frame.options
        self.attempts, self.stalls = frame.attempts, frame.stalls
        self.handler, self.pool = handler, pool
        self.tail, self.start = tail, 9 + len(tail)  # where the payload begins
        self.timeout = timeout if handler.timeout is None else handler.timeout
        self.keep_result = handler.keep_result
        if frame.options is not None:
            if frame.options.timeout is not None:
                self.timeout = frame.options.timeout
            if frame.options.keep_result is not None:
                self.keep_result = frame.options.keep_result
        self.common = not frame.id and not frame.attempts and not frame.stalls
        self.plain = not frame.id and not self.keep_result  # being done is all that there is to say
