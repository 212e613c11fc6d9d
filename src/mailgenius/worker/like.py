"""What jobs have in common, most often all of a batch: their handler, and what stands in their heads. Pure."""

from __future__ import annotations

from mailgenius.queue.frames import Frame

from .handlers import Handler
from .pool import Pool

__all__ = ["Like"]


class Like:
    """``common``: others may begin alike. ``start``: where their payload begins. ``timeout``: if nobody says another."""

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
        "timeout",
    )

    def __init__(self, frame: Frame, handler: Handler, pool: Pool, start: int, timeout: float | None = None) -> None:
        self.name, self.id, self.options = frame.name, frame.id, frame.options
        self.attempts, self.stalls = frame.attempts, frame.stalls
        self.handler, self.pool, self.start = handler, pool, start
        self.timeout = timeout if handler.timeout is None else handler.timeout
        self.keep_result = handler.keep_result
        if frame.options is not None:
            if frame.options.timeout is not None:
                self.timeout = frame.options.timeout
            if frame.options.keep_result is not None:
                self.keep_result = frame.options.keep_result
        self.common = not frame.id and not frame.attempts and not frame.stalls
        self.plain = not frame.id and not self.keep_result  # being done is all that there is to say
