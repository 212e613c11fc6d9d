"""Places in which jobs run: how many, what waits for them, how fast they get empty. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch import Batch, Entry

__all__ = ["AHEAD", "HORIZON", "Pool"]

AHEAD = 3072  # jobs that are leased and not begun, at most
HORIZON = 0.08  # seconds of work that is leased ahead
_WINDOW = 0.01  # seconds in which the pace is measured


class Pool:
    """``limit``: jobs that run at once."""

    __slots__ = ("_done", "_since", "done", "limit", "rate", "running", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.waiting: deque[Entry] = deque()
        self.running = 0
        self.done = 0  # jobs that ended, in whatever way
        self.rate = 0.0  # of them a second, while there are some
        self._done, self._since = 0, 0.0

    def measure(self, now: float) -> None:
        if not self.running and not self.waiting and self.done == self._done:
            self._since = now
        elif now - self._since >= _WINDOW:
            rate = (self.done - self._done) / (now - self._since)
            self.rate = 0.6 * self.rate + 0.4 * rate if self.rate else rate
            self._done, self._since = self.done, now

    @property
    def ahead(self) -> int:
        """Jobs to lease beyond those that run."""
        return min(AHEAD, int(self.rate * HORIZON))

    @property
    def hungry(self) -> bool:
        """It has room, and nothing waits for it."""
        return self.running < self.limit and not self.waiting

    def drop(self, batch: Batch) -> int:
        """Jobs of it wait no longer; how many did. Threads may be taking some meanwhile."""
        dropped = 0
        for _ in range(len(self.waiting)):
            try:
                entry = self.waiting.popleft()
            except IndexError:
                break
            if entry[0] is batch:
                dropped += 1
            else:
                self.waiting.append(entry)
        return dropped
