"""Statements that take too long are cancelled on the server: one look at all of them now and then, no timer for each."""

from __future__ import annotations

import contextlib
import os
import socket
from time import monotonic

import psycopg

from mailgenius.pool.tracked_async import Tracked
from mailgenius.rt import aio as rt

__all__ = ["Deadlines", "Watched"]

TICK = 0.02  # seconds between two looks
GRACE = 2.0  # seconds the server has to heed a cancellation; then the connection is cut


class Watched:
    """A connection on which a statement runs."""

    __slots__ = ("cancelling", "connection", "cut", "deadline", "expired")

    def __init__(self, connection: Tracked, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.expired = False
        self.cancelling: rt.Spawned | None = None
        self.cut = False


class Deadlines:
    def __init__(self) -> None:
        self._watched: set[Watched] = set()
        self._sweeper: rt.Spawned | None = None

    def watch(self, connection: Tracked, seconds: float, began: float | None = None, *, cancel: bool = True) -> Watched:
        """Cancels what runs on the connection in ``seconds`` (since ``began``), unless it is ``done`` by then; without
        ``cancel``, ends the connection at once."""
        watched = Watched(connection, (monotonic() if began is None else began) + seconds)
        watched.expired = not cancel
        self._watched.add(watched)
        if self._sweeper is None:
            self._sweeper = rt.spawn(self._sweep)
        return watched

    def cut(self) -> None:
        """Ends all connections on which something runs: whoever waits for an answer sees the end of its connection."""
        for watched in tuple(self._watched):
            watched.cut = True
            _cut(watched.connection)

    async def done(self, watched: Watched) -> None:
        """It is over. A cancellation under way must not meet whoever has the connection next: waits for its end."""
        self._watched.discard(watched)
        if watched.cancelling is not None:
            await watched.cancelling.join()

    async def _sweep(self) -> None:
        idle = 0
        while idle <= rt.LINGER:
            await rt.sleep(TICK)
            idle = 0 if self._watched else idle + 1
            self._look()
        self._sweeper = None
        if self._watched:  # came in this very moment, and relied on us
            self._sweeper = rt.spawn(self._sweep)

    def _look(self) -> None:
        now = monotonic()
        for watched in tuple(self._watched):
            if watched.deadline > now:
                continue
            if not watched.expired:
                watched.expired = True
                watched.deadline = now + GRACE
                watched.cancelling = rt.spawn(self._cancel, watched)
            elif not watched.cut:
                watched.cut = True
                watched.connection.state.reason = watched.connection.state.reason or "slow"
                _cut(watched.connection)

    async def _cancel(self, watched: Watched) -> None:
        with contextlib.suppress(psycopg.Error, OSError):
            await watched.connection.cancel_safe(timeout=GRACE)


def _cut(connection: Tracked) -> None:
    """Ends a connection whose server answers no more: whoever waits for it sees its end."""
    with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
