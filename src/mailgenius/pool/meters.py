"""What happens to a pool's connections: when each came, how long that took, why it went, and who holds it.

Invariant: every connection that was counted as opened is counted as closed once, with one reason, or is open. One that
was dropped without a word (psycopg_pool does that with broken ones) is noticed when its memory is taken back.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

from mailgenius._native import Histogram
from mailgenius.pool.metrics import Timing, timing

if TYPE_CHECKING:
    import traceback

__all__ = ["Meters", "State"]

#: Why a connection may have gone that nobody wanted to go.
LOST = ("broken", "check", "slow")

_log = logging.getLogger("mailgenius.pool")
_C = TypeVar("_C")


class State:
    """What is known of one connection."""

    __slots__ = ("born", "reason", "returning", "since", "stack")

    def __init__(self, born: float) -> None:
        self.born = born
        self.since = 0.0  # when a caller took it; 0: nobody has it
        self.stack: traceback.StackSummary | None = None  # of that caller
        self.returning: bool | None = False  # on its way back to the pool; None: to one that is no more
        self.reason = ""  # why it is about to go, where that is known before


class Meters(Generic[_C]):
    """Of one pool, in one process. Safe with threads: histograms, and single steps of dicts."""

    def __init__(self, on_lost: Callable[[Exception], object] | None) -> None:
        self.acquire, self.usage, self.creation = Histogram(), Histogram(), Histogram()
        self.timeouts, self.refused = Histogram(), Histogram()
        self.closing = False  # connections that go now, go because the pool does without them
        self._on_lost = on_lost
        self._closed: dict[str, Histogram] = {}
        self._open: dict[int, tuple[weakref.ref[_C], State]] = {}

    def came(self, connection: _C, took: float) -> State:
        self.creation.observe(took)
        number, state = id(connection), State(monotonic())

        def dropped(_: object) -> None:
            if self._open.pop(number, None) is not None:
                self._count(state.reason or "broken", state)

        self._open[number] = weakref.ref(connection, dropped), state
        return state

    def gone(self, connection: _C, reason: str, error: Exception) -> None:
        """It is closed, or about to be. ``error``: what says so to ``on_lost``. Only the first time counts."""
        known = self._open.pop(id(connection), None)
        if known is None:
            return
        self._count(reason, known[1])
        if reason in LOST and self._on_lost is not None:
            try:
                self._on_lost(error)
            except Exception:
                _log.exception("on_lost failed")  # of whoever wrote it; the connection is lost all the same

    def _count(self, reason: str, state: State) -> None:
        found = self._closed.get(reason) or self._closed.setdefault(reason, Histogram())
        found.observe(max(monotonic() - state.born, 0.0))

    def states(self) -> list[State]:
        """Of all connections that are open."""
        return [state for _, state in tuple(self._open.values())]

    def closed(self) -> dict[str, Timing]:
        return {reason: timing(ages) for reason, ages in sorted(self._closed.items())}
